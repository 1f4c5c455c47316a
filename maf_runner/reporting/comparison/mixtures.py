"""Uniform mixtures of finished runs, from the densities of rows that runs keep."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.checks import LARGEST, is_figure, plus_minus
from maf_runner.records.entries import row_nats
from maf_runner.records.record import Record, UnreadableRecordError
from maf_runner.records.statistics import mean_and_error, outlier
from maf_runner.reporting.comparison.cells import (
    CHOSEN,
    CUT_SHORT,
    NOT_AUTHORS,
    Cell,
)
from maf_runner.reporting.comparison.published import BITS, Figure
from maf_runner.system.errors import DataError

RULE = (
    "K seeds mixed: the uniform mixture of K runs, log p = logsumexp(log p_1, ..., log p_K) - "
    "log K for each row, of the setting of the cell above, which the validation split has chosen, "
    "with all its seeds that keep their test rows; no test figure decides which runs are mixed"
)
KEPT = CHOSEN + NOT_AUTHORS + CUT_SHORT  # marks of a cell that its mixture has too


@dataclass(frozen=True)
class Mixture:
    """The mixture of some runs.

    Attributes:
        runs: that are mixed.
        nats: the log density of each test row [N].
        validation_nats: the same of each validation row; None where a run has not kept its rows.
    """

    runs: tuple[Record, ...]
    nats: NDArray[np.float64]
    validation_nats: NDArray[np.float64] | None

    @property
    def validation(self) -> float | None:
        """The mean validation log-likelihood in nats, where it is known and finite."""
        if self.validation_nats is None:
            return None
        mean = float(self.validation_nats.mean())
        return mean if abs(mean) < LARGEST else None


def log_density(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Log densities [N] of the uniform mixture of K densities, from theirs, each [N].

    A value that is not finite counts as a density of 0.

    >>> one, other = np.log([0.5, 0.25]), np.log([0.1, 0.0])
    >>> np.exp(log_density([one, other]))
    array([0.3  , 0.125])
    """
    every = np.stack(parts)
    every[~np.isfinite(every)] = -np.inf
    with np.errstate(all="ignore"):  # where all are 0, so is the mixture
        mixed: NDArray[np.float64] = np.logaddexp.reduce(every, axis=0) - math.log(len(every))
    return mixed


def with_mixtures(
    cells: Sequence[Cell], metric: str
) -> tuple[list[Cell], dict[int, NDArray[np.float64]], list[str]]:
    """The cells with a row of mixtures after each row that has some.

    Args:
        cells: of a table, each column with the same rows.
        metric: what is shown, `NATS` or `BITS`.

    Returns:
        The cells; the log densities of the test rows of each mixture, by its place among the
        cells; and notes: the rule, what a mixture is worth on the same rows, runs left out.
    """
    notes: list[str] = []
    mixtures = {i: found for i, cell in enumerate(cells) if (found := _mixture(cell, notes))}
    titles: dict[str, set[str]] = {}
    for i, mixture in mixtures.items():
        titles.setdefault(cells[i].model, set()).add(_title(cells[i], mixture))
    every: list[Cell] = []
    rows: dict[int, NDArray[np.float64]] = {}
    for i, cell in enumerate(cells):
        every.append(cell)
        for title in sorted(titles.get(cell.model, ())):
            if i in mixtures and title == _title(cell, mixtures[i]):
                rows[len(every)] = mixtures[i].nats
                every.append(_cell(cell, mixtures[i], metric))
                notes += _worth(every[-1], cell, mixtures[i].nats)
            else:
                every.append(_empty(cell, title))
    return every, rows, [RULE, *notes] if mixtures or notes else notes


def _mixture(cell: Cell, notes: list[str]) -> Mixture | None:
    """The mixture of the seeds of the setting shown; None unless there are two that can be mixed.

    Adds a note for what cannot be mixed. A run whose only fault is that test rows have no finite
    log density is one of the seeds: without it, the test rows would choose.
    """
    alike = [run for run in cell.alike if is_figure(run.validation_mean)]
    if len(alike) < 2:
        return None
    mixed: list[tuple[Record, NDArray[np.float64]]] = []
    reasons: dict[str, list[str]] = {}
    for run in alike:
        nats, reason = _rows(run, cell.record or alike[0])
        if nats is None:
            reasons.setdefault(reason, []).append(str(run.seed))
        else:
            mixed.append((run, nats))
    where = cell.place
    for reason, seeds in reasons.items():
        plural = "seeds" if len(seeds) > 1 else "seed"
        notes.append(f"{where}: not mixed, {plural} {', '.join(seeds)}: {reason}")
    if len(mixed) < 2:
        return None
    nats = log_density([nats for _, nats in mixed])
    if not is_figure(float(nats.mean())):
        notes.append(f"{where}: no mixture, a test row has the density 0 in every run")
        return None
    runs = tuple(run for run, _ in mixed)
    return Mixture(runs, nats, _validation_rows(runs))


def mixture_of(runs: Sequence[Record]) -> Mixture:
    """The mixture of these runs, which may be of different models.

    Raises:
        DataError: it is not known, since a run was tested on other rows or has not kept them.
    """
    parts = []
    for run in runs:
        nats, reason = _rows(run, runs[0])
        if nats is None:
            raise DataError(f"{run.title}, run {run.run_id}, cannot be mixed: {reason}")
        parts.append(nats)
    return Mixture(tuple(runs), log_density(parts), _validation_rows(runs))


def _rows(run: Record, shown: Record) -> tuple[NDArray[np.float64] | None, str]:
    """The log densities of the test rows of ``run``, or why they cannot be mixed."""
    if run.data.fingerprint is None or run.data.fingerprint != shown.data.fingerprint:
        return None, "tested on other rows"
    try:
        nats = row_nats(run)
    except UnreadableRecordError as error:
        return None, str(error)
    if nats is None:
        return None, _why_unknown(run)
    if len(nats) != shown.test_rows:
        return None, "the number of its test rows is wrong"
    return nats, ""


def _why_unknown(run: Record) -> str:
    if not run.test:
        return f"it has no test figure, its status is {run.status}"
    return "its test rows have weights" if run.weighted else "its test rows were not kept"


def _validation_rows(runs: Sequence[Record]) -> NDArray[np.float64] | None:
    parts = []
    for run in runs:
        try:
            nats = row_nats(run, "validation")
        except UnreadableRecordError:
            nats = None
        if nats is None or len(nats) != runs[0].validation_rows:
            return None
        parts.append(nats)
    return log_density(parts)


def _title(cell: Cell, mixture: Mixture) -> str:
    return f"{cell.model}, {len(mixture.runs)} seeds mixed"


def _cell(cell: Cell, mixture: Mixture, metric: str) -> Cell:
    run = next((r for r in (cell.record, *mixture.runs) if r and r.finished), mixture.runs[0])
    figure = Figure(*mean_and_error(mixture.nats))
    if metric == BITS:
        # Bits are nats times a constant plus a number for each row. The number is not kept, so
        # that the mean is known, from the run shown, and its error is not.
        shown, features = run.test, run.features
        if not run.finished or not features:
            return _empty(cell, _title(cell, mixture))
        gain = figure.value - shown["log_likelihood"]
        figure = Figure(shown["bits_per_pixel"] - gain / (features * math.log(2)), None)
    chosen = " ".join(w for w in cell.chosen.split(" ") if not w.startswith("seed="))
    kept = KEPT if chosen else KEPT.replace(CHOSEN, "")
    return replace(
        _empty(cell, _title(cell, mixture)),
        ours=figure,
        status="finished",
        marks="".join(mark for mark in cell.marks if mark in kept),
        chosen=chosen,
        made=cell.made,
        record=run,
        runs=mixture.runs,
        mixed=mixture.runs,
        validation=mixture.validation,
    )


def _empty(cell: Cell, title: str) -> Cell:
    """The place of a mixture in the column of a cell."""
    return Cell(cell.name, cell.dataset, cell.conditional, title, None, None, status="")


def _worth(mixed: Cell, cell: Cell, nats: NDArray[np.float64]) -> list[str]:
    """A note on how far the mixture is above the run shown, on the same test rows."""
    run = cell.record
    single = row_nats(run) if run and run in mixed.runs else None
    if run is None or single is None or not np.isfinite(single).all():
        return []
    against = f"seed {run.seed}" if cell.mean else "the run that validation has chosen"
    gain, error = mean_and_error(nats - single)
    text = (
        f"{mixed.place}: {gain:+.2f}{plus_minus(error)} nats against {against}, on the same test "
        "rows"
    )
    if one := outlier(nats - single):
        text += f"; of the difference, {one}"
    return [text]
