"""Tables as text: CSV and its relatives.

One line holds one row, the first line the names of the columns. Blank lines count for nothing, but
in a table of one column, before its end, they are missing values. Nothing is guessed in silence:
what is not surely understood is refused, with the setting or the step that mends it.
"""

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES

from maf_runner.datasets.untrusted import limits
from maf_runner.datasets.untrusted.dialect import PACKED, Dialect
from maf_runner.datasets.untrusted.first_lines import all_rows, column_names, not_utf8
from maf_runner.datasets.untrusted.notations import is_marked, ungrouped

LINES = 10_000  # at a time


def read(file: Path, dialect: Dialect) -> pd.DataFrame:
    """Read a whole table.

    Raises:
        ValueError: it is not surely understood; the message says what to do.
    """
    (table,) = pieces(file, dialect, None)
    return table


def pieces(file: Path, dialect: Dialect, rows: int | None) -> Iterator[pd.DataFrame]:
    """As `read`, ``rows`` rows at a time; None: all at once.

    The columns that the dialect keeps as text are text in every piece.

    Raises:
        ValueError: as `read`; at the first piece that is at fault.
    """
    names = column_names(file, dialect)
    empty = {place: True for place, name in enumerate(names) if not name}
    try:
        with warnings.catch_warnings(), _opened(file, is_column=len(names) == 1) as text:
            warnings.simplefilter("error", pd.errors.ParserWarning)
            settings = _settings(file, dialect, names)
            if rows is None:
                parts: Iterable[pd.DataFrame] = [pd.read_csv(text, **settings)]
            else:
                parts = pd.read_csv(text, chunksize=rows, **settings)
            for part in parts:
                for place in empty:
                    empty[place] &= bool(part.iloc[:, place].isna().all())
                if rows is None:
                    _refuse_empty(empty)
                for name in part.columns.difference(list(dialect.texts)):
                    part[name] = _settled(part[name], dialect)
                yield part
    except pd.errors.ParserWarning as error:
        most = max(map(len, all_rows(file, dialect)))
        raise ValueError(
            f"a row has {most} fields, the header has {len(names)} names: name each column, "
            "and put values that hold commas in quotes"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(error)) from error
    except pd.errors.ParserError as error:
        raise ValueError(_in_words(error)) from error
    _refuse_empty(empty)


@contextmanager
def _opened(file: Path, *, is_column: bool) -> Iterator[Any]:
    """What pandas reads: the file itself, or what a packed one holds, within limits."""
    is_packed = file.suffix.lower() in PACKED
    with io.BufferedReader(_Unpacked(file), 1 << 20) if is_packed else file.open("rb") as raw:
        if is_column:
            yield _Column(io.TextIOWrapper(raw, "utf-8-sig", newline=""))
        else:
            yield raw


class _Column(io.TextIOBase):
    """The text of a table of one column, with an empty field in each blank line but the last."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = self._filled(lines)

    def _filled(self, lines: Iterable[str]) -> Iterator[str]:
        blank = 0
        for line in dropwhile(lambda line: not line.strip(), lines):
            if line.strip():
                yield '""\n' * blank + line
                blank = 0
            else:
                blank += 1

    def read(self, size: int | None = -1) -> str:
        """Some lines; empty at the end."""
        return "".join(islice(self.lines, LINES))


class _Unpacked(io.RawIOBase):
    """The bytes of a packed file, refused where there are far more than of real data."""

    def __init__(self, file: Path) -> None:
        self.packed = PACKED[file.suffix.lower()](file, "rb")
        self.stored, self.seen = file.stat().st_size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self.packed.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self.seen += len(chunk)
        limits.check(self.seen, self.stored, "its text")
        return len(chunk)

    def close(self) -> None:
        self.packed.close()
        super().close()


def _settings(file: Path, dialect: Dialect, names: list[str]) -> dict[str, Any]:
    """The arguments of ``pandas.read_csv``."""
    # index_col=False: else the first fields of rows that are too long become an index.
    # low_memory=False: else parts of a long column can have different types.
    settings: dict[str, Any] = {
        "index_col": False,
        "low_memory": False,
        "sep": dialect.separator_in(file),
        "decimal": dialect.decimal,
    }
    if dialect.header is False:
        settings |= {"header": None, "names": names}
    if dialect.thousands:  # pandas would remove the sign wherever it stands
        settings["dtype"] = str
    missing = [*STR_NA_VALUES, *dialect.missing_markers]
    texts = [name for name in dialect.texts if name in names]
    if as_text := [*texts, *(name for name in dialect.words if name in names)]:
        settings.setdefault("dtype", dict.fromkeys(as_text, str))
    if texts:
        settings |= {
            "keep_default_na": False,
            "na_values": {name: [""] if name in texts else missing for name in names},
        }
    elif dialect.missing_markers:
        settings["na_values"] = list(dialect.missing_markers)
    return settings


def _settled(column: pd.Series, dialect: Dialect) -> pd.Series:
    """A column as pandas read it, of which the dialect may make numbers or missing values."""
    is_text = dialect.thousands is not None
    if dialect.missing_markers and pd.api.types.infer_dtype(column) == "string":
        marked = is_marked(column, dialect)  # beside blanks: pandas knows only bare marks
        if marked.any():
            column, is_text = column.mask(marked), True
    if not is_text or column.name in dialect.words:
        return column
    return ungrouped(column, dialect)


def _refuse_empty(columns: dict[int, bool]) -> None:
    """Refuse columns, by their places, that have neither a name nor a value."""
    for place, is_empty in columns.items():
        if is_empty:
            raise ValueError(
                f"column {place + 1} has no name and is empty: remove the commas at the line ends"
            )


def _in_words(error: pd.errors.ParserError) -> str:
    """What pandas' parser complains of, for the author of the file."""
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error)):
        expected, line, saw = found.groups()
        return (
            f"line {line} has {saw} fields, where {expected} are expected: put values that hold "
            "the separator in quotes"
        )
    if found := re.search(r"EOF inside string starting at row (\d+)", str(error)):
        return f"the quotes that begin in line {int(found[1]) + 1} are never closed"
    return str(error)
