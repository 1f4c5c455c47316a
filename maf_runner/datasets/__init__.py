"""One file for each dataset: its recipe. A recipe's ``load`` gives `base.Splits`."""

from maf_runner.datasets.base import Rows, Splits

__all__ = ["Rows", "Splits"]
