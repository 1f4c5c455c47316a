"""The list of runs: what each took, how it ended, and how far it is from the paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from maf_runner.records.folder import RECORD
from maf_runner.records.record import Record
from maf_runner.records.unfinished import Unfinished
from maf_runner.reporting.comparison.cells import (
    Cell,
    comparison,
    meanings,
    short_names,
    size,
    widths,
    without_seed,
)
from maf_runner.reporting.comparison.columns import differing_keys
from maf_runner.reporting.tables.grid import DIFFERENCE, NOTHING, Grid, Item
from maf_runner.system.text import as_typed, flat

CAPTION = "Every run: mean test log-likelihood in nats ± 2 standard errors."
HEADINGS = (
    "run",
    "data",
    "size",
    "seed",
    "test",
    "paper",
    "Δ/σ",
    "epochs",
    "best",
    "minutes",
    "state",
)
SHOWN = {"model.hidden", "model.size", "model.conditional"}  # as "size", or with the data
SPARE = ("Δ/σ", "paper", "minutes", "best", "size", "epochs", "seed")


def runs(records: Sequence[Record], waiting: Sequence[Unfinished] = ()) -> Grid:
    """A line for each record, in the order of the comparison, then for each unfinished run."""
    cells = comparison(records)
    short = short_names(cells)
    every = [(_alone(run, cell), run) for cell in cells for run in _by_seed(cell.runs)]
    unfinished = list(zip(_names(waiting), waiting, strict=True))
    return Grid(
        "runs",
        "Runs",
        f"{CAPTION} {DIFFERENCE}" if any(cell.published for cell, _ in every) else CAPTION,
        [(heading,) for heading in HEADINGS],
        [
            *((cell.model, _items(cell, run, short)) for cell, run in every),
            *((name, _unfinished(run)) for name, run in unfinished),
        ],
        [
            *(f"{name}: {whole}" for whole, name in short.items()),
            *meanings([cell for cell, _ in every]),
            "run: its folder is runs/DATASET/MODEL/RUN; epochs: with trainer.validate_every the "
            "number of validations; best: the epoch or validation whose parameters were kept; "
            "minutes: training and evaluation, by the clock on the wall, whatever else the "
            "machine did",
        ],
        [
            *(_data(cell, run) for cell, run in every),
            *(_unfinished_data(run, name) for name, run in unfinished),
        ],
        spare=SPARE,
    )


def _by_seed(records: Sequence[Record]) -> list[Record]:
    """Those of one setting beside each other, in the order of their seeds."""
    first = {without_seed(r): i for i, r in reversed(list(enumerate(records)))}
    return sorted(records, key=lambda r: (first[without_seed(r)], r.seed))


def _names(waiting: Sequence[Unfinished]) -> list[str]:
    """A name for each unfinished run, whose title is not known: its model and trainer options.

    Settings follow in which it differs from other unfinished runs of these options and this
    dataset, but for those that have a column of the table.
    """
    every = [
        (
            tuple(str(run.settings[group]["name"]) for group in ("model", "trainer", "dataset")),
            flat({group: run.settings[group] for group in ("model", "trainer")}),
        )
        for run in waiting
    ]
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for options, settings in every:
        alike.setdefault(options, []).append(settings)
    apart = {options: sorted(differing_keys(of) - SHOWN) for options, of in alike.items()}
    names = []
    for options, settings in every:
        model, trainer, _ = options
        parts = [model, *([] if trainer == "paper" else [trainer])]
        parts += [f"{key}={as_typed(settings.get(key))}" for key in apart[options]]
        names.append(", ".join(parts))
    return names


def _unfinished(run: Unfinished) -> list[Item]:
    model, dataset = run.settings["model"], run.settings["dataset"]
    conditions = _given(run)
    given = {"none": "", "class": ", class"}.get(conditions, f" given {conditions}")
    of = f" of {run.limit}" if run.limit else ""
    return [
        Item(run.folder.path.name),
        Item(f"{dataset['name']}{given}"),
        Item(widths(model.get("hidden")) or NOTHING),
        Item(str(run.settings.get("seed", NOTHING))),
        *(Item() for _ in range(3)),
        Item(f"{run.epochs}{of}"),
        Item(str(run.best_epoch or NOTHING)),
        Item(f"{run.seconds / 60:.2f}"),
        Item(run.state),
    ]


def _given(run: Unfinished) -> str:
    if not run.settings["model"].get("conditional"):
        return "none"
    return ", ".join(map(str, run.settings["dataset"].get("context") or ())) or "class"


def _unfinished_data(run: Unfinished, name: str) -> dict[str, Any]:
    return {
        "dataset": run.settings["dataset"]["name"],
        "conditioning": _given(run),
        "model": name,
        "status": run.status,
        "size": widths(run.settings["model"].get("hidden")),
        "seed": run.settings.get("seed"),
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "seconds": run.seconds,
        "run_id": run.folder.path.name,
        "folder": str(run.folder.path),
    }


def _alone(run: Record, place: Cell) -> Cell:
    """The cell as it would be with this run only, under the names it has among the others."""
    cell = next(cell for cell in comparison([run]) if cell.runs)
    return replace(cell, dataset=place.dataset, model=place.model)


def _items(cell: Cell, run: Record, short: Mapping[str, str]) -> list[Item]:
    data = short.get(cell.dataset, cell.dataset)
    ended = run.ending if cell.ours is None else run.stop_reason
    return [
        Item(run.run_id),
        Item(f"{data}, class" if cell.conditional else data),
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
        "folder": str(run.file.parent) if run.file and run.file.name == RECORD else "",
    }
