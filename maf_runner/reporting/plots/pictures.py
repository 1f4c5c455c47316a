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
CONTOURED = 200  # of one behind samples
ACROSS = 3  # panels of samples
MOST_POINTS = 5000  # of the data that are drawn
BEHIND = "0.8"  # grey of the data behind samples


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
    heights = [0.7 + 2.4 * _tall(np.ptp(one.points, axis=0), one.axes) for one in learned]
    with drawing(0.4 + 2.9 * across, sum(heights)) as figure:
        rows = figure.subfigures(len(learned), 1, squeeze=False, height_ratios=heights)[:, 0]
        for row, one in zip(rows, learned, strict=True):
            _densities(row, one, across)
        save(figure, path)


def _tall(widths: Array, axes: tuple[Axis, Axis] | None) -> float:
    """The height of a panel for its width; the scales are the same unless axes have names."""
    return 1.0 if axes else float(np.clip(widths[1] / max(widths[0], 1e-9), 0.4, 2.0))


def _densities(figure: "SubFigure", learned: Learned, across: int) -> None:
    points = learned.points
    low, high = points.min(axis=0), points.max(axis=0)
    widths = high - low if learned.axes else np.full(2, (high - low).max())
    margin = np.where(widths > 0, 0.1 * widths, 0.5)  # a column may have one value alone
    ends = zip(low - margin, high + margin, strict=True)
    sides = [np.linspace(a, b, CELLS) for a, b in ends]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    aspect = "auto" if learned.axes else "equal"
    first, second = learned.axes or (Axis("x₁"), Axis("x₂"))
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    # A spike away from the data, as flows have them, must not darken all the rest.
    top = max(np.quantile(_values(f, points), 0.99) for f in learned.densities.values())
    left, *others = figure.subplots(1, across, sharex=True, sharey=True)
    left.scatter(
        points[:MOST_POINTS, 0],
        points[:MOST_POINTS, 1],
        s=1.5,
        color="black",
        alpha=0.5,
        linewidths=0,
    )
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


class Drawn(NamedTuple):
    """Samples [n, 2] of a model, the density they were drawn from, and what lies behind them.

    ``data`` are rows [m, 2] of the data, in the units of the samples; None: there are none at
    hand. ``axes`` as in `Learned`.
    """

    samples: Array
    log_prob: LogProb
    data: Array | None = None
    axes: tuple[Axis, Axis] | None = None


def scatter(path: Path, drawn: Drawn, *, title: str) -> None:
    """Write samples with contours of the density they were drawn from to a file."""
    scatters(path, {title: drawn})


def scatters(path: Path, drawn: Mapping[str, Drawn]) -> None:
    """Write samples of several models, on the same axes and with the data behind them."""
    across = min(ACROSS, len(drawn))
    down = -(-len(drawn) // across)
    sides = _sides(list(drawn.values()))
    named = next((one.axes for one in drawn.values() if one.axes), None)
    tall = _tall(np.ptp(sides, axis=1), named)
    with drawing(0.4 + 2.9 * across, 0.9 + (0.4 + 2.75 * tall) * down) as figure:
        every = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for i, (axes, (title, one)) in enumerate(zip(every.flat, drawn.items(), strict=False)):
            _scatter(axes, one, sides)
            first, second = one.axes or (Axis("x₁"), Axis("x₂"))
            axes.set(title=title, aspect="auto" if one.axes else "equal")
            axes.set(xlim=sides[0][[0, -1]], ylim=sides[1][[0, -1]])
            first.mark(axes, "x", label=i + across >= len(drawn))
            second.mark(axes, "y", label=i % across == 0)
            axes.tick_params(labelbottom=i + across >= len(drawn))
        for axes in every.flat[len(drawn) :]:
            axes.set_visible(False)
        if any(one.data is not None for one in drawn.values()):
            handles = [
                axes.scatter([], [], s=8, color=colour, label=name)
                for name, colour in (("test rows", BEHIND), ("samples", "black"))
            ]
            figure.legend(handles=handles, loc="outside upper right", ncols=2)
        save(figure, path)


def _sides(drawn: Sequence[Drawn]) -> tuple[Array, Array]:
    """Places along both sides, which hold the data and nearly all samples.

    Few samples far out, as flows have them, would press all the rest together: the picture goes
    beyond the data by at most their own width.
    """
    every = [np.quantile(one.samples, [0.005, 0.995], axis=0) for one in drawn]
    low, high = (pick([e[i] for e in every], axis=0) for i, pick in enumerate((np.min, np.max)))
    data = [one.data for one in drawn if one.data is not None and len(one.data)]
    if data:
        rows = np.concatenate(data)
        least, most = rows.min(axis=0), rows.max(axis=0)
        width = most - least
        low = np.clip(low, least - width, least)
        high = np.clip(high, most, most + width)
    margin = 0.05 * (high - low)
    if all(one.axes is None for one in drawn):
        margin = np.full(2, margin.max())
    first, second = (
        np.linspace(a, b, CONTOURED) for a, b in zip(low - margin, high + margin, strict=True)
    )
    return first, second


def _scatter(axes: "Axes", drawn: Drawn, sides: tuple[Array, Array]) -> None:
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    values = _values(drawn.log_prob, grid).reshape(CONTOURED, CONTOURED).T
    if drawn.data is not None:
        points = drawn.data[:MOST_POINTS]
        axes.scatter(points[:, 0], points[:, 1], s=3, color=BEHIND, linewidths=0)
    samples = drawn.samples
    axes.scatter(samples[:, 0], samples[:, 1], s=3, color="black", alpha=0.5, linewidths=0)
    # Each contour holds 10, 30, 50, 70, 90 % of the probability.
    inside = np.quantile(_values(drawn.log_prob, samples), [0.1, 0.3, 0.5, 0.7, 0.9])
    levels = np.unique(inside)
    if np.isfinite(levels).all():
        axes.contour(*sides, values, levels=levels, cmap="viridis", linewidths=1)
