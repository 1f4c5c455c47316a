"""The comparison: models as rows, datasets as columns, the published figures beside ours."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tabulate import tabulate

from maf_runner.reporting.published import MODELS, Figure, figures

FORMATS = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv"}
NOTHING = "–"
COMPARED = {name for name, _, _ in figures()}  # datasets of the paper
MARKS = {
    "*": "not the authors' data",
    "†": "cut short by a limit on epochs or updates, so not compared",
    "‡": "the best of several runs on the validation split",
}
CAPTION = (
    "Mean test log-likelihood in nats ± 2 standard errors over the test rows. Δ/σ: ours minus "
    "the paper's, in standard errors of the difference (beyond ±3 is hardly chance)."
)


@dataclass(frozen=True)
class Cell:
    """One model on one dataset: our figure, or why there is none, and the published one."""

    dataset: str  # its column: the name, and what sets it apart from others of this name
    conditional: bool
    model: str
    ours: Figure | None
    published: Figure | None
    status: str
    marks: str = ""
    chosen: str = ""
    made: str = ""  # dataset and recipe of the run shown

    @property
    def deviation(self) -> float | None:
        """Ours minus the paper's in standard errors of the difference; None if not comparable."""
        if self.ours is None or self.published is None or "†" in self.marks:
            return None
        combined = math.hypot(self.ours.error, self.published.error) / 2
        return (self.ours.value - self.published.value) / combined if combined else None


def comparison(records: Sequence[dict[str, Any]]) -> list[Cell]:
    """The cells of the table, those of the paper's models without a run included."""
    groups: dict[tuple[Column, bool, str], list[dict[str, Any]]] = {}
    for entry, column in zip(records, _columns(records), strict=True):
        groups.setdefault((column, entry["conditional"], _row(entry)), []).append(entry)
    columns = sorted({key[:2] for key in groups})
    present = {key[2] for key in groups}
    wanted = MODELS if any(c.name in COMPARED for c, _ in columns) else ()
    rows = [m for m in MODELS if m in present or m in wanted]
    rows += sorted(present - set(MODELS), key=_row_order)
    return [
        _cell(column, conditional, row, groups.get((column, conditional, row), []))
        for column, conditional in columns
        for row in rows
    ]


class Column(NamedTuple):
    """Data that belong together: a dataset by name, what sets it apart, how it was made."""

    name: str
    apart: str
    recipe: str  # where a namesake was made in another way

    def __str__(self) -> str:
        label = f"{self.name} ({self.apart})" if self.apart else self.name
        return f"{label}, {self.recipe}" if self.recipe else label


def _columns(records: Sequence[dict[str, Any]]) -> list[Column]:
    """The column of each record.

    Runs on data made by different settings, or in different ways, are never in one column.
    """
    settings = [_flat(r["settings"]["dataset"]) for r in records]
    apart = []
    for entry, own in zip(records, settings, strict=True):
        namesakes = [
            s for s, r in zip(settings, records, strict=True) if r["dataset"] == entry["dataset"]
        ]
        differing = {k: v for k, v in own.items() if any(s.get(k) != v for s in namesakes)}
        words = [_setting(entry, k, v) for k, v in differing.items() if v not in (None, [])]
        words = words or [d.removeprefix("dataset.") for d in _departures(entry, "dataset.")]
        apart.append((entry["dataset"], " ".join(words)))
    recipes: dict[tuple[str, str], set[str]] = {}
    for entry, place in zip(records, apart, strict=True):
        recipes.setdefault(place, set()).add(_recipe(entry))
    return [
        Column(*place, _recipe(entry) if len(recipes[place]) > 1 else "")
        for entry, place in zip(records, apart, strict=True)
    ]


def _setting(entry: dict[str, Any], key: str, value: Any) -> str:
    """A setting in a few words; a file by its name and the first digits of its hash."""
    if key != "path":
        return f"{key}={value}"
    name = next(iter(entry["data"].get("sources") or ()), "")
    return f"{name} {str(value).removeprefix('sha256:')[:8]}".strip()


def _recipe(entry: dict[str, Any]) -> str:
    return str(entry["data"].get("recipe"))


def _cell(column: Column, conditional: bool, row: str, runs: list[dict[str, Any]]) -> Cell:
    model = row.partition(", ")[0]
    dataset = str(column)
    published = None if column.apart else figures().get((column.name, conditional, model))
    finished = [r for r in runs if r["status"] == "finished"]
    if not finished:
        status = runs[0]["status"] if runs else NOTHING
        return Cell(dataset, conditional, row, None, published, status)
    best = max(finished, key=_validation)
    test = best["test"]
    marks = ""
    if column.name in COMPARED and _recipe(best) != "authors":
        marks += "*"
    if best.get("stop_reason") in ("max_epochs", "max_updates"):
        marks += "†"
    if len(finished) > 1:
        marks += "‡"
    return Cell(
        dataset,
        conditional,
        row,
        Figure(test["log_likelihood"], test["error"]),
        published,
        "finished",
        marks,
        _differences(best, finished),
        f"{column.name}: {_recipe(best)}",
    )


def _validation(entry: dict[str, Any]) -> float:
    value = (entry.get("validation") or {}).get("log_likelihood")
    return value if isinstance(value, (int, float)) else -math.inf


def _row(entry: dict[str, Any]) -> str:
    """Its name in the paper, with the trainer, and every setting that departs from its preset."""
    trainer = entry["settings"]["trainer"].get("name", "paper")
    others = [] if trainer == "paper" else [trainer]
    others += [*_departures(entry, "model."), *_departures(entry, "trainer.")]
    return ", ".join([entry["model"], *others])


def _departures(entry: dict[str, Any], group: str) -> list[str]:
    return [d for d in entry.get("departures", []) if d.startswith(group)]


def _row_order(row: str) -> tuple[int, str]:
    model = row.partition(", ")[0]
    return (MODELS.index(model) if model in MODELS else len(MODELS)), row


def _differences(best: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """The settings that set the chosen run apart from the others, as on the command line."""
    if len(runs) == 1:
        return ""
    all_settings = [_flat(r["settings"]) for r in runs]
    ours = _flat(best["settings"])
    return " ".join(
        f"{key}={value}"
        for key, value in ours.items()
        if any(s.get(key) != value for s in all_settings)
    )


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat


def render(cells: Sequence[Cell], form: str) -> str:
    """The comparison as ``text``, ``markdown``, ``latex`` (needs booktabs) or ``csv``."""
    if form == "csv":
        return _csv(cells)
    columns = list(dict.fromkeys((c.dataset, c.conditional) for c in cells))
    rows = list(dict.fromkeys(c.model for c in cells))
    by_place = {(c.dataset, c.conditional, c.model): c for c in cells}
    headers = ["model"]
    table = [[row] for row in rows]
    for dataset, conditional in columns:
        name = f"{dataset}, class" if conditional else dataset
        column = [by_place[dataset, conditional, row] for row in rows]
        compared = any(cell.published for cell in column)
        headers += [name, "paper", "Δ/σ"] if compared else [name]
        for line, cell in zip(table, column, strict=True):
            line.append(_figure(cell.ours) + cell.marks if cell.ours else cell.status)
            if compared:
                deviation = cell.deviation
                line.append(_figure(cell.published) if cell.published else NOTHING)
                line.append(NOTHING if deviation is None else f"{deviation:+.1f}")
    notes = [
        f"{mark} {text}" for mark, text in MARKS.items() if any(mark in c.marks for c in cells)
    ]
    notes += [f"* {made}" for made in sorted({c.made for c in cells if "*" in c.marks})]
    notes += [
        f"‡ {c.model} on {c.dataset}{', class' if c.conditional else ''}: {c.chosen}"
        for c in cells
        if c.chosen
    ]
    style = {"text": "simple", "markdown": "pipe", "latex": "latex_booktabs"}[form]
    align = ["left"] + ["right"] * (len(headers) - 1)
    body = tabulate(table, headers, tablefmt=style, colalign=align, disable_numparse=True)
    if form == "latex":
        return _latex(body, [CAPTION, *notes])
    gap = "\n\n" if form == "markdown" else "\n"
    return gap.join([CAPTION, *([] if form == "markdown" else [""]), body, *notes]) + "\n"


def _figure(figure: Figure) -> str:
    places = 1 if abs(figure.value) >= 1000 or figure.error >= 10 else 2
    return f"{figure.value:.{places}f} ± {figure.error:.{places}f}"


def _latex(body: str, notes: list[str]) -> str:
    """Signs as commands; the notes are comments and stay as they are."""
    signs = {"±": r"$\pm$", "Δ/σ": r"$\Delta/\sigma$", "–": "--", "†": r"$\dagger$"}
    signs |= {"‡": r"$\ddagger$", "*": r"$^*$"}
    for sign, command in signs.items():
        body = body.replace(sign, command)
    return body + "\n% " + "\n% ".join(notes) + "\n"


def _csv(cells: Sequence[Cell]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "dataset",
            "conditioning",
            "model",
            "status",
            "test_nats",
            "test_error",
            "published_nats",
            "published_error",
            "deviation_in_standard_errors",
            "marks",
            "chosen",
            "made",
        ]
    )
    for c in cells:
        writer.writerow(
            [c.dataset, "class" if c.conditional else "none", c.model, c.status]
            + ([c.ours.value, c.ours.error] if c.ours else ["", ""])
            + ([c.published.value, c.published.error] if c.published else ["", ""])
            + ["" if c.deviation is None else c.deviation, c.marks, c.chosen, c.made]
        )
    return text.getvalue()
