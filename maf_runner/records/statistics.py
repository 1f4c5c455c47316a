"""The mean over test rows, its error, and single rows that decide it.

An error is two standard errors of the mean (standard deviation with ddof 0, as the authors): it
says how far another test set would move the figure, not how far another seed would. A single row
has none.

With weights w of the rows, a mean is sum(w v) / sum(w), and its standard error
sqrt(sum(w^2 (v - mean)^2)) / sum(w): that of rows drawn independently together with their weights.
Equal weights give the same as none.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.checks import plus_minus

FEWEST = 10  # rows in which an outlier is looked for: of fewer, each one weighs much


class Outlier(NamedTuple):
    """A row that moves a mean by more than the error of the mean without it.

    Attributes:
        row: which, from 0.
        nats: its log density.
        mean: of all other rows.
        error: of that mean.
    """

    row: int
    nats: float
    mean: float
    error: float | None

    def __str__(self) -> str:
        places = 0 if abs(self.nats) >= 10 else 2
        return (
            f"test row {self.row} alone has {self.nats:,.{places}f} nats; without it the mean is "
            f"{self.mean:.2f}{plus_minus(self.error)}"
        )


class NotFinite(NamedTuple):
    """Rows whose log density is no finite number, so that the mean over all rows is none.

    Attributes:
        rows: how many.
        first: the first of them, from 0.
        mean: of all other rows, NaN where there are none.
        error: of that mean; None where there is only one.
    """

    rows: int
    first: int
    mean: float
    error: float | None

    def figures(self) -> dict[str, float]:
        """As a record keeps them."""
        figures = {
            "rows_not_finite": self.rows,
            "first_not_finite": self.first,
            "log_likelihood_of_others": self.mean,
        }
        return figures if self.error is None else {**figures, "error_of_others": self.error}


def mean_and_error(
    values: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> tuple[float, float | None]:
    """Mean of ``values`` [N] and two standard errors of it; None for the error of a single row.

    >>> mean_and_error(np.array([1.0, 3.0, 1.0, 3.0]))
    (2.0, 1.0)
    >>> mean_and_error(np.array([1.0, 3.0]), np.array([3.0, 1.0]))
    (1.5, 1.0606601717798212)
    """
    with np.errstate(all="ignore"):  # values may be infinite
        if weights is None:
            mean, error = float(values.mean()), 2 * float(values.std()) / math.sqrt(len(values))
        else:
            share = weights / weights.sum()
            mean = float(share @ values)
            error = 2 * float(np.linalg.norm(share * (values - mean)))
    return mean, error if len(values) > 1 else None


def outlier(
    nats: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> Outlier | None:
    """The row that moves the mean of ``nats`` [N] by more than the error of the others' mean.

    There is at most one such row worth naming: that farthest from the mean, times its weight,
    moves it most. None is named of fewer than `FEWEST` rows.

    >>> print(outlier(np.array([-1.0, -3.0] * 50 + [-900.0])))
    test row 100 alone has -900 nats; without it the mean is -2.00 ± 0.20
    >>> outlier(np.array([-1.0, -3.0] * 50 + [-9.0])) is None
    True
    """
    if len(nats) < FEWEST:
        return None
    with np.errstate(all="ignore"):
        every = nats.mean() if weights is None else mean_and_error(nats, weights)[0]
        pull = np.abs(nats - every) if weights is None else weights * np.abs(nats - every)
    row = int(pull.argmax())
    others = None if weights is None else np.delete(weights, row)
    mean, error = mean_and_error(np.delete(nats, row), others)
    if error is None or abs(every - mean) <= error:
        return None
    return Outlier(row, float(nats[row]), mean, error)


def not_finite(
    nats: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> NotFinite | None:
    """The rows of ``nats`` [N] that are infinite or NaN, None where there are none.

    >>> not_finite(np.array([-1.0, -np.inf, -3.0, np.nan, -1.0, -3.0]))
    NotFinite(rows=2, first=1, mean=-2.0, error=1.0)
    """
    finite = np.isfinite(nats)
    if finite.all():
        return None
    mean, error = math.nan, None
    if finite.any():
        mean, error = mean_and_error(nats[finite], None if weights is None else weights[finite])
    return NotFinite(int((~finite).sum()), int((~finite).argmax()), mean, error)
