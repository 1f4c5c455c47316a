"""The comparison as dots: what lies far below all others is an arrow, and presses nothing."""

import pytest

from maf_runner.reporting.comparison.cells import Cell, Figure
from maf_runner.reporting.plots import dots, drawing

FIGURES = {
    "MADE": -1381.3, "MAF (5)": -1300.5, "MAF (10)": -1313.1, "MADE MoG": -1041.3,
    "MAF MoG (5)": -1100.5, "Real NVP (5)": -1333.4, "Real NVP (10)": -39_141.4,
}  # fmt: skip


def cells(names):
    return [
        Cell("mnist", "mnist", False, name, Figure(FIGURES[name], 2.0), None, "finished")
        for name in names
    ]


def drawn(names):
    pytest.importorskip("matplotlib")
    with drawing.drawing(4, 4) as figure:
        dots.draw(figure, {"mnist": cells(names)})
        (axes,) = figure.axes
        return axes.get_xlim(), [text.get_text() for text in axes.texts]


def test_a_figure_far_below_is_an_arrow_with_its_number():
    (left, right), texts = drawn(FIGURES)
    assert left > -3000 and right > -1041.3
    assert "-39,141" in texts


def test_few_figures_are_all_in_their_places():
    (left, _), texts = drawn(["MADE", "MAF (5)", "Real NVP (10)"])
    assert left < -39_141.4 and "-39,141" not in texts
