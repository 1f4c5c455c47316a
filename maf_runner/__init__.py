"""Density-estimation experiments that reproduce, and then beat, the published tables."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("maf-runner")
except PackageNotFoundError:  # a plain checkout
    __version__ = "0.0.0+checkout"


def __getattr__(name: str) -> Any:
    """``maf_runner.load_run``, imported when it is used: it brings in torch."""
    if name == "load_run":
        from maf_runner.experiment.trained import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
