"""Read tables in several formats. Nothing in a file is executed: pickled objects are refused.

A file holds one table, or three that have the names of the splits. The columns of arrays, which
have no names, are named 0, 1, 2, ...
"""

import csv
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.untrusted import hdf5, limits
from maf_runner.system import shortage
from maf_runner.system.errors import DataError, extra, suggestion

READABLE = ".csv, .parquet, .npy, .npz, .h5 or .hdf5"
Tables = dict[str, pd.DataFrame]


def read_table(file: Path, setting: str, *, with_labels: bool = False) -> Tables:
    """Read the table of a file as {"all": ...}, or its three splits by name.

    Args:
        file: .csv, .parquet, .npy, .npz, .h5 or .hdf5.
        setting: the option that names the file, for messages.
        with_labels: add the labels in an archive as a column named label.

    Raises:
        DataError: the file is missing or damaged, or holds no table.
        UsageError: the file does not fit into memory.
    """
    if file.is_dir():
        raise DataError(f"{file.absolute()} is a folder; expected a file, {READABLE} ({setting})")
    if not file.is_file():
        raise DataError(f"{file.absolute()} not found ({setting})")
    shortage.require(file.stat().st_size, str(file), "use fewer rows")
    try:
        tables = _read(file, with_labels=with_labels)
        for table in tables.values():
            table.columns = table.columns.map(str)
            _distinct(list(table.columns))
    except ImportError as error:
        raise DataError(f"{file}: reading Parquet needs pyarrow: {extra('parquet')}") from error
    except Exception as error:  # each library raises its own for a damaged file
        raise DataError(f"{file} cannot be read as a table: {error!s:.500}") from error
    if not tables:
        raise DataError(f"{file}: expected {READABLE} ({setting})")
    return tables


def pieces(file: Path, setting: str, rows: int) -> Iterator[pd.DataFrame]:
    """The rows of a file, about ``rows`` at a time; of a file with splits one after another.

    Archives (.npz, HDF5) are read whole. The first piece of a table without rows is empty.

    Raises:
        DataError, UsageError: as `read_table`; at the first piece that is at fault.
    """
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet", ".npy") or not file.is_file():
        yield from read_table(file, setting).values()
        return
    try:
        for piece in _pieces(file, suffix, rows):
            piece.columns = piece.columns.map(str)
            yield piece
    except ImportError as error:
        raise DataError(f"{file}: reading Parquet needs pyarrow: {extra('parquet')}") from error
    except DataError:
        raise
    except Exception as error:  # each library raises its own for a damaged file
        raise DataError(f"{file} cannot be read as a table: {error!s:.500}") from error


def _pieces(file: Path, suffix: str, rows: int) -> Iterator[pd.DataFrame]:
    if suffix == ".csv":
        yield from csv_pieces(file, rows)
    elif suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(file) as store:
            _distinct(store.schema_arrow.names)
            empty = store.schema_arrow.empty_table().to_pandas()
            if store.metadata.num_rows == 0:
                yield empty
            for batch in store.iter_batches(batch_size=rows):
                yield batch.to_pandas()
    else:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        _frame(array[:1])
        for start in range(0, len(array), rows):
            yield _frame(np.asarray(array[start : start + rows]))


def _read(file: Path, *, with_labels: bool) -> Tables:
    suffix = file.suffix.lower()
    if suffix == ".csv":
        return {"all": read_csv(file)}
    if suffix == ".parquet":
        from pyarrow import parquet

        about = parquet.read_metadata(file)
        limits.check(8 * about.num_rows * about.num_columns, file.stat().st_size, "its table")
        _distinct(about.schema.to_arrow_schema().names)
        return {"all": pd.read_parquet(file, engine="pyarrow")}
    if suffix == ".npy":
        return {"all": _frame(np.load(file, allow_pickle=False))}
    if suffix == ".npz":
        with np.load(file, allow_pickle=False) as archive:
            for entry in archive.zip.infolist():
                limits.check(entry.file_size, entry.compress_size, repr(entry.filename))
            return _named({name: archive[name] for name in archive.files}, with_labels=with_labels)
    if suffix in (".h5", ".hdf5"):
        with h5py.File(file, "r") as store:
            found = hdf5.datasets(store)
            words = {name for name, entry in found.items() if entry.dtype.kind not in "biuf"}
            arrays = {n: (e.asstr() if n in words else e)[()] for n, e in found.items()}
            return _named(arrays, with_labels=with_labels)
    return {}


def read_csv(file: Path) -> pd.DataFrame:
    """Read a CSV with a header.

    Raises:
        ValueError: the fields are not separated by commas; the first line is numbers without
            quotes, so that a row would be taken for the header; two columns have the same
            name; an empty column has no name; or a row has more fields than the header.
    """
    (table,) = csv_pieces(file, None)
    return table


def csv_pieces(file: Path, rows: int | None) -> Iterator[pd.DataFrame]:
    """As `read_csv`, ``rows`` rows at a time; None: all at once.

    Raises:
        ValueError: see `read_csv`; of the first piece that is at fault.
    """
    header = _csv_header(file)
    empty = {place: True for place, name in enumerate(header) if not name}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # index_col=False: else the first fields of rows that are too long become an index.
            # low_memory=False: else parts of a long column can have different types.
            settings: dict[str, Any] = {"index_col": False, "low_memory": False}
            if rows is None:
                pieces: Iterable[pd.DataFrame] = [pd.read_csv(file, **settings)]
            else:
                pieces = pd.read_csv(file, chunksize=rows, **settings)
            for piece in pieces:
                for place in empty:
                    empty[place] &= bool(piece.iloc[:, place].isna().all())
                if rows is None:
                    _refuse_empty(empty)
                yield piece
    except pd.errors.ParserWarning as error:
        with file.open(encoding="utf-8", newline="") as text:
            most = max(map(len, csv.reader(text)))
        raise ValueError(
            f"a row has {most} fields, the header has {len(header)} names: name each column, "
            "and put values that hold commas in quotes"
        ) from error
    _refuse_empty(empty)


def _refuse_empty(columns: dict[int, bool]) -> None:
    """Refuse columns, by their places, that have neither a name nor a value."""
    for place, is_empty in columns.items():
        if is_empty:
            raise ValueError(
                f"column {place + 1} has no name and is empty: remove the commas at the line ends"
            )


def _csv_header(file: Path) -> list[str]:
    """The header as written: pandas renames repeated names and names columns without one."""
    first = pd.read_csv(file, header=None, nrows=1, dtype=str, keep_default_na=False)
    header = first.iloc[0].tolist()
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and sign in header[0]:
            raise ValueError(f"it seems to be separated by {name}: save it with commas instead")
    with file.open("rb") as raw:
        quoted = b'"' in raw.readline()
    if not quoted and pd.to_numeric(pd.Series(header), errors="coerce").notna().all():
        raise ValueError("its first line holds numbers: add a header line with the column names")
    _distinct(header)
    return header


def _distinct(names: list[str]) -> None:
    twins = [name for name, count in Counter(names).items() if name and count > 1]
    if twins:
        raise ValueError(f"several columns have the name {twins[0]!r}: rename them")


def _frame(array: NDArray[Any], labels: NDArray[Any] | None = None) -> pd.DataFrame:
    if array.ndim != 2:
        raise ValueError(f"expected rows and columns, got an array of shape {list(array.shape)}")
    if array.dtype.kind == "c":
        raise ValueError(
            "its values are complex: store real and imaginary parts in separate columns"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"its values are {array.dtype}, expected numbers")
    if array.size == 0:
        raise ValueError(f"it holds no values, its shape is {list(array.shape)}")
    frame = pd.DataFrame(array, columns=[str(i) for i in range(array.shape[1])])
    if labels is not None:
        words = np.char.decode(labels) if labels.dtype.kind == "S" else labels  # bytes are too
        frame["label"] = words.tolist() if words.dtype.kind == "U" else words
    return frame


def _named(arrays: dict[str, NDArray[Any]], *, with_labels: bool) -> Tables:
    """The arrays of an archive as one table or three, with labels as a column named label."""
    if not with_labels:
        arrays = {n: a for n, a in arrays.items() if not n.endswith("labels")}
    if "val" in arrays and "validation" not in arrays:
        arrays["validation"] = arrays.pop("val")
        if "val_labels" in arrays:
            arrays["validation_labels"] = arrays.pop("val_labels")
    if set(SPLITS) <= set(arrays):
        return {name: _frame(arrays[name], arrays.get(f"{name}_labels")) for name in SPLITS}
    data = {name: array for name, array in arrays.items() if array.ndim == 2}
    if len(data) != 1:
        raise ValueError(
            f"expected arrays train, validation and test, or one table; got {sorted(arrays)}"
        )
    return {"all": _frame(next(iter(data.values())), arrays.get("labels"))}


def need(column: str, table: pd.DataFrame, setting: str, file: Path) -> None:
    """Raise DataError where ``table`` has no such column."""
    if column not in table.columns:
        near = suggestion(column, list(table.columns))
        raise DataError(f"{file} has no column {column!r} ({setting}){near}")


def is_numeric(column: pd.Series) -> bool:
    """Whether the values are real numbers or truth values; some may be missing.

    >>> is_numeric(pd.Series([True, None])), is_numeric(pd.to_timedelta(pd.Series([1])))
    (True, False)
    """
    return column.dtype.kind in "iufb" or pd.api.types.infer_dtype(column) in (
        "boolean",
        "decimal",
        "floating",
        "integer",
        "mixed-integer-float",
    )


def numbers(table: pd.DataFrame, file: Path) -> NDArray[np.float64]:
    """The values [N, D] of ``table``, with true and false as 1 and 0, and missing values as NaN.

    Raises:
        DataError: a column is not numeric.
    """
    try:
        if any(dtype.kind in "cmM" for dtype in table.dtypes):
            raise TypeError("complex numbers, dates or times")  # numpy would convert them
        return table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        bad = (f"{name}{word}" for name in table if (word := first_word(table[name])))
        raise DataError(f"{file}: non-numeric columns: {some(bad) or error}") from error


def first_word(column: pd.Series) -> str:
    """The first value that is not a number, and its row, in brackets; empty if there is none.

    >>> first_word(pd.Series(["1.5", None, "abc"]))
    " ('abc' in row 2)"
    """
    values = as_text(column)
    words = np.flatnonzero(column.notna() & pd.to_numeric(values, errors="coerce").isna())
    return f" ({str(values.iloc[words[0]])[:50]!r} in row {words[0]})" if len(words) else ""


def as_text(column: pd.Series) -> pd.Series:
    """The values as text; bytes that cannot be decoded as Python shows them."""
    try:
        return column.astype(str)
    except UnicodeDecodeError:
        return column.map(repr)


def some(words: Iterable[str], separator: str = ", ") -> str:
    """The first ten of many words, each cut to 100 characters, in one line.

    >>> some("abc"), some(str(i) for i in range(10**6))
    ('a, b, c', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...')
    """
    *first, end = [*islice(words, 11), ""][:11]
    return separator.join([*(word[:100] for word in first if word), *(["..."] if end else [])])
