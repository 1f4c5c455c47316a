"""Our rows among the results of the paper and of its successors."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from maf_runner.reporting.comparison.cells import CUT_SHORT, MARKS, NOT_AUTHORS, Cell
from maf_runner.reporting.comparison.published import (
    BITS,
    NATS,
    TWO_ERRORS,
    Figure,
    figures,
    successors,
)
from maf_runner.reporting.tables.grid import Grid, Item

COLUMNS = (
    ("power", NATS, "POWER"),
    ("gas", NATS, "GAS"),
    ("hepmass", NATS, "HEPMASS"),
    ("miniboone", NATS, "MINIBOONE"),
    ("bsds300", NATS, "BSDS300"),
    ("mnist", BITS, "MNIST bits"),
    ("cifar10", BITS, "CIFAR-10 bits"),
)
CAPTION = (
    "Test log-likelihood in nats (images: bits per pixel, less is better) without class labels, "
    "in the order of the mean rank over the columns that a row has; estimates and bounds stand "
    "below the exact likelihoods. Error bars differ in kind, as the last column says; compare "
    "across kinds, and networks of other families, with care."
)


@dataclass
class _Row:
    model: str
    by: str
    error_is: str
    exact: bool = True
    items: dict[str, Item] = field(default_factory=dict)  # by dataset
    sources: dict[str, str] = field(default_factory=dict)
    ranks: list[float] = field(default_factory=list)


def leaderboard(nats: Sequence[Cell], bits: Sequence[Cell], notes: Sequence[str] = ()) -> Grid:
    """Rows of ours, of the paper and of its successors; ``nats`` and ``bits`` are our cells."""
    rows: dict[tuple[str, str], _Row] = {}

    def note(
        by: str, model: str, dataset: str, metric: str, item: Item, error_is: str, source: str
    ) -> None:
        if any((dataset, metric) == column[:2] for column in COLUMNS):
            row = rows.setdefault((by, model), _Row(model, by, error_is))
            row.error_is = row.error_is or error_is
            row.items[dataset], row.sources[dataset] = item, source

    for metric, cells in ((NATS, nats), (BITS, bits)):
        for cell in cells:
            if cell.ours and cell.record and not cell.conditional:
                item = _item(cell.ours, metric, marks=cell.marks, run=cell.record.key)
                name, model = cell.record.dataset, cell.model
                note("ours", model, name, metric, item, TWO_ERRORS, cell.run_ids)
        for (dataset, conditional, model), figure in figures(metric).items():
            if not conditional:
                item = _item(figure, metric)
                note("paper", model, dataset, metric, item, TWO_ERRORS, "arXiv v4")
    for r in successors():
        item = Item(value=r.value, error=r.error, less_is_better=r.metric == BITS)
        note(r.by, r.model, r.dataset, r.metric, item, r.error_is, r.source)
        if (r.by, r.model) in rows:
            rows[r.by, r.model].exact = r.exact
    ranked = _ranked(list(rows.values()))
    tables = sum(metric == NATS for _, metric, _ in COLUMNS)
    return Grid(
        "leaderboard",
        "Leaderboard",
        CAPTION,
        [("by",), ("likelihood",), *((heading,) for _, _, heading in COLUMNS), ("± is",)],
        [
            (
                row.model,
                [
                    Item(row.by, best=row.by == "ours"),
                    Item("exact" if row.exact else "estimate"),
                    *(row.items.get(dataset, Item()) for dataset, _, _ in COLUMNS),
                    Item(row.error_is or "not given"),
                ],
            )
            for row in ranked
        ],
        [
            "bold: ours",
            "images: models with convolutions know where a pixel lies; the paper's do not",
            "POWER: the time of day is one of 1,440 minutes in the raw data; noise was added to "
            "the other columns, and whether to this one differs between the papers or is not said",
            *(
                f"{mark} {MARKS[mark].partition(',')[0]}"
                for mark in (NOT_AUTHORS, CUT_SHORT)
                if any(mark in item.marks for row in ranked for item in row.items.values())
            ),
            *notes,
        ],
        [_data(row, dataset, metric) for row in ranked for dataset, metric, _ in COLUMNS
         if dataset in row.items],
        blocks=[2 + tables, 1 + len(COLUMNS) - tables],
    )  # fmt: skip


def halves(board: Grid) -> list[Grid]:
    """The leaderboard of tables and that of images, with the rows that have a figure there."""
    parts = []
    for name, title, metric in (
        (board.name, "Leaderboard: tables", NATS),
        (f"{board.name}-images", "Leaderboard: images", BITS),
    ):
        own = [heading for _, kind, heading in COLUMNS if kind == metric]
        part = board.only(["by", "likelihood", *own, "± is"])
        rows = [row for row in part.rows if any(item.value is not None for item in row[1])]
        data = [entry for entry in board.data if entry["metric"] == metric]
        parts.append(replace(part, name=name, title=title, rows=rows, data=data))
    return parts


def _item(figure: Figure, metric: str, *, marks: str = "", run: str = "") -> Item:
    kept = "".join(mark for mark in marks if mark in NOT_AUTHORS + CUT_SHORT)
    return Item.of(figure, places=2, marks=kept, run=run, less_is_better=metric == BITS)


def _ranked(rows: list[_Row]) -> list[_Row]:
    """In the order of the mean rank, as a share of the figures there are, over the columns."""
    for dataset, metric, _ in COLUMNS:
        there = [row for row in rows if dataset in row.items]
        values = sorted((row.items[dataset].value or 0.0 for row in there), reverse=metric == NATS)
        for row in there:
            row.ranks.append(values.index(row.items[dataset].value or 0.0) / len(values))
    return sorted(rows, key=lambda row: (not row.exact, fmean(row.ranks), row.model))


def _data(row: _Row, dataset: str, metric: str) -> dict[str, Any]:
    item = row.items[dataset]
    return {
        "dataset": dataset,
        "model": row.model,
        "by": row.by,
        "metric": metric,
        "value": item.value,
        "error": item.error,
        "error_is": row.error_is,
        "likelihood": "exact" if row.exact else "estimate",
        "marks": item.marks,
        "source": row.sources[dataset],
    }
