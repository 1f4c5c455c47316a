"""Which models are best: the paired t-test of the paper's tables, from the kept test rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.statistics import outlier
from maf_runner.reporting.comparison.cells import BEST, CUT_SHORT, Cell

LEVEL = 0.05
NAMED = 4  # models at most that a note names


def p_value(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The two-sided p-value of a paired t-test of equal means of ``a`` [N] and ``b`` [N].

    NaN where there is no such test: of a single row, or of values that are not finite.

    >>> round(p_value(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5, 4.0])), 4)
    0.0572
    """
    from scipy.special import stdtr  # scipy.stats has the test, and takes a second to import

    if len(a) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    difference = a - b
    mean, error = difference.mean(), difference.std(ddof=1) / math.sqrt(len(difference))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(len(difference) - 1, -abs(mean / error)))


def mark_best(
    cells: Sequence[Cell], rows: Mapping[int, NDArray[np.float64]]
) -> tuple[list[Cell], list[str]]:
    """Mark the best cell of each column, and those not significantly worse.

    Bits per pixel are the nats of a row times a constant, plus another for each row, so that the
    test of the nats decides for both. Runs cut short do not compete.

    Args:
        cells: the cells.
        rows: the log densities of the test rows, by the place of the cell, where they were kept.

    Returns:
        The cells, and a note for each column in which rows are wanting.
    """
    columns: dict[str, list[int]] = {}
    for i, cell in enumerate(cells):
        if cell.record is not None and CUT_SHORT not in cell.marks:
            columns.setdefault(cell.column, []).append(i)

    def mean(place: int) -> float:
        cell = cells[place]
        if cell.mixed:
            return float(rows[place].mean())
        assert cell.record is not None
        return float(cell.record.test["log_likelihood"])

    marked = list(cells)
    notes: list[str] = []
    untested: dict[str, list[str]] = {}  # columns without a test by the reason
    impossible: list[str] = []
    for column, places in columns.items():
        if len(places) < 2:
            continue
        best = max(places, key=mean)
        winner = rows.get(best)
        if winner is None:
            record = cells[best].record
            weighted = record is not None and record.weighted
            reason = "the test rows have weights" if weighted else "the best keep no rows"
            untested.setdefault(reason, []).append(column)
            continue
        wanting, good, possible = [], [best], True
        for i in places:
            other = rows.get(i)
            if other is None or len(other) != len(winner):
                wanting.append(cells[i].model)
            elif i != best:
                as_good = _as_good(other, winner)
                possible &= as_good is not None
                good += [i] if as_good else []
        if not possible:
            impossible.append(column)
            continue
        for i in good:
            marked[i] = replace(cells[i], marks=cells[i].marks + BEST)
        if wanting:
            named = ", ".join(wanting) if len(wanting) <= NAMED else f"{len(wanting)} models"
            notes.append(f"no t-test with {named} on {column}: no rows kept")
    for reason, columns_without in untested.items():
        notes.append(f"no t-test, since {reason}: {'; '.join(columns_without)}")
    if impossible:
        notes.append(
            "nothing is bold where a t-test is not possible, of a single row or of log densities "
            f"that are not finite: {'; '.join(impossible)}"
        )
    return marked, notes


def _as_good(other: NDArray[np.float64], best: NDArray[np.float64]) -> bool | None:
    """Whether ``other`` is not significantly worse, leaving out a row that alone decides it.

    None where no test is possible.

    Such a row makes the error of the difference so large that nothing would be worse.
    """
    with np.errstate(all="ignore"):  # the rows may be infinite
        found = outlier(other - best)
    if found:
        other, best = np.delete(other, found.row), np.delete(best, found.row)
    p = p_value(other, best)
    if math.isnan(p):
        return None
    return bool(other.mean() >= best.mean()) or p >= LEVEL
