"""The comparison as dots with error bars, ours beside the paper's."""

from collections.abc import Sequence
from itertools import accumulate
from statistics import median
from typing import TYPE_CHECKING

from maf_runner.reporting.comparison.cells import BEST, CHOSEN, SEEDS, Cell
from maf_runner.reporting.plots.drawing import COLOURS, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 3  # panels
FAR = 5  # times as far below the best as the middle one: beyond it a figure is an arrow,
MANY = 6  # where there are so many
SHIFT = 0.14  # of ours up and the paper's down, so that neither hides the other


def panels(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The cells of each column that has a figure of ours."""
    columns: dict[str, list[Cell]] = {}
    for cell in cells:
        columns.setdefault(cell.column, []).append(cell)
    return {name: column for name, column in columns.items() if any(c.ours for c in column)}


def size(columns: dict[str, list[Cell]]) -> tuple[float, float]:
    """Inches of the picture of these columns."""
    height = 0.24 * _rows(next(iter(columns.values())))[1]
    across = min(ACROSS, len(columns))
    return 1.3 + 2.2 * across, (0.9 + height) * -(-len(columns) // across) + 0.3


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
    lowest = values[0]
    if len(values) >= MANY:
        lowest = values[-1] - FAR * (values[-1] - median(values))
    shown = [f for f in figures if f.value >= lowest]
    ends = [f.value + sign * (f.error or 0) for f in shown for sign in (-1, 1)]
    return max(min(ends), lowest), max(ends)


def draw(figure: "Figure", columns: dict[str, list[Cell]]) -> None:
    """Draw a panel for each column, a line in it for each model."""
    across = min(ACROSS, len(columns))
    every = figure.subplots(-(-len(columns) // across), across, squeeze=False, sharey=True)
    first = next(iter(columns.values()))
    rows, end = _rows(first)
    styles = (
        ("ours", -SHIFT, {"marker": "o", "color": COLOURS[0]}),
        ("paper", SHIFT, {"marker": "D", "color": COLOURS[1], "markerfacecolor": "white"}),
    )
    for axes, (title, column) in zip(every.flat, columns.items(), strict=False):
        left, right = _limits(column)
        for kind, shift, style in styles:
            there = [
                (y + shift, cell, shown)
                for y, cell in zip(rows, column, strict=True)
                if (shown := cell.ours if kind == "ours" else cell.published) is not None
            ]
            inside = [(y, f) for y, _, f in there if f.value >= left]
            axes.errorbar(
                [f.value for _, f in inside],
                [y for y, _ in inside],
                xerr=[f.error or 0 for _, f in inside],
                label=kind,
                linestyle="none",
                markersize=4.5,
                capsize=2,
                **style,
            )
            for y, _, f in there:
                if f.value < left:  # an arrow at the edge, with the figure in words
                    colour = style["color"]
                    axes.plot(left, y, "<", color=colour, markersize=5, clip_on=False)
                    text = f"{f.value:,.0f}" if abs(f.value) > 100 else f"{f.value:.1f}"
                    axes.annotate(
                        text,
                        (left, y),
                        (6, -3),
                        textcoords="offset points",
                        fontsize=7,
                        color=colour,
                    )
            if kind == "ours":
                for y, cell, f in there:
                    if f.value < left:
                        continue
                    told = [m for m in cell.marks if m not in BEST + CHOSEN + SEEDS]
                    axes.annotate("".join(told), (f.value, y), (5, 1), textcoords="offset points")
        margin = 0.05 * (right - left) or 1.0
        axes.set(title=title, xlabel="nats", ylim=(end, 0), xlim=(left - margin, right + margin))
        axes.set_yticks(rows, [label(cell.model) for cell in first])
        axes.locator_params(axis="x", nbins=4)
        axes.grid(axis="y", color="0.9")
        axes.set_axisbelow(True)
    for axes in every.flat[len(columns) :]:
        axes.set_visible(False)
    handles, labels = every.flat[0].get_legend_handles_labels()
    if any(cell.published for column in columns.values() for cell in column):
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
