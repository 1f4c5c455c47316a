"""Columns of results, written piece by piece as CSV, Parquet or npy; memory holds one piece."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from maf_runner.system import output
from maf_runner.system.errors import DataError, extra

FORMATS = (".csv", ".parquet", ".npy")
DTYPES = {bool: "boolean", int: "Int64", float: "Float64", str: "string"}  # of pandas


class Writer:
    """Writes pieces of columns to what the user has named; see `output.opened`.

    Args:
        path: its ending says the form; without one it is CSV.
        of_one: the one column that an npy file has; None: all of them, which must be numbers.
        rows: how many rows there will be, for npy; None: not known before.
        quoted: put names in quotes, so that they are names even where they look like numbers.
        whole: columns of floats that hold whole numbers: in CSV they have no decimals.
    """

    def __init__(
        self,
        path: Path,
        *,
        of_one: str | None = None,
        rows: int | None = None,
        quoted: bool = False,
        whole: Collection[str] = (),
    ) -> None:
        self.whole = whole
        self.path, self.of_one, self.rows = path, of_one, rows
        self.quoting: Any = csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL
        self._opened: AbstractContextManager[BinaryIO] = output.opened(path)
        self._started = False
        self._parquet: Any = None
        self._kept: list[NDArray[Any]] = []

    def __enter__(self) -> "Writer":
        self._file = self._opened.__enter__()
        return self

    def write(self, columns: dict[str, Any]) -> None:
        """Append a piece; every piece has the same columns."""
        suffix = self.path.suffix
        if suffix == ".npy":
            self._write_array(columns)
        elif suffix == ".parquet":
            self._write_parquet(columns)
        else:
            self._write_lines(columns)
        self._started = True

    def _write_lines(self, columns: dict[str, Any]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n", quoting=self.quoting)
        if not self._started:
            writer.writerow(columns)
        fields = (
            _whole(values) if name in self.whole else _plain(values)
            for name, values in columns.items()
        )
        writer.writerows(zip(*fields, strict=True))
        self._file.write(text.getvalue().encode())

    def _write_parquet(self, columns: dict[str, Any]) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as error:
            raise DataError(f"writing Parquet needs pyarrow: {extra('parquet')}") from error
        schema = self._parquet.schema if self._parquet else None
        try:
            table = pa.table(columns, schema=schema)
            if self._parquet is None:
                self._parquet = parquet.ParquetWriter(self._file, table.schema)
            self._parquet.write_table(table)
        except pa.ArrowException as error:
            message = f"{self.path}: a column cannot be written as Parquet: {error}"
            raise DataError(message) from error

    def _write_array(self, columns: dict[str, Any]) -> None:
        chosen = [columns[self.of_one]] if self.of_one else list(columns.values())
        piece = chosen[0] if self.of_one else np.column_stack(chosen)
        if piece.dtype == object:  # categories that are numbers or truth values
            piece = piece.astype(np.float64)
        if self.rows is None:
            self._kept.append(piece)
            return
        if not self._started:
            _header(self._file, (self.rows, *piece.shape[1:]), piece.dtype)
        self._file.write(np.ascontiguousarray(piece).tobytes())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._kept:
                whole = np.concatenate(self._kept)
                _header(self._file, whole.shape, whole.dtype)
                self._file.write(whole.tobytes())
            if self._parquet is not None:
                with suppress(Exception) if kind else nullcontext():  # the first error is told
                    self._parquet.close()
        except BaseException as late:
            if not self._opened.__exit__(type(late), late, late.__traceback__):
                raise
            return
        self._opened.__exit__(kind, error, traceback)


def _header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)


def of_one_type(values: Iterable[Any], known: Sequence[Any]) -> Any:
    """Values, each of which is None or one of ``known``, as an array of pandas.

    Its type fits all of ``known``: so pieces of a column have one type, whatever they hold.
    """
    import pandas as pd

    kinds = {type(value) for value in known}
    is_huge = kinds == {int} and not all(-(2**63) <= value < 2**63 for value in known)
    if len(kinds) == 1 and kinds <= set(DTYPES) and not is_huge:
        return pd.array(list(values), dtype=DTYPES[kinds.pop()])
    return pd.array([None if v is None else str(v) for v in values], dtype="string")


def _whole(values: Any) -> list[Any]:
    """For CSV: whole numbers without decimals."""
    return [int(v) if isinstance(v, float) and v.is_integer() else v for v in _plain(values)]


def _plain(values: Any) -> list[Any]:
    """For CSV: a missing value is an empty field. A float32 of pandas has its own digits."""
    if hasattr(values, "isna"):
        missing = values.isna()
        if values.dtype.kind == "f":
            values = np.asarray(values, dtype=f"f{values.dtype.itemsize}").astype(str)
        pairs = zip(values.tolist(), missing, strict=True)
        return [None if is_missing else value for value, is_missing in pairs]
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return [None if value != value else value for value in array.tolist()]
    return [None if value is None or value != value else value for value in array.tolist()]
