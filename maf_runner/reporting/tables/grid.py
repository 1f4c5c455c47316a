"""A table of figures, and its five forms: text, Markdown, LaTeX, CSV, JSON.

What stands in it may come from records of strangers, so each form escapes what it is given.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tabulate import tabulate

from maf_runner.reporting.comparison.cells import BEST
from maf_runner.reporting.comparison.published import Figure

FORMATS = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}
NOTHING = "–"
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "^": r"\textasciicircum{}", "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%",
    "±": r"$\pm$", "Δ": r"$\Delta$", "σ": r"$\sigma$", "×": r"$\times$", NOTHING: "--",
    "*": r"$^{*}$", "†": r"$^{\dagger}$", "¶": r"$^{\P}$", "‡": r"$^{\ddagger}$", "§": r"$^{\S}$",
    "’": "'",
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """What stands in one place of a table: a figure, or words."""

    text: str = NOTHING  # where there is no figure
    value: float | None = None
    error: float | None = None
    places: int = 2  # after the decimal point
    spread: float | None = None  # over seeds
    marks: str = ""
    best: bool = False
    run: str = ""  # key of the record behind it

    @classmethod
    def of(cls, figure: Figure | None, places: int | None = None, **others: Any) -> "Item":
        """A figure, or words where there is none; in the places it is worth, if none are given."""
        if figure is None:
            return cls(**others)
        if places is None:
            places = 1 if abs(figure.value) >= 1000 or figure.error >= 10 else 2
        return cls(value=figure.value, error=figure.error, places=places, **others)

    @classmethod
    def difference(cls, deviation: float | None) -> "Item":
        """A difference in standard errors, if there is one."""
        return cls() if deviation is None else cls(f"{round(deviation, 1) + 0.0:+.1f}")

    def __str__(self) -> str:
        if self.value is None:
            return self.text
        parts = [f"{self.value:.{self.places}f}"]
        if self.error is not None:
            parts.append(f"± {self.error:.{self.places}f}")
        if self.spread is not None:
            parts.append(f"({self.spread:.{max(self.places, 1)}f})")
        return " ".join(parts) + self.marks


@dataclass(frozen=True)
class Grid:
    """A table: headings in one or several levels, rows, notes, and the same as plain data."""

    name: str
    title: str
    caption: str
    headings: Sequence[tuple[str, ...]]  # of each column after the first, outermost level first
    rows: Sequence[tuple[str, Sequence[Item]]]
    notes: Sequence[str]
    data: Sequence[dict[str, Any]] = field(repr=False)

    def render(self, form: str) -> str:
        """The table in one of `FORMATS`."""
        return WRITERS[form](self)


def plain(text: str) -> str:
    """``text`` in one line, without signs that would control a terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _text(grid: Grid) -> str:
    def show(item: Item) -> str:
        return plain(str(item)) + (BEST if item.best else "")

    table = [[plain(name), *map(show, items)] for name, items in grid.rows]
    headings = ["model", *("\n".join(map(plain, _short(h))) for h in grid.headings)]
    body = tabulate(table, headings, tablefmt="simple", **_aligned(headings))
    notes = [note.replace("bold:", BEST, 1) for note in grid.notes]
    return "\n".join([grid.caption, "", body, *map(plain, notes)]) + "\n"


def _markdown(grid: Grid) -> str:
    def escape(text: str) -> str:
        return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", plain(text))

    def show(item: Item) -> str:
        return f"**{escape(str(item))}**" if item.best else escape(str(item))

    table = [[escape(name), *map(show, items)] for name, items in grid.rows]
    headings = ["model", *(escape(", ".join(_short(h))) for h in grid.headings)]
    body = tabulate(table, headings, tablefmt="pipe", **_aligned(headings))
    return "\n\n".join([grid.caption, body, *map(escape, grid.notes)]) + "\n"


def _short(levels: tuple[str, ...]) -> tuple[str, ...]:
    """A heading where levels cannot be spanned: ours is meant where nothing is said."""
    return levels[:-1] if levels[-1] == "ours" else levels[-1:]


def _aligned(headings: list[str]) -> dict[str, Any]:
    right = ["right"] * (len(headings) - 1)
    return {"colalign": ["left", *right], "disable_numparse": True}


def _latex(grid: Grid) -> str:
    """A tabular for booktabs, to be put into a table; the notes are comments."""
    lines = [rf"\begin{{tabular}}{{l{'r' * len(grid.headings)}}}", r"\toprule"]
    levels = max(map(len, grid.headings))
    for level in range(levels):
        above = groupby([heading[: level + 1] for heading in grid.headings])
        spans = [(heading[-1], len(list(group))) for heading, group in above]
        if level == levels - 1:
            lines.append(" & ".join(["model", *(latex(text) for text, _ in spans)]) + r" \\")
            break
        heads = [rf"\multicolumn{{{n}}}{{c}}{{{latex(text)}}}" for text, n in spans]
        lines.append(" & ".join(["", *heads]) + r" \\")
        column, rules = 2, []
        for _, n in spans:
            rules.append(rf"\cmidrule(lr){{{column}-{column + n - 1}}}")
            column += n
        lines.append(" ".join(rules))
    lines.append(r"\midrule")
    for name, items in grid.rows:
        lines.append(" & ".join([latex(name), *map(_latex_item, items)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {plain(n)}" for n in (grid.caption, *grid.notes))]) + "\n"


def _latex_item(item: Item) -> str:
    if item.value is None:
        return latex(item.text)
    figure = str(Item(value=item.value, error=item.error, places=item.places, spread=item.spread))
    figure = figure.replace("±", r"\pm")
    bold = rf"\mathbf{{{figure}}}" if item.best else figure
    return f"${bold}$" + latex(item.marks)


def latex(text: str) -> str:
    r"""``text`` as LaTeX prints it; what it cannot print is a question mark.

    >>> latex("50 % of a_b ± 1")
    '50 \\% of a\\_b $\\pm$ 1'
    """
    return "".join(LATEX.get(c, c if c.isascii() else "?") for c in plain(text))


def _csv(grid: Grid) -> str:
    text = io.StringIO()
    if grid.data:
        writer = csv.DictWriter(text, grid.data[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(grid.data)
    return text.getvalue()


def _json(grid: Grid) -> str:
    content = {
        "table": grid.name,
        "caption": grid.caption,
        "notes": list(grid.notes),
        "rows": list(grid.data),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


WRITERS: dict[str, Callable[[Grid], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
