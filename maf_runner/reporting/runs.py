"""The list of runs: what each took, how it ended, and how far it is from the paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maf_runner.reporting.cells import Cell, comparison, size
from maf_runner.reporting.grid import NOTHING, Grid, Item
from maf_runner.reporting.records import Entry, key_of

CAPTION = (
    "Every run: mean test log-likelihood in nats ± 2 standard errors, the paper's, ours minus the "
    "paper's in standard errors of the difference; epochs, and which was the best on validation."
)
HEADINGS = ("data", "size", "seed", "test", "paper", "Δ/σ", "epochs", "best", "time", "ended")
EPOCHS = ("epochs", "best_epoch")
ENDING = ("updates", "stop_reason", "resumed", "seconds")


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
        ["time: training and evaluation, as the clock on the wall has it"],
        [_data(run) for run in every],
    )


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(8068.8), duration(59.7), duration(0.2)
    ('2 h 14 min', '1 min', '1 s')
    """
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _alone(entry: Entry) -> Cell:
    return next(cell for cell in comparison([entry]) if cell.runs)


def _items(run: _Run) -> list[Item]:
    entry, cell = run.entry, run.alone
    ended = entry["status"] if cell.ours is None else entry.get("stop_reason")
    seconds = entry.get("seconds")
    return [
        Item(run.place.column),
        Item(size(entry) or NOTHING),
        Item(str(entry["seed"])),
        Item.of(cell.ours, marks=cell.marks, run=key_of(entry)),
        Item.of(cell.published),
        Item() if cell.deviation is None else Item(f"{cell.deviation:+.1f}"),
        *(Item(NOTHING if n is None else f"{n:,}") for n in map(entry.get, EPOCHS)),
        Item(NOTHING if seconds is None else duration(seconds)),
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
        **{key: (entry.get("environment") or {}).get(key) for key in ("device", "threads")},
        "run_id": entry["run_id"],
    }
