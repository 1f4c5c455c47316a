"""The mean over test rows, its error, and the rows that alone make it what it is.

An error is two standard errors of the mean (standard deviation with ddof 0, as the authors): it
says how far another test set would move the figure, not how far another seed would.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FEW = 10  # of fewer rows each counts for much


class Outlier(NamedTuple):
    """A row without which a mean is another.

    Attributes:
        row: which, from 0.
        nats: its log density.
        mean: of all other rows.
        error: of that mean.
    """

    row: int
    nats: float
    mean: float
    error: float

    def __str__(self) -> str:
        return (
            f"test row {self.row} alone has {self.nats:,.0f} nats; without it the mean is "
            f"{self.mean:.2f} ± {self.error:.2f}"
        )


class NotFinite(NamedTuple):
    """Rows whose log density is no finite number, so that the mean over all rows is none.

    Attributes:
        rows: how many.
        first: the first of them, from 0.
        mean: of all other rows, NaN where there are none.
        error: of that mean.
    """

    rows: int
    first: int
    mean: float
    error: float

    def figures(self) -> dict[str, float]:
        """As a record keeps them."""
        return {
            "rows_not_finite": self.rows,
            "first_not_finite": self.first,
            "log_likelihood_of_others": self.mean,
            "error_of_others": self.error,
        }


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of ``values`` [N] and two standard errors of it.

    >>> mean_and_error(np.array([1.0, 3.0, 1.0, 3.0]))
    (2.0, 1.0)
    """
    return float(values.mean()), 2 * float(values.std()) / math.sqrt(len(values))


def outlier(nats: NDArray[np.float64]) -> Outlier | None:
    """The row that moves the mean of ``nats`` [N] by more than the error of the others' mean.

    There is at most one such row worth naming: that farthest from the mean moves it most. None
    is named of fewer than `FEW` rows.

    >>> print(outlier(np.array([-1.0, -3.0] * 50 + [-900.0])))
    test row 100 alone has -900 nats; without it the mean is -2.00 ± 0.20
    >>> outlier(np.array([-1.0, -3.0] * 50 + [-9.0])) is None
    True
    """
    if len(nats) < FEW:
        return None
    every = nats.mean()
    row = int(np.abs(nats - every).argmax())
    mean, error = mean_and_error(np.delete(nats, row))
    if abs(every - mean) <= error:
        return None
    return Outlier(row, float(nats[row]), mean, error)


def not_finite(nats: NDArray[np.float64]) -> NotFinite | None:
    """The rows of ``nats`` [N] that are infinite or NaN, None where there are none.

    >>> not_finite(np.array([-1.0, -np.inf, -3.0, np.nan]))  # doctest: +ELLIPSIS
    NotFinite(rows=2, first=1, mean=-2.0, error=1.41421356237309...)
    """
    finite = np.isfinite(nats)
    if finite.all():
        return None
    others = nats[finite]
    mean, error = mean_and_error(others) if len(others) else (math.nan, math.nan)
    return NotFinite(int((~finite).sum()), int((~finite).argmax()), mean, error)
