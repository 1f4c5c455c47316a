"""Pictures of what a model draws, and of the density it has learned."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maf_runner.reporting.plots.drawing import Axis, drawing, pyplot, save
from maf_runner.system import output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

Array = NDArray[np.floating]
LogProb = Callable[[Array], Array]  # log densities [m] in nats of rows [m, 2]
CELLS = 300  # of a density, along each side


def mosaic(pictures: Array, columns: int) -> Array:
    """Pictures [n, height, width(, 3)], values in [0, 1], as one, with white lines between."""
    n, height, width = pictures.shape[:3]
    rows = -(-n // columns)
    gap = 1
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, *pictures.shape[3:])
    canvas = np.ones(shape)
    for i, picture in enumerate(pictures):
        top, left = (
            k * (size + gap) + gap
            for k, size in zip(divmod(i, columns), (height, width), strict=True)
        )
        canvas[top : top + height, left : left + width] = picture
    return canvas


def sample_grid(path: Path, pictures: Array, columns: int) -> None:
    """Write pictures [n, height, width(, 3)], values in [0, 1], as one grid to a PNG."""
    output.write(path, sample_png(pictures, columns))


def sample_png(pictures: Array, columns: int, *, pixels: int = 800) -> bytes:
    """A PNG of pictures as one grid, enlarged to about so many pixels."""
    canvas = mosaic(pictures, columns)
    zoom = max(1, pixels // max(canvas.shape[:2]))
    canvas = canvas.repeat(zoom, axis=0).repeat(zoom, axis=1)
    content = io.BytesIO()
    pyplot().imsave(content, canvas, cmap="gray", vmin=0, vmax=1, format="png")
    return content.getvalue()


def sample_grids(path: Path, grids: Mapping[str, Array], columns: int) -> None:
    """Write grids of pictures side by side, each under its title."""
    across = min(3, len(grids))
    down = -(-len(grids) // across)
    with drawing(2.6 * across, 2.9 * down) as figure:
        every = figure.subplots(down, across, squeeze=False)
        for axes, (title, pictures) in zip(every.flat, grids.items(), strict=False):
            axes.imshow(mosaic(pictures, columns), cmap="gray", vmin=0, vmax=1)
            axes.set_title(title)
        for axes in figure.axes:
            axes.set(xticks=[], yticks=[], frame_on=False)
        save(figure, path)


class Learned(NamedTuple):
    """Points [n, 2] under their ``name``, and the densities models learned of them, by title.

    ``axes`` are the columns of a table, in whose units the points are; None: no names, and one
    scale for both.
    """

    name: str
    points: Array
    densities: dict[str, LogProb]
    axes: tuple[Axis, Axis] | None = None


def densities(path: Path, learned: Sequence[Learned]) -> None:
    """Write points beside the densities that models have learned of them, a row for each data."""
    across = 1 + max(len(one.densities) for one in learned)
    with drawing(0.4 + 2.9 * across, 3.1 * len(learned)) as figure:
        rows = figure.subfigures(len(learned), 1, squeeze=False)[:, 0]
        for row, one in zip(rows, learned, strict=True):
            _densities(row, one, across)
        save(figure, path)


def _densities(figure: "SubFigure", learned: Learned, across: int) -> None:
    points = learned.points
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low if learned.axes else np.full(2, (high - low).max()))
    ends = zip(low - margin, high + margin, strict=True)
    sides = [np.linspace(a, b, CELLS) for a, b in ends]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    aspect = "auto" if learned.axes else "equal"
    first, second = learned.axes or (Axis("x₁"), Axis("x₂"))
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    # A spike away from the data, as flows have them, must not darken all the rest.
    top = max(np.quantile(_values(f, points), 0.99) for f in learned.densities.values())
    left, *others = figure.subplots(1, across, sharex=True, sharey=True)
    left.scatter(points[:5000, 0], points[:5000, 1], s=1.5, color="black", alpha=0.5, linewidths=0)
    left.set(title=learned.name, aspect=aspect)
    second.mark(left, "y")
    first.mark(left, "x")
    for axes, (title, log_prob) in zip(others, learned.densities.items(), strict=False):
        values = _values(log_prob, grid).reshape(CELLS, CELLS).T
        image = axes.imshow(values, origin="lower", extent=extent, vmin=0, vmax=top)
        axes.set(title=title, aspect=aspect)
        first.mark(axes, "x")
    for axes in others[len(learned.densities) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=others, label="density", extend="max")


def _values(log_prob: LogProb, points: Array) -> Array:
    """The density at points; 0 where the noise of a flow overflows, which makes it NaN."""
    return np.exp(np.nan_to_num(log_prob(points), nan=-np.inf))


def scatter(path: Path, samples: Array, log_prob: LogProb, *, title: str) -> None:
    """Write samples [n, 2] with contours of the density they were drawn from to a file."""
    scatters(path, {title: (samples, log_prob)})


def scatters(path: Path, drawn: Mapping[str, tuple[Array, LogProb]]) -> None:
    """Write samples [n, 2] of several models, each with contours of the density it is."""
    with drawing(3.4 * len(drawn), 3.2) as figure:
        every = figure.subplots(1, len(drawn), squeeze=False)[0]
        for axes, (title, (samples, log_prob)) in zip(every, drawn.items(), strict=True):
            _scatter(axes, samples, log_prob)
            axes.set(title=title, xlabel="x₁", ylabel="x₂")
            axes.set_aspect("equal", adjustable="datalim")
        save(figure, path)


def _scatter(axes: "Axes", samples: Array, log_prob: LogProb) -> None:
    low, high = np.quantile(samples, [0.001, 0.999], axis=0)
    margin = 0.1 * (high - low).max()
    sides = [np.linspace(a - margin, b + margin, 200) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    values = np.exp(log_prob(grid)).reshape(200, 200).T
    axes.scatter(samples[:, 0], samples[:, 1], s=3, color="black", alpha=0.4, linewidths=0)
    # Each contour holds 10, 30, 50, 70, 90 % of the probability.
    levels = np.unique(np.quantile(np.exp(log_prob(samples)), [0.1, 0.3, 0.5, 0.7, 0.9]))
    if np.isfinite(levels).all():
        axes.contour(*sides, values, levels=levels, cmap="viridis", linewidths=1)
