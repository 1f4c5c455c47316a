"""One page of everything, for a browser without a network: tables, pictures, settings, warnings.

What stands in records may come from strangers: the template escapes all of it, and the page's own
security policy runs no script but its own and loads nothing.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import maf_runner
from maf_runner.records import record
from maf_runner.records.entries import Entry, key_of, picture
from maf_runner.reporting.comparison.cells import (
    CUT_SHORT,
    MARKS,
    NOT_AUTHORS,
    Cell,
    comparison,
    flat,
    size,
)
from maf_runner.reporting.plots import curves, dots
from maf_runner.reporting.plots.drawing import drawing, rendered
from maf_runner.reporting.tables.grid import Grid
from maf_runner.reporting.tables.table import LAYOUTS, TABLES, build
from maf_runner.system.errors import UsageError

TITLE = "Density estimation: the results"
ROOM = "maf_runner.reporting.page"
FAR = 3  # standard errors


class Picture(NamedTuple):
    """A picture in the page; ``data`` in base64."""

    caption: str
    data: str
    kind: str = "image/png"
    width: str = ""  # its class in the page


def render(
    records: Sequence[Entry], complaints: Sequence[str], samples: Mapping[str, bytes]
) -> str:
    """The page as HTML.

    Args:
        records: the runs.
        complaints: of files that were left out.
        samples: PNGs of what models draw, by the key of the run.
    """
    cells = comparison(records)
    tables, left_out = _tables(records)
    pictures, damaged = _pictures(cells, samples)
    warnings = [*complaints, *left_out, *damaged, *_doubts(records, cells)]
    places = {key_of(entry): f"run-{i}" for i, entry in enumerate(records)}
    script = files(ROOM).joinpath("templates", "report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader(ROOM), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html").render(
        title=TITLE,
        version=maf_runner.__version__,
        count=len(records),
        tables=tables,
        levels=_levels,
        places=places,
        warnings=list(dict.fromkeys(warnings)),
        pictures=pictures,
        runs=[_about(entry, cells) for entry in records],
        script=Markup(script),
        script_hash=_hash(script),
    )


def shown(cells: Sequence[Cell]) -> list[Entry]:
    """The runs that stand in a table."""
    return [cell.entry for cell in cells if cell.entry is not None]


def _tables(records: Sequence[Entry]) -> tuple[list[Grid], list[str]]:
    """All tables, those of the paper only where there is a run for them."""
    there = {entry["dataset"] for entry in records}
    tables, complaints = [], []
    for name in TABLES:
        columns = LAYOUTS[name].columns if name in LAYOUTS else ()
        if columns and not there & {dataset for dataset, _ in columns}:
            continue
        table, left_out = build(name, records)
        tables.append(table)
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
    compared: list[Picture] = []
    learning: list[Picture] = []
    try:
        for name, column in dots.panels(cells).items():
            panel = {name: [c for c in column if c.ours or c.published]}
            with drawing(*dots.size(panel)) as figure:
                dots.draw(figure, panel)
                compared.append(_svg(name, rendered(figure, ".svg")))
        for name, lines in learned.items():
            with drawing(*curves.size(1)) as figure:
                curves.draw(figure, {name: lines}, curves.labels_of(learned))
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
    for entry in shown(cells):
        density, sample = picture(entry), samples.get(key_of(entry))
        content = sample or density
        if content is not None:
            data, width = base64.b64encode(content).decode(), "" if sample else "double"
            drawn.append(Picture(record.title(entry), data, width=width))
    return drawn


def _doubts(records: Sequence[Entry], cells: Sequence[Cell]) -> list[str]:
    """What a reader of the tables should know: unfinished runs, other data, far deviations."""
    doubts = [_summary(entry) for entry in records if entry["status"] != "finished"]
    for cell in cells:
        name = f"{cell.model} on {cell.column}"
        if CUT_SHORT in cell.marks:
            doubts.append(f"{name}: {MARKS[CUT_SHORT]}")
        if NOT_AUTHORS in cell.marks:
            doubts.append(f"{cell.made}, {MARKS[NOT_AUTHORS]}")
        if cell.deviation is not None and abs(cell.deviation) > FAR:
            doubts.append(f"{name}: {cell.deviation:+.1f} standard errors from the paper's figure")
    return doubts


def _summary(entry: Entry) -> str:
    try:
        return record.describe(entry)
    except (KeyError, TypeError, ValueError):  # records hold more than what is checked
        return record.title(entry)


def _about(entry: Entry, cells: Sequence[Cell]) -> dict[str, Any]:
    """What the page says of one run."""
    cell = next((c for c in cells if any(r is entry for r in c.runs)), None)
    parts = ("test", "validation") if entry["status"] == "finished" else ()
    figures = [
        (f"{part} {name}", f"{value:.6g}") for part in parts for name, value in entry[part].items()
    ]
    training = [
        (name, entry[name])
        for name in ("parameters", "epochs", "best_epoch", "updates", "stop_reason", "seconds")
        if entry.get(name) is not None
    ]
    return {
        "title": record.title(entry),
        "summary": _summary(entry),
        "remarks": [f"departs from its preset: {d}" for d in entry.get("departures", [])],
        "rivals": [_rival(r, r is cell.entry) for r in cell.runs] if cell else [],
        "facts": [
            ("Settings", _pairs(entry["settings"])),
            ("Figures", figures),
            ("Training", training),
            ("Data", _pairs(entry["data"])),
            ("Made by", [("run", entry["run_id"]), *_pairs(entry.get("environment"))]),
        ],
    }


def _pairs(node: Any) -> list[tuple[str, str]]:
    """Nested values in lines, each value as on the command line."""
    pairs = flat(node).items() if isinstance(node, dict) else ()
    return [(k, v if isinstance(v, str) else json.dumps(v)) for k, v in pairs]


def _rival(entry: Entry, chosen: bool) -> dict[str, Any]:
    finished = entry["status"] == "finished"
    return {
        "size": size(entry),
        "seed": entry["seed"],
        "validation": f"{entry['validation']['log_likelihood']:.3f}" if finished else "",
        "test": f"{entry['test']['log_likelihood']:.3f}" if finished else "",
        "status": entry["status"],
        "chosen": chosen,
    }


def _hash(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
