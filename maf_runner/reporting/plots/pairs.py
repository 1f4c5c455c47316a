"""Samples against data, each pair of columns: a corner plot."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maf_runner.reporting.plots.drawing import COLOURS, Axis, headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
MOST = 10  # columns
SHOWN = 2_000  # points of each kind in a panel, at most; histograms count all
ENDS = (
    0.005,
    0.995,
)  # quantiles between which an axis goes: a value far out must not press the rest
BINS = 40
DATA = "0.55"  # the grey of the data


def size(columns: int) -> tuple[float, float]:
    """Inches of the picture of so many columns."""
    side = 1.0 + max(2.6, 1.35 * columns)
    return side, side


def limits(groups: Sequence[Array]) -> Array:
    """The ends [D, 2] of the axes for groups of rows [n, D], with a margin."""
    values = np.concatenate(groups)
    values = values[np.isfinite(values).all(axis=1)]
    low, high = np.quantile(values, ENDS, axis=0)
    margin = np.where(high > low, 0.06 * (high - low), 0.5)
    return np.column_stack([low - margin, high + margin])


def draw(
    figure: "Figure",
    axes_of: Sequence[Axis],
    data: tuple[str, Array],
    samples: Mapping[str, Array],
    title: str,
) -> None:
    """Draw a histogram for each of D columns, and the points of each pair below the diagonal.

    Args:
        figure: to draw into.
        axes_of: the D columns.
        data: name and rows [n, D] of the data, grey behind the samples.
        samples: rows [m, D] by name.
        title: of the picture.
    """
    count = len(axes_of)
    groups = {data[0]: (data[1], DATA)}
    for i, (name, rows) in enumerate(samples.items()):
        groups[name] = (rows, COLOURS[i % len(COLOURS)])
    ends = limits([rows for rows, _ in groups.values()])
    every = figure.subplots(count, count, squeeze=False, sharex="col")
    for i, row in enumerate(every):
        for j, axes in enumerate(row):
            if j > i:
                axes.set_visible(False)
                continue
            if i == j:
                _histogram(axes, ends[i], {name: (x[:, i], c) for name, (x, c) in groups.items()})
            else:
                _points(axes, {name: (x[:, [j, i]], c) for name, (x, c) in groups.items()})
                axes.set_ylim(*ends[i])
                axes_of[i].mark(axes, "y", label=j == 0)
            axes.set_xlim(*ends[j])
            axes_of[j].mark(axes, "x", label=i == count - 1)
            if j and i != j:
                axes.tick_params(labelleft=False)
    # Only where there are labels: each axis asks all those that it is aligned with.
    figure.align_xlabels(every[-1])
    figure.align_ylabels(every[:, 0])
    handles, names = every[0, 0].get_legend_handles_labels()
    names = [textwrap.fill(name, 30) for name in names]
    if count > 1:
        corner = every[0, -1]  # it is empty
        corner.set_visible(True)
        corner.set_axis_off()
        corner.legend(handles, names, loc="upper right")
    else:
        figure.legend(handles, names, loc="outside lower center", ncols=2)
    headline(figure, title)


def _histogram(axes: "Axes", ends: Array, groups: Mapping[str, tuple[Array, str]]) -> None:
    edges = np.linspace(ends[0], ends[1], BINS + 1)
    for i, (name, (values, colour)) in enumerate(groups.items()):
        # Of all values: what lies outside of the axis lowers the bars.
        heights = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
        axes.stairs(heights, edges, fill=i == 0, color="0.8" if i == 0 else colour, label=name)
    axes.set(yticks=[])
    axes.spines["left"].set_visible(False)


def _points(axes: "Axes", groups: Mapping[str, tuple[Array, str]]) -> None:
    """As many of each group as there are data: neither cloud hides the other."""
    (data, _), *_ = groups.values()
    for i, (points, colour) in enumerate(groups.values()):
        x, y = points[: min(SHOWN, len(data))].T
        size, alpha = (5, 0.5) if i == 0 else (2.5, 0.45)
        axes.scatter(x, y, s=size, color=colour, alpha=alpha, linewidths=0, rasterized=True)
