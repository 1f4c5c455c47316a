"""Are conditionals calibrated? Histograms of the PIT, and coverage of highest-density regions.

What the places of test rows are, `maf_runner.experiment.calibration` says. If the model is right
they are uniform: the bars of a histogram are level, and the curve of the coverage is the diagonal.
A histogram like a U: the model is too narrow; like a hill: too wide; with a slope: it lies
beside the data. A curve below the diagonal: its regions hold fewer rows than they should.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maf_runner.reporting.plots import normality
from maf_runner.reporting.plots.drawing import COLOURS, headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
CONFIDENCE = 0.95  # of the bands
NOMINAL = np.arange(1, 20) / 20  # levels of the regions that a table has
SHOWN = 8  # histograms
ACROSS = 3  # panels


class Places(NamedTuple):
    """What is drawn: places ``pit`` [N, D] with a name each, and ``levels`` [N], or None.

    ``draws``: how many draws all rows share, whose chance widens the band of the coverage; None
    if each row has its own.
    """

    names: list[str]
    pit: Array
    levels: Array | None
    draws: int | None


def distance(places: Array) -> float:
    """The Kolmogorov-Smirnov distance of ``places`` [N] from the uniform distribution."""
    from scipy.special import ndtri

    return float(normality.distances(ndtri(places)[:, None])[0])


def critical(rows: int, draws: int | None = None) -> float:
    """The distance that a right model stays below in 95 of 100 cases.

    >>> round(critical(1000), 3), round(critical(1000, draws=1000), 3)
    (0.043, 0.061)
    """
    from scipy.stats import kstwobign

    count = rows if draws is None else 1 / (1 / rows + 1 / draws)
    return float(kstwobign.ppf(CONFIDENCE) / np.sqrt(count))


def bins_of(rows: int) -> int:
    """The bins of a histogram of so many rows."""
    return 20 if rows >= 400 else 10


def band(rows: int) -> tuple[float, float]:
    """The shares of rows between which a bin of a right model lies in 95 of 100 cases."""
    from scipy.stats import binom

    low, high = binom.interval(CONFIDENCE, rows, 1 / bins_of(rows))
    return float(low / rows), float(high / rows)


def histogram(places: Array) -> Array:
    """The share of ``places`` [N] in each bin."""
    edges = np.linspace(0, 1, bins_of(len(places)) + 1)
    return np.histogram(places, edges)[0] / len(places)


def coverage(levels: Array, nominal: Array) -> Array:
    """The share of rows inside of the region of each ``nominal`` level."""
    return np.searchsorted(np.sort(levels), nominal, side="right") / len(levels)


def table(places: Places) -> dict[str, list[str | float]]:
    """The numbers of the picture as columns of a table.

    A line for each bin of each histogram (``level`` is its upper edge, ``share`` that of the rows
    in it) and for each nominal level of the coverage (``share`` is that of the rows inside of the
    region). ``low`` and ``high`` bound the band.
    """
    lines: list[tuple[str, str, float, float, float, float]] = []
    rows = len(places.pit)
    edges = np.linspace(0, 1, bins_of(rows) + 1)[1:]
    for name, pit in zip(places.names, places.pit.T, strict=True):
        shares = histogram(pit)
        lines += [("pit", name, e, s, *band(rows)) for e, s in zip(edges, shares, strict=True)]
    if places.levels is not None:
        width = critical(rows, places.draws)
        for level, share in zip(NOMINAL, coverage(places.levels, NOMINAL), strict=True):
            low, high = max(0.0, level - width), min(1.0, level + width)
            lines.append(("coverage", "", level, share, low, high))
    names = ("quantity", "column", "level", "share", "low", "high")
    return {
        name: list(column) for name, column in zip(names, zip(*lines, strict=True), strict=True)
    }


def chosen(pit: Array) -> list[int]:
    """The columns that are shown: all, or from the worst to the best, evenly by rank."""
    from scipy.special import ndtri

    features = pit.shape[1]
    return list(range(features)) if features <= SHOWN else normality.chosen(ndtri(pit), SHOWN)


def size(panels: int) -> tuple[float, float]:
    """Inches of a picture of so many panels."""
    return 0.4 + 2.4 * min(ACROSS, panels), 2.2 * -(-panels // ACROSS) + 0.6


def draw(figure: "Figure", places: Places, title: str) -> None:
    """Draw the coverage, then the histogram of each column that is `chosen`."""
    shown = chosen(places.pit)
    panels = len(shown) + (places.levels is not None)
    across = min(ACROSS, panels)
    every = list(figure.subplots(-(-panels // across), across, squeeze=False).flat)
    for axes in every[panels:]:
        axes.set_visible(False)
    if places.levels is not None:
        _draw_coverage(every.pop(0), places.levels, places.draws)
    for axes, column in zip(every, shown, strict=False):
        _draw_histogram(axes, places.pit[:, column], places.names[column])
    features = len(places.names)
    told = (
        f"\n{len(shown)} of {features}, from the worst to the best"
        if len(shown) < features
        else ""
    )
    headline(figure, title + told)


def _draw_histogram(axes: "Axes", pit: Array, name: str) -> None:
    shares = histogram(pit)
    bins = len(shares)
    low, high = (bins * end for end in band(len(pit)))
    axes.axhspan(low, high, color="0.85", linewidth=0)
    axes.axhline(1, color="black", linewidth=0.8)
    edges = np.linspace(0, 1, bins + 1)
    axes.stairs(bins * shares, edges, fill=True, color=COLOURS[5], alpha=0.8)
    axes.stairs(bins * shares, edges, color=COLOURS[0], baseline=None)
    axes.set(
        xlim=(0, 1),
        xticks=(0, 0.5, 1),
        xlabel="PIT",
        ylim=(0, max(2.0, 1.1 * bins * shares.max())),
    )
    axes.set_title(f"{name}\n{_judged(pit)}", fontsize=8)


def _draw_coverage(axes: "Axes", levels: Array, draws: int | None) -> None:
    line, width = np.linspace(0, 1, 201), critical(len(levels), draws)
    axes.fill_between(line, line - width, line + width, color="0.85", linewidth=0)
    axes.plot(line, line, color="black", linewidth=0.8)
    axes.plot(line, coverage(levels, line), color=COLOURS[0])
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    axes.set(xlabel="level of the region", ylabel="share of rows inside")
    axes.set_title(f"coverage\n{_judged(levels, draws)}", fontsize=8)


def _judged(places: Array, draws: int | None = None) -> str:
    return f"KS {distance(places):.3f} (95 %: {critical(len(places), draws):.3f})"
