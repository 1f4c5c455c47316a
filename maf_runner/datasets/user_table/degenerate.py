"""Warn of columns and rows on which a likelihood is unbounded or misleading.

A density is infinite where many rows share a value, on values that were rounded to steps, and on
a column that others determine: a flow that comes close to it has a likelihood without a limit.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS, Splits
from maf_runner.datasets.untrusted.tables import some
from maf_runner.datasets.user_table.part import Part
from maf_runner.datasets.user_table.steps import is_whole, step_of

log = logging.getLogger("maf_runner")
SHARED = 0.05  # share of the rows that have one value in common, from which it is reported
REPEATED = 0.1  # share of the rows that repeat a value of another, from which steps are reported
GROUPED = 0.5  # the same, from which repeated values without steps are reported
FEWEST = 5  # rows that must have a value in common
TOLERANCE = 1e-3  # of the share of a column's deviation that other columns do not explain


def warn(parts: Mapping[str, Part], columns: list[str], dequantise: list[Any]) -> None:
    """Warn of constant, whole and rounded columns, of shared values, and of duplicate rows."""
    file, train = parts["train"].file, parts["train"].x
    noisy = {str(column) for column in dequantise}
    constant, whole, rounded, shared = [], [], {}, {}
    for column, values in zip(columns, train.T, strict=True):
        different, counts = np.unique(values, return_counts=True)
        most = int(counts.argmax()) if len(counts) else 0
        if len(different) == 1:
            constant.append(column)
        elif column in noisy:
            continue
        elif is_whole(different):
            whole.append(column)
        elif len(different) <= (1 - REPEATED) * len(values) and (step := step_of(different)):
            rounded[column] = f"{column} ({step:g})"
        elif counts[most] >= max(FEWEST, SHARED * len(values)):
            percent = 100 * counts[most] / len(values)
            shared[column] = f"{column} ({different[most]:g} in {percent:.0f} % of the rows)"
        elif len(different) <= (1 - GROUPED) * len(values):
            shared[column] = f"{column} ({len(different):,} values in {len(values):,} rows)"
    if constant:
        log.warning(
            "%s: columns that are constant in the training rows have no density: %s. They raise "
            "the log-likelihood and say nothing: leave them out (dataset.columns=[...])",
            file,
            some(constant),
        )
    if whole:
        log.warning(
            "%s: columns of whole numbers have no density. Add uniform noise to them: "
            "'dataset.dequantise=[%s]'",
            file,
            some(whole, ","),
        )
    if rounded:
        log.warning(
            "%s: columns that were rounded have no density; their steps are: %s. Add uniform "
            "noise as wide as the step: 'dataset.dequantise=[%s]'",
            file,
            some(rounded.values()),
            some(rounded, ","),
        )
    if shared:
        log.warning(
            "%s: columns in which many rows share a value have no density there: %s. The "
            "log-likelihood of a model can grow without end on them: leave out these columns "
            "(dataset.columns=[...]) or these rows",
            file,
            some(shared.values()),
        )
    rows = np.concatenate([parts[name].x for name in SPLITS])
    frame = pd.DataFrame(rows, copy=False)
    given = [own for name in SPLITS if (own := parts[name].context) is not None]
    if given:
        frame = pd.concat([frame, pd.concat(given, ignore_index=True)], axis=1)
    copies = int(frame.duplicated().sum())
    if copies:
        log.warning("%s: %d of %d rows are duplicate rows", file, copies, len(rows))


def warn_of_combinations(train: Part, columns: list[str]) -> None:
    """Warn of columns that others determine; after noise was added, which sets them apart."""
    if dependent := combinations(train.x, columns):
        log.warning(
            "%s: columns that others determine, exactly or up to rounding (copies and linear "
            "combinations), have no density: %s. Leave them out: dataset.columns=[...]",
            train.file,
            some(map(str, dependent)),
        )


class Combination(NamedTuple):
    """A column that is a linear combination of ``others``."""

    column: str
    others: list[str]

    def __str__(self) -> str:
        return f"{self.column} (from {some(self.others)})"


def combinations(rows: NDArray[Any], columns: Sequence[str]) -> list[Combination]:
    """The columns of ``rows`` [N, D] that are linear combinations of those before them.

    Up to rounding, by pivoted QR. Constant columns are left out. Nothing is said of fewer rows
    than columns, in which every column is a combination of others.

    >>> c = np.arange(4.0)
    >>> rows = np.column_stack([c, c**2, 32 + 1.8 * c])
    >>> print(*combinations(rows, ["c", "y", "f"]))
    f (from c)
    """
    from scipy.linalg import qr  # takes a moment to import

    varying = np.flatnonzero(np.ptp(rows, axis=0) > 0) if len(rows) else np.array([], dtype=int)
    if len(rows) <= len(varying) or len(varying) < 2:
        return []
    with np.errstate(all="ignore"):
        exact = rows[:, varying].astype(np.float64)
        exact -= exact.mean(axis=0)
        norms = np.sqrt(np.square(exact).sum(axis=0))
        exact /= norms
    if not (np.isfinite(norms).all() and np.isfinite(exact).all()):
        return []  # values that are refused later
    # First without pivots, which are slow for N rows.
    triangle: Any = np.linalg.qr(exact, mode="r")
    diagonal = np.abs(np.diag(qr(triangle, mode="r", pivoting=True)[0]))
    if (diagonal > TOLERANCE).all():
        return []
    basis = np.empty_like(triangle)
    independent: list[int] = []
    found = []
    for i, column in enumerate(triangle.T):
        of_others = basis[:, : len(independent)]
        rest = column - of_others @ (of_others.T @ column)
        rest -= of_others @ (of_others.T @ rest)  # again: the first leaves rounding errors
        size = np.linalg.norm(rest)
        if size > TOLERANCE:
            basis[:, len(independent)] = rest / size
            independent.append(i)
        else:
            weights = np.linalg.lstsq(triangle[:, independent], column)[0]
            others = [independent[k] for k in np.flatnonzero(np.abs(weights) > TOLERANCE)]
            names = [columns[int(k)] for k in varying[[i, *others]]]
            found.append(Combination(names[0], names[1:]))
    return found


def why_singular(splits: Splits, *, by_class: bool) -> str:
    """Name the columns for which the training rows, or those of a class, have no Gaussian.

    An empty text where none is found, or the rows are no table.
    """
    if splits.table is None:
        return ""
    x, labels, columns = splits.train.x, splits.train.labels, splits.table.columns
    groups = [("", x)]
    if by_class and labels is not None:
        classes = enumerate(splits.table.classes)
        groups = [(f" in the class {value}", x[labels == y]) for y, value in classes]
    for of_class, rows in groups:
        if len(rows) <= len(columns):
            return f"; there are {len(rows)} training rows{of_class}"
        flat = [c for c, width in zip(columns, np.ptp(rows, axis=0), strict=True) if width == 0]
        if flat:
            return f"; constant{of_class}: {some(flat)}"
        if dependent := combinations(rows, columns):
            return f"; determined by others{of_class}: {some(map(str, dependent))}"
    return ""
