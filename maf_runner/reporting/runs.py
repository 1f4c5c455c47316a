"""The list of runs: what each took, how it ended, and how far it is from the paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maf_runner.reporting.cells import Cell, comparison, meanings, size
from maf_runner.reporting.grid import NOTHING, Grid, Item
from maf_runner.reporting.records import Entry, key_of

CAPTION = (
    "Every run: mean test log-likelihood in nats ± 2 standard errors, the paper's, ours minus the "
    "paper's in standard errors of the difference; epochs, and which was the best on validation."
)
HEADINGS = ("data", "size", "seed", "test", "paper", "Δ/σ", "epochs", "best", "minutes", "ended")
EPOCHS = ("epochs", "best_epoch")
ENDING = ("updates", "stop_reason", "resumed", "seconds")
WHERE = ("device", "threads")


@dataclass(frozen=True)
class _Run:
    """A run, its place in the comparison, and the cell it would be if it were alone there."""

    entry: Entry
    place: Cell
    alone: Cell


def runs(records: Sequence[Entry]) -> Grid:
    """A line for each record, in the order of the comparison."""
    every = [
        _Run(entry, cell, _alone(entry)) for cell in comparison(records) for entry in cell.runs
    ]
    return Grid(
        "runs",
        "Runs",
        CAPTION,
        [(heading,) for heading in HEADINGS],
        [(run.place.model, _items(run)) for run in every],
        [
            *meanings([run.alone for run in every]),
            "best: the epoch whose parameters were kept; minutes: training and evaluation, by the "
            "clock on the wall, whatever else the machine did",
        ],
        [_data(run) for run in every],
    )


def _alone(entry: Entry) -> Cell:
    return next(cell for cell in comparison([entry]) if cell.runs)


def _items(run: _Run) -> list[Item]:
    entry, cell = run.entry, run.alone
    ended = entry["status"] if cell.ours is None else entry.get("stop_reason")
    return [
        Item(run.place.column),
        Item(size(entry) or NOTHING),
        Item(str(entry["seed"])),
        Item.of(cell.ours, text=entry["status"], marks=cell.marks, run=key_of(entry)),
        Item.of(cell.published),
        Item.difference(cell.deviation),
        *(Item(str(entry.get(key) or NOTHING)) for key in EPOCHS),
        Item(f"{(entry.get('seconds') or math.nan) / 60:.2f}".replace("nan", NOTHING)),
        Item((ended or NOTHING).replace("_", " ")),
    ]


def _data(run: _Run) -> dict[str, Any]:
    entry, cell = run.entry, run.alone
    return {
        "dataset": run.place.dataset,
        "conditioning": "class" if cell.conditional else "none",
        "model": run.place.model,
        "size": size(entry),
        "seed": entry["seed"],
        "status": entry["status"],
        "test_nats": cell.ours and cell.ours.value,
        "test_error": cell.ours and cell.ours.error,
        "published_nats": cell.published and cell.published.value,
        "published_error": cell.published and cell.published.error,
        "deviation_in_standard_errors": cell.deviation,
        "marks": cell.marks,
        **{key: entry.get(key) for key in (*EPOCHS, *ENDING)},
        **{key: (entry.get("environment") or {}).get(key) for key in WHERE},
        "run_id": entry["run_id"],
    }
