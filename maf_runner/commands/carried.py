"""The columns of a file that ``--keep`` carries along, beside the numbers that are scored."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from maf_runner.datasets.untrusted import tables
from maf_runner.datasets.untrusted.dialect import Dialect, bare_suffix

Piece = tuple[pd.DataFrame, dict[str, pd.Series]]


def pieces_with(names: list[str], file: Path, rows: int, dialect: Dialect) -> Iterator[Piece]:
    """The rows of a file as `tables.pieces` has them, each piece with its columns ``names``.

    The index numbers the rows of the file from 0, through all pieces.

    A column has one type in all pieces. Of a file of text it is text, as it stands there; an empty
    field is missing. Of Parquet it is the type of the file. Of other files it is the type of the
    array, or text where the arrays of the splits have different types.

    Raises:
        DataError, UsageError: as `tables.pieces`, or the file has no such column.
    """
    pieces = _with_columns(names, tables.pieces(file, "FILE", rows, dialect), file)
    if not names:
        yield from ((table, {}) for table in pieces)
        return
    suffix = bare_suffix(file)
    if suffix in tables.TEXT:
        as_text = replace(dialect, label=None, categorical=tuple(names))  # which are read as text
        texts = tables.pieces(file, "FILE", rows, as_text)
        for table, text in zip(pieces, texts, strict=True):
            yield table, {name: text[name] for name in names}
    elif suffix == ".parquet":
        yield from _of_parquet(names, file, rows, pieces)
    elif suffix == ".npy":
        yield from ((table, {name: table[name] for name in names}) for table in pieces)
    else:
        whole = list(pieces)  # such files are read whole
        mixed = {name for name in names if len({table[name].dtype for table in whole}) > 1}
        for table in whole:
            kept = {name: table[name] for name in names}
            yield table, kept | {name: _text(kept[name]) for name in mixed}


def _with_columns(
    names: list[str], pieces: Iterator[pd.DataFrame], file: Path
) -> Iterator[pd.DataFrame]:
    start = 0
    for table in pieces:
        for name in names:
            tables.need(name, table, "--keep", file)
        table.index = pd.RangeIndex(start, start + len(table))
        start += len(table)
        yield table


def _of_parquet(
    names: list[str], file: Path, rows: int, pieces: Iterator[pd.DataFrame]
) -> Iterator[Piece]:
    """Columns of Parquet as Arrow has them; pandas would change whole numbers beside gaps."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as store:
        stored = [name for name in names if name in store.schema_arrow.names]
        batches = store.iter_batches(batch_size=rows, columns=stored)
        for table in pieces:
            kept = {name: table[name] for name in names}  # an index of row numbers is not stored
            if stored and len(table):
                batch = next(batches)
                for name in stored:
                    own = batch.column(name)
                    kept[name] = pd.Series(own, dtype=pd.ArrowDtype(own.type))
            yield table, kept


def _text(column: pd.Series) -> pd.Series:
    return column.map(str, na_action="ignore").astype(object)
