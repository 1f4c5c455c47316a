"""Tables as text: CSV and its relatives. What is not surely understood is refused by name.

One line holds one row, the first line the names of the columns. Nothing is guessed in silence: a
header that may be a row, another encoding, another separator or lines above the table are named,
with the setting or the step that mends it.
"""

import bz2
import csv
import gzip
import lzma
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES

PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
MAGIC = {
    b"\x1f\x8b": ("compressed by gzip", "give it the ending .csv.gz"),
    b"BZh": ("compressed by bzip2", "give it the ending .csv.bz2"),
    b"\xfd7zXZ": ("compressed by xz", "give it the ending .csv.xz"),
    b"PK\x03\x04": ("a zip archive (or a spreadsheet)", "unpack it, or save it as CSV"),
    b"PAR1": ("a Parquet file", "give it the ending .parquet"),
    b"\x89HDF": ("an HDF5 file", "give it the ending .h5"),
}
WIDE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
LOOKED_AT = 200  # lines at the beginning
START = 1 << 20  # bytes in which these lines are sought


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        header: whether the first line holds the names of the columns; None: it does, and where it
            may be a row instead the file is refused.
        separator: between fields; None: tabs in .tsv, else commas. A blank means any number.
        decimal: the sign before the decimals.
        thousands: the sign between groups of digits; None: there is none.
        missing_markers: texts that stand for a missing number, beside the usual ones.
        label: the column with the classes, or the array of an archive.
        categorical: columns of categories. Their values, and those of the label, are kept as
            text: only an empty field is missing there.
        context: columns, or arrays of an archive, that a model is conditioned on.
    """

    header: bool | None = None
    separator: str | None = None
    decimal: str = "."
    thousands: str | None = None
    missing_markers: tuple[str, ...] = ()
    label: str | None = None
    categorical: tuple[str, ...] = ()
    context: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Dialect":
        """From the settings of ``dataset=file``, those of an earlier version too."""
        label = settings.get("label")
        return cls(
            settings.get("header"),
            settings.get("separator"),
            settings.get("decimal") or ".",
            settings.get("thousands"),
            tuple(map(str, settings.get("missing_markers") or ())),
            None if label is None else str(label),
            tuple(map(str, settings.get("categorical") or ())),
            tuple(map(str, settings.get("context") or ())),
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that are kept as text."""
        return (*self.categorical, *(() if self.label is None else (self.label,)))

    def separator_in(self, file: Path) -> str:
        """The separator of a file, as pandas takes it."""
        separator = self.separator or ("\t" if bare_suffix(file) == ".tsv" else ",")
        return r"\s+" if separator == " " else separator


def bare_suffix(file: Path) -> str:
    """The ending of a name without that of a compression.

    >>> bare_suffix(Path("a.csv.gz")), bare_suffix(Path("b.TSV"))
    ('.csv', '.tsv')
    """
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix in PACKED else suffix


def read(file: Path, dialect: Dialect) -> pd.DataFrame:
    """Read a whole table.

    Raises:
        ValueError: it is not surely understood; the message says what to do.
    """
    (table,) = pieces(file, dialect, None)
    return table


def pieces(file: Path, dialect: Dialect, rows: int | None) -> Iterator[pd.DataFrame]:
    """As `read`, ``rows`` rows at a time; None: all at once.

    Raises:
        ValueError: as `read`; at the first piece that is at fault.
    """
    names = _names(file, dialect)
    empty = {place: True for place, name in enumerate(names) if not name}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            settings = _settings(file, dialect, names)
            if rows is None:
                parts: Iterable[pd.DataFrame] = [pd.read_csv(file, **settings)]
            else:
                parts = pd.read_csv(file, chunksize=rows, **settings)
            for part in parts:
                for place in empty:
                    empty[place] &= bool(part.iloc[:, place].isna().all())
                if rows is None:
                    _refuse_empty(empty)
                for name in dialect.texts:
                    if name in part:
                        part[name] = label_values(part[name], whole=rows is None)
                yield part
    except pd.errors.ParserWarning as error:
        most = max(map(len, _rows_of(file, dialect)))
        raise ValueError(
            f"a row has {most} fields, the header has {len(names)} names: name each column, "
            "and put values that hold commas in quotes"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(error)) from error
    _refuse_empty(empty)


def _settings(file: Path, dialect: Dialect, names: list[str]) -> dict[str, Any]:
    """The arguments of ``pandas.read_csv``."""
    # index_col=False: else the first fields of rows that are too long become an index.
    # low_memory=False: else parts of a long column can have different types.
    settings: dict[str, Any] = {
        "index_col": False,
        "low_memory": False,
        "sep": dialect.separator_in(file),
        "decimal": dialect.decimal,
        "thousands": dialect.thousands,
    }
    if dialect.header is False:
        settings |= {"header": None, "names": names}
    missing = [*STR_NA_VALUES, *dialect.missing_markers]
    if texts := [name for name in dialect.texts if name in names]:
        settings |= {
            "dtype": dict.fromkeys(texts, str),
            "keep_default_na": False,
            "na_values": {name: [""] if name in texts else missing for name in names},
        }
    elif dialect.missing_markers:
        settings["na_values"] = list(dialect.missing_markers)
    return settings


def label_values(column: pd.Series, *, whole: bool) -> pd.Series:
    """Labels that were read as text, as numbers or truth values where no text is lost by it.

    So 01 and 1E2 stay as they are written, and so do all labels of their column. With
    ``whole=False``, where only a part of the column is known, all stay text.

    >>> label_values(pd.Series(["1", None, "20"]), whole=True).tolist()
    [1, None, 20]
    >>> label_values(pd.Series(["01", "20"]), whole=True).tolist()
    ['01', '20']
    """
    if not whole:
        return column
    known = column.dropna().unique().tolist()
    for kind in (int, float, _truth):
        try:
            values = {text: kind(text) for text in known}
        except ValueError:
            continue
        if all(str(value) == text for text, value in values.items()):
            found = [values.get(text) for text in column]
            return pd.Series(found, index=column.index, dtype=object)
    return column


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(text)
    return text == "True"


def _names(file: Path, dialect: Dialect) -> list[str]:
    """The names of the columns, once the first lines were looked at.

    Raises:
        ValueError: they show that the file is not what it should be.
    """
    lines = _first_lines(file)
    if not lines:
        raise ValueError("it is empty")
    rows = list(_parsed(lines, dialect.separator_in(file)))
    first = rows[0]
    if dialect.separator is None and len(first) == 1:
        _refuse_separator(lines)
    _refuse_preamble(rows, dialect)
    if dialect.header is False:
        return [str(i) for i in range(len(first))]
    if dialect.header is None:
        _refuse_row_as_header(lines[0], first, rows[1:], dialect)
    distinct(first)
    return first


def _first_lines(file: Path) -> list[str]:
    """Some lines of the file as text.

    Raises:
        ValueError: it is no text in UTF-8.
    """
    opener = PACKED.get(file.suffix.lower(), open)
    with opener(file, "rb") as raw:
        start = raw.read(START)
    for magic, (kind, way_out) in MAGIC.items():
        if start.startswith(magic):
            raise ValueError(f"it is {kind}: {way_out}")
    for mark, encoding in WIDE.items():
        if start.startswith(mark):
            raise ValueError(
                f"it is written in {encoding}: save it as UTF-8, for example by iconv -f "
                f"{encoding} -t UTF-8 {file.name} > new.csv"
            )
    if b"\0" in start[:1000]:
        raise ValueError("it holds zero bytes, as no text does")
    if len(start) == START:
        start = start[: start.rfind(b"\n") + 1]
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(_not_utf8(error)) from error
    return [line for line in text.splitlines()[:LOOKED_AT] if line.strip()]


def _not_utf8(error: UnicodeDecodeError) -> str:
    return (
        f"it is not written in UTF-8 (byte 0x{error.object[error.start]:02x}), perhaps in Latin-1 "
        "(cp1252): save it as UTF-8, for example by iconv -f cp1252 -t UTF-8 FILE > new.csv"
    )


def _parsed(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """The fields of lines."""
    if len(separator) > 1:
        return (line.split() for line in lines)
    return csv.reader(lines, delimiter=separator)


def _rows_of(file: Path, dialect: Dialect) -> Iterator[list[str]]:
    opener = PACKED.get(file.suffix.lower(), open)
    with opener(file, "rt", encoding="utf-8", newline="") as text:
        yield from _parsed(text, dialect.separator_in(file))


def _refuse_separator(lines: list[str]) -> None:
    """Refuse a table whose fields are separated by something else."""
    for sign, name in SEPARATORS.items():
        if sign in lines[0]:
            way_out = "name it .tsv" if sign == "\t" else f"give dataset.separator='{sign}'"
            raise ValueError(
                f"it seems to be separated by {name}: save it with commas instead, or {way_out}"
            )
    counts = {len(line.split()) for line in lines}
    if len(lines) > 1 and len(counts) == 1 and counts.pop() > 1:
        raise ValueError(
            "it seems to be separated by blanks: save it with commas instead, or give "
            "dataset.separator=' '"
        )


def _refuse_preamble(rows: list[list[str]], dialect: Dialect) -> None:
    """Refuse lines above the table: some have another number of fields than all that follow."""
    counts = [len(row) for row in rows]
    usual = counts[-1]
    begin = len(rows)  # of the rows of the table
    while begin and counts[begin - 1] == usual:
        begin -= 1
    numbers = len(rows)  # from where on there are only numbers
    while numbers and all(is_number(field, dialect) or not field for field in rows[numbers - 1]):
        numbers -= 1
    if numbers < len(rows):
        header = numbers - 1
        odd = any(count != usual for count in counts[:header])
    else:
        header, odd = begin, True
    if header > 0 and odd and usual > 1 and len(rows) - header > 2:
        raise ValueError(
            f"its first {header} lines ({','.join(rows[0])[:50]!r}, ...) are not of the table, "
            f"which seems to begin in line {header + 1} with {','.join(rows[header])[:50]!r} "
            "(blank lines not counted): remove the lines above it"
        )


def _refuse_row_as_header(
    line: str, first: list[str], rows: list[list[str]], dialect: Dialect
) -> None:
    """Refuse a first line in which numbers stand above columns of numbers."""
    above = []
    for place, field in enumerate(first):
        quoted = f'"{field}"' in line
        column = [row[place] for row in rows if place < len(row) and row[place].strip()]
        over_numbers = all(is_number(value, dialect) for value in column) and (column or not rows)
        if over_numbers and not quoted and is_number(field, dialect):
            above.append(field)
    if above:
        raise ValueError(
            f"its first line holds numbers ({', '.join(above)[:50]}), so it may be a row or a "
            "header: add a header line with the column names, or put names that are numbers in "
            "quotes; or say which with dataset.header=true or dataset.header=false"
        )


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


def _refuse_empty(columns: dict[int, bool]) -> None:
    """Refuse columns, by their places, that have neither a name nor a value."""
    for place, is_empty in columns.items():
        if is_empty:
            raise ValueError(
                f"column {place + 1} has no name and is empty: remove the commas at the line ends"
            )


def distinct(names: list[str]) -> None:
    """Refuse names that several columns have."""
    twins = [name for name, count in Counter(names).items() if name and count > 1]
    if twins:
        raise ValueError(f"several columns have the name {twins[0]!r}: rename them")


NOTATIONS = {  # of numbers that are read as text, and what mends it
    "thousands": (
        re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?"),
        "groups of digits",
        "dataset.thousands=','",
    ),
    "decimal": (re.compile(r"[-+]?\d+,\d+"), "a decimal comma", "dataset.decimal=','"),
    "percent": (re.compile(r"[-+]?\d+(\.\d+)?\s*%"), "a percent sign", "remove the sign"),
    "currency": (
        re.compile(r"[-+]?[$€£¥]\s*\d[\d,]*(\.\d+)?|\d[\d,]*(\.\d+)?\s*[$€£¥]"),
        "a sign of a currency",
        "remove the sign",
    ),
    "minus": (
        re.compile(r"[\u2212\u2013]\d+(\.\d+)?"),
        "another sign for minus",
        "write it as a hyphen",
    ),
    "fortran": (
        re.compile(r"[-+]?\d*\.?\d*[dD][-+]?\d+"),
        "an exponent as Fortran writes it",
        "write D as E",
    ),
    "unit": (
        re.compile(r"[-+]?\d+(\.\d+)?\s+(?!days?\b)[A-Za-zµ°Ω/²³]{1,8}"),
        "a unit behind it",
        "remove the unit",
    ),
}
MOSTLY = 0.5  # of the values, in which another notation is recognised


def notation(column: pd.Series) -> tuple[str, str, str] | None:
    """An example, the notation and its mend, of a text column of numbers written otherwise."""
    values = column.dropna().astype(str).str.strip()
    if values.empty:
        return None
    for pattern, what, way_out in NOTATIONS.values():
        fits = values.str.fullmatch(pattern)
        plain = pd.to_numeric(values, errors="coerce").notna()
        if fits.any() and (fits | plain).mean() > MOSTLY and fits.mean() >= 0.1:
            return values[fits].iloc[0], what, way_out
    return None
