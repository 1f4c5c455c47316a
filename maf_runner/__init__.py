"""Density-estimation experiments that reproduce, and then beat, the published tables."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("maf-runner")
except PackageNotFoundError:  # a plain checkout
    __version__ = "0.0.0+checkout"
