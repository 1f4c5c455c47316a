"""Learning curves of the runs shown in the tables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.entries import history
from maf_runner.records.record import Record, UnreadableRecordError
from maf_runner.reporting.comparison.cells import Cell
from maf_runner.reporting.plots.drawing import label, style_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = (4.4, 2.5)  # inches, the legend included
MOST_LINES = 12  # of a legend in letters of the usual size
WARM_UP = 0.04  # share of a run's epochs whose climb may leave the picture below
FALL = 2  # what falls this many times as far as the worst quarter of all epochs leaves it too


class Curve(NamedTuple):
    """A run's name and its validation log-likelihood by epoch, NaN where it was not finite.

    The unit is what the axis counts: ``epoch``, or ``validation`` with ``trainer.validate_every``.
    """

    label: str
    epochs: NDArray[np.float64]
    nats: NDArray[np.float64]
    unit: str


def curves_of(cells: Sequence[Cell]) -> tuple[dict[str, list[Curve]], list[str]]:
    """The learning curves of the runs in ``cells``, by column.

    Returns:
        The curves, and a complaint for each that is damaged.
    """
    found: dict[str, list[Curve]] = {}
    complaints = []
    for cell in cells:
        if cell.trained is None:
            continue
        try:
            curve = _curve(cell.model, cell.trained)
        except UnreadableRecordError as error:
            complaints.append(f"left out: {error}")
            continue
        if curve is not None:
            found.setdefault(cell.column, []).append(curve)
    return found, complaints


def _curve(label: str, record: Record) -> Curve | None:
    columns = history(record)
    if columns is None:
        return None
    unit = "validation" if record.counts_validations else "epoch"
    return Curve(label, columns["epoch"], columns["validation_nats"], unit)


def size(panels: int) -> tuple[float, float]:
    """Inches of a picture of so many panels."""
    across = min(2, panels)
    return PANEL[0] * across, PANEL[1] * -(-panels // across)


def draw(figure: "Figure", panels: Mapping[str, Sequence[Curve]], labels: Sequence[str]) -> None:
    """Draw a panel for each column; a dot where the best parameters were found.

    ``labels`` are all models, as `drawing.in_order` has them.
    """
    across = min(2, len(panels))
    every = figure.subplots(-(-len(panels) // across), across, squeeze=False)
    for axes, (title, curves) in zip(every.flat, panels.items(), strict=False):
        for curve in curves:
            colour, dashes = style_of(curve.label, labels)
            name = label(curve.label)
            axes.plot(curve.epochs, curve.nats, color=colour, linestyle=dashes, label=name)
            best = int(np.nanargmax(curve.nats))
            axes.plot(curve.epochs[best], curve.nats[best], "o", color=colour, markersize=3.5)
        top, bottom = max(np.nanmax(c.nats) for c in curves), _bottom([c.nats for c in curves])
        margin = 0.05 * (top - bottom) or 1.0
        axes.set_ylim(bottom - margin, top + margin)
        units = " or ".join(sorted({curve.unit for curve in curves}))
        axes.set(title=title, xlabel=units, ylabel="validation, nats")
        axes.xaxis.get_major_locator().set_params(integer=True)
        # Beside the curves, which end anywhere; and no higher than they are.
        size = min(7.5, 7.5 * MOST_LINES / sum(label(c.label).count("\n") + 1 for c in curves))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=size)
    for axes in every.flat[len(panels) :]:
        axes.set_visible(False)


def _bottom(curves: Sequence[NDArray[np.float64]]) -> float:
    """The lowest of a panel that is worth showing.

    A model that overfits can lose thousands of nats on a few rows; drawn to the full, such epochs
    would press all curves of the panel flat.

    >>> usual = np.array([-9.0, -5.0, -4.0, -4.5, -4.5])
    >>> _bottom([usual, np.append(usual, -9000.0)]).item()
    -10.0
    """
    finite = [nats[np.isfinite(nats)] for nats in curves]
    shown = [nats[int(WARM_UP * len(nats)) :] for nats in finite]
    every = np.concatenate(shown)
    lowest = every.max() - FALL * (every.max() - np.quantile(every, 0.25))
    return max(every.min(), min(lowest, *(nats[0] for nats in shown)))
