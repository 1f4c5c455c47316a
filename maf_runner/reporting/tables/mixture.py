"""The uniform mixture of any finished runs of one dataset, beside each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.checks import is_figure, plus_minus
from maf_runner.records.entries import row_nats
from maf_runner.records.record import Record
from maf_runner.records.statistics import mean_and_error, outlier
from maf_runner.reporting.comparison.cells import row_of
from maf_runner.reporting.comparison.mixtures import Mixture, mixture_of
from maf_runner.reporting.comparison.published import Figure
from maf_runner.reporting.tables.grid import Grid, Item
from maf_runner.system.errors import UsageError

CAPTION = (
    "Some runs and their uniform mixture, log p = logsumexp(log p_1, ..., log p_K) - log K for "
    "each row: mean log-likelihood in nats ± 2 standard errors."
)
HEADINGS = "run", "seed", "validation", "test"


@dataclass(frozen=True)
class _Line:
    """A line of the table: of a run, or of the mixture of all."""

    model: str
    run: Record | None
    validation: Figure | None
    test: Figure | None

    def items(self) -> list[Item]:
        named = [Item(self.run.run_id), Item(str(self.run.seed))] if self.run else [Item(), Item()]
        return [*named, Item.of(self.validation, 3), Item.of(self.test, 3)]

    def data(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "run_id": self.run and self.run.run_id,
            "seed": self.run and self.run.seed,
            "validation_nats": self.validation and self.validation.value,
            "validation_error": self.validation and self.validation.error,
            "test_nats": self.test and self.test.value,
            "test_error": self.test and self.test.error,
        }


def mixture(runs: Sequence[Record]) -> Grid:
    """A line for each run, and one for the mixture; a note says what the mixture is worth.

    Raises:
        DataError: the mixture is not known, see `mixture_of`; or rows that a run kept are damaged.
        UsageError: a run is named twice.
    """
    if len({run.run_id for run in runs}) < len(runs):
        raise UsageError("a run is named twice: in a uniform mixture each counts once")
    mixed = mixture_of(runs)
    lines = [_Line(_called(run), run, _validation(run), _mean(row_nats(run))) for run in runs]
    figures = _mean(mixed.validation_nats), _mean(mixed.nats)
    lines.append(_Line(f"{len(runs)} runs mixed", None, *figures))
    return Grid(
        "mixture",
        f"A mixture of {len(runs)} runs",
        CAPTION,
        [(name,) for name in HEADINGS],
        [(line.model, line.items()) for line in lines],
        _worth(mixed),
        [line.data() for line in lines],
        spare=("seed", "run"),
    )


def _called(run: Record) -> str:
    """Model, trainer, what departs from their presets, and what it is given."""
    given = ", ".join(run.given) or "the class"
    return f"{row_of(run)}, given {given}" if run.conditional else row_of(run)


def _validation(run: Record) -> Figure | None:
    """The validation figure of a run; without its error where the rows were not kept."""
    if (rows := row_nats(run, "validation")) is not None:
        return _mean(rows)
    known = run.validation_mean
    return Figure(known, None) if known is not None and is_figure(known) else None


def _mean(nats: NDArray[np.float64] | None) -> Figure | None:
    if nats is None:
        return None
    figure = Figure(*mean_and_error(nats))
    return figure if is_figure(figure.value) else None


def _worth(mixed: Mixture) -> list[str]:
    """A note on how far the mixture is above its best run, which validation chooses."""
    if not all(is_figure(run.validation_mean) for run in mixed.runs):
        return []
    best = max(mixed.runs, key=lambda run: run.validation_mean or 0.0)
    single = row_nats(best)
    if single is None or not np.isfinite(mixed.nats - single).all():
        return []
    gain, error = mean_and_error(mixed.nats - single)
    text = (
        f"{len(mixed.runs)} runs mixed: {gain:+.3f}{plus_minus(error, 3)} nats against run "
        f"{best.run_id}, the best of them on validation, on the same test rows"
    )
    if one := outlier(mixed.nats - single):
        text += f"; of the difference, {one}"
    return [text]
