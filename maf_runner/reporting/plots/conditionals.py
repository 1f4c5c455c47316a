"""Densities of one column as curves, of two as regions of highest density; panel by panel."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maf_runner.reporting.plots.drawing import COLOURS, DASHES, Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
LogProb = Callable[[Array], Array]  # log densities [m] in nats of rows [m, D]
MOST = 12  # panels
ACROSS = 4
POINTS = 600  # of a curve
CELLS = 200  # of a region, along each side
HELD = (0.95, 0.8, 0.5, 0.2)  # of the probability, by the regions
TRUE = "true density"  # its name among the densities


class Panel(NamedTuple):
    """Densities by name under a ``title``, and the rows [n, 1] they were learned from, if any."""

    title: str
    densities: Mapping[str, LogProb]
    points: Array | None = None


def size(panels: int) -> tuple[float, float]:
    """Inches of the picture of so many panels."""
    across = min(ACROSS, panels)
    return 0.9 + (3.6 if panels == 1 else 2.3 * across), 2.5 * -(-panels // ACROSS) + 0.7


def limits(rows: Array) -> Array:
    """The ends [D, 2] of the axes around rows [n, D]: all but the outermost, with a margin."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    low, high = np.quantile(rows, [0.001, 0.999], axis=0)
    margin = np.where(high > low, 0.1 * (high - low), 0.5)
    return np.column_stack([low - margin, high + margin])


def curve(log_prob: LogProb, ends: Array) -> tuple[Array, Array]:
    """Places [m] between ``ends`` [1, 2], and the density there."""
    (low, high), *_ = ends
    x = np.linspace(low, high, POINTS)
    return x, _values(log_prob, x[:, None])


def surface(log_prob: LogProb, ends: Array) -> tuple[Array, Array, Array]:
    """Places [m] of both columns between ``ends`` [2, 2], and the density there [m, m].

    Rows of the density belong to the second column.
    """
    x, y = (np.linspace(low, high, CELLS) for low, high in ends)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return x, y, _values(log_prob, grid).reshape(CELLS, CELLS)


def draw(figure: "Figure", panels: Sequence[Panel], columns: Sequence[Axis], ends: Array) -> None:
    """Draw densities of one column or two: a panel each, on the same axes.

    Args:
        figure: to draw into.
        panels: what is drawn; of two columns the first of the densities of each.
        columns: D, one or two.
        ends: [D, 2] of the axes.
    """
    across = min(ACROSS, len(panels))
    every = figure.subplots(
        -(-len(panels) // across), across, squeeze=False, sharex=True, sharey=True
    ).flat
    for axes, panel in zip(every, panels, strict=False):
        axes.set_title(panel.title, fontsize=8)
        if len(columns) == 1:
            _draw_curves(axes, panel, ends)
        else:
            _draw_regions(axes, panel, ends)
            columns[1].mark(axes, "y", label=axes.get_subplotspec().is_first_col())
        columns[0].mark(axes, "x")
    for axes in every[len(panels) :]:
        axes.set_axis_off()
    if len(columns) == 1:
        for axes in every[::across]:
            axes.set_ylabel("density")
        every[0].set_ylim(bottom=0)
        if len(panels[0].densities) > 1 or panels[0].points is not None:
            every[0].legend()
    else:
        _explain(figure)


def _draw_curves(axes: "Axes", panel: Panel, ends: Array) -> None:
    if panel.points is not None:
        values = panel.points[:, 0]
        edges = np.linspace(ends[0, 0], ends[0, 1], 61)
        heights = np.histogram(values, edges)[0] / len(values) / np.diff(edges)
        axes.stairs(heights, edges, fill=True, color="0.85", label="training rows")
    models = 0
    for name, log_prob in panel.densities.items():
        x, density = curve(log_prob, ends)
        colour = "black" if name == TRUE else COLOURS[models % len(COLOURS)]
        dashes = DASHES[2] if name == TRUE else DASHES[models % 2]
        axes.plot(x, density, color=colour, linestyle=dashes, label=name)
        models += name != TRUE


def _draw_regions(axes: "Axes", panel: Panel, ends: Array) -> None:
    (log_prob, *_) = panel.densities.values()
    x, y, density = surface(log_prob, ends)
    levels = heights(density)
    if levels is None:
        axes.text(0.5, 0.5, "no density here", transform=axes.transAxes, ha="center")
        return
    axes.contourf(x, y, density, levels=[*levels, density.max() * 1.01], colors=_shades())
    axes.contour(x, y, density, levels=levels, colors=COLOURS[0], linewidths=0.5)


def heights(density: Array) -> list[float] | None:
    """The densities on the edges of the regions that hold `HELD` of the probability, ascending.

    ``density`` is on an even grid that holds nearly all of it. None: there is none, or it lies in
    so few cells that the regions are the same.
    """
    ordered = np.sort(density, axis=None)[::-1]
    mass = np.cumsum(ordered)
    if not mass[-1] > 0:
        return None
    levels = [float(ordered[np.searchsorted(mass, held * mass[-1])]) for held in HELD]
    return levels if all(np.diff(levels) > 0) else None


def _shades() -> list[str]:
    return ["#d6e6f4", "#abd0e6", "#6aaed6", "#2070b4"]  # of one blue, darker inwards


def _explain(figure: "Figure") -> None:
    from matplotlib.patches import Patch

    patches = [
        Patch(color=shade, label=f"{held:.0%}")
        for shade, held in zip(_shades(), HELD, strict=True)
    ]
    figure.legend(
        handles=patches,
        title="regions of highest density that hold",
        title_fontsize=7.5,
        loc="outside lower center",
        ncols=len(HELD),
    )


def _values(log_prob: LogProb, rows: Array) -> Array:
    """The density at rows; 0 where it is too small for a number, or not one."""
    return np.exp(np.nan_to_num(log_prob(rows), nan=-np.inf))
