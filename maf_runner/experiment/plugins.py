"""Modules from outside the package whose classes and functions a configuration may name.

They are named by the user, in the setting ``plugins``, the environment variable
MAF_RUNNER_PLUGINS (several with commas between) or ``--plugin``; never by a file that is read.
Each is imported once, and its code is part of the identity of the runs that use it.
"""

import ast
import hashlib
import importlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maf_runner.system.errors import UsageError
from maf_runner.system.text import plain

VARIABLE = "MAF_RUNNER_PLUGINS"
log = logging.getLogger("maf_runner")
_loaded: dict[str, str] = {}  # the hash of each module


def named(settings: Iterable[Any] = ()) -> list[str]:
    """The modules of the setting and of the environment, each once."""
    words = [*map(str, settings), *os.environ.get(VARIABLE, "").split(",")]
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))


def load(names: Iterable[str]) -> None:
    """Import modules, from the current folder too.

    Raises:
        UsageError: there is no such module, or it cannot be imported.
    """
    for name in names:
        if name in _loaded:
            continue
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
            raise UsageError(f"plugins must name modules, as my_package, got {name!r:.100}")
        if name.partition(".")[0] == "maf_runner":
            raise UsageError(f"plugins are of other packages, got {name}")
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = f"there is no module {error.name!r}"
            where = "" if error.name == name.partition(".")[0] else f" which {name} imports"
            raise UsageError(
                f"the plugin {name} cannot be imported: {missing}{where}. It is looked for in the "
                f"current folder ({here}) and where Python finds packages"
            ) from error
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"the plugin {name} cannot be imported: {type(error).__name__}: "
                f"{plain(f'{error!s:.300}')}"
            ) from error
        if not getattr(module, "__file__", None):
            raise UsageError(
                f"the plugin {name} is no module of yours: it must be a Python file, or a folder "
                "with an __init__.py"
            )
        _loaded[name] = _hash(name)


def require_unchanged(targets: Iterable[str]) -> None:
    """Refuse plugins of these ``_target_`` whose code was changed after they were imported.

    Raises:
        UsageError: such a plugin: this process would go on with the old code.
    """
    for name in {name for target in targets if (name := of_target(target))}:
        if _hash(name) != _loaded[name]:
            raise UsageError(
                f"the code of {name} has changed since it was imported: start Python anew"
            )


def of_target(name: str) -> str | None:
    """The loaded plugin that a ``_target_`` lies in."""
    return next((p for p in _loaded if name == p or name.startswith(f"{p}.")), None)


def used(settings: Mapping[str, Any]) -> dict[str, str]:
    """The plugins that the groups of ``settings`` name, with the hash of each."""
    targets = (node.get("_target_") for node in settings.values() if isinstance(node, dict))
    found = (of_target(target) for target in targets if isinstance(target, str))
    return {_top(name): _loaded[name] for name in sorted({name for name in found if name})}


def warn_of_changes(recorded: Mapping[str, str], run: Path) -> None:
    """Warn where the code of a run's plugins is another now than when it was trained."""
    now = {_top(name): digest for name, digest in _loaded.items()}
    for name, digest in recorded.items():
        if now.get(name, digest) != digest:
            log.warning(
                "the code of %s has changed since %s was trained: its density may be another now",
                name,
                run,
            )


def _top(name: str) -> str:
    return name.partition(".")[0]


def _hash(name: str) -> str:
    """The hash of a plugin's code.

    That is its file, or all Python files of the package it lies in, and those files beside it that
    they import, in turn; of an installed package its own files alone.
    """
    top = sys.modules[_top(name)]
    package = getattr(top, "__path__", None)
    home = Path(next(iter(package)) if package else str(top.__file__)).parent
    installed = home.name in ("site-packages", "dist-packages")
    code: dict[str, bytes] = {}
    wanted = [_top(name)]
    while wanted:
        for path in _files(home, wanted.pop()):
            place = path.relative_to(home).as_posix()
            if place in code:
                continue
            code[place] = path.read_bytes()
            if not installed:
                wanted += _imported(code[place])
    if not code:  # compiled
        code[name] = Path(str(sys.modules[name].__file__)).read_bytes()
    digest = hashlib.sha256()
    for place, text in sorted(code.items()):
        digest.update(f"{place}\0".encode())
        digest.update(text)
    return f"sha256:{digest.hexdigest()}"


def _files(home: Path, name: str) -> list[Path]:
    """The Python files of a module or a package in a folder."""
    if (home / f"{name}.py").is_file():
        return [home / f"{name}.py"]
    return sorted((home / name).rglob("*.py")) if (home / name).is_dir() else []


def _imported(text: bytes) -> set[str]:
    """The first names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # a file of the package that nobody imports
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {_top(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(_top(node.module))
    return found
