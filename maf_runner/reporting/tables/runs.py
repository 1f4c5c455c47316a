"""The list of runs: what each took, how it ended, and how far it is from the paper."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from maf_runner.records.entries import Entry, key_of
from maf_runner.reporting.comparison.cells import Cell, comparison, meanings, size
from maf_runner.reporting.tables.grid import NOTHING, Grid, Item

CAPTION = (
    "Every run: mean test log-likelihood in nats ± 2 standard errors, the paper's, ours minus the "
    "paper's in standard errors of the difference; epochs, and which was the best on validation."
)
HEADINGS = ("data", "size", "seed", "test", "paper", "Δ/σ", "epochs", "best", "minutes", "ended")
EPOCHS = ("epochs", "best_epoch")
ENDING = ("updates", "stop_reason", "resumed", "seconds")
WHERE = ("device", "threads")


def runs(records: Sequence[Entry]) -> Grid:
    """A line for each record, in the order of the comparison."""
    every = [(_alone(entry, cell), entry) for cell in comparison(records) for entry in cell.runs]
    return Grid(
        "runs",
        "Runs",
        CAPTION,
        [(heading,) for heading in HEADINGS],
        [(cell.model, _items(cell, entry)) for cell, entry in every],
        [
            *meanings([cell for cell, _ in every]),
            "best: the epoch whose parameters were kept; minutes: training and evaluation, by the "
            "clock on the wall, whatever else the machine did",
        ],
        [_data(cell, entry) for cell, entry in every],
    )


def _alone(entry: Entry, place: Cell) -> Cell:
    """The cell as it would be with this run only, under the names it has among the others."""
    cell = next(cell for cell in comparison([entry]) if cell.runs)
    return replace(cell, dataset=place.dataset, model=place.model)


def _items(cell: Cell, entry: Entry) -> list[Item]:
    ended = entry["status"] if cell.ours is None else entry.get("stop_reason")
    return [
        Item(cell.column),
        Item(size(entry) or NOTHING),
        Item(str(entry["seed"])),
        Item.of(cell.ours, text=cell.status, marks=cell.marks, run=key_of(entry)),
        Item.of(cell.published),
        Item.difference(cell.deviation),
        *(Item(str(entry.get(key) or NOTHING)) for key in EPOCHS),
        Item(f"{(entry.get('seconds') or math.nan) / 60:.2f}".replace("nan", NOTHING)),
        Item((ended or NOTHING).replace("_", " ")),
    ]


def _data(cell: Cell, entry: Entry) -> dict[str, Any]:
    return {
        **cell.data("nats"),
        "size": size(entry),
        "seed": entry["seed"],
        **{key: entry.get(key) for key in (*EPOCHS, *ENDING)},
        **{key: (entry.get("environment") or {}).get(key) for key in WHERE},
        "run_id": entry["run_id"],
    }
