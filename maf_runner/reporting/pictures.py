"""Pictures from arrays: what a model draws, and the density it has learned.

Colours are readable in print and by the colour-blind (matplotlib's viridis and greys). A picture
needs the extra ``plot``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner import atomic
from maf_runner.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.floating]


def sample_grid(path: Path, pictures: Array, columns: int) -> None:
    """Write pictures [n, height, width(, 3)], values in [0, 1], as one grid to a PNG."""
    n, height, width = pictures.shape[:3]
    rows = -(-n // columns)
    gap = 1
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, *pictures.shape[3:])
    canvas = np.ones(shape)
    for i, picture in enumerate(np.clip(pictures, 0, 1)):
        top, left = (
            k * (size + gap) + gap
            for k, size in zip(divmod(i, columns), (height, width), strict=True)
        )
        canvas[top : top + height, left : left + width] = picture
    zoom = max(1, 800 // max(shape[:2]))
    canvas = canvas.repeat(zoom, axis=0).repeat(zoom, axis=1)
    plt = _pyplot()
    atomic.write(path, lambda p: plt.imsave(p, canvas, cmap="gray", vmin=0, vmax=1, format="png"))


def density(
    path: Path, points: Array, log_prob: Callable[[Array], Array], *, title: str, name: str
) -> None:
    """Write points [n, 2] beside the density a model has learned of them to a PNG.

    Args:
        path: the file.
        points: data.
        log_prob: log densities in nats of rows [m, 2].
        title: over the density.
        name: over the points.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low).max()
    low, high = low - margin, high + margin
    sides = [np.linspace(a, b, 300) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    nats = log_prob(grid).reshape(300, 300).T
    extent = (low[0], high[0], low[1], high[1])
    with _figure(path, (9, 4.4)) as figure:
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        left.scatter(
            points[:5000, 0], points[:5000, 1], s=2, color="black", alpha=0.5, linewidths=0
        )
        left.set(title=name, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
        # A spike away from the data, as flows have them, must not darken all the rest.
        top = np.quantile(np.exp(log_prob(points)), 0.99)
        image = right.imshow(np.exp(nats), origin="lower", extent=extent, vmin=0, vmax=top)
        right.set(title=title, xlabel="$x_1$", aspect="equal")
        figure.colorbar(image, ax=right, label="density", extend="max")


def scatter(path: Path, samples: Array, log_prob: Callable[[Array], Array], *, title: str) -> None:
    """Write samples [n, 2] with contours of the density they were drawn from to a PNG."""
    low, high = np.quantile(samples, [0.001, 0.999], axis=0)
    margin = 0.1 * (high - low).max()
    sides = [np.linspace(a - margin, b + margin, 200) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    values = np.exp(log_prob(grid)).reshape(200, 200).T
    with _figure(path, (5.2, 4.8)) as figure:
        axes = figure.subplots()
        axes.scatter(samples[:, 0], samples[:, 1], s=3, color="black", alpha=0.4, linewidths=0)
        # Each contour holds 10, 30, 50, 70, 90 % of the probability.
        levels = np.unique(np.quantile(np.exp(log_prob(samples)), [0.1, 0.3, 0.5, 0.7, 0.9]))
        if np.isfinite(levels).all():
            axes.contour(*sides, values, levels=levels, cmap="viridis", linewidths=1)
        axes.set(title=title, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator["Figure"]:
    plt = _pyplot()
    figure = plt.figure(figsize=size, layout="constrained")
    try:
        yield figure
        atomic.write(path, lambda p: figure.savefig(p, format="png", dpi=120))
    finally:
        plt.close(figure)


def _pyplot() -> Any:  # matplotlib.pyplot, imported late: it is an extra
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError("pictures need matplotlib: pip install 'maf-runner[plot]'") from error
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot
