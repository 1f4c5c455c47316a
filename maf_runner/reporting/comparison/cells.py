"""Cells of the comparison: which run stands for a model on a dataset, and what is said of it."""

import json
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from maf_runner.records.checks import is_figure
from maf_runner.records.record import Record
from maf_runner.reporting.comparison.columns import (
    Column,
    columns_of,
    departures_of,
    differing_keys,
    origin_of,
)
from maf_runner.reporting.comparison.published import BITS, MODELS, NATS, Figure, figures
from maf_runner.system import conf_path
from maf_runner.system.text import as_typed, counted, flat

COMPARED = {name for name, _, _ in figures()}  # datasets of the paper
# The figure in a record and its error, by what is shown.
RECORDED = {
    NATS: ("log_likelihood", "error"),
    BITS: ("bits_per_pixel", "bits_per_pixel_error"),
}
FROM_PYTHON = re.compile("[0-9a-f]{16}")  # names of the files of tables that `fit` was given
NOT_AUTHORS, CUT_SHORT, DIVERGED, CHOSEN, SEEDS, BEST = "*†¶‡§•"
MARKS = {
    NOT_AUTHORS: "not the authors' data",
    CUT_SHORT: "cut short by a limit on epochs or updates, so not compared",
    DIVERGED: "training diverged later; the figure is of the best parameters before that",
    CHOSEN: "the best of several runs on the validation split",
    SEEDS: "in brackets the standard deviation over seeds, which the ± does not hold",
    BEST: "best of its column, or not significantly worse (paired t-test over test rows, 5 %, "
    "without a row that alone decides it)",
}


@dataclass(frozen=True)
class Seeds:
    """The test figures of one setting over several seeds."""

    count: int
    mean: float
    deviation: float  # with ddof 1


@dataclass(frozen=True)
class Cell:
    """One model on one dataset: our figure, or why there is none, and the published one."""

    name: str  # of the dataset
    dataset: str  # the name, and what sets it apart from others of this name
    conditional: bool
    model: str
    ours: Figure | None
    published: Figure | None
    status: str
    marks: str = ""
    chosen: str = ""  # what the run shown was chosen for, and among how many
    made: str = ""  # dataset and recipe of the run shown
    seeds: Seeds | None = None
    mean: bool = False  # ours is the mean over the seeds with its standard deviation, if several
    record: Record | None = None  # the run shown; of the mean over several seeds the first
    runs: tuple[Record, ...] = ()  # all it was chosen among, and those that failed
    alike: tuple[Record, ...] = ()  # those of the setting shown, in the order of their seeds
    counted: tuple[Record, ...] = ()  # those whose figure, or mean over seeds, ours is
    mixed: tuple[Record, ...] = ()  # ours is the figure of the mixture of these runs
    validation: float | None = None  # nats: of the run, the mean over the seeds, the mixture

    @property
    def column(self) -> str:
        """The name of its column."""
        return f"{self.dataset}, class" if self.conditional else self.dataset

    @property
    def place(self) -> str:
        """Its row and column, as notes name it."""
        return f"{self.model} on {self.column}"

    @property
    def run_ids(self) -> str:
        """The run shown, or those whose mean or mixture is; empty without."""
        return " ".join(record.run_id for record in self.mixed or self.counted)

    @property
    def trained(self) -> Record | None:
        """The run shown, also where only its test figure is missing."""
        return self.record or (self.runs[0] if self.alike else None)

    @property
    def without_figure(self) -> str:
        """The seeds of the setting shown that have no figure, and why; empty if none.

        >>> Cell("", "", False, "", None, None, "").without_figure
        ''
        """
        seeds: dict[str, list[str]] = {}
        for run in self.alike:
            if not run.finished:
                seeds.setdefault(run.ending, []).append(str(run.seed))
        return "; ".join(f"{', '.join(of)} ({ending})" for ending, of in seeds.items())

    @property
    def deviation(self) -> float | None:
        """Ours minus the paper's in standard errors of the difference; None if not comparable."""
        if self.ours is None or self.published is None or CUT_SHORT in self.marks:
            return None
        if self.mean and self.seeds:
            return None  # its error is of another kind
        combined = math.hypot(self.ours.error or 0, self.published.error or 0) / 2
        return (self.ours.value - self.published.value) / combined if combined else None

    def data(self, unit: str) -> dict[str, Any]:
        """Place and figures, in a ``unit`` that the keys name."""
        return {
            "dataset": self.dataset,
            "conditioning": "class" if self.conditional else "none",
            "model": self.model,
            "status": self.status,
            f"test_{unit}": self.ours and self.ours.value,
            "test_error": self.ours and self.ours.error,
            f"published_{unit}": self.published and self.published.value,
            "published_error": self.published and self.published.error,
            "deviation_in_standard_errors": self.deviation,
            "marks": self.marks,
        }


def comparison(
    records: Sequence[Record],
    metric: str = NATS,
    wanted: Sequence[tuple[str, bool]] = (),
    *,
    mean: bool = False,
) -> list[Cell]:
    """The cells of the table, those of the paper's models without a run included.

    Args:
        records: the runs.
        metric: what is shown, `NATS` or `BITS`.
        wanted: columns (dataset, given the class?) to show, with runs or without; by default
            those that have runs.
        mean: show the mean over the seeds of a setting and its standard deviation.
    """
    groups: dict[tuple[Column, bool, str], list[Record]] = {}
    for record, column in zip(records, columns_of(records), strict=True):
        if wanted and (column.name, record.given_class) not in wanted:
            continue
        groups.setdefault((column, record.given_class, row_of(record)), []).append(record)
    columns = sorted({key[:2] for key in groups})
    if wanted:
        there = {key[0] for key in groups}
        columns = [
            (column, conditional)
            for name, conditional in wanted
            for column in sorted(c for c in there if c.name == name) or [Column(name)]
        ]
    present = {key[2] for key in groups}
    paper = any(c.name in COMPARED for c, _ in columns)
    rows = [m for m in MODELS if m in present or paper]
    rows += sorted(present - set(MODELS), key=_row_order)
    return [
        _cell(column, conditional, row, groups.get((column, conditional, row), []), metric, mean)
        for column, conditional in columns
        for row in rows
    ]


def meanings(cells: Sequence[Cell]) -> list[str]:
    """What the marks in these cells mean."""
    return [
        f"bold: {text}" if mark == BEST else f"{mark} {text}"
        for mark, text in MARKS.items()
        if any(mark in cell.marks for cell in cells)
    ]


def _cell(
    column: Column, conditional: bool, row: str, runs: list[Record], metric: str, mean: bool
) -> Cell:
    # The paper's figure is of the paper's model and training: no row that departs has one.
    published = None if column.apart else figures(metric).get((column.name, conditional, row))
    empty = Cell(
        column.name,
        str(column),
        conditional,
        row,
        ours=None,
        published=published,
        status=runs[0].ending if runs else "",
        runs=tuple(runs),
    )
    value, error = RECORDED[metric]
    key = _chosen_by(runs)
    # Also runs of which only test rows have no finite density: else the test rows would choose.
    tried = [
        run
        for run in runs
        if is_figure(run.validation.get(key)) and (value in run.test or not run.finished)
    ]
    if not tried:
        return empty
    best = (_best_setting if mean else _best_run)(tried, key)
    setting = without_seed(best)
    alike = sorted((r for r in runs if without_seed(r) == setting), key=lambda run: run.seed)
    shown = [run for run in alike if run in tried and run.finished]
    counted = shown if mean and shown else [best]
    marks = ""
    if column.name in COMPARED and origin_of(best) != "authors":
        marks += NOT_AUTHORS
    if any(map(_cut_short, counted)):
        marks += CUT_SHORT
    if any(run.stop_reason == "diverged" for run in counted):
        marks += DIVERGED
    rivals = [run for run in tried if (without_seed(run) != setting if mean else run is not best)]
    # A short trial before the whole run that won is no rival of it.
    if any(_cut_short(best) or not _cut_short(run) for run in rivals):
        marks += CHOSEN
    chosen = replace(
        empty,
        marks=marks,
        chosen=_winner(best, tried, mean=mean) if CHOSEN in marks else "",
        made=f"{column.name}: {origin_of(best)}",
        runs=(best, *(run for run in runs if run is not best)),
        alike=tuple(alike),
    )
    if not counted[0].finished:
        return replace(chosen, status=best.ending)
    seeds = None
    if len(shown) > 1:
        marks += "" if mean else SEEDS
        figures_of = [run.test[value] for run in shown]
        seeds = Seeds(len(shown), statistics.fmean(figures_of), statistics.stdev(figures_of))
    return replace(
        chosen,
        ours=Figure(seeds.mean, seeds.deviation)
        if mean and seeds
        else Figure(counted[0].test[value], counted[0].error_of(error)),
        mean=mean,
        status="finished",
        marks=marks,
        seeds=seeds,
        record=counted[0],
        counted=tuple(counted),
        validation=statistics.fmean(run.score for run in counted),
    )


def _best_run(runs: Sequence[Record], key: str) -> Record:
    return max(runs, key=lambda run: run.validation[key])


def _best_setting(runs: Sequence[Record], key: str) -> Record:
    """The first seed of the setting that is best on validation in the mean over its seeds."""
    settings: dict[str, list[Record]] = {}
    for run in runs:
        settings.setdefault(without_seed(run), []).append(run)
    best = max(
        settings.values(), key=lambda alike: statistics.fmean(run.validation[key] for run in alike)
    )
    return min(best, key=lambda run: run.seed)


def _cut_short(record: Record) -> bool:
    """Whether a limit ended the run, and not a schedule that leads there."""
    limited = record.stop_reason in ("max_epochs", "max_updates")
    return limited and record.settings["trainer"].get("schedule", "constant") == "constant"


def _chosen_by(runs: Sequence[Record]) -> str:
    """The name of the validation figure in nats by which the best of ``runs`` is chosen.

    Of conditional models that is the class marginal, as the authors' collection script has it;
    log p(x | true y) where a record of an earlier version has nothing else.
    """
    marginal = all("marginal_log_likelihood" in r.validation for r in runs if r.validation)
    return "marginal_log_likelihood" if marginal else "log_likelihood"


def without_seed(record: Record) -> str:
    """The settings of a run, the same for all seeds."""
    return json.dumps({**record.settings, "seed": None}, sort_keys=True)


def row_of(record: Record) -> str:
    """Its name in the paper, with the trainer, and every setting that departs from its preset."""
    names = [record.model, *_own_name(record)]
    if record.stop_reason == "closed_form":  # nothing of the trainer matters to it
        return ", ".join([*names, *departures_of(record, "model.")])
    names += [] if record.trainer == "paper" else [record.trainer]
    names += [*departures_of(record, "model."), *departures_of(record, "trainer.")]
    return ", ".join(names)


# Models of ours, whose titles a subclass from outside inherits.
FAMILIES = {model.partition(" (")[0] for model in MODELS} | {
    "IAF", "NSF", "NSF coupling", "Binned MADE", "Elementwise",
}  # fmt: skip


def _own_name(record: Record) -> list[str]:
    """The name of settings of one's own whose model is one of ours, or has a title of ours.

    They have no preset of ours from which they could depart.
    """
    settings = record.settings["model"]
    name, target = str(settings.get("name", "")), str(settings.get("_target_", ""))
    if not name or name in _our_models():
        return []
    ours = target.startswith("maf_runner.") or record.model.partition(" (")[0] in FAMILIES
    return [name] if ours else []


@cache
def _our_models() -> list[str]:
    return conf_path.names("model", conf_path.CONF)


def _row_order(row: str) -> tuple[int, str]:
    model = row.partition(", ")[0]
    return (MODELS.index(model) if model in MODELS else len(MODELS)), row


def size(record: Record) -> str:
    """Number and width of the hidden layers, as 2×1024; empty for a model without."""
    return widths(record.settings["model"].get("hidden"))


def widths(hidden: Any) -> str:
    """The widths of hidden layers in short.

    >>> widths([1024, 1024]), widths([512, 256]), widths(None)
    ('2×1024', '512-256', '')
    """
    if not isinstance(hidden, list) or not hidden:
        return ""
    if all(width == hidden[0] for width in hidden):
        return f"{len(hidden)}×{hidden[0]}"
    return "-".join(map(str, hidden))


def _winner(best: Record, runs: list[Record], *, mean: bool) -> str:
    """What sets the chosen run apart from the others: its size, then other settings.

    The ``mean`` is over the seeds, so that none is chosen.
    """
    varied = differing_keys([flat(r.settings) for r in runs]) - ({"seed"} if mean else set())
    ours = flat(best.settings)
    return " ".join(_setting(key, value) for key, value in ours.items() if key in varied)


def _setting(key: str, value: Any) -> str:
    """A setting in short: widths, or the number of teachers, or what it is."""
    if key == "model.hidden":
        return widths(value)
    if key == "trainer.teachers" and isinstance(value, list):
        return counted(len(value), "teacher")
    return f"{key}={hash_in_short(as_typed(value))}"


def hash_in_short(value: str) -> str:
    """A value of which, if it is a hash, the first 12 digits stay."""
    return value[:19] if value.startswith("sha256:") else value


def short_names(cells: Sequence[Cell]) -> dict[str, str]:
    """A number for each column that settings set apart from others of its dataset."""
    short: dict[str, str] = {}
    for cell in cells:
        if cell.dataset != cell.name and cell.dataset not in short:
            name = _called([other for other in cells if other.dataset == cell.dataset])
            namesakes = sum(other.startswith(f"{name} #") for other in short.values())
            short[cell.dataset] = f"{name} #{namesakes + 1}"
    return short


def _called(column: Sequence[Cell]) -> str:
    """The dataset's name; of a table of the user's that has no other, that of its file."""
    name = column[0].name
    sources = (file for cell in column for run in cell.runs for file in run.data.sources)
    file = next(sources, "") if name == "file" else ""
    stem = Path(file).name.partition(".")[0]
    return "table" if FROM_PYTHON.fullmatch(stem) else stem or name
