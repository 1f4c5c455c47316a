"""Choose the columns of a user's table: the label, and the numeric ones or those named."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maf_runner.datasets.untrusted.delimited import notation
from maf_runner.datasets.untrusted.tables import first_word, is_numeric, need, some
from maf_runner.system.errors import DataError

log = logging.getLogger("maf_runner")
UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)?)?")  # names that pandas gives, or none


def take_label(table: pd.DataFrame, label: Any, file: Path) -> pd.Series | None:
    """Remove the label column from ``table`` and return it; None without labels."""
    if label is None:
        return None
    need(str(label), table, "dataset.label", file)
    return table.pop(str(label))


def choose_columns(table: pd.DataFrame, columns: list[Any] | None, file: Path) -> list[str]:
    """The columns to model: those named, or all numeric ones except a saved index.

    Raises:
        DataError: a named column is missing, no column is numeric, or one is nearly numeric.
    """
    if columns is not None:
        for column in columns:
            need(str(column), table, "dataset.columns", file)
        return [str(c) for c in columns]
    plain = {c for c, dtype in table.dtypes.items() if dtype.kind in "biuf"}
    left_out = dict.fromkeys(c for c in table if c not in plain and not is_numeric(table[c]))
    for column in left_out:
        _refuse_nearly_numeric(table[column], file)
    if left_out:
        words = some(f"{c}{first_word(table[c])}" for c in left_out)
        log.info("%s: non-numeric columns skipped: %s", file, words)
    saved = [c for c in table if UNNAMED.fullmatch(c) and _is_saved_index(table[c])]
    if saved:
        log.info("%s: skipped because it looks like a saved index: %s", file, some(saved))
    chosen = [c for c in table if c not in left_out and c not in saved]
    if not chosen:
        raise DataError(f"{file} has no numeric column")
    return chosen


def _refuse_nearly_numeric(column: pd.Series, file: Path) -> None:
    """Refuse numbers in another notation, or with a few words: skipping them is easily missed."""
    values = column.dropna()
    if not pd.api.types.infer_dtype(values).startswith(("string", "mixed")):
        return
    if other := notation(values):
        example, what, way_out = other
        raise DataError(
            f"{file}: column {column.name!r} holds numbers with {what} (such as {example!r}): "
            f"{way_out}, or name the columns to use: dataset.columns=[...]"
        )
    good = int(pd.to_numeric(values.astype(str), errors="coerce").notna().sum())
    if 2 * good >= len(values):
        raise DataError(
            f"{file}: {good} of {len(values)} values of column {column.name!r} are numbers, but "
            f"it is read as text{first_word(column)}. Correct these values, or name the columns "
            "to use: dataset.columns=[...]"
        )


def _is_saved_index(column: pd.Series) -> bool:
    """Whether the column looks like row numbers, which may start again."""
    if column.dtype.kind not in "iu":
        return False
    values = column.to_numpy()
    steps, start = np.diff(values.astype(np.int64)), values[:1]
    return bool(column.is_unique or ((steps == 1) | (values[1:] == start)).all())
