"""The weights of the rows of a user's table."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.untrusted.tables import need, numbers
from maf_runner.datasets.user_table.part import Part
from maf_runner.system.errors import DataError


def take_weight(table: pd.DataFrame, column: str | None, file: Path) -> NDArray[np.float64] | None:
    """Remove the column with the weights from ``table`` and return it [N]; None without.

    Raises:
        DataError: no such column, or one that does not hold numbers.
    """
    if column is None:
        return None
    need(str(column), table, "dataset.weight", file)
    return numbers(table.pop(str(column)).to_frame(), file)[:, 0]


def without_zero(part: Part, column: str | None) -> Part:
    """The rows whose weight is above 0: a row of weight 0 counts for nothing.

    Raises:
        DataError: a weight is negative, all are 0, or their sum is no number.
    """
    weights = part.weights
    if weights is None:
        return part
    if (weights < 0).any():
        row = int((weights < 0).argmax())
        raise DataError(
            f"{part.file}: column {column!r} (dataset.weight) has the value {weights[row]:g} in "
            f"row {part.numbers[row]} (from 0){part.of_split}: a weight must not be negative"
        )
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not 0 < total < np.inf:
        raise DataError(
            f"{part.file}: the weights in column {column!r} (dataset.weight) add up to {total:g}"
            f"{part.of_split}: expected a finite number above 0"
        )
    return part.take(np.flatnonzero(weights))
