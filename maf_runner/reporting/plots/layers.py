"""How a flow turns points in the plane into noise, a panel for each layer."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maf_runner.reporting.plots.drawing import headline, numbered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 4  # panels
PANEL = 2.2  # inches
INSIDE = 99.5  # per cent of the points that a panel must show


def size(panels: int) -> tuple[float, float]:
    """Inches of a picture of so many panels."""
    return PANEL * min(ACROSS, panels), PANEL * -(-panels // ACROSS) + 0.3


def draw(figure: "Figure", stages: Mapping[str, NDArray[np.float64]], title: str) -> None:
    """Draw the points [N, 2] of each stage, from the data to the noise.

    A point has the same colour everywhere: that of its direction in the noise. In the last panel
    two circles show where 39 % and 86 % of N(0, I) lie, at one and two deviations.
    """
    noise = list(stages.values())[-1]
    direction = np.arctan2(noise[:, 1], noise[:, 0])
    every = figure.subplots(-(-len(stages) // ACROSS), min(ACROSS, len(stages)), squeeze=False)
    for axes, (name, points) in zip(every.flat, stages.items(), strict=False):
        axes.scatter(*points.T, c=direction, cmap="hsv", s=2, linewidths=0, rasterized=True)
        low, high = np.nanpercentile(points, (100 - INSIDE, INSIDE), axis=0)
        middle, reach = (low + high) / 2, 0.6 * float((high - low).max())
        if points is noise:
            middle, reach = np.zeros(2), max(3.5, reach)
            angle = np.linspace(0, 2 * math.pi, 200)
            for radius in (1, 2):
                axes.plot(radius * np.cos(angle), radius * np.sin(angle), "k", linewidth=0.6)
        axes.set(
            title=name,
            aspect="equal",
            xlim=(middle[0] - reach, middle[0] + reach),
            ylim=(middle[1] - reach, middle[1] + reach),
        )
        axes.locator_params(nbins=4)
    every[0, 0].set(xlabel=numbered("x", 1), ylabel=numbered("x", 2))
    for axes in every.flat[len(stages) :]:
        axes.set_visible(False)
    headline(figure, title)
