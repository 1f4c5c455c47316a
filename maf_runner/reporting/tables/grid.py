"""A table of figures, and its five forms: text, Markdown, LaTeX, CSV, JSON.

What stands in it may come from records of strangers, so each form escapes what it is given.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, pairwise
from textwrap import wrap
from typing import Any

from tabulate import tabulate

from maf_runner.reporting.comparison.cells import BEST
from maf_runner.reporting.comparison.published import Figure
from maf_runner.system.errors import UsageError, suggestion
from maf_runner.system.text import plain

FORMATS = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}
NOTHING = "–"
DIFFERENCE = (
    "Δ/σ: ours minus the paper's, in standard errors of the difference (beyond ±3 is hardly "
    "chance)."
)
NARROWEST = 16  # letters of the names of rows
LATEX_WIDTH = 99  # letters of a line of LaTeX
WIDE = 4  # columns beside the first, beyond which a page is too narrow for letters of usual size
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "^": r"\textasciicircum{}", "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%",
    "±": r"$\pm$", "Δ": r"$\Delta$", "σ": r"$\sigma$", "×": r"$\times$", NOTHING: "--",
    "*": r"$^{*}$", "†": r"$^{\dagger}$", "¶": r"$^{\P}$", "‡": r"$^{\ddagger}$", "§": r"$^{\S}$",
    "’": "'", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


EUROPEAN = {chr(code) for code in range(0xC0, 0x100)} - set("×÷ÐðÞþ")


@dataclass(frozen=True)
class Item:
    """What stands in one place of a table: a figure, or words."""

    text: str = NOTHING  # where there is no figure
    value: float | None = None
    error: float | None = None
    places: int = 2  # after the decimal point
    spread: float | None = None  # over seeds
    count: int | None = None  # of seeds, of whose figures this is the mean
    marks: str = ""
    best: bool = False
    run: str = ""  # key of the record behind it
    less_is_better: bool = False

    @classmethod
    def of(cls, figure: Figure | None, places: int | None = None, **others: Any) -> "Item":
        """A figure, or words where there is none; in the places it is worth, if none are given."""
        if figure is None:
            return cls(**others)
        if places is None:
            places = 1 if abs(figure.value) >= 1000 or (figure.error or 0) >= 10 else 2
        return cls(value=figure.value, error=figure.error, places=places, **others)

    @classmethod
    def difference(cls, deviation: float | None) -> "Item":
        """A difference in standard errors, if there is one."""
        return cls() if deviation is None else cls(f"{round(deviation, 1) + 0.0:+.1f}")

    @property
    def order(self) -> tuple[int, float, str]:
        """What it is sorted by: the best figure first, words behind."""
        try:
            number = float(self.text) if self.value is None else -self.value
        except ValueError:
            return (1, 0.0, self.text)
        return (0, -number if self.less_is_better else number, "")

    def __str__(self) -> str:
        if self.value is None:
            return self.text
        parts = [f"{self.value:.{self.places}f}"]
        if self.error is not None:
            parts.append(f"± {self.error:.{self.places}f}")
        if self.spread is not None:
            parts.append(f"({self.spread:.{max(self.places, 1)}f})")
        if self.count is not None:
            parts.append(f"({self.count})")
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
    corner: str = "model"  # the heading of the first column
    blocks: Sequence[int] = ()  # columns that belong together, from the left; () : all
    spare: Sequence[
        str
    ] = ()  # headings of columns that text goes without in turn, if it is narrow
    wordy: bool = False  # words and headings may take several lines of text; no row is left out

    def render(self, form: str, width: int | None = None) -> str:
        """The table in one of `FORMATS`.

        Text that is wider than ``width`` goes without spare columns, or is cut into blocks.
        """
        return _text(self, width) if form == "text" else WRITERS[form](self)

    def only(self, names: Sequence[str]) -> "Grid":
        """The columns with one of these names in their heading, in any letters.

        Raises:
            UsageError: a name that no column has.
        """
        lowered = [[part.lower() for part in heading] for heading in self.headings]
        for name in names:
            if not any(name.lower() in heading for heading in lowered):
                raise UsageError(f"no column is called {name!r}{suggestion(name, self.names())}")
        wanted = {name.lower() for name in names}
        kept = [i for i, heading in enumerate(lowered) if wanted & set(heading)]
        rows = [(name, [items[i] for i in kept]) for name, items in self.rows]
        blocks = [sum(i in kept for i in block) for block in self._blocks()]
        headings = [self.headings[i] for i in kept]
        blocks = [n for n in blocks if n]
        return replace(self, headings=headings, rows=rows, blocks=blocks, spare=())

    def sorted_by(self, name: str) -> "Grid":
        """The rows in the order of a column: figures from the best to the worst, then words.

        Raises:
            UsageError: there is no such column.
        """
        if name.lower() == "model":
            return replace(self, rows=sorted(self.rows, key=lambda row: row[0]))
        for i, heading in enumerate(self.headings):
            if name.lower() in (part.lower() for part in heading):
                return replace(self, rows=sorted(self.rows, key=lambda row: row[1][i].order))
        near = suggestion(name, ["model", *self.names()])
        raise UsageError(f"no column is called {name!r}{near}")

    def names(self) -> list[str]:
        """What columns can be called by."""
        return list(dict.fromkeys(part for heading in self.headings for part in heading))

    def _blocks(self) -> list[range]:
        """The places of the columns of each block."""
        ends = list(accumulate(self.blocks or [len(self.headings)]))
        return [range(start, end) for start, end in pairwise([0, *ends])]


def _text(grid: Grid, width: int | None = None) -> str:
    """Lines of text; a block under the other if ``width`` does not hold all columns."""
    gone: list[str] = []
    bodies = [_body(grid, range(len(grid.headings)))]
    if width is not None and not _fits(bodies[0], width):
        if grid.spare:
            body, gone = _narrow(grid, width)
            bodies = [body]
        else:
            bodies = [part for block in grid._blocks() for part in _parts(grid, block, width)]
    lines = [grid.caption, *(note.replace("bold:", BEST, 1) for note in grid.notes)]
    if gone:
        lines.append(f"no room for {', '.join(gone)}: --width N, or --columns NAME ...")
    lines = list(map(plain, lines))
    if width is not None:
        lines = ["\n".join(wrap(line, width, break_long_words=False)) for line in lines]
    caption, *notes = lines
    return "\n".join([caption, "", "\n\n".join(bodies), *([""] if notes else []), *notes]) + "\n"


def _fits(body: str, width: int) -> bool:
    return max(map(len, body.splitlines())) <= width


def _parts(grid: Grid, block: Sequence[int], width: int) -> list[str]:
    """A block of columns, with names of several lines and in several parts if it is too wide."""
    if _fits(body := _body(grid, block), width):
        return [body]
    names = max(NARROWEST, width // 4)
    for count in range(len(block), 0, -1):
        body = _body(grid, block[:count], names)
        if _fits(body, width) or count == 1:
            break
    rest = block[count:]
    return [body, *(_parts(grid, rest, width) if rest else [])]


def _narrow(grid: Grid, width: int) -> tuple[str, list[str]]:
    """The table with fewer columns and names of several lines, and the columns that are missing.

    Empty ones go first, which nobody misses.
    """
    places = [
        i
        for i, heading in enumerate(grid.headings)
        if heading[-1] not in grid.spare or any(str(items[i]) != NOTHING for _, items in grid.rows)
    ]
    spare = [name for name in grid.spare if any(grid.headings[i][-1] == name for i in places)]
    names = max(NARROWEST, width // 5)
    gone: set[str] = set()

    def body() -> str:
        left = [i for i in places if grid.headings[i][-1] not in gone]
        return _body(grid, left, names, every=True)

    for name in spare:
        if _fits(body(), width):
            break
        gone.add(name)
    for name in reversed([name for name in spare if name in gone]):
        # A wide column that went later may have made room enough for this one.
        gone.remove(name)
        if not _fits(body(), width):
            gone.add(name)
    return body(), [name for name in spare if name in gone]


def _body(
    grid: Grid, places: Sequence[int], names: int | None = None, *, every: bool = False
) -> str:
    """Some of the columns, and the rows that have something in one of them, or ``every`` row.

    ``names`` is how many letters of the first column, and of words, fit into a line.
    """

    def show(item: Item) -> str:
        text = plain(str(item)) + (BEST if item.best else "")
        return folded(text) if grid.wordy and item.value is None else text

    def folded(text: str) -> str:
        return text if names is None else "\n".join(wrap(text, names, break_long_words=False))

    def says(item: Item) -> bool:
        """Whether it is a figure, or a word on the run that has none."""
        return item.value is not None or bool(item.run)

    figures = any(says(items[i]) for _, items in grid.rows for i in places)

    def is_there(items: Sequence[Item]) -> bool:
        if figures:
            return any(says(items[i]) for i in places)
        return any(str(items[i]) != NOTHING for i in places)

    def first(name: str) -> str:
        whole_name = names is None or grid.wordy
        return folded(name if whole_name else re.sub(r"\b(model|trainer)\.", "", name))

    def heading(levels: tuple[str, ...]) -> str:
        texts = map(plain, _short(levels))
        return "\n".join(map(folded, texts) if grid.wordy else texts)

    whole = every or grid.wordy or len(places) == len(grid.headings)
    table = [
        [first(plain(name)), *(show(items[i]) for i in places)]
        for name, items in grid.rows
        if whole or is_there(items)
    ]
    headings = [grid.corner, *(heading(grid.headings[i]) for i in places)]
    return tabulate(table, headings, tablefmt="simple", **_aligned(headings))


def _markdown(grid: Grid) -> str:
    def escape(text: str) -> str:
        return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", plain(text))

    def show(item: Item) -> str:
        return f"**{escape(str(item))}**" if item.best else escape(str(item))

    table = [[escape(name), *map(show, items)] for name, items in grid.rows]
    headings = [grid.corner, *(escape(", ".join(_short(h))) for h in grid.headings)]
    body = tabulate(table, headings, tablefmt="pipe", **_aligned(headings))
    return "\n\n".join([grid.caption, body, *map(escape, grid.notes)]) + "\n"


def _short(levels: tuple[str, ...]) -> tuple[str, ...]:
    """A heading where levels cannot be spanned: ours is meant where nothing is said."""
    return levels[:-1] if levels[-1] == "ours" else levels[-1:]


def _aligned(headings: list[str]) -> dict[str, Any]:
    right = ["right"] * (len(headings) - 1)
    return {"colalign": ["left", *right], "disable_numparse": True}


def _latex(grid: Grid) -> str:
    """A table for a paper, with caption, label and notes."""
    wide = len(grid.headings) > WIDE
    lines = [
        "% in the preamble: \\usepackage{booktabs,threeparttable}",
        *(["% wide: choose columns by --columns, or turn it by sidewaystable"] if wide else []),
        r"\begin{table}",
        r"\centering",
        r"\scriptsize\setlength{\tabcolsep}{3pt}" if wide else r"\small",
        r"\begin{threeparttable}",
        rf"\caption{{{latex(grid.caption)}}}",
        rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', grid.name.lower())}}}",
        rf"\begin{{tabular}}{{l{'r' * len(grid.headings)}}}",
        r"\toprule",
    ]
    levels = max(map(len, grid.headings))
    for level in range(levels):
        above = groupby([heading[: level + 1] for heading in grid.headings])
        spans = [(heading[-1], len(list(group))) for heading, group in above]
        if level == levels - 1:
            lines.append(
                " & ".join([latex(grid.corner), *(latex(text) for text, _ in spans)]) + r" \\"
            )
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
        first = latex(name)
        first = f"{{}}{first}" if first[:1] in ("[", "*") else first  # else an option of the \\
        lines.append(" & ".join([first, *map(_latex_item, items)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if grid.notes:
        notes = [rf"\item {latex(note)}" for note in grid.notes]
        lines += [r"\begin{tablenotes}\footnotesize", *notes, r"\end{tablenotes}"]
    lines += [r"\end{threeparttable}", r"\end{table}"]
    return "\n".join(part for line in lines for part in _broken(line)) + "\n"


def _broken(line: str) -> list[str]:
    """A line of LaTeX in shorter ones: between cells, or at blanks, which mean the same there."""
    if " & " not in line:
        return wrap(line, LATEX_WIDTH, subsequent_indent="  ", break_long_words=False)
    cells = [cell.replace(" ", "\0") for cell in line.split(" & ")]
    text = " ".join([*(f"{cell}\0&" for cell in cells[:-1]), cells[-1]])
    parts = wrap(
        text, LATEX_WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [part.replace("\0", " ") for part in parts]


def _latex_item(item: Item) -> str:
    if item.value is None:
        return latex(item.text)
    figure = str(replace(item, marks=""))
    figure = figure.replace("±", r"\pm")
    bold = rf"\mathbf{{{figure}}}" if item.best else figure
    return f"${bold}$" + latex(item.marks)


def latex(text: str) -> str:
    r"""``text`` as LaTeX prints it, which knows the letters of western Europe.

    What it cannot print is a question mark.

    >>> latex("50 % of a_b ± 1, émile 流")
    '50 \\% of a\\_b $\\pm$ 1, émile ?'
    """
    return "".join(LATEX.get(c, c if c.isascii() or c in EUROPEAN else "?") for c in plain(text))


def _csv(grid: Grid) -> str:
    text = io.StringIO()
    if grid.data:
        writer = csv.DictWriter(text, grid.data[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _harmless(v) for k, v in row.items()} for row in grid.data)
    return text.getvalue()


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would carry out as a formula gets a quote in front of it."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _json(grid: Grid) -> str:
    content = {
        "table": grid.name,
        "caption": grid.caption,
        "notes": list(grid.notes),
        "rows": list(grid.data),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="replace").decode()  # names of folders need not be UTF-8


WRITERS: dict[str, Callable[[Grid], str]] = {
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
