"""The uniform mixture of any finished runs of one dataset, beside each of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.checks import is_figure, plus_minus
from maf_runner.records.entries import row_nats
from maf_runner.records.record import Record
from maf_runner.records.statistics import mean_and_error, outlier
from maf_runner.reporting.comparison.mixtures import Mixture, mixture_of, validation_of
from maf_runner.reporting.comparison.published import Figure
from maf_runner.reporting.tables.grid import Grid, Item
from maf_runner.system.errors import UsageError

CAPTION = (
    "Some runs and their uniform mixture, log p = logsumexp(log p_1, ..., log p_K) - log K for "
    "each row: mean log-likelihood in nats ± 2 standard errors."
)


def mixture(runs: Sequence[Record]) -> Grid:
    """A line for each run, and one for the mixture; a note says what the mixture is worth.

    Raises:
        DataError: the mixture is not known; see `mixture_of`.
        UsageError: a run is named twice.
    """
    if len({run.run_id for run in runs}) < len(runs):
        raise UsageError("a run is named twice: in a uniform mixture each counts once")
    mixed = mixture_of(runs)
    rows: list[tuple[str, list[Item]]] = []
    data: list[dict[str, Any]] = []

    def add(
        model: str, run_id: str, seed: str, *splits: NDArray[np.float64] | float | None
    ) -> None:
        validation, test = map(_figure, splits)
        items = [Item(run_id), Item(seed), Item.of(validation, 3), Item.of(test, 3)]
        rows.append((model, items))
        own: dict[str, Any] = {"model": model, "run_id": run_id, "seed": seed}
        for split, figure in (("validation", validation), ("test", test)):
            own[f"{split}_nats"] = figure and figure.value
            own[f"{split}_error"] = figure and figure.error
        data.append(own)

    for run in runs:
        validation = row_nats(run, "validation")
        known = validation_of(run) if validation is None else validation
        add(run.title, run.run_id, str(run.seed), known, row_nats(run))
    add(f"{len(runs)} runs mixed", "", "", mixed.validation_nats, mixed.nats)
    headings = [(name,) for name in ("run", "seed", "validation", "test")]
    title = f"A mixture of {len(runs)} runs"
    spare = ("seed", "run")
    return Grid("mixture", title, CAPTION, headings, rows, _worth(mixed), data, spare=spare)


def _figure(of: NDArray[np.float64] | float | None) -> Figure | None:
    """The mean of densities of rows and its error, or a mean that is known without the rows."""
    mean, error = mean_and_error(of) if isinstance(of, np.ndarray) else (of, None)
    return Figure(mean, error) if mean is not None and is_figure(mean) else None


def _worth(mixed: Mixture) -> list[str]:
    """A note on how far the mixture is above its best run, which validation chooses."""
    known = [run for run in mixed.runs if is_figure(validation_of(run))]
    if len(known) < len(mixed.runs):
        return []
    best = max(known, key=lambda run: validation_of(run) or 0.0)
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
