"""From a composed configuration to plain, checked settings, and from settings to objects."""

import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maf_runner.errors import UsageError, suggestion

# Settings in a group's node that are for the runner, not for the object that is built from it.
RUNNER_KEYS = {
    "dataset": {"name", "sizes", "activation", "degrees"},
    "model": {"name", "conditional", "size", "paper_rate"},
    "trainer": {"name"},
}
GROUPS = {
    "dataset": {"name"},
    "model": {"name", "conditional"},
    "trainer": {"name"},
    "paths": {"results_dir", "raw_dir", "prepared_dir"},
}  # and what each must have
TOP_LEVEL = {*GROUPS, "seed", "device", "threads", "force", "retry"}


def from_config(config: DictConfig) -> dict[str, Any]:
    """Resolve a composed configuration into plain containers with absolute paths.

    Raises:
        UsageError: an interpolation that leads nowhere, an unknown or impossible setting.
    """
    try:
        settings = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UsageError(f"the configuration cannot be resolved: {error}") from error
    assert isinstance(settings, dict)
    for key in settings:
        if key not in TOP_LEVEL:
            raise UsageError(
                f"there is no setting {key!r}{suggestion(str(key), sorted(TOP_LEVEL))}"
            )
    for key in TOP_LEVEL - set(settings):
        raise UsageError(f"the setting {key} is missing")
    for group, needed in GROUPS.items():
        if not isinstance(settings[group], dict):
            raise UsageError(f"{group} must name an option of the group, got {settings[group]!r}")
        for key in needed - set(settings[group]):
            raise UsageError(f"the setting {group}.{key} is missing")
    _require("seed", settings["seed"], "a whole number of at least 0", lowest=0)
    if settings["threads"] is not None:
        _require("threads", settings["threads"], "a whole number of at least 1, or null", lowest=1)
    for key in ("force", "retry"):
        if not isinstance(settings[key], bool):
            raise UsageError(f"{key} must be true or false, got {settings[key]!r}")
    conditional = settings["model"]["conditional"]
    if not isinstance(conditional, bool):
        raise UsageError(f"model.conditional must be true or false, got {conditional!r}")
    for group in ("dataset", "model"):
        _name(f"{group}.name", settings[group]["name"])
    if "size" in settings["model"] and settings["model"].get("hidden") is None:
        settings["model"]["hidden"] = _widths(settings["dataset"], settings["model"]["size"])
    if "path" in settings["dataset"]:
        path = settings["dataset"]["path"]
        if not isinstance(path, str) or not path:
            raise UsageError(f"dataset.path must be a file, got {path!r}")
        settings["dataset"]["path"] = str(Path(path).expanduser().absolute())
    for key, value in settings["paths"].items():
        if not isinstance(value, str) or not value:
            raise UsageError(f"paths.{key} must be a folder, got {value!r}")
        settings["paths"][key] = str(Path(value).expanduser().absolute())
    return settings  # type: ignore[return-value]


def _widths(dataset: dict[str, Any], size: Any) -> list[int]:
    """The hidden-layer widths that ``model.size`` picks from the dataset's list."""
    sizes = dataset.get("sizes")
    if not isinstance(sizes, list) or not sizes:
        raise UsageError(f"dataset={dataset.get('name')} lists no sizes: give model.hidden=[...]")
    if not isinstance(size, int) or isinstance(size, bool) or not -len(sizes) <= size < len(sizes):
        raise UsageError(
            f"model.size must be 0 to {len(sizes) - 1} (or from the end: -1), an index into "
            f"dataset.sizes {sizes}, got {size!r}"
        )
    return sizes[size]


def _name(key: str, value: Any) -> None:
    """A run folder is named after it, so it may not lead anywhere else."""
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", value):
        raise UsageError(f"{key} must be a plain name, got {value!r}")


def _require(key: str, value: Any, expected: str, *, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
        raise UsageError(f"{key} must be {expected}, got {value!r}")


def target(group: str, node: Mapping[str, Any], *, allow: tuple[str, ...] = ()) -> Any:
    """The class or function that ``node`` names under ``_target_``.

    Only names inside ``maf_runner.`` are imported, and those that start with one of ``allow``.

    Raises:
        UsageError: no such name, or one that is not allowed.
    """
    name = node.get("_target_")
    if not isinstance(name, str) or not name.startswith(("maf_runner.", *allow)):
        raise UsageError(f"{group}._target_ must name something in maf_runner, got {name!r}")
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{group}._target_: there is no {name!r}") from error


def arguments(group: str, node: Mapping[str, Any], build: Any, given: set[str]) -> dict[str, Any]:
    """The settings of ``node`` that are arguments of ``build``, checked by name.

    Args:
        group: for the messages.
        node: the group's settings.
        build: the class or function.
        given: names of arguments that come from elsewhere.

    Raises:
        UsageError: a setting it does not know, or one that is missing.
    """
    ours = RUNNER_KEYS.get(group, set()) | {"_target_"}
    wanted = inspect.signature(build).parameters
    settable = [name for name in wanted if name not in given]
    values = {key: value for key, value in node.items() if key not in ours}
    for key in values:
        if key not in settable:
            near = suggestion(key, settable) if settable else " (it has none)"
            raise UsageError(f"{group}={node.get('name')} has no setting {group}.{key}{near}")
    for name in settable:
        if name not in values and wanted[name].default is inspect.Parameter.empty:
            raise UsageError(f"{group}={node.get('name')} needs a setting {group}.{name}")
    return values


def build(
    group: str, node: Mapping[str, Any], *, allow: tuple[str, ...] = (), **given: Any
) -> Any:
    """Build what ``node`` describes, from its settings and the arguments ``given``.

    Raises:
        UsageError: a setting that is unknown, missing or impossible, by name.
    """
    made_by = target(group, node, allow=allow)
    values = arguments(group, node, made_by, set(given))
    try:
        return made_by(**given, **values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{group}={node.get('name')}: {error}") from error
