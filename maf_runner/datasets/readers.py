"""Tables from files, format by format. Nothing in a file is executed: pickled objects are refused.

A file holds one table, or three that are named as its splits. Columns without names of their own
(arrays) are named 0, 1, 2, ...
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets import hdf5
from maf_runner.errors import DataError, suggestion

SPLITS = ("train", "validation", "test")
Tables = dict[str, pd.DataFrame]


def read_table(file: Path, setting: str, *, with_labels: bool = False) -> Tables:
    """Read the table of a file as {"all": ...}, or its three splits by name.

    Args:
        file: .csv, .parquet, .npy, .npz, .h5 or .hdf5.
        setting: what named the file, for the messages.
        with_labels: take the labels of an archive as a column named label.

    Raises:
        DataError: the file is missing, damaged or no table.
    """
    if not file.is_file():
        raise DataError(f"{file.absolute()} not found ({setting})")
    try:
        tables = _read(file, with_labels=with_labels)
    except ImportError as error:
        raise DataError(
            f"{file}: reading Parquet needs pyarrow: pip install 'maf-runner[parquet]'"
        ) from error
    except Exception as error:  # each library has its own for a damaged file
        raise DataError(f"{file} cannot be read as a table: {error}") from error
    if not tables:
        raise DataError(f"{file}: expected .csv, .parquet, .npy, .npz, .h5 or .hdf5 ({setting})")
    for table in tables.values():
        table.columns = table.columns.map(str)
    return tables


def _read(file: Path, *, with_labels: bool) -> Tables:
    if file.suffix == ".csv":
        return {"all": read_csv(file)}
    if file.suffix == ".parquet":
        return {"all": pd.read_parquet(file, engine="pyarrow")}
    if file.suffix == ".npy":
        return {"all": _frame(np.load(file, allow_pickle=False))}
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as archive:
            return _named({name: archive[name] for name in archive.files}, with_labels=with_labels)
    if file.suffix in (".h5", ".hdf5"):
        with h5py.File(file, "r") as store:
            arrays = {name: entry[()] for name, entry in hdf5.datasets(store).items()}
            return _named(arrays, with_labels=with_labels)
    return {}


def read_csv(file: Path) -> pd.DataFrame:
    """Read a CSV with a header.

    Raises:
        ValueError: its first line is numbers without quotes, so that a row would be taken for
            the header.
    """
    table = pd.read_csv(file)
    with file.open("rb") as raw:
        quoted = b'"' in raw.readline()
    if not quoted and pd.to_numeric(pd.Series(table.columns), errors="coerce").notna().all():
        raise ValueError("its first line is numbers: put a line with names for the columns first")
    return table


def _frame(array: NDArray[Any], labels: NDArray[Any] | None = None) -> pd.DataFrame:
    if array.ndim != 2:
        raise ValueError(f"expected rows and columns, found an array of shape {list(array.shape)}")
    frame = pd.DataFrame(array, columns=[str(i) for i in range(array.shape[1])])
    if labels is not None:
        frame["label"] = labels
    return frame


def _named(arrays: dict[str, NDArray[Any]], *, with_labels: bool) -> Tables:
    """Arrays of an archive as a table, or as three; labels as a column named label."""
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
            f"expected arrays train, validation and test, or one table; found {sorted(arrays)}"
        )
    return {"all": _frame(next(iter(data.values())), arrays.get("labels"))}


def need(column: str, table: pd.DataFrame, setting: str, file: Path) -> None:
    """Raise DataError where ``table`` has no such column."""
    if column not in table.columns:
        near = suggestion(column, list(table.columns))
        raise DataError(f"{file} has no column {column!r} ({setting}){near}")


def numbers(table: pd.DataFrame, file: Path) -> NDArray[np.float64]:
    """The values [N, D] of ``table``; what is missing becomes NaN.

    Raises:
        DataError: a column is not made of numbers.
    """
    try:
        return table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        bad = [f"{name}{word}" for name in table if (word := first_word(table[name]))]
        raise DataError(
            f"{file}: columns that are not made of numbers: {', '.join(bad) or error}"
        ) from error


def first_word(column: pd.Series) -> str:
    """Where the first value that is no number stands, in brackets; empty if there is none.

    >>> first_word(pd.Series(["1.5", None, "abc"]))
    " ('abc' in row 2)"
    """
    values = column.astype(str)
    words = np.flatnonzero(column.notna() & pd.to_numeric(values, errors="coerce").isna())
    return f" ({str(values.iloc[words[0]])!r} in row {words[0]})" if len(words) else ""
