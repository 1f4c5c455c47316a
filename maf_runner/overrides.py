"""What Hydra lets pass in overrides, or explains badly."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from maf_runner.conf_path import CONF
from maf_runner.errors import UsageError, suggestion


def check(hydra_config: Any) -> None:
    """Refuse choices of a group that Hydra lets pass, and names that belong to another option.

    Raises:
        UsageError: a group with several options at once or none, or a name that is not free.
    """
    for group in ("dataset", "model", "trainer"):
        choice = hydra_config.runtime.choices.get(group)
        named = [o for o in hydra_config.overrides.task if o.lstrip("+~").startswith(f"{group}=")]
        if not isinstance(choice, str) or any(o.partition("=")[2][:1] in "[{" for o in named):
            raise UsageError(f"{group} must name one option{suggestion('', options(group))}")
        for override in hydra_config.overrides.task:
            if override.lstrip("+").startswith(f"{group}.name=") and choice != "file":
                raise UsageError(f"{group}.name belongs to {group}={choice} and cannot be changed")


def check_options(words: Sequence[str]) -> None:
    """Refuse options that are not there, of a search whose jobs are not known beforehand.

    Raises:
        UsageError: such an option.
    """
    listed = [word for word in words if "," in word and not word.startswith("-")]
    for override in OverridesParser.create().parse_overrides(listed):
        group = override.key_or_group
        if not override.is_choice_sweep() or not (CONF / group).is_dir():
            continue
        for name in override.sweep_string_iterator():
            if name not in options(group):
                raise UsageError(f"there is no {group}={name}{suggestion(name, options(group))}")


def explained(message: str) -> str:
    """Hydra's message, with the near miss named, or the extra that is missing."""
    option = re.search(r"Could not find '([^']+)'", message)
    if option:
        group, _, name = option[1].rpartition("/")
        if group in ("hydra/launcher", "hydra/sweeper"):
            extra = name.partition("_")[0]  # submitit_local and submitit_slurm are of submitit
            return f"{group}={name} is not installed: pip install 'maf-runner[{extra}]'"
        return f"there is no {group}={name}{suggestion(name, options(group))}"
    key = re.search(r"Could not override '([^']+)'", message)
    if key:
        if key[1] == "sweep":
            return f"a sweep is added: +sweep=NAME{suggestion('', options('sweep'))}"
        known = [name for name in _settings(key[1]) if name != key[1]]
        return f"there is no setting {key[1]} here{suggestion(key[1], known)}"
    return message


def options(group: str) -> list[str]:
    """The options of a group."""
    folder = CONF / group
    return [p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml")]


def _settings(key: str) -> list[str]:
    """The settings there are where ``key`` was looked for."""
    group, dot, _ = key.rpartition(".")
    if not dot:
        groups = [p.name for p in CONF.iterdir() if p.is_dir()]
        return [*groups, *_keys(CONF / "config.yaml")]
    files = (CONF / group).glob("**/*.yaml") if "/" not in group else []
    return sorted({f"{group}.{name}" for path in files for name in _keys(path)})


def _keys(path: Path) -> list[str]:
    content = OmegaConf.load(path)
    assert isinstance(content, DictConfig)
    return [str(k) for k in content if k not in ("defaults", "hydra", "_target_")]
