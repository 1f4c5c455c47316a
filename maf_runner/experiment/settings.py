"""From a composed configuration to plain, checked settings, and from settings to objects."""

import importlib
import inspect
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Unpack, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from maf_runner.engine import CHOICES as ENGINES
from maf_runner.experiment import plugins, presets
from maf_runner.experiment.groups import BUILT, FILES, GROUPS, NODES, TOP_LEVEL
from maf_runner.system.errors import UsageError, suggestion
from maf_runner.system.outside import errors_of
from maf_runner.system.text import as_typed, flat

KINDS = {bool: "true or false", int: "a whole number"}
WITHOUT_CLASSES = {
    f"maf_runner.datasets.{name}.load"
    for name in ("power", "gas", "hepmass", "miniboone", "bsds300")
}
OWN_TABLE = "maf_runner.datasets.files.load"
CLOSED_FORM = {"maf_runner.flows.Gaussian"}
LIMITS = ("max_epochs", "max_updates")
OF_DATASET = re.compile(r"\$\{dataset\.(\w+)\}")  # a setting that is taken from the dataset's
USUAL = {"activation": "relu", "degrees": "sequential", "sizes": "[[64], [64, 64]]"}


def escaped(value: Any) -> Any:
    """Resolved settings as OmegaConf keeps them: a text is no reference to another setting."""
    if isinstance(value, dict):
        return {name: escaped(own) for name, own in value.items()}
    if isinstance(value, list):
        return [escaped(own) for own in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def from_config(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration into plain containers with absolute paths.

    Raises:
        UsageError: an interpolation that leads nowhere, an unknown or impossible setting.
    """
    try:
        settings = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UsageError(f"{error.full_key} is not given: add {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        said = f"the configuration cannot be resolved: {' '.join(str(error).split())}"
        raise UsageError(_lacking(config) or said) from error
    assert isinstance(settings, dict)
    for key in settings:
        if key not in TOP_LEVEL:
            raise UsageError(
                f"there is no setting {key!r}{suggestion(str(key), sorted(TOP_LEVEL))}"
            )
    for key in TOP_LEVEL - set(settings):
        raise UsageError(f"the setting {key} is missing")
    for name, group in NODES.items():
        if not isinstance(settings[name], dict):
            raise UsageError(f"{name} must name an option of the group, got {settings[name]!r}")
        for key in group.needed - set(settings[name]):
            raise UsageError(f"the setting {name}.{key} is missing")
    for key in settings["paths"]:
        if key not in NODES["paths"].needed:
            near = suggestion(str(key), sorted(NODES["paths"].needed))
            raise UsageError(f"there is no setting paths.{key}{near}")
    _require("seed", settings["seed"], 0, 2**63 - 1)
    if settings["threads"] is not None:
        _require("threads", settings["threads"], 1, 1024)
    if settings["engine"] not in ENGINES:
        near = suggestion(str(settings["engine"]), list(ENGINES))
        raise UsageError(f"there is no engine={settings['engine']}{near}")
    if not re.fullmatch(r"cpu|(cuda|auto)(:(0|[1-9]\d*))?", str(settings["device"])):
        raise UsageError(
            f"device must be auto, auto:N, cpu, cuda or cuda:N, got {settings['device']!r}"
        )
    if not isinstance(settings["plugins"], list):
        raise UsageError(f"plugins must be a list of modules, got {settings['plugins']!r}")
    settings["plugins"] = plugins.named(settings["plugins"])
    plugins.load(settings["plugins"])
    for key in ("force", "retry", "wait"):
        if not isinstance(settings[key], bool):
            raise UsageError(f"{key} must be true or false, got {settings[key]!r}")
    _follow_context(settings["model"], settings["dataset"])
    conditional = settings["model"]["conditional"]
    if not isinstance(conditional, bool):
        raise UsageError(f"model.conditional must be true, false or null, got {conditional!r}")
    if settings["model"]["_target_"] in CLOSED_FORM:
        _forget_training(settings)
    for name in BUILT:
        _name(f"{name}.name", settings[name]["name"])
    if "size" in settings["model"] and settings["model"].get("hidden") is None:
        settings["model"]["hidden"] = _widths(settings["dataset"], settings["model"]["size"])
    for key in FILES & settings["dataset"].keys():
        value = settings["dataset"][key]
        if value is not None or key == "path":
            settings["dataset"][key] = _place(f"dataset.{key}", "file", value)
    if "teachers" in settings["trainer"]:
        _teachers(settings["trainer"])
    mirror = settings["paths"]["mirror"]
    if mirror is not None and not re.match("https?://", str(mirror)):
        raise UsageError(f"paths.mirror must be an address (http://...) or null, got {mirror!r}")
    if mirror is not None and "@" in str(mirror).partition("//")[2].partition("/")[0]:
        raise UsageError(
            "paths.mirror may not hold a user or a password, which would be kept in files: put "
            "them into ~/.netrc, from where they are taken"
        )
    for key, value in settings["paths"].items():
        if key != "mirror":
            settings["paths"][key] = _place(f"paths.{key}", "folder", value)
    return settings  # type: ignore[return-value]


def _not_in(dataset: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, str]:
    """Settings of ``node``, not resolved, that are to be the dataset's, which has none such."""
    taken = {key: OF_DATASET.fullmatch(str(value)) for key, value in node.items()}
    return {key: match[1] for key, match in taken.items() if match and match[1] not in dataset}


def _lacking(config: DictConfig) -> str:
    """What the dataset lacks that the model takes from it, and what to write; else empty."""
    groups: Any = OmegaConf.to_container(config)
    dataset, model = groups.get("dataset"), groups.get("model")
    if not isinstance(dataset, dict) or not isinstance(model, dict):
        return ""
    lacks = _not_in(dataset, model)
    if not lacks:
        return ""
    if "size" in model and model.get("hidden") is None and "sizes" not in dataset:
        lacks["hidden"] = "sizes"
    lines = ", ".join(f"`{key}: {USUAL.get(key, '...')}`" for key in lacks.values())
    usual = {**USUAL, "sizes": "[64,64]"}
    words = " ".join(f"model.{key}={usual.get(own, '...')}" for key, own in lacks.items())
    return (
        f"dataset={dataset.get('name')} has no {', '.join(lacks.values())}, which "
        f"model={model.get('name')} takes from it: write {lines} into its YAML, or give {words}"
    )


def _forget_training(settings: dict[Any, Any]) -> None:
    """Give a model that is fitted in closed form the usual seed and trainer: it takes neither.

    So all that differ in these alone are one run. Impossible ones are refused all the same.

    Raises:
        UsageError: a setting of the trainer is unknown or impossible, or the trainer has teachers.
    """
    if "teachers" in settings["trainer"]:
        raise UsageError(
            f"model={settings['model']['name']} is found in closed form, and learns from no "
            "teachers: leave out trainer=distilled"
        )
    usual = presets.settings("trainer", "paper")
    usual |= {"learning_rate": settings["model"].get("paper_rate")}
    if settings["trainer"] != usual:  # the check brings in torch, which a finished run needs not
        build("trainer", settings["trainer"])
    settings["seed"] = 0
    settings["trainer"] = usual


def _follow_context(model: dict[str, Any], dataset: dict[str, Any]) -> None:
    """Settle what of a model follows from the data: whether it is conditional, and its mask.

    The authors' masks hide the class from the first variable. In a table of one's own the first
    variable sees what the model is given, columns or the class.
    """
    context = bool(dataset.get("context"))
    if model.get("conditional", False) is None:
        model["conditional"] = context
    if model.get("mask", "") is None:
        own = context or dataset["_target_"] == OWN_TABLE
        model["mask"] = "full_context" if own and model["conditional"] is True else "paper"


def has_no_classes(settings: Mapping[str, Any]) -> bool:
    """Whether the settings alone say that the dataset has no classes."""
    dataset = settings["dataset"]
    if dataset["_target_"] == OWN_TABLE:
        return dataset.get("label") is None and not dataset.get("context")
    if dataset["_target_"] == "maf_runner.datasets.toy.load":
        from maf_runner.datasets.toy import TOYS

        return dataset["kind"] in TOYS and not TOYS[dataset["kind"]].classes
    return dataset["_target_"] in WITHOUT_CLASSES


def _place(key: str, kind: str, value: Any) -> str:
    """The absolute path of a file or folder, which need not be there."""
    if not isinstance(value, str) or not value:
        raise UsageError(f"{key} must be a {kind}, got {value!r}")
    try:
        path = Path(value).expanduser().absolute()
        path.exists()
    except PermissionError:
        pass
    except (OSError, RuntimeError, ValueError) as error:  # too long, another's home, a zero byte
        raise UsageError(f"{key} cannot be the name of a {kind} ({error})") from error
    return str(path)


def _widths(dataset: dict[str, Any], size: Any) -> list[int]:
    """The hidden-layer widths that ``model.size`` picks from the dataset's list."""
    sizes = dataset.get("sizes")
    if not isinstance(sizes, list) or not sizes:
        raise UsageError(
            f"dataset={dataset.get('name')} lists no sizes: give model.hidden=[...], or write "
            f"`sizes: {USUAL['sizes']}` into its YAML"
        )
    if not isinstance(size, int) or isinstance(size, bool) or not -len(sizes) <= size < len(sizes):
        raise UsageError(
            f"model.size must be 0 to {len(sizes) - 1} (or from the end: -1), an index into "
            f"dataset.sizes {sizes}, got {size!r}"
        )
    chosen = sizes[size]
    if not (isinstance(chosen, list) and chosen and all(type(w) is int and w > 0 for w in chosen)):
        raise UsageError(f"dataset.sizes must list widths, as in [[100],[100,100]], got {sizes}")
    return chosen


def _teachers(trainer: dict[str, Any]) -> None:
    """Check the runs that rows are drawn from, and make their folders absolute."""
    folders = trainer["teachers"]
    if not isinstance(folders, list) or not folders:
        raise UsageError(
            "trainer.teachers must list folders of finished runs, as maf-run prints them, "
            f"trainer.teachers=[FOLDER,FOLDER], got {folders!r}"
        )
    trainer["teachers"] = [_place("trainer.teachers", "folder", folder) for folder in folders]
    _require("trainer.drawn_rows", trainer.get("drawn_rows"), 1, 10**9)


def _name(key: str, value: Any) -> None:
    """A run folder is named after it, so it may not lead anywhere else."""
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", value):
        raise UsageError(f"{key} must be a plain name, got {value!r}")


def _require(key: str, value: Any, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise UsageError(f"{key} must be a whole number from {lowest} to {highest}, got {value!r}")


def departures(settings: dict[str, Any], conf: Path) -> list[str]:
    """Settings that differ from their preset's, as on the command line.

    Not counted are settings that a search varies (widths, layers, class, seed), those of one's
    own table, and a limit on the length of a training that has none in its preset: it only cuts
    the run short.
    """
    changed = []
    for name in ("dataset", "model", "trainer"):
        group, node = GROUPS[name], settings[name]
        if node["name"] not in presets.options(name, conf) or "path" in node:
            continue
        preset = presets.settings(name, node["name"], conf)
        # What the dataset lacks had to be given: there is nothing to depart from.
        preset |= {key: escaped(node.get(key)) for key in _not_in(settings["dataset"], preset)}
        # What a preset takes from another group, it takes from the settings of this run.
        usual = OmegaConf.to_container(
            OmegaConf.create({**escaped(settings), name: preset}), resolve=True
        )
        assert isinstance(usual, dict)
        usual = usual[name]
        if name == "model":
            usual["conditional"] = node["conditional"]  # a search varies it, and masks follow it
            _follow_context(usual, settings["dataset"])
        cuts = LIMITS if usual.get("schedule", "constant") == "constant" else ()
        for key in {**usual, **node}:
            if key in group.how | group.searched or (key in cuts and usual.get(key) is None):
                continue
            ours, theirs = (flat(of.get(key), f"{name}.{key}") for of in (node, usual))
            changed += [
                f"{leaf}={as_typed(ours.get(leaf))}"
                for leaf in {**theirs, **ours}
                if ours.get(leaf) != theirs.get(leaf)
            ]
    return changed


def target(group: str, node: Mapping[str, Any]) -> Any:
    """The class or function that ``node`` names under ``_target_``.

    Only what the group's own room defines is taken, and what loaded plugins hold.

    Raises:
        UsageError: no such name, or one that is not allowed.
    """
    name = node.get("_target_")
    room = GROUPS[group].room
    plugin = plugins.of_target(name) if isinstance(name, str) else None
    if not isinstance(name, str) or (plugin is None and not name.startswith(room)):
        raise UsageError(
            f"{group}._target_ must name something in {room[:-1]}, or in a module that is given "
            "as a plugin (plugins=[...] of maf-run, --plugin of other commands), got "
            f"{name!r:.200}"
        )
    module, _, attribute = name.rpartition(".")
    try:
        named = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{group}._target_: there is no {name!r:.200}") from error
    if plugin is not None and callable(named):
        return named
    # A name that a module has only imported from elsewhere does not count.
    if not getattr(named, "__module__", "").startswith(room) or not callable(named):
        raise UsageError(f"{group}._target_ must name something in {room[:-1]}, got {name!r:.200}")
    return named


def arguments(group: str, node: Mapping[str, Any], build: Any) -> dict[str, Any]:
    """The settings of ``node`` that are arguments of ``build``, checked by name.

    Args:
        group: for the messages, and for what the program gives itself.
        node: the group's settings.
        build: the class or function.

    Raises:
        UsageError: a setting it does not know, one that is missing, or one of a wrong kind.
    """
    ours = GROUPS[group].runner | {"_target_"}
    wanted = _parameters(build)
    settable = [name for name in wanted if name not in GROUPS[group].given]
    values = {key: value for key, value in node.items() if key not in ours}
    for key in values:
        if key not in settable:
            near = suggestion(key, settable) if settable else " (it has none)"
            raise UsageError(f"{group}={node.get('name')} has no setting {group}.{key}{near}")
    for name in settable:
        if name not in values and wanted[name][1]:
            raise UsageError(f"{group}={node.get('name')} needs a setting {group}.{name}")
    for key, value in values.items():
        kind = wanted[key][0]
        if isinstance(kind, type) and kind in KINDS and type(value) is not kind:
            raise UsageError(f"{group}.{key} must be {KINDS[kind]}, got {value!r}")
    return values


def _parameters(build: Any) -> dict[str, tuple[Any, bool]]:
    """The parameters of a class or function: their types, and whether they must be given.

    ``**network: Unpack[Network]`` stands for the entries of the TypedDict ``Network``.
    """
    parameters: dict[str, tuple[Any, bool]] = {}
    for name, parameter in inspect.signature(build).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and (
            get_origin(parameter.annotation) is not Unpack
        ):
            continue  # of a plugin: settings are given by name
        if get_origin(parameter.annotation) is Unpack:
            (entries,) = get_args(parameter.annotation)
            for entry, kind in get_type_hints(entries).items():
                parameters[entry] = (kind, entry in entries.__required_keys__)
        else:
            required = parameter.default is inspect.Parameter.empty
            parameters[name] = (parameter.annotation, required)
    return parameters


def check(settings: dict[str, Any]) -> None:
    """Refuse settings unknown to what is built from them, and values that cannot be.

    The values looked at are those of the trainer, and the widths and layers of our models; others
    are refused where they are used.

    Raises:
        UsageError: such a setting, by name.
    """
    for group in BUILT:
        arguments(group, settings[group], target(group, settings[group]))
    build("trainer", settings["trainer"])
    model = settings["model"]
    if plugins.of_target(model["_target_"]) is None:
        from maf_runner.flows import checks  # here: it brings in torch, as the trainer does

        try:
            if "hidden" in model:
                checks.widths(model["hidden"])
            if "layers" in model:
                checks.positive("layers", model["layers"], checks.MOST_LAYERS)
        except ValueError as error:
            raise UsageError(f"model={model['name']}: {error}") from error


def build(group: str, node: Mapping[str, Any], **given: Any) -> Any:
    """Build what ``node`` describes, from its settings and the arguments ``given``.

    Raises:
        UsageError: a setting that is unknown, missing or impossible, by name.
        DataError: a dataset from outside that fails, or is not as it should be.
    """
    made_by = target(group, node)
    values = arguments(group, node, made_by)
    if plugins.of_target(str(node.get("_target_"))):
        known = inspect.signature(made_by).parameters
        given = {name: value for name, value in given.items() if name in known}
        if group == "dataset":
            from maf_runner.datasets import foreign  # here: it takes numpy

            return foreign.load(str(node["_target_"]), partial(made_by, **given, **values))
        with errors_of(f"{group}={node.get('name')}: {node['_target_']}"):
            return made_by(**given, **values)
    try:
        return made_by(**given, **values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{group}={node.get('name')}: {error}") from error
