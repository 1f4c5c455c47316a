"""DataFrames and arrays as tables, and tables as files that ``dataset=file`` reads."""

import hashlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.untrusted.first_lines import distinct
from maf_runner.datasets.untrusted.tables import is_numeric, need
from maf_runner.datasets.user_table.columns import choose_columns
from maf_runner.system import atomic, shortage
from maf_runner.system.errors import DataError, ShortageError, UnwritableError, UsageError, extra

FRAME, ARRAY = Path("the DataFrame"), Path("the array")  # names of the source in messages
LONGEST_HEADER = 9_000  # bytes of the names of an npy file that numpy is sure to read
ASIDE = ("label", "weight", "split")  # settings of ``dataset=file`` that name a column each


def source_of(data: Any) -> Path:
    """What messages call ``data``."""
    return ARRAY if isinstance(data, np.ndarray) else FRAME


def table_of(data: Any, names: Sequence[str] | None = None) -> pd.DataFrame:
    """A DataFrame or an array [N, D] as a table with texts as names and rows numbered from 0.

    Categoricals become plain columns, and objects numbers where all of them are. The index is
    left out. What is given stays as it is.

    Args:
        data: the rows.
        names: of the columns of an array; None: x0, x1, ...

    Raises:
        UsageError: neither of them, or an array of another shape.
        DataError: two columns have one name, or there are no rows.
    """
    if isinstance(data, pd.DataFrame):
        table = data.set_axis(data.columns.map(str), axis=1).reset_index(drop=True)
        try:
            distinct(list(table.columns))
        except ValueError as error:
            raise DataError(f"{FRAME}: {error}") from error
    elif isinstance(data, np.ndarray):
        width = None if names is None else len(names)
        if data.ndim != 2 or width not in (None, data.shape[1]):
            columns = "D columns" if names is None else f"{width} columns ({', '.join(names)})"
            raise UsageError(
                f"expected an array of N rows and {columns}, got shape {list(data.shape)}"
            )
        table = pd.DataFrame(data, columns=names or [f"x{i}" for i in range(data.shape[1])])
    else:
        raise UsageError(
            f"expected a pandas DataFrame or a NumPy array, got {type(data).__name__}"
        )
    if table.empty:
        raise DataError(f"{source_of(data)} has no {'columns' if len(table) else 'rows'}")
    for name, dtype in table.dtypes.items():
        if isinstance(dtype, pd.CategoricalDtype):
            table[name] = table[name].astype(object)
    return table.infer_objects()


def used(table: pd.DataFrame, settings: Mapping[str, Any], source: Path) -> pd.DataFrame:
    """The columns of ``table`` that a run with these ``settings`` of ``dataset=file`` takes.

    Raises:
        DataError: a column that they name lacks, or none is numeric.
    """
    named = {key: _names(settings.get(key)) for key in (*ASIDE, "context", "categorical")}
    for key, names in named.items():
        for name in names:
            need(name, table, f"dataset.{key}", source)
    taken = {name for names in named.values() for name in names}
    rest = table[[name for name in table if name not in taken]]
    columns = settings.get("columns") or None  # an empty list is refused later, by the dataset
    if columns is None and not (rest.empty and named["categorical"]):
        taken |= set(choose_columns(rest, None, source))
    for name in _names(columns):
        need(name, table, "dataset.columns", source)
        taken.add(name)
    return table[[name for name in table if name in taken]]


def categorical(table: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """The setting ``categorical`` with the context columns of texts, as `used` leaves them.

    So their texts are kept as they are where ``maf-score`` reads them from a CSV, also NA.
    """
    named, given = _names(settings.get("categorical")), _names(settings.get("context"))
    words = [name for name in given if name not in named and not is_numeric(table[name])]
    return [*named, *words]


def _names(value: Any) -> list[str]:
    """The columns that a setting names; what is impossible the dataset refuses later."""
    if value is None:
        return []
    return [str(name) for name in (value if isinstance(value, list) else [value])]


def write(table: pd.DataFrame, folder: Path, source: Path) -> Path:
    """Write ``table`` into ``folder`` under a name made from its content; returns the file.

    The file gives back the very numbers. It is npy with named columns, or Parquet where that
    cannot hold the table: a text is missing, or there are hundreds of columns.

    Raises:
        DataError: a column holds neither numbers nor texts, or Parquet needs to be installed.
        UnwritableError: the folder cannot be written to.
        ShortageError: there is no room.
    """
    columns = {str(name): _stored(table[name], source) for name in table}
    header = sum(len(repr((name, own.dtype.str))) + 2 for name, own in columns.items())
    gaps = any(own.dtype.kind == "O" for own in columns.values())
    suffix = ".parquet" if gaps or header > LONGEST_HEADER else ".npy"
    content = _parquet(columns) if suffix == ".parquet" else _npy(columns)
    path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write(path, content)
    except OSError as error:
        if folder.is_dir() and shortage.is_shortage(error):
            raise ShortageError(f"{path}: {error.strerror or error}") from error
        raise UnwritableError(
            f"{folder} cannot be written ({error.strerror}): choose another folder with "
            "results_dir=..."
        ) from error
    return path


def _stored(column: pd.Series, source: Path) -> NDArray[Any]:
    """A column as it is kept: truth values, 64-bit numbers or texts; objects if one is missing.

    Raises:
        DataError: other values.
    """
    missing = column.isna()
    if is_numeric(column):
        if column.dtype.kind in "biu" and not missing.any():
            kind = {"b": "?", "i": "<i8", "u": "<u8"}[column.dtype.kind]
            return column.to_numpy(dtype=kind)
        return column.to_numpy(dtype="<f8", na_value=np.nan)
    present = column[~missing]
    kind = pd.api.types.infer_dtype(present)
    if len(present) and kind != "string":
        examples = {type(value): value for value in present.astype(object)}
        raise DataError(
            f"{source}: column {str(column.name)!r} holds {kind} values, such as "
            f"{' and '.join(f'{str(value)[:50]!r}' for value in examples.values())}: give "
            "numbers in all rows, or texts in all rows"
        )
    if not missing.any():
        return column.to_numpy(dtype=object).astype(str)
    return column.astype(object).where(~missing, None).to_numpy()


def _npy(columns: Mapping[str, NDArray[Any]]) -> bytes:
    if "" in columns:
        raise DataError("a column has no name: give it one, or leave it out")
    rows = np.empty(
        len(next(iter(columns.values()))),
        dtype=[(name, own.dtype.str) for name, own in columns.items()],
    )
    for name, own in columns.items():
        rows[name] = own
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names beyond ASCII take format 3 of npy
        np.save(file, rows, allow_pickle=False)
    return file.getvalue()


def _parquet(columns: Mapping[str, NDArray[Any]]) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            "a table with missing texts, or with so many columns, is kept as Parquet, which needs "
            f"pyarrow: {extra('parquet')}"
        ) from error
    file = io.BytesIO()
    # Not compressed: what claims to hold far more than its bytes can is refused when it is read.
    parquet.write_table(pa.table(dict(columns)), file, compression="none", use_dictionary=False)
    return file.getvalue()
