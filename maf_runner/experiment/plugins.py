"""Modules from outside the package whose classes and functions a configuration may name.

They are named by the user, in the setting ``plugins``, the environment variable
MAF_RUNNER_PLUGINS (several with commas between) or ``--plugin``; never by a file that is read.
Each is imported once, and its code is part of the identity of the runs that use it.
"""

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
        except Exception as error:
            log.debug("plugin %s", name, exc_info=True)
            raise UsageError(
                f"the plugin {name} cannot be imported: {type(error).__name__}: {error!s:.300}"
            ) from error
        _loaded[name] = _hash(module)


def of_target(name: str) -> str | None:
    """The loaded plugin that a ``_target_`` lies in."""
    return next((p for p in _loaded if name == p or name.startswith(f"{p}.")), None)


def used(settings: Mapping[str, Any]) -> dict[str, str]:
    """The plugins that the groups of ``settings`` name, with the hash of each."""
    targets = (node.get("_target_") for node in settings.values() if isinstance(node, dict))
    found = (of_target(target) for target in targets if isinstance(target, str))
    return {name: _loaded[name] for name in sorted({name for name in found if name})}


def _hash(module: Any) -> str:
    """The hash of a module's code: its file, or all Python files of a package."""
    file = Path(module.__file__ or "")
    folder = file.parent
    files = sorted(folder.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes())
    return f"sha256:{digest.hexdigest()}"
