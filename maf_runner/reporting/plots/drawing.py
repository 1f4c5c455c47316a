"""What every picture shares: size of letters, colours, and writing it to a file.

Colours are told apart by the colour-blind (Okabe and Ito) and lines by their dashes, so that a
picture can be read in print without colours. A picture needs the extra ``plot``.
"""

import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from maf_runner.system import output
from maf_runner.system.errors import UsageError, extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MODELS = (*COLOURS, "#882255", "#999933", "#332288")  # more of them (Tol): tables have ten models
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2, 2, 2)))
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
MOST_CATEGORIES = 8  # on an axis, by their texts
LONGEST_NAME = 30  # letters of a column's name
LETTERS = 15  # of a title, in an inch
FORMATS = (".png", ".pdf", ".svg")
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # names from records may hold dollars
    "pdf.fonttype": 42,  # letters stay letters
    "svg.hashsalt": "maf_runner",  # the same picture is the same file
}


class Axis(NamedTuple):
    """A column along an axis: its name and, of categories, their texts.

    A category lies between its code and the next: the codes 0, 1, ... have noise.
    """

    name: str
    categories: tuple[str, ...] = ()

    def mark(self, axes: "Axes", side: Literal["x", "y"], *, label: bool = True) -> None:
        """Put the name and the ticks beside one side of ``axes``."""
        if label:
            name = self.name if len(self.name) <= LONGEST_NAME else f"{self.name[:LONGEST_NAME]}…"
            axes.set(**{f"{side}label": name})
        if 0 < len(self.categories) <= MOST_CATEGORIES:
            places = [code + 0.5 for code in range(len(self.categories))]
            axes.set(**{f"{side}ticks": places, f"{side}ticklabels": self.categories})
        else:
            axes.locator_params(axis=side, nbins=4)


def axes_of(columns: Sequence[str], categories: Sequence[Sequence[Any]] = ()) -> tuple[Axis, ...]:
    """The columns of a table; ``categories`` of each, empty where it has none."""
    known = categories or ((),) * len(columns)
    return tuple(Axis(c, tuple(map(str, own))) for c, own in zip(columns, known, strict=True))


@contextmanager
def drawing(width: float, height: float) -> Iterator["Figure"]:
    """A figure of this size in inches, closed at the end.

    Raises:
        UsageError: matplotlib is not installed.
    """
    plt = pyplot()
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(width, height), layout="constrained")
        try:
            yield figure
        finally:
            plt.close(figure)


def headline(figure: "Figure", text: str) -> None:
    """Write ``text`` above all panels, in lines that are no wider than the figure."""
    letters = int(LETTERS * figure.bbox.width / figure.dpi)  # also of a part of a figure
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, letters)]
    figure.suptitle("\n".join(lines), fontsize=9)


def save(figure: "Figure", path: Path) -> None:
    """Write a figure to ``path``, in the format its name ends in (one of `FORMATS`)."""
    output.write(path, rendered(figure, path.suffix))


def rendered(figure: "Figure", ending: str) -> bytes:
    """A figure as a file with this ending."""
    content = io.BytesIO()
    dateless = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(ending)
    figure.savefig(content, format=ending[1:], dpi=200, metadata=dateless)
    return content.getvalue()


def numbered(letter: str, place: int) -> str:
    """A coordinate.

    >>> numbered("u", 12)
    'u₁₂'
    """
    return letter + str(place).translate(SUBSCRIPTS)


def label(model: str) -> str:
    r"""The row of a model in short lines, without the groups of its settings.

    >>> label("MAF (4), trainer.learning_rate=0.001, trainer.patience=100")
    'MAF (4),\nlearning_rate=0.001,\npatience=100'
    """
    return textwrap.fill(re.sub(r"\b(model|trainer)\.", "", model), 24)


def in_order(rows: Iterable[str]) -> list[str]:
    """The rows of models, each once: its place says how the model is drawn.

    A Gaussian has no learning curve and comes last, so that the colours of the others are apart.
    """
    return sorted(dict.fromkeys(rows), key=lambda row: row.startswith("Gaussian"))


def style_of(own: str, rows: Sequence[str]) -> tuple[str, Any]:
    """The colour of a model, and the dashes of its trainer and other settings.

    >>> rows = ["MAF (5)", "MADE", "MAF (5), tuned"]
    >>> style_of("MAF (5), tuned", rows)[0] == style_of("MAF (5)", rows)[0] == MODELS[0]
    True
    """
    models, settings = (list(dict.fromkeys(part)) for part in zip(*map(_parts, rows), strict=True))
    model, setting = _parts(own)
    i = models.index(model)
    dashes = settings.index(setting) + i // len(MODELS)
    return MODELS[i % len(MODELS)], DASHES[dashes % len(DASHES)]


def _parts(row: str) -> tuple[str, str]:
    model, _, setting = row.partition(", ")
    return model, setting


def pyplot() -> Any:
    """``matplotlib.pyplot``, imported late: it is an extra.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError(f"pictures need matplotlib: {extra('plot')}") from error
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot
