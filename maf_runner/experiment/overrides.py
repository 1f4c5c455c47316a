"""Mistakes in overrides that Hydra does not notice, and clearer words for those it does."""

import re
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from maf_runner.experiment.groups import BUILT, GROUPS, NODES
from maf_runner.experiment.presets import composed, options, preset
from maf_runner.system.conf_path import CONF
from maf_runner.system.errors import UsageError, extra, suggestion

ALIASES = {  # what people type from habit
    "lr": "learning_rate", "rate": "learning_rate", "bs": "batch_size", "batch": "batch_size",
    "batchsize": "batch_size", "epochs": "max_epochs", "num_epochs": "max_epochs",
    "n_epochs": "max_epochs", "epoch": "max_epochs", "steps": "max_updates",
    "max_steps": "max_updates", "iterations": "max_updates", "wd": "l2", "weight_decay": "l2",
    "n_layers": "layers", "num_layers": "layers", "flows": "layers", "depth": "layers",
    "blocks": "layers", "units": "hidden", "width": "hidden", "widths": "hidden",
    "hidden_units": "hidden", "hidden_size": "hidden", "hidden_sizes": "hidden",
    "hidden_features": "hidden", "n_hidden": "hidden", "seeds": "seed", "random_state": "seed",
    "num_threads": "threads", "n_jobs": "threads", "cores": "threads", "gpu": "device",
    "optimizer": "optimiser", "early_stopping": "patience", "n_components": "components",
    "mixtures": "components", "file": "path", "labels": "label", "weights": "weight",
    "features": "columns", "conditions": "context", "given": "context",
}  # fmt: skip

LISTS = {  # settings that may be lists
    "model.hidden", "trainer.betas", "plugins", "dataset.columns", "dataset.context",
    "dataset.fractions", "dataset.missing_markers", "dataset.dequantise", "dataset.categorical",
}  # fmt: skip
TABLES = {  # endings of files that dataset=file reads; to ask it takes pandas
    ".csv", ".tsv", ".txt", ".gz", ".bz2", ".xz", ".parquet", ".feather", ".npy", ".npz", ".h5",
    ".hdf5",
}  # fmt: skip


def words(hydra_config: Any) -> list[str]:
    """The overrides as they were given: Hydra would resolve what looks like an interpolation."""
    return OmegaConf.to_container(hydra_config.overrides.task)  # type: ignore[return-value]


def check(hydra_config: Any) -> None:
    """Refuse wrong choices of a group that Hydra accepts, and a ``name`` that is another option's.

    Raises:
        UsageError: a group with several options or none, a name that may not be changed, or a
            launcher without a sweep.
    """
    given = words(hydra_config)
    choices = hydra_config.runtime.choices
    for group in BUILT:
        choice = choices.get(group)
        named = [word for word in given if word.lstrip("+~").startswith(f"{group}=")]
        values = [word.partition("=")[2].lstrip() for word in named]
        if not isinstance(choice, str) or any(value[:1] in "[{" for value in values):
            raise UsageError(f"{group} must name one option{suggestion('', options(group))}")
        for word in given:
            if word.lstrip("+").startswith(f"{group}.name=") and choice != "file":
                raise UsageError(f"{group}.name belongs to {group}={choice} and cannot be changed")
    named = [word for word in given if word.startswith("launch=")]
    if named and choices.get("launch") != "local" and hydra_config.mode != RunMode.MULTIRUN:
        raise UsageError(f"{named[0]} is for the jobs of a sweep: maf-run -m {named[0]} ...")


def flags_first(arguments: list[str]) -> list[str]:
    """The arguments with ``-m`` and ``--config-dir`` in front: overrides must follow each other.

    >>> flags_first(["+sweep=quick", "-m", "seed=1", "--config-dir", "my_conf", "model=mine"])
    ['-m', '--config-dir', 'my_conf', '+sweep=quick', 'seed=1', 'model=mine']
    """
    first, others = [], []
    words = iter(arguments)
    for word in words:
        if word in ("--config-dir", "-cd"):
            first += [word, *islice(words, 1)]
        elif word in ("-m", "--multirun") or word.startswith("--config-dir="):
            first.append(word)
        else:
            others.append(word)
    return first + others


def of_several_datasets(arguments: list[str]) -> list[str]:
    """The arguments of a sweep over datasets, so that each setting is for those which have it.

    Hydra gives a setting with one value to the default dataset too, which may not have it; it
    does not do so with a setting that is swept, if only over one value.

    >>> of_several_datasets(["-m", "dataset=file,toy/moons", "dataset.path=t.csv", "seed=1"])
    ['-m', 'dataset=file,toy/moons', 'dataset.path=choice(t.csv)', 'seed=1']
    >>> of_several_datasets(["dataset=file,toy/moons", 'dataset.path="a,b.csv"'])[1]
    'dataset.path=choice("a,b.csv")'
    """
    if not any(re.match(r"dataset=[^,]+,", word) for word in arguments):
        return arguments
    value = r"[^,(]+|\[[^()]*\]|'[^']*'" + r'|"[^"]*"'
    single = re.compile(rf"(dataset\.[\w.]+)=(?!choice\()({value})")
    return [f"{m[1]}=choice({m[2]})" if (m := single.fullmatch(w)) else w for w in arguments]


def check_options(words: Sequence[str]) -> None:
    """Refuse words that cannot be read as overrides, and options that do not exist.

    The options are also checked in a search whose jobs are not known beforehand.

    Raises:
        UsageError: such a word, or such an option.
    """
    parser = OverridesParser.create()
    for word in words:
        if "=" not in word or word.startswith("-"):
            continue
        try:
            override = parser.parse_override(word)
        except (HydraException, ValueError) as error:  # the latter: thousands of digits
            raise UsageError(
                f"{word} cannot be read as KEY=VALUE; quote a value with special characters "
                "twice, as in 'dataset.path=\"a=b.csv\"'"
            ) from error
        group = override.key_or_group
        if not group:
            raise UsageError(f"{word} names no setting: KEY=VALUE")
        if word.startswith("+"):
            _check_added(group)
        if not (CONF / group).is_dir():
            continue
        if not override.is_sweep_override() and word != f"~{group}":
            value = override.value()
            named = value if isinstance(value, list) and not override.is_delete() else [value]
            if not all(isinstance(name, str) for name in named):
                raise UsageError(f"{word} names no option{suggestion('', options(group))}")
        if not override.is_choice_sweep():
            continue
        if isinstance(pattern := override.value(), Glob):
            names = [name for name in options(group) if "/" not in name]
            if not pattern.filter(names):
                raise UsageError(
                    f"{word} fits no option (it does not look into folders){suggestion('', names)}"
                )
            continue
        for name in override.sweep_string_iterator():
            if name not in options(group):
                raise UsageError(f"there is no {group}={name}{suggestion(name, options(group))}")


def check_own(folders: Sequence[Path]) -> None:
    """Refuse options in folders of the user's own that cannot be, or have the names of ours.

    Hydra would take ours without a word.

    Raises:
        UsageError: such a file, and what is wrong with it.
    """
    for folder in folders:
        for file in sorted(folder.glob("*/**/*.yaml")):
            place = file.relative_to(folder)
            if (CONF / place).is_file():
                raise UsageError(f"{file} has the name of {CONF / place}: rename it")
            try:
                node = OmegaConf.load(file)
            except (YAMLError, ValueError, OSError) as error:
                raise UsageError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
            if place.parts[0] not in BUILT or (
                isinstance(node, DictConfig) and "defaults" in node
            ):
                continue
            lacks = [key for key in ("name", "_target_") if key not in node]
            if not isinstance(node, DictConfig) or lacks:
                raise UsageError(f"{file} must have {' and '.join(lacks)}, as `KEY: VALUE`")


def check_flags(arguments: list[str]) -> None:
    """Refuse options with dashes that Hydra does not have, and say how the setting is written.

    Raises:
        UsageError: such an option.
    """
    from hydra._internal.utils import get_args_parser

    flags = get_args_parser()
    known = {name for action in flags._actions for name in action.option_strings}
    for word, following in pairwise([*arguments, "VALUE"]):
        flag, equals, value = word.partition("=")
        long = flag.startswith("--") and any(name.startswith(flag) for name in known)
        if not re.fullmatch(r"--?[A-Za-z][\w.-]*", flag) or flag in known or long:
            continue
        name = flag.lstrip("-").replace("-", "_")
        given = value if equals else following
        meant = f"{(places(name) or [name])[0]}={given}"
        raise UsageError(f"{word}: settings are written KEY=VALUE, without dashes: {meant}")


def _check_added(key: str) -> None:
    """Refuse to add what is there under another name; a model may have arguments of any name."""
    group, _, name = key.rpartition(".")
    meant = places(name) if group in ("", "trainer") and name not in _settings(group) else []
    if meant:
        raise UsageError(
            f"there is no setting {key} here; did you mean {' or '.join(meant)}, without +?"
        )


def explained(message: str, given: Sequence[str] | None = None) -> str:
    """Hydra's message in plain words, with a similar name or the extra that must be installed.

    Args:
        message: Hydra's.
        given: the overrides, which say whose settings are named; None: those of all options.
    """
    option = re.search(r"Could not find '([^']+)'", message)
    if option:
        return _no_option(option[1])
    key = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", message)
    if key:
        return _no_setting(key[1], "={" in message, given)
    present = re.search(r"Could not append to config. An item is already at '([^']+)'", message)
    if present:
        return f"{present[1]} has a value already: change it with {present[1]}=VALUE, without +"
    several = re.search(r"Ambiguous value for argument '([^']+)'", message)
    if several:
        return _several(several[1])
    again = re.search(
        r"Multiple values for (\S+)\. To override a value use '[^:]+: ([^']+)'", message
    )
    if again:
        return f"{again[1]} is chosen without +: {again[1]}={again[2]}"
    unread = re.search(r"Error parsing override '([^']+)'", message)
    if unread:
        return f"{unread[1]} cannot be read as KEY=VALUE; maf-run --help shows the settings"
    if message.startswith("Error merging override "):
        override = message.removeprefix("Error merging override ").splitlines()[0]
        return f"{override} does not fit: the setting there is of another kind"
    return message


def _no_option(option: str) -> str:
    group, _, name = option.partition("/")
    if group == "hydra":
        group, _, name = option.rpartition("/")
        package = name.partition("_")[0]  # submitit_local and submitit_slurm are of submitit
        return f"{group}={name} is not installed: {extra(package)}"
    if group == "dataset" and Path(name).suffix in TABLES:
        return f"there is no {group}={name}; a table of yours: dataset=file dataset.path={name}"
    return f"there is no {group}={name}{suggestion(name, options(group))}"


def _no_setting(key: str, is_entry: bool, given: Sequence[str] | None) -> str:
    if key == "trainer.compile":
        return "trainer.compile is now engine=auto, compiled or eager"
    if key == "sweep":
        return f"a sweep is added: +sweep=NAME{suggestion('', options('sweep'))}"
    group, dot, name = key.rpartition(".")
    if group == "model.settings" and _is_here(group, given):
        added = next((word for word in given or () if word.startswith(f"{key}=")), f"{key}=VALUE")
        return f"there is no setting {key} here; an argument of the library is added: +{added}"
    meant = [place for place in places(name) if place != key]
    holders = _settings(group).get(name)
    if meant and not holders:
        there = [place for place in meant if _is_here(place, given)]
        if there or len(meant) > 1:
            return f"there is no setting {key} here; did you mean {' or '.join(there or meant)}?"
        key = meant[0]
        holders = _settings(key.rpartition(".")[0])[key.rpartition(".")[2]]
    if holders and is_entry:
        return f"{key} has no such entry; a new one is added: +{key}.NAME=VALUE"
    if holders:
        return f"there is no setting {key} here; these have it: {', '.join(holders)}"
    near = suggestion(name, _here(group, given), prefix=group + dot)
    return f"there is no setting {key} here{near}"


def _several(word: str) -> str:
    key, _, values = word.partition("=")
    name = key.rpartition(".")[2]
    meant = places(name) if name == key or name in ALIASES else []
    key = meant[0] if len(meant) == 1 else key
    said = f"{key}={values} lists several values: maf-run -m {key}={values} runs each of them"
    return f"{said}, {key}=[{values}] is one list" if key in LISTS else said


def places(word: str) -> list[str]:
    """The full names of the settings that are called so, or commonly so, in any group.

    >>> places("lr"), places("layers")
    (['trainer.learning_rate'], ['model.layers'])
    """
    name = ALIASES.get(word, word)
    if name in _settings(""):
        return [name]
    return [f"{group}.{name}" for group in NODES if name in _settings(group)]


def _is_here(place: str, given: Sequence[str] | None) -> bool:
    group, _, name = place.rpartition(".")
    return name in _here(group, given)


def _here(group: str, given: Sequence[str] | None) -> list[str]:
    """The settings of a group under the options that are chosen, if that is known."""
    if given is None or group not in NODES:
        return list(_settings(group))
    chosen = [word for word in given if word.lstrip("+").partition("=")[0] in GROUPS]
    try:
        sets = [
            word.partition("=")[2].split(",") for word in chosen if word.startswith(f"{group}=")
        ]
        nodes = (
            [preset(group, option) for option in sets[-1]]
            if sets
            else [composed("config", [word for word in chosen if "," not in word])[group]]
        )
    except (HydraException, OmegaConfBaseException, OSError):
        return list(_settings(group))
    fixed = {"name"} if group in BUILT and f"{group}=file" not in chosen else set()
    return [
        name
        for name in dict.fromkeys(n for node in nodes for n in _keys(node))
        if name not in fixed
    ]


def _settings(group: str) -> dict[str, list[str]]:
    """The settings in a group with the options that have each; for no group, those at the top."""
    if not group:
        groups = [p.name for p in CONF.iterdir() if p.is_dir()]
        root = OmegaConf.load(CONF / "config.yaml")
        assert isinstance(root, DictConfig)
        return {name: [] for name in [*groups, *_keys(root)]}
    holders: dict[str, list[str]] = {}
    for option in options(group):
        for name in _keys(preset(group, option)):
            holders.setdefault(name, []).append(f"{group}={option}")
    return holders


def _keys(node: DictConfig) -> list[str]:
    return [str(key) for key in node if key not in ("defaults", "hydra", "_target_")]
