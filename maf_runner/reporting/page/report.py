"""One page of everything, for a browser without a network: tables, pictures, settings, warnings.

What stands in records may come from strangers: the template escapes all of it, and the page's own
security policy runs no script but its own and loads nothing.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import maf_runner
from maf_runner.records.checks import is_figure
from maf_runner.records.entries import picture
from maf_runner.records.record import Record
from maf_runner.records.unfinished import Unfinished
from maf_runner.reporting.comparison.cells import (
    CUT_SHORT,
    MARKS,
    NOT_AUTHORS,
    Cell,
    comparison,
    size,
)
from maf_runner.reporting.plots import curves, dots
from maf_runner.reporting.plots.drawing import drawing, in_order, rendered
from maf_runner.reporting.tables.grid import Grid
from maf_runner.reporting.tables.leaderboard import halves
from maf_runner.reporting.tables.table import LAYOUTS, TABLES, build
from maf_runner.system.errors import UsageError
from maf_runner.system.text import flat

TITLE = "Density estimation: the results"
ROOM = "maf_runner.reporting.page"
FAR = 3  # standard errors
FIRST = ("comparison", "runs")
FOLDED = ("leaderboard", "leaderboard-images")


class Picture(NamedTuple):
    """A picture in the page; ``data`` in base64."""

    caption: str
    data: str
    kind: str = "image/png"
    width: str = ""  # its class in the page


def render(
    records: Sequence[Record],
    complaints: Sequence[str],
    samples: Mapping[str, bytes],
    waiting: Sequence[Unfinished] = (),
) -> str:
    """The page as HTML.

    Args:
        records: the runs.
        complaints: of files that were left out.
        samples: PNGs of what models draw, by the key of the run.
        waiting: runs without a record.
    """
    cells = comparison(records)
    tables, left_out = _tables(records, waiting)
    pictures, damaged = _pictures(cells, samples)
    warnings = [*complaints, *left_out, *damaged, *_doubts(records, cells)]
    places = {record.key: f"run-{i}" for i, record in enumerate(records)}
    script = files(ROOM).joinpath("templates", "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader(ROOM), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html").render(
        title=TITLE,
        version=maf_runner.__version__,
        count=len(records),
        tables=tables,
        folded=FOLDED,
        levels=_levels,
        breakable=_breakable,
        places=places,
        warnings=list(dict.fromkeys(warnings)),
        pictures=pictures,
        runs=[_about(record, cells) for record in records],
        script=Markup(script),
        script_hash=_hash(script),
    )


def _breakable(text: str) -> Markup:
    """``text`` with places where a long word may be broken: after the group of a setting."""
    parts = re.split(r"(?<=\.)(?=[a-z])", text)
    return Markup("<wbr>").join(escape(part) for part in parts)


def shown(cells: Sequence[Cell]) -> list[Record]:
    """The runs that stand in a table."""
    return [cell.record for cell in cells if cell.record is not None]


def _tables(
    records: Sequence[Record], waiting: Sequence[Unfinished]
) -> tuple[list[Grid], list[str]]:
    """All tables, own runs first; those of the paper only where there is a run for them."""
    there = {record.dataset for record in records}
    tables, complaints = [], []
    for name in sorted(TABLES, key=lambda name: (name not in FIRST, name in FOLDED)):
        columns = LAYOUTS[name].columns if name in LAYOUTS else ()
        if columns and not there & {dataset for dataset, _ in columns}:
            continue
        table, left_out = build(name, records, waiting=waiting if name == "runs" else ())
        tables += halves(table) if name == "leaderboard" else [table]
        complaints += left_out
    return tables, complaints


def _levels(table: Grid) -> list[list[tuple[str, int]]]:
    """The headings above the last level, each with the columns it spans."""
    levels = []
    for depth in range(1, max(map(len, table.headings), default=1)):
        above = groupby([heading[:depth] for heading in table.headings])
        levels.append([(heading[-1], len(list(group))) for heading, group in above])
    return levels


def _pictures(
    cells: Sequence[Cell], samples: Mapping[str, bytes]
) -> tuple[list[tuple[str, str, str, list[Picture]]], list[str]]:
    """Id, heading, text and pictures of each section; without matplotlib a complaint."""
    learned, complaints = curves.curves_of(cells)
    models = in_order(cell.model for cell in cells)
    compared: list[Picture] = []
    learning: list[Picture] = []
    try:
        for name, column in dots.panels(cells).items():
            panel = {name: column}
            with drawing(*dots.size(panel)) as figure:
                dots.draw(figure, panel, models)
                compared.append(_svg(name, rendered(figure, ".svg")))
        for name, lines in learned.items():
            with drawing(*curves.size(1)) as figure:
                curves.draw(figure, {name: lines}, models)
                learning.append(_svg(name, rendered(figure, ".svg")))
    except UsageError as error:
        complaints.append(str(error))
    return [
        ("dots", "Comparison as a picture", "Test log-likelihood ± 2 standard errors.", compared),
        ("curves", "Learning curves", "A dot where the best parameters were found.", learning),
        ("samples", "Samples and densities", "Drawn with seed 0; nothing is picked out.",
         _drawn(cells, samples)),
    ], complaints  # fmt: skip


def _svg(caption: str, content: bytes) -> Picture:
    return Picture(caption, base64.b64encode(content).decode(), "image/svg+xml", "broad")


def _drawn(cells: Sequence[Cell], samples: Mapping[str, bytes]) -> list[Picture]:
    """What the runs shown draw, or the densities they have learned of points in the plane."""
    drawn = []
    for record in shown(cells):
        density, sample = picture(record), samples.get(record.key)
        content = sample or density
        if content is not None:
            data, width = base64.b64encode(content).decode(), "" if sample else "double"
            drawn.append(Picture(record.title, data, width=width))
    return drawn


def _doubts(records: Sequence[Record], cells: Sequence[Cell]) -> list[str]:
    """What a reader of the tables should know: unfinished runs, other data, far deviations."""
    doubts = [record.describe() for record in records if not record.finished]
    cut = [cell.place for cell in cells if CUT_SHORT in cell.marks]
    if cut:
        doubts.append(f"{MARKS[CUT_SHORT]}: {'; '.join(cut)}")
    for cell in cells:
        if NOT_AUTHORS in cell.marks:
            doubts.append(f"{cell.made}, {MARKS[NOT_AUTHORS]}")
        if cell.deviation is not None and abs(cell.deviation) > FAR:
            doubts.append(
                f"{cell.place}: {cell.deviation:+.1f} standard errors from the paper's figure"
            )
    return doubts


def _about(record: Record, cells: Sequence[Cell]) -> dict[str, Any]:
    """What the page says of one run."""
    cell = next((c for c in cells if any(r is record for r in c.runs)), None)
    data = {key: value for key, value in record.data.as_json().items() if value is not None}
    figures = [
        (f"{split} {name}", f"{value:.6g}")
        for split, values in (("test", record.test), ("validation", record.validation))
        for name, value in values.items()
        if record.finished
    ]
    training = {
        "parameters": record.parameters,
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "updates": record.updates,
        "stop_reason": record.stop_reason,
        "seconds": record.seconds,
    }
    return {
        "title": record.title,
        "summary": record.describe(),
        "remarks": [f"departs from its preset: {d}" for d in record.departures],
        "rivals": [_rival(r, r is cell.record) for r in cell.runs] if cell else [],
        "facts": [
            ("Settings", _pairs(record.settings)),
            ("Figures", figures),
            ("Training", [(name, v) for name, v in training.items() if v is not None]),
            ("Data", _pairs(data)),
            ("Made by", [("run", record.run_id), *_pairs(record.environment)]),
        ],
    }


def _pairs(node: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested values in lines, each value as on the command line."""
    return [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in flat(node).items()]


def _rival(record: Record, chosen: bool) -> dict[str, Any]:
    figures = record.validation_mean, record.test.get("log_likelihood")
    validation, test = (f"{figure:.3f}" if is_figure(figure) else "" for figure in figures)
    return {
        "size": size(record),
        "seed": record.seed,
        "validation": validation,
        "test": test,
        "status": record.ending,
        "chosen": chosen,
    }


def _hash(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
