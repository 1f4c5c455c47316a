"""Does the noise of a model look Gaussian? Histograms and Q-Q plots (the paper's Figure 1).

A model is right exactly if it maps data to independent standard normals. Only each dimension by
itself is looked at here; that they are independent it does not show.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maf_runner.reporting.plots.drawing import COLOURS, headline, numbered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
SHOWN = 6  # dimensions
WIDTH = 4.2  # of the axes, in standard deviations


def distances(noise: Array) -> Array:
    """The Kolmogorov-Smirnov distance [D] of each dimension of ``noise`` [N, D] from N(0, 1)."""
    from scipy.special import ndtr

    n = len(noise)
    expected = ndtr(np.sort(noise, axis=0))
    steps = np.arange(1, n + 1)[:, None] / n
    return np.maximum(steps - expected, expected - steps + 1 / n).max(axis=0)


def chosen(noise: Array, count: int = SHOWN) -> list[int]:
    """Dimensions from the farthest to the nearest to N(0, 1), evenly by rank."""
    order = np.argsort(-distances(noise))
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return [int(order[round(place)]) for place in places]


def size(dimensions: int) -> tuple[float, float]:
    """Inches of the picture of so many dimensions."""
    return 7.0, 1.9 * -(-dimensions // 2) + 0.7


def draw(
    figure: "Figure",
    noise: Array,
    dimensions: list[int],
    title: str,
    columns: Sequence[str] | None = None,
) -> None:
    """Draw for each of ``dimensions`` a histogram and a Q-Q plot of ``noise`` [N, D].

    ``columns`` [D] are named instead of numbers where each has its own u. The grey band of a Q-Q
    plot holds 99 % of the points of a true normal, each by itself.
    """
    from scipy.stats import beta, norm

    distance = distances(noise)
    n, features = noise.shape
    down = -(-len(dimensions) // 2)
    every = figure.subplots(down, 4, squeeze=False).reshape(-1, 2)
    line = np.linspace(-WIDTH, WIDTH, 200)
    ranks = np.unique(np.linspace(1, n, min(n, 400)).round().astype(int))
    expected = norm.ppf((ranks - 0.5) / n)
    low, high = (norm.ppf(beta.ppf(q, ranks, n - ranks + 1)) for q in (0.005, 0.995))
    for (left, right), dimension in zip(every, dimensions, strict=False):
        values = np.sort(noise[:, dimension])
        bins = np.linspace(-WIDTH, WIDTH, 22 if n < 1000 else 43)
        left.hist(values, bins, density=True, color=COLOURS[5], edgecolor="white", linewidth=0.3)
        left.plot(line, norm.pdf(line), color="black", linewidth=1)
        name = f"u of {columns[dimension]:.14}" if columns else numbered("u", dimension + 1)
        left.set_title(f"{name}   KS {distance[dimension]:.3f}")
        left.set(yticks=[], xlim=(-WIDTH, WIDTH), xticks=(-3, 0, 3))
        left.spines["left"].set_visible(False)
        right.fill_between(expected, low, high, color="0.85", linewidth=0)
        right.plot(line, line, color="black", linewidth=0.8)
        right.plot(expected, values[ranks - 1], ".", color=COLOURS[0], markersize=2.5)
        right.set(xlim=(-WIDTH, WIDTH), ylim=(-WIDTH, WIDTH), xticks=(-3, 0, 3), yticks=(-3, 0, 3))
        right.set(aspect="equal")
    for left, right in every[max(0, len(dimensions) - 2) : len(dimensions)]:
        left.set_xlabel("u")
        right.set(xlabel="normal quantile", ylabel="quantile of u")
    for pair in every[len(dimensions) :]:
        for axes in pair:
            axes.set_visible(False)
    told = f"{len(dimensions)} of " if len(dimensions) < features else ""
    headline(
        figure,
        f"{title}: {told}{features} dimensions of u, the farthest first, {n:,} test rows\n"
        "Kolmogorov–Smirnov distance (KS) from N(0, 1) over all dimensions: "
        f"median {np.median(distance):.3f}, largest {distance.max():.3f}",
    )
