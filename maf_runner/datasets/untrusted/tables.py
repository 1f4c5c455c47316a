"""Read tables in several formats. Nothing in a file is executed: pickled objects are refused.

A file holds one table, or three that have the names of the splits. The columns of arrays, which
have no names, are named 0, 1, 2, ...
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.untrusted import delimited, hdf5, limits
from maf_runner.datasets.untrusted.dialect import TEXT, Dialect, bare_suffix
from maf_runner.datasets.untrusted.first_lines import distinct
from maf_runner.datasets.untrusted.notations import as_text, is_marked, notation
from maf_runner.system import reading, shortage
from maf_runner.system.errors import DataError, ShortageError, extra, suggestion

READABLE = ".csv, .tsv or .txt (also .gz, .bz2, .xz), .parquet, .feather, .npy, .npz, .h5 or .hdf5"
Tables = dict[str, pd.DataFrame]


def read_table(file: Path, setting: str, *, dialect: Dialect = Dialect()) -> Tables:  # noqa: B008
    """Read the table of a file as {"all": ...}, or its three splits by name.

    Args:
        file: in one of the formats that `READABLE` lists.
        setting: the option that names the file, for messages.
        dialect: how it is written. Its label may be an array of an archive.

    Raises:
        DataError: the file is missing or damaged, or holds no table.
        UsageError: the file does not fit into memory.
    """
    if file.is_dir():
        raise DataError(f"{file.absolute()} is a folder; expected a file, {READABLE} ({setting})")
    if not file.is_file():
        state = "is no regular file" if file.exists() else "not found"
        raise DataError(f"{file.absolute()} {state} ({setting})")
    shortage.require(file.stat().st_size, str(file), "use fewer rows")
    try:
        tables = _read(file, dialect)
        for table in tables.values():
            table.columns = table.columns.map(str)
            distinct(list(table.columns))
        if bare_suffix(file) not in TEXT:
            tables = {name: settled(table, dialect) for name, table in tables.items()}
    except ImportError as error:
        raise DataError(f"{file}: reading Parquet needs pyarrow: {extra('parquet')}") from error
    except Exception as error:  # each library raises its own for a damaged file
        _raise_if_out_of_reach(error, file)
        raise DataError(f"{file} cannot be read as a table: {_in_words(error)}") from error
    if not tables:
        raise DataError(f"{file}: expected {READABLE} ({setting})")
    return tables


def pieces(file: Path, setting: str, rows: int, dialect: Dialect) -> Iterator[pd.DataFrame]:
    """The rows of a file, about ``rows`` at a time; of a file with splits one after another.

    Archives (.npz, HDF5) are read whole. The first piece of a table without rows is empty.

    Raises:
        DataError, UsageError: as `read_table`; at the first piece that is at fault.
    """
    suffix = bare_suffix(file)
    if suffix not in (*TEXT, ".parquet", ".npy") or not file.is_file():
        yield from read_table(file, setting, dialect=dialect).values()
        return
    try:
        for piece in _pieces(file, suffix, rows, dialect):
            piece.columns = piece.columns.map(str)
            yield piece if suffix in TEXT else settled(piece, dialect)
    except ImportError as error:
        raise DataError(f"{file}: reading Parquet needs pyarrow: {extra('parquet')}") from error
    except DataError:
        raise
    except Exception as error:  # each library raises its own for a damaged file
        _raise_if_out_of_reach(error, file)
        raise DataError(f"{file} cannot be read as a table: {_in_words(error)}") from error


IN_WORDS = (  # what a library says, and what it means
    ("allow_pickle", "it holds Python objects, or is none of NumPy's files: store numbers"),
    ("Parquet magic bytes not found", "it is no Parquet file"),
    ("Not a Feather", "it is no feather file"),
    ("file signature not found", "it is no HDF5 file"),
    ("File is not a zip file", "it is none of NumPy's archives"),
)


def _in_words(error: Exception) -> str:
    """What is wrong with a file, for its author."""
    text = f"{error!s:.500}"
    return next((words for said, words in IN_WORDS if said in text), text)


def _raise_if_out_of_reach(error: Exception, file: Path) -> None:
    """Raise the system's error where the file is not damaged but cannot be read now."""
    if (system := reading.out_of_reach(error)) is not None:
        raise ShortageError(f"{file}: {system.strerror or system}") from error


def _pieces(file: Path, suffix: str, rows: int, dialect: Dialect) -> Iterator[pd.DataFrame]:
    if suffix in TEXT:
        yield from delimited.pieces(file, dialect, rows)
    elif suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(file) as store:
            distinct(store.schema_arrow.names)
            empty = store.schema_arrow.empty_table().to_pandas()
            if store.metadata.num_rows == 0:
                yield _with_index(empty)
            index = _row_numbers(store)
            for batch in store.iter_batches(batch_size=rows):
                table = _of_arrow(batch, dialect, ignore_metadata=index is not None)
                if index is not None:
                    own, index = index[: len(table)], index[len(table) :]
                    table.insert(0, own.name, own)
                yield table
    else:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        _frame(array[:1])
        for start in range(0, len(array), rows):
            yield _frame(np.asarray(array[start : start + rows]))


def _of_arrow(table: Any, dialect: Dialect, **options: Any) -> pd.DataFrame:
    """A table or batch of pyarrow's. Whole numbers that are kept as text stay whole.

    Beside a missing value pandas makes floating numbers of them, of which large ones are equal.
    """
    frame = table.to_pandas(**options)
    for name in dialect.texts:
        place = table.schema.get_field_index(name)
        if (
            name in frame
            and place >= 0
            and str(table.schema.field(place).type)[:3] in ("int", "uin")
        ):
            frame[name] = table.column(place).to_pandas(integer_object_nulls=True).to_numpy()
    return _with_index(frame)


def settled(table: pd.DataFrame, dialect: Dialect) -> pd.DataFrame:
    """A table that was not read from text: categoricals as values, marked values as missing."""
    markers = pd.Series(dialect.missing_markers, dtype=object)
    numbers_too = pd.to_numeric(markers, errors="coerce").dropna()
    for name in list(table):
        column = table[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            table[name] = column = column.astype(
                column.cat.categories.dtype if column.notna().all() else object
            )
        if markers.empty or name in dialect.texts:
            continue
        marked = column.isin(numbers_too) if is_numeric(column) else is_marked(column, dialect)
        if marked.any():
            table[name] = column.mask(marked)
    return table


def _row_numbers(store: Any) -> pd.RangeIndex | None:
    """The index that pandas described in a Parquet file and did not store, if it has a name.

    It is None where the description does not fit the rows.
    """
    described = (store.schema_arrow.pandas_metadata or {}).get("index_columns", [])
    for level in described:
        if isinstance(level, dict) and level.get("name") is not None:
            index = pd.RangeIndex(level["start"], level["stop"], level["step"], name=level["name"])
            return index if len(index) == store.metadata.num_rows else None
    return None


def _with_index(table: pd.DataFrame) -> pd.DataFrame:
    """The levels of pandas' index that have a name are columns too; others number the rows."""
    named = [name for name in table.index.names if name is not None]
    return table.reset_index(level=named) if named else table


def _read(file: Path, dialect: Dialect) -> Tables:
    suffix = bare_suffix(file)
    if suffix in TEXT:
        return {"all": delimited.read(file, dialect)}
    if suffix == ".feather":
        from pyarrow import feather

        return {"all": _of_arrow(feather.read_table(file), dialect)}
    if suffix == ".parquet":
        from pyarrow import parquet

        about = parquet.read_metadata(file)
        limits.check(8 * about.num_rows * about.num_columns, file.stat().st_size, "its table")
        distinct(about.schema.to_arrow_schema().names)
        texts = [
            field.name
            for field in about.schema.to_arrow_schema()
            if str(field.type) in ("string", "large_string")
        ]
        # Each text once, however many rows have it.
        return {"all": _of_arrow(parquet.read_table(file, read_dictionary=texts), dialect)}
    if suffix == ".npy":
        return {"all": _frame(np.load(file, allow_pickle=False))}
    if suffix == ".npz":
        with np.load(file, allow_pickle=False) as archive:
            for entry in archive.zip.infolist():
                limits.check(entry.file_size, entry.compress_size, repr(entry.filename))
            return _named({name: archive[name] for name in archive.files}, dialect)
    if suffix in (".h5", ".hdf5"):
        with h5py.File(file, "r") as store:
            found = hdf5.datasets(store, structured=True)
            if not found:
                raise ValueError(hdf5.where_tables_are(store))
            words = {name for name, entry in found.items() if entry.dtype.kind not in "biufV"}
            empty = [n for n, entry in found.items() if entry.shape is None]
            if empty:
                raise ValueError(f"{empty[0]!r} is empty")
            arrays = {n: (_texts_of(e) if n in words else e)[()] for n, e in found.items()}
            return _named(arrays, dialect)
    return {}


def _texts_of(entry: Any) -> Any:
    return entry.asstr(errors="backslashreplace")  # bytes in another encoding are no damage


def _frame(array: NDArray[Any], labels: NDArray[Any] | None = None) -> pd.DataFrame:
    if array.dtype.names is not None:
        return _fields(array)
    array = _native(array)
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
        frame["label"] = _words(labels)
    return frame


def _fields(array: NDArray[Any]) -> pd.DataFrame:
    """The fields of a structured array, as columns."""
    names = array.dtype.names or ()
    if array.ndim != 1 or any(array[name].ndim != 1 for name in names):
        raise ValueError("its fields hold arrays: give each number a field of its own")
    return pd.DataFrame({name: _words(array[name]) for name in names})


def _words(array: NDArray[Any]) -> Any:
    words = array
    if array.dtype.kind == "S":  # bytes are too
        words = np.char.decode(array, "utf-8", "backslashreplace")
    return words.tolist() if words.dtype.kind == "U" else _native(words)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in the byte order of this machine, which pandas asks for."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _named(arrays: dict[str, NDArray[Any]], dialect: Dialect) -> Tables:
    """The arrays of an archive as one table or three, with labels as a column.

    Labels are the array that the dialect's label names, or one whose name ends in ``labels``.
    Arrays of one axis are the columns of a table if there is no array of two. Where the dialect's
    context names an array, all arrays of as many rows are one table: array ``x`` has the columns
    ``x_0``, ``x_1``, ...
    """
    label = dialect.label
    if any(name in arrays and arrays[name].ndim in (1, 2) for name in dialect.context):
        return {"all": _beside_each_other(arrays)}
    asides = {}
    for name in (label, *dialect.asides):
        if name in arrays and name is not None and _is_one_column(arrays[name]):
            asides[name] = arrays.pop(name).reshape(-1)
    if label is None or label in asides:
        arrays = {n: a for n, a in arrays.items() if not n.endswith("labels")}
    if "val" in arrays and "validation" not in arrays:
        arrays["validation"] = arrays.pop("val")
        if "val_labels" in arrays:
            arrays["validation_labels"] = arrays.pop("val_labels")
    if set(SPLITS) <= set(arrays):
        return {name: _frame(arrays[name], arrays.get(f"{name}_labels")) for name in SPLITS}
    data = {n: a for n, a in arrays.items() if a.ndim == 2 or a.dtype.names is not None}
    if len(data) == 1:
        frame = _frame(next(iter(data.values())), arrays.get("labels"))
    elif not data and len({len(a) for a in arrays.values() if a.ndim == 1}) == 1:
        frame = pd.DataFrame({n: _words(a) for n, a in arrays.items() if a.ndim == 1})
    else:
        raise ValueError(
            f"expected arrays train, validation and test, or one table; got {sorted(arrays)}. "
            "An array of labels is named by dataset.label, one of weights by dataset.weight, one "
            "that the model is given by dataset.context"
        )
    for name, own in asides.items():
        if len(own) != len(frame):
            raise ValueError(f"{name!r} has {len(own)} values, the table {len(frame)} rows")
        frame[name] = _words(own)
    return {"all": frame}


def _is_one_column(array: NDArray[Any]) -> bool:
    return array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)


def _beside_each_other(arrays: dict[str, NDArray[Any]]) -> pd.DataFrame:
    """Arrays [N] and [N, K] as the columns of one table."""
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim in (1, 2)}
    if len(set(lengths.values())) != 1 or len(lengths) != len(arrays):
        raise ValueError(f"its arrays are not of as many rows as each other: {lengths}")
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            columns[name] = _words(array)
        else:
            columns |= {f"{name}_{i}": own for i, own in enumerate(_frame(array).to_numpy().T)}
    return pd.DataFrame(columns)


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
        for name in table:
            if pd.api.types.infer_dtype(table[name]) == "string":
                raise TypeError(f"{name} ({table[name].dropna().iloc[0]!r:.60} is text)")
        return table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        bad = [f"{name}{word}" for name in table if (word := first_word(table[name]))]
        mend = ""
        if bad and (other := next(filter(None, map(notation, (table[n] for n in table))), None)):
            mend = f": numbers with {other.what}: {other.way_out}"
        raise DataError(f"{file}: non-numeric columns: {some(bad) or error}{mend}") from error


def first_word(column: pd.Series) -> str:
    """The first value that is not a number, and its row by the index; empty if there is none.

    >>> first_word(pd.Series(["1.5", None, "abc"]))
    " ('abc' in row 2)"
    """
    values = as_text(column)
    words = values[column.notna() & pd.to_numeric(values, errors="coerce").isna()]
    return f" ({str(words.iloc[0])[:50]!r} in row {words.index[0]})" if len(words) else ""


def some(words: Iterable[str], separator: str = ", ") -> str:
    """The first ten of many words, each cut to 100 characters, in one line.

    >>> some("abc"), some(str(i) for i in range(10**6))
    ('a, b, c', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...')
    """
    *first, end = [*islice(words, 11), ""][:11]
    return separator.join([*(word[:100] for word in first if word), *(["..."] if end else [])])
