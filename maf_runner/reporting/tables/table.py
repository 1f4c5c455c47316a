"""The tables: models as rows, datasets as columns, the published figures beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.entries import row_nats
from maf_runner.records.record import Record, UnreadableRecordError
from maf_runner.records.statistics import outlier
from maf_runner.records.unfinished import Unfinished
from maf_runner.reporting.comparison.cells import (
    BEST,
    CHOSEN,
    NOT_AUTHORS,
    SEEDS,
    Cell,
    comparison,
    meanings,
    short_names,
    size,
)
from maf_runner.reporting.comparison.columns import of_one_origin
from maf_runner.reporting.comparison.mixtures import with_mixtures
from maf_runner.reporting.comparison.published import BITS, NATS
from maf_runner.reporting.comparison.significance import mark_best
from maf_runner.reporting.tables.grid import DIFFERENCE, NOTHING, Grid, Item
from maf_runner.reporting.tables.leaderboard import leaderboard
from maf_runner.reporting.tables.runs import runs
from maf_runner.system.errors import suggestion

MEAN = (
    "With a number in brackets: the mean over so many seeds ± their standard deviation; of one "
    "seed (1) the ± is as above."
)
TABULAR = ("power", "gas", "hepmass", "miniboone", "bsds300")
IMAGES = tuple(
    (name, conditional) for name in ("mnist", "cifar10") for conditional in (False, True)
)
GROUPS = ("dataset", "model", "trainer")
HEADINGS = {"cifar10": "CIFAR-10"}  # others in capitals


@dataclass(frozen=True)
class Layout:
    """One of the tables: which columns it has, what it shows, in how many digits."""

    name: str
    title: str
    caption: str
    metric: str = NATS
    columns: Sequence[tuple[str, bool]] = ()  # dataset, given the class?; empty: those with runs
    places: dict[str, int] = field(default_factory=dict)  # by dataset; else 2

    @property
    def unit(self) -> str:
        """Of the figures."""
        return "nats" if self.metric == NATS else "bits_per_pixel"


COMPARISON = Layout(
    "comparison",
    "Comparison",
    "Mean test log-likelihood in nats ± 2 standard errors over the test rows.",
)
LAYOUTS = {
    layout.name: layout
    for layout in (
        COMPARISON,
        Layout(
            "table1",
            "Table 1",
            "The paper's Table 1: mean test log-likelihood in nats ± 2 standard errors over the "
            "test rows, ours beside the published figures.",
            columns=tuple((name, False) for name in TABULAR),
        ),
        Layout(
            "table2",
            "Table 2",
            "The paper's Table 2: mean test log-likelihood in nats, in logit space, ± 2 standard "
            "errors over the test rows, ours beside the published figures.",
            columns=IMAGES,
            places={"mnist": 1, "cifar10": 0},
        ),
        Layout(
            "bits",
            "Bits per pixel",
            "The paper's appendix: bits per pixel on the test rows (less is better) ± 2 standard "
            "errors, ours beside the published figures.",
            metric=BITS,
            columns=IMAGES,
        ),
    )
}
TABLES = (*LAYOUTS, "leaderboard", "runs")


@dataclass(frozen=True)
class Choice:
    """What of the records a table shows; nothing named: all.

    Attributes:
        datasets, models, trainers: names of options, as on the command line of a run.
        mean: the mean over seeds in a cell, instead of the run that is best on validation.
        mixtures: also rows of the uniform mixtures of seeds.
    """

    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    trainers: Sequence[str] = ()
    mean: bool = False
    mixtures: bool = False

    def takes(self, dataset: str, model: str, trainer: str) -> bool:
        """Whether a run with these options is shown."""
        pairs = ((self.datasets, dataset), (self.models, model), (self.trainers, trainer))
        return all(not wanted or name in wanted for wanted, name in pairs)

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Those that are shown."""
        return [record for record in records if self.takes(*_options(record))]

    def of_unfinished(self, waiting: Sequence[Unfinished]) -> list[Unfinished]:
        """Those that are shown."""
        return [one for one in waiting if self.takes(*_options_of_unfinished(one))]

    @staticmethod
    def there(records: Sequence[Record], waiting: Sequence[Unfinished] = ()) -> str:
        """The names by which runs can be chosen, in words."""
        found = _names(records, waiting)
        return "; ".join(f"{k} {', '.join(n)}" for k, n in zip(GROUPS, found, strict=True))

    def not_there(
        self, records: Sequence[Record], waiting: Sequence[Unfinished] = ()
    ) -> list[str]:
        """A complaint for each name that no run has."""
        wanted = self.datasets, self.models, self.trainers
        return [
            f"no run has {group} {name}{suggestion(name, found)}"
            for group, names, found in zip(GROUPS, wanted, _names(records, waiting), strict=True)
            for name in names
            if name not in found
        ]


def _names(records: Sequence[Record], waiting: Sequence[Unfinished]) -> list[list[str]]:
    """The datasets, models and trainers of runs."""
    every = [*map(_options, records), *map(_options_of_unfinished, waiting)]
    return [sorted(set(names)) for names in zip(*every, strict=True)]


def _options(record: Record) -> tuple[str, str, str]:
    """The names of a run's options, as on the command line."""
    model, trainer = (str(record.settings[group].get("name", "")) for group in GROUPS[1:])
    return record.dataset, model, trainer


def _options_of_unfinished(one: Unfinished) -> tuple[str, str, str]:
    dataset, model, trainer = (one.settings[group]["name"] for group in GROUPS)
    return dataset, model, trainer


def build(
    name: str,
    records: Sequence[Record],
    choice: Choice = Choice(),
    waiting: Sequence[Unfinished] = (),
) -> tuple[Grid, list[str]]:
    """The table ``name``, one of `TABLES`.

    Args:
        name: of the table.
        records: of runs.
        choice: what of them is shown.
        waiting: runs without a record, for the table of runs.

    Returns:
        The table, and a complaint for each record that it had to leave out.
    """
    records = choice.of(records)
    notes: list[str] = []
    if name == "leaderboard":
        kept, complaints = of_one_origin(records, [*TABULAR, "mnist", "cifar10"])
        nats, bits = comparison(kept), comparison(kept, BITS)
        if choice.mixtures:
            nats, _, notes = with_mixtures(nats, NATS)
            bits, _, more = with_mixtures(bits, BITS)
            notes = list(dict.fromkeys([*notes, *more]))
        return leaderboard(nats, bits, notes), complaints
    if name == "runs":
        return runs(records, choice.of_unfinished(waiting)), []
    layout = LAYOUTS[name]
    complaints = []
    if layout.columns:
        names = list(dict.fromkeys(name for name, _ in layout.columns))
        records, complaints = of_one_origin(records, names)
    cells = comparison(records, layout.metric, layout.columns, mean=choice.mean)
    if choice.models or choice.trainers:
        present = {cell.model for cell in cells if cell.runs}
        cells = [cell for cell in cells if cell.model in present]
    if choice.datasets:
        cells = [cell for cell in cells if cell.name in choice.datasets]
    mixed: dict[int, NDArray[np.float64]] = {}
    if choice.mixtures:
        cells, mixed, notes = with_mixtures(cells, layout.metric)
    rows, damaged = _kept_rows(cells)
    rows |= mixed
    marked, untested = (cells, []) if choice.mean else mark_best(cells, rows)
    every = [*notes, *damaged, *untested, *_alone(cells, rows), *_no_figures(cells)]
    return grid(layout, marked, every), complaints


def grid(layout: Layout, cells: Sequence[Cell], notes: Sequence[str] = ()) -> Grid:
    """The cells as a table."""
    columns = list(dict.fromkeys((c.dataset, c.conditional) for c in cells))
    models = list(dict.fromkeys(c.model for c in cells))
    by_place = {(c.dataset, c.conditional, c.model): c for c in cells}
    headings: list[tuple[str, ...]] = []
    blocks: list[int] = []
    rows: list[list[Item]] = [[] for _ in models]
    short = short_names(cells)
    both = any(conditional for _, conditional in layout.columns)
    for dataset, conditional in columns:
        column = [by_place[dataset, conditional, model] for model in models]
        compared = any(cell.published for cell in column)
        if layout.columns:
            above: tuple[str, ...] = (HEADINGS.get(dataset, dataset.upper()),)
            above += (("unconditional", "conditional")[conditional],) if both else ()
            headings += [(*above, "ours"), (*above, "paper")]
        else:
            name = short.get(dataset, dataset)
            above = (f"{name}, class" if conditional else name,)
            headings += [above, ("paper",), ("Δ/σ",)] if compared else [above]
        blocks.append(len(headings) - sum(blocks))
        for row, cell in zip(rows, column, strict=True):
            places = layout.places.get(dataset, 2) if layout.columns else None
            less = layout.metric == BITS
            row.append(_ours(cell, places, less))
            if compared or layout.columns:
                row.append(Item.of(cell.published, places, less_is_better=less))
            if compared and not layout.columns:
                row.append(Item.difference(cell.deviation))
    caption = [layout.caption]
    caption += [MEAN] if any(cell.mean for cell in cells) else []
    caption += [DIFFERENCE] if ("Δ/σ",) in headings else []
    return Grid(
        layout.name,
        layout.title,
        " ".join(caption),
        headings,
        list(zip(models, rows, strict=True)),
        [
            *(f"{name}: {whole}" for whole, name in short.items()),
            *_notes(cells),
            *notes,
        ],
        [_data(cell, layout.unit) for cell in cells],
        blocks=blocks,
    )


def _kept_rows(cells: Sequence[Cell]) -> tuple[dict[int, NDArray[np.float64]], list[str]]:
    """The log densities of test rows by the place of their cell; a note for each damaged file."""
    rows, notes = {}, []
    for i, cell in enumerate(cells):
        try:
            if cell.record and not cell.mixed and (nats := row_nats(cell.record)) is not None:
                rows[i] = nats
        except UnreadableRecordError as error:
            notes.append(f"rows left out: {error}")
    return rows, notes


def _alone(cells: Sequence[Cell], rows: Mapping[int, NDArray[np.float64]]) -> list[str]:
    """A note for each figure that a single row decides."""
    notes = []
    for i, nats in rows.items():
        if one := outlier(nats):
            cell, seed = cells[i], ""
            if cell.mean and cell.seeds and cell.record:  # the rows are those of one of the seeds
                seed = f", seed {cell.record.seed} of those in the mean"
            notes.append(f"{cell.place}{seed}: {one}")
    return notes


def _no_figures(cells: Sequence[Cell]) -> list[str]:
    """A note for each cell without a figure because rows have no finite log density.

    And one for each cell whose figure lacks seeds of its setting.
    """
    notes = []
    for cell in cells:
        if not cell.ours and cell.runs and (text := cell.runs[0].rows_not_finite):
            best = ", the best on validation" if len(cell.runs) > 1 else ""
            notes.append(f"{cell.place}{best}: {text}")
        elif cell.ours and not cell.mixed and cell.without_figure:
            notes.append(f"{cell.place}: seeds without a figure: {cell.without_figure}")
    return notes


def _ours(cell: Cell, places: int | None, less_is_better: bool) -> Item:
    shown = cell.record or next(iter(cell.runs), None)
    return Item.of(
        cell.ours,
        places,
        text=cell.status or NOTHING,
        spread=cell.seeds.deviation if cell.seeds and not cell.mean else None,
        count=(cell.seeds.count if cell.seeds else 1) if cell.mean and cell.ours else None,
        marks=cell.marks.replace(BEST, ""),
        best=BEST in cell.marks,
        run=shown.key if shown else "",
        less_is_better=less_is_better,
    )


def _notes(cells: Sequence[Cell]) -> list[str]:
    """What the marks mean, and for each column what they say there."""
    notes = meanings(cells)
    notes += [
        f"{NOT_AUTHORS} {made}"
        for made in sorted({c.made for c in cells if NOT_AUTHORS in c.marks})
    ]
    chosen: dict[str, list[str]] = {}
    seeds: dict[str, list[str]] = {}
    for cell in cells:
        if cell.chosen:
            chosen.setdefault(cell.column, []).append(f"{cell.model} {cell.chosen}")
        if cell.seeds and not cell.mean:
            text = f"{cell.model} {cell.seeds.count} seeds, mean {cell.seeds.mean:.2f}"
            seeds.setdefault(cell.column, []).append(text)
    for mark, by_column in ((CHOSEN, chosen), (SEEDS, seeds)):
        notes += [f"{mark} {where}: {'; '.join(texts)}" for where, texts in by_column.items()]
    return notes


def _data(cell: Cell, unit: str) -> dict[str, Any]:
    seeds, record = cell.seeds, cell.record
    return {
        **cell.data(unit),
        "status": cell.status or NOTHING,
        "chosen": cell.chosen,
        "made": cell.made,
        "size": size(record) if record else "",
        "seeds": len(cell.mixed) or (seeds and seeds.count),
        "seeds_mean": seeds and seeds.mean,
        "seeds_deviation": seeds and seeds.deviation,
        "best": BEST in cell.marks,
        "validation_nats": cell.validation,
        "run_id": cell.run_ids,
    }
