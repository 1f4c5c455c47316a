"""Which models are best: the paired t-test of the paper's tables, from the kept test rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.statistics import outlier
from maf_runner.reporting.comparison.cells import BEST, CUT_SHORT, Cell

LEVEL = 0.05


def p_value(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The two-sided p-value of a paired t-test of equal means of ``a`` [N] and ``b`` [N].

    >>> round(p_value(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5, 4.0])), 4)
    0.0572
    """
    from scipy.special import stdtr  # scipy.stats has the test, and takes a second to import

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
    marked = list(cells)
    notes: list[str] = []
    untested = []
    for column, places in columns.items():
        if len(places) < 2:
            continue
        best = max(places, key=lambda i: _mean(cells[i]))
        winner = rows.get(best)
        if winner is None:
            untested.append(column)
            continue
        wanting = []
        for i in places:
            other = rows.get(i)
            if other is None or len(other) != len(winner):
                wanting.append(cells[i].model)
            elif i == best or _as_good(other, winner):
                marked[i] = replace(cells[i], marks=cells[i].marks + BEST)
        if wanting:
            notes.append(f"no t-test with {', '.join(wanting)} on {column}: no rows kept")
    if untested:
        notes.append(f"no t-test, since the best keep no rows: {'; '.join(untested)}")
    return marked, notes


def _as_good(other: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    """Whether ``other`` is not significantly worse, leaving out a row that alone decides it.

    Such a row makes the error of the difference so large that nothing would be worse.
    """
    if found := outlier(other - best):
        other, best = np.delete(other, found.row), np.delete(best, found.row)
    return bool(other.mean() >= best.mean()) or p_value(other, best) >= LEVEL


def _mean(cell: Cell) -> float:
    assert cell.record is not None
    return cell.record.test["log_likelihood"]
