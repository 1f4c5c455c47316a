"""One file for each dataset: its preparation. Its ``load`` returns `base.Splits`."""

from maf_runner.datasets.base import Rows, Splits

__all__ = ["Rows", "Splits"]
