"""The comparison as dots with error bars, ours beside the paper's."""

from collections.abc import Sequence
from itertools import accumulate
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any

from maf_runner.reporting.comparison.cells import BEST, CHOSEN, SEEDS, Cell
from maf_runner.reporting.plots.drawing import in_order, label, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3  # panels
FAR = 5  # times as far below the best as the middle one: beyond it a figure is an arrow,
MANY = 6  # where there are so many
SHIFT = 0.14  # of ours up and the paper's down, so that neither hides the other
FAR_SHIFT = 0.25  # of arrows, which have figures beside them
POINT: dict[str, Any] = {"linestyle": "none", "markersize": 4.5, "capsize": 2}
OURS = {**POINT, "marker": "o"}  # in the colour of the model, the bar in the dashes of its trainer
PAPER = {**POINT, "marker": "D", "color": "0.45", "markerfacecolor": "white"}
ABOVE: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 7}


def panels(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The cells of each column that has a figure of ours."""
    columns: dict[str, list[Cell]] = {}
    for cell in cells:
        columns.setdefault(cell.column, []).append(cell)
    return {name: column for name, column in columns.items() if any(c.ours for c in column)}


def size(columns: dict[str, list[Cell]]) -> tuple[float, float]:
    """Inches of the picture of these columns."""
    lines = _lines(columns)
    return 1.3 + 2.2 * max(map(len, lines)), sum(map(_height, lines)) + 0.3


def _lines(columns: dict[str, list[Cell]]) -> list[dict[str, list[Cell]]]:
    """The panels that stand beside each other, with the models that one of them has."""
    lines = []
    for start in range(0, len(columns), ACROSS):
        line = dict(list(columns.items())[start : start + ACROSS])
        there = {c.model for column in line.values() for c in column if c.ours or c.published}
        lines.append({name: [c for c in line[name] if c.model in there] for name in line})
    return lines


def _height(line: dict[str, list[Cell]]) -> float:
    return 0.9 + 0.24 * _rows(next(iter(line.values())))[1]


def _rows(column: list[Cell]) -> tuple[list[float], float]:
    """Where the row of each model is, long names having more room; and the end of the last."""
    room = [1 + 0.6 * label(cell.model).count("\n") for cell in column]
    ends = list(accumulate(room))
    return [end - own / 2 for end, own in zip(ends, room, strict=True)], ends[-1]


def _limits(column: Sequence[Cell]) -> tuple[float, float]:
    """The lowest and highest figure of a panel that are drawn in their places.

    One far below all others, of a model that gives single rows nothing, would press them together.
    """
    figures = [f for cell in column for f in (cell.ours, cell.published) if f is not None]
    values = sorted(f.value for f in figures)
    lowest = -inf
    if len(values) >= MANY:
        lowest = values[-1] - FAR * (values[-1] - median(values))
    shown = [f for f in figures if f.value >= lowest]
    ends = [f.value + sign * (f.error or 0) for f in shown for sign in (-1, 1)]
    return max(min(ends), lowest), max(ends)


def draw(
    figure: "Figure", columns: dict[str, list[Cell]], labels: Sequence[str] | None = None
) -> None:
    """Draw a panel for each column, a line in it for each model.

    ``labels`` are all models, as `drawing.in_order` has them; None: those of ``columns``.
    """
    every = [cell for column in columns.values() for cell in column]
    labels = labels or in_order(cell.model for cell in every)
    lines = _lines(columns)
    across = max(map(len, lines))
    grid = figure.add_gridspec(len(lines), across, height_ratios=list(map(_height, lines)))
    for i, line in enumerate(lines):
        for j, (title, column) in enumerate(line.items()):
            axes = figure.add_subplot(grid[i, j])
            _panel(axes, column, labels, named=j == 0)
            axes.set(title=title, xlabel="nats")
    if any(cell.published for cell in every):
        handles = [
            figure.axes[0].errorbar([], [], xerr=[], color="black", label="ours", **OURS),
            figure.axes[0].errorbar([], [], xerr=[], label="paper", **PAPER),
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=2)


def _panel(axes: "Axes", column: list[Cell], labels: Sequence[str], *, named: bool) -> None:
    rows, end = _rows(column)
    left, right = _limits(column)
    for y, cell in zip(rows, column, strict=True):
        colour, dashes = style_of(cell.model, labels)
        kinds = ((cell.published, 1, PAPER), (cell.ours, -1, {**OURS, "color": colour}))
        for figure, side, style in kinds:
            if figure is None:
                continue
            side *= cell.ours is not None and cell.published is not None
            if figure.value < left:
                _arrow(axes, left, y + FAR_SHIFT * side, figure.value, style["color"])
                continue
            place = figure.value, y + SHIFT * side
            bar = axes.errorbar(*place, xerr=figure.error or 0, **style)
            if figure is cell.ours:
                bar[2][0].set_linestyle(dashes)
                told = [m for m in cell.marks if m not in BEST + CHOSEN + SEEDS]
                axes.annotate("".join(told), place, (0, 2.5), **ABOVE)
    margin = 0.05 * (right - left) or 1.0
    axes.set(ylim=(end, 0), xlim=(left - margin, right + margin))
    axes.set_yticks(rows, [label(cell.model) if named else "" for cell in column])
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


def _arrow(axes: "Axes", x: float, y: float, value: float, colour: str) -> None:
    """At the edge, with the figure in words."""
    axes.plot(x, y, "<", color=colour, markersize=5, clip_on=False)
    text = f"{value:,.0f}" if abs(value) > 100 else f"{value:.1f}"
    axes.annotate(
        text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=7, color=colour
    )
