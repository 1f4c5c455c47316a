"""The list of runs: what each took, how it ended, and how far it is from the paper."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from maf_runner.records.record import Record
from maf_runner.reporting.comparison.cells import Cell, comparison, meanings, size
from maf_runner.reporting.tables.grid import NOTHING, Grid, Item

CAPTION = (
    "Every run: mean test log-likelihood in nats ± 2 standard errors, the paper's, ours minus the "
    "paper's in standard errors of the difference; epochs, and which was the best on validation."
)
HEADINGS = ("data", "size", "seed", "test", "paper", "Δ/σ", "epochs", "best", "minutes", "ended")


def runs(records: Sequence[Record]) -> Grid:
    """A line for each record, in the order of the comparison."""
    every = [(_alone(run, cell), run) for cell in comparison(records) for run in cell.runs]
    return Grid(
        "runs",
        "Runs",
        CAPTION,
        [(heading,) for heading in HEADINGS],
        [(cell.model, _items(cell, run)) for cell, run in every],
        [
            *meanings([cell for cell, _ in every]),
            "best: the epoch whose parameters were kept; minutes: training and evaluation, by the "
            "clock on the wall, whatever else the machine did",
        ],
        [_data(cell, run) for cell, run in every],
    )


def _alone(run: Record, place: Cell) -> Cell:
    """The cell as it would be with this run only, under the names it has among the others."""
    cell = next(cell for cell in comparison([run]) if cell.runs)
    return replace(cell, dataset=place.dataset, model=place.model)


def _items(cell: Cell, run: Record) -> list[Item]:
    ended = run.ending if cell.ours is None else run.stop_reason
    return [
        Item(cell.column),
        Item(size(run) or NOTHING),
        Item(str(run.seed)),
        Item.of(cell.ours, text=cell.status, marks=cell.marks, run=run.key),
        Item.of(cell.published),
        Item.difference(cell.deviation),
        *(Item(str(epochs or NOTHING)) for epochs in (run.epochs, run.best_epoch)),
        Item(f"{(run.seconds or math.nan) / 60:.2f}".replace("nan", NOTHING)),
        Item((ended or NOTHING).replace("_", " ")),
    ]


def _data(cell: Cell, run: Record) -> dict[str, Any]:
    return {
        **cell.data("nats"),
        "size": size(run),
        "seed": run.seed,
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "updates": run.updates,
        "stop_reason": run.stop_reason,
        "resumed": run.resumed,
        "seconds": run.seconds,
        "device": run.environment.get("device"),
        "threads": run.environment.get("threads"),
        "run_id": run.run_id,
    }
