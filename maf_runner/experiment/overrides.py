"""Mistakes in overrides that Hydra does not notice, and clearer words for those it does."""

import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from maf_runner.experiment.groups import BUILT, NODES
from maf_runner.experiment.presets import options, preset
from maf_runner.system.conf_path import CONF
from maf_runner.system.errors import UsageError, extra, suggestion

ALIASES = {  # what people type from habit
    "lr": "learning_rate", "rate": "learning_rate", "bs": "batch_size", "batch": "batch_size",
    "batchsize": "batch_size", "epochs": "max_epochs", "num_epochs": "max_epochs",
    "steps": "max_updates", "iterations": "max_updates", "wd": "l2", "weight_decay": "l2",
    "n_layers": "layers", "num_layers": "layers", "flows": "layers", "units": "hidden",
    "width": "hidden", "hidden_units": "hidden", "hidden_size": "hidden", "seeds": "seed",
    "num_threads": "threads", "gpu": "device",
    "early_stopping": "patience", "n_components": "components", "mixtures": "components",
    "file": "path", "labels": "label",
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


def of_several_datasets(arguments: list[str]) -> list[str]:
    """The arguments of a sweep over datasets, so that each setting is for those which have it.

    Hydra gives a setting with one value to the default dataset too, which may not have it; it
    does not do so with a setting that is swept, if only over one value.

    >>> of_several_datasets(["-m", "dataset=file,toy/moons", "dataset.path=t.csv", "seed=1"])
    ['-m', 'dataset=file,toy/moons', 'dataset.path=choice(t.csv)', 'seed=1']
    """
    if not any(re.match(r"dataset=[^,]+,", word) for word in arguments):
        return arguments
    single = re.compile(r"(dataset\.[\w.]+)=(?!choice\()([^,(]+|\[[^()]*\]|'[^']*')")
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
        if not (CONF / group).is_dir():
            continue
        if not override.is_sweep_override() and word != f"~{group}":
            value = override.value()
            named = value if isinstance(value, list) and not override.is_delete() else [value]
            if not all(isinstance(name, str) for name in named):
                raise UsageError(f"{word} names no option{suggestion('', options(group))}")
        if not override.is_choice_sweep():
            continue
        for name in override.sweep_string_iterator():
            if name not in options(group):
                raise UsageError(f"there is no {group}={name}{suggestion(name, options(group))}")


def explained(message: str) -> str:
    """Hydra's message in plain words, with a similar name or the extra that must be installed."""
    option = re.search(r"Could not find '([^']+)'", message)
    if option:
        group, _, name = option[1].rpartition("/")
        if group in ("hydra/launcher", "hydra/sweeper"):
            package = name.partition("_")[0]  # submitit_local and submitit_slurm are of submitit
            return f"{group}={name} is not installed: {extra(package)}"
        return f"there is no {group}={name}{suggestion(name, options(group))}"
    key = re.search(r"Could not override '([^']+)'", message)
    if key:
        if key[1] == "trainer.compile":
            return "trainer.compile is now engine=auto, compiled or eager"
        if key[1] == "sweep":
            return f"a sweep is added: +sweep=NAME{suggestion('', options('sweep'))}"
        group, dot, name = key[1].rpartition(".")
        known = _settings(group)
        holders = known.get(name)
        meant = [place for place in places(name) if place != key[1]]
        if meant and not holders:
            return f"there is no setting {key[1]} here; did you mean {' or '.join(meant)}?"
        if holders and "={" in message:
            return f"{key[1]} has no such entry; a new one is added: +{key[1]}.NAME=VALUE"
        if holders:
            return f"there is no setting {key[1]} here; these have it: {', '.join(holders)}"
        near = suggestion(name, list(known), prefix=group + dot)
        return f"there is no setting {key[1]} here{near}"
    present = re.search(r"Could not append to config. An item is already at '([^']+)'", message)
    if present:
        return f"{present[1]} has a value already: change it with {present[1]}=VALUE, without +"
    several = re.search(r"Ambiguous value for argument '([^']+)'", message)
    if several:
        word = several[1]
        name, _, values = word.partition("=")
        meant = places(name.rpartition(".")[2]) if "." not in name else []
        word = f"{meant[0]}={values}" if len(meant) == 1 else word
        return (
            f"{word} lists several values: maf-run -m {word} runs each of them, {name}=[{values}] "
            "is one list"
        )
    if message.startswith("Error merging override "):
        override = message.removeprefix("Error merging override ").splitlines()[0]
        return f"{override} does not fit: the setting there is of another kind"
    return message


def places(word: str) -> list[str]:
    """The full names of the settings that are called so, or commonly so, in any group.

    >>> places("lr"), places("layers")
    (['trainer.learning_rate'], ['model.layers'])
    """
    name = ALIASES.get(word, word)
    if name in _settings(""):
        return [name]
    return [f"{group}.{name}" for group in NODES if name in _settings(group)]


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
