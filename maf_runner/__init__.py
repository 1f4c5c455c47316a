"""Density-estimation experiments that reproduce, and then beat, the published tables.

The names below are for Python programs; ``docs/api.md`` shows each at work.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maf_runner.experiment.fitted import FittedDensity, load
    from maf_runner.experiment.fitting import fit
    from maf_runner.experiment.trained import load_run
    from maf_runner.system.errors import BusyError, DataError, ShortageError, UsageError

try:
    __version__ = version("maf-runner")
except PackageNotFoundError:  # a plain checkout
    __version__ = "0.0.0+checkout"

__all__ = [
    "BusyError",
    "DataError",
    "FittedDensity",
    "ShortageError",
    "UsageError",
    "__version__",
    "fit",
    "load",
    "load_run",
]
_HOLDERS = {
    "BusyError": "system.errors",
    "DataError": "system.errors",
    "FittedDensity": "experiment.fitted",
    "ShortageError": "system.errors",
    "UsageError": "system.errors",
    "fit": "experiment.fitting",
    "load": "experiment.fitted",
    "load_run": "experiment.trained",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is used: most bring in torch."""
    if name in _HOLDERS:
        return getattr(import_module(f"maf_runner.{_HOLDERS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
