"""How a table of text is written."""

import bz2
import gzip
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas._libs.parsers import STR_NA_VALUES

TEXT = (".csv", ".tsv", ".txt")
PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Dialect:
    """How a table is written, and what settings take from it.

    Attributes:
        header: whether the first line holds the names of the columns; None: it does, and where it
            may be a row instead the file is refused.
        separator: between fields; None: tabs in .tsv, else commas. A blank means any number.
        decimal: the sign before the decimals.
        thousands: the sign between groups of three digits; None: there is none.
        missing_markers: values that stand for a missing one, beside the usual ones; in tables of
            every kind, also between blanks.
        label: the column with the classes, or the array of an archive.
        categorical: columns of categories. Their values, and those of the label, are kept as
            text: only an empty field is missing there.
        context: columns, or arrays of an archive, that a model is conditioned on.
        words: columns in which a run had words. They are read as text, also where all values of
            a file look like numbers; the usual texts for a missing value are missing there.
        asides: further columns, or arrays of an archive, that are not modelled: weights, splits.
    """

    header: bool | None = None
    separator: str | None = None
    decimal: str = "."
    thousands: str | None = None
    missing_markers: tuple[str, ...] = ()
    label: str | None = None
    categorical: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Dialect":
        """From the settings of ``dataset=file``, those of an earlier version too."""
        label = settings.get("label")
        asides = (settings.get("weight"), settings.get("split"))
        return cls(
            settings.get("header"),
            settings.get("separator"),
            settings.get("decimal") or ".",
            settings.get("thousands"),
            tuple(map(str, settings.get("missing_markers") or ())),
            None if label is None else str(label),
            tuple(map(str, settings.get("categorical") or ())),
            tuple(map(str, settings.get("context") or ())),
            tuple(str(name) for name in asides if name is not None),
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that are kept as text."""
        return (*self.categorical, *(() if self.label is None else (self.label,)))

    @property
    def of_text(self) -> list[str]:
        """The settings that only a table of text can follow, and that are not the usual ones."""
        usual = Dialect()
        names = ("header", "separator", "decimal", "thousands")
        return [name for name in names if getattr(self, name) != getattr(usual, name)]

    def separator_in(self, file: Path) -> str:
        """The separator of a file, as pandas takes it."""
        separator = self.separator or ("\t" if bare_suffix(file) == ".tsv" else ",")
        return r"\s+" if separator == " " else separator


def as_pasted(**signs: str) -> str:
    """Settings of a dialect as they can be pasted into a shell.

    >>> print(as_pasted(separator=";", decimal=","))
    "dataset.separator=';'" "dataset.decimal=','"
    """
    return " ".join(f"\"dataset.{name}='{sign}'\"" for name, sign in signs.items())


def bare_suffix(file: Path) -> str:
    """The ending of a name without that of a compression.

    >>> bare_suffix(Path("a.csv.gz")), bare_suffix(Path("b.TSV"))
    ('.csv', '.tsv')
    """
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix in PACKED else suffix


def is_number(text: str, dialect: Dialect) -> bool:
    """Whether a field is a number in this dialect, or a text for a missing one."""
    text = text.strip()
    if text in STR_NA_VALUES or text in dialect.missing_markers:
        return text != ""
    if dialect.thousands:
        text = text.replace(dialect.thousands, "")
    try:
        float(text.replace(dialect.decimal, "."))
    except ValueError:
        return False
    return True
