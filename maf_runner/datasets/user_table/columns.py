"""Choose the columns of a user's table: the label, and the numeric ones or those named."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.untrusted.dialect import TEXT, Dialect, bare_suffix
from maf_runner.datasets.untrusted.notations import notation
from maf_runner.datasets.untrusted.tables import first_word, is_numeric, need, some
from maf_runner.system.errors import DataError

log = logging.getLogger("maf_runner")
UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)*)?")  # names that pandas gives, or none
FEW_STEPS = 1000  # between neighbouring 64-bit numbers, in which large values are lost
FEW_MARKS = 3  # different texts, at most, that may stand for a missing number
NO_WORD = re.compile(r"\W+|#.*")  # a sign, or an error of a spreadsheet
RESTARTS = 0.05  # of the rows of a numbering, at most


def take_label(table: pd.DataFrame, label: Any, file: Path) -> pd.Series | None:
    """Remove the label column from ``table`` and return it; None without labels."""
    if label is None:
        return None
    need(str(label), table, "dataset.label", file)
    return table.pop(str(label))


def choose_columns(
    table: pd.DataFrame,
    columns: list[Any] | None,
    file: Path,
    dialect: Dialect = Dialect(),  # noqa: B008
) -> list[str]:
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
        _refuse_nearly_numeric(table[column], file, dialect)
    if left_out:
        words = some(f"{c}{first_word(table[c])}" for c in left_out)
        log.info("%s: non-numeric columns skipped: %s", file, words)
    unnamed = [c for c in table if UNNAMED.fullmatch(c) and c not in left_out]
    saved = [c for c in unnamed if _is_saved_index(table[c])]
    if other := next((c for c in unnamed if c not in saved), None):
        raise DataError(
            f"{file}: a column has no name and does not number the rows (its first value is "
            f"{table[other].iloc[0]}): give it a name in the first line, name the columns to use "
            "by dataset.columns=[...], or say by dataset.header=false that the first line is a row"
        )
    if saved:
        log.info("%s: skipped because it looks like a saved index: %s", file, some(saved))
    chosen = [c for c in table if c not in left_out and c not in saved]
    if not chosen:
        other = "no numeric column" if len(table.columns) else "no column left to model"
        raise DataError(f"{file} has {other}")
    return chosen


def _refuse_nearly_numeric(column: pd.Series, file: Path, dialect: Dialect) -> None:
    """Refuse numbers in another notation, or with a few words: skipping them is easily missed."""
    values = column.dropna()
    if not pd.api.types.infer_dtype(values).startswith(("string", "mixed")):
        return
    name = column.name
    otherwise = (
        "or name the columns to use: dataset.columns=[...]; a column of categories is named by "
        f"dataset.categorical=[{name}]"
    )
    if other := notation(values, dialect):
        example, what, way_out = other
        if "dataset." in way_out and bare_suffix(file) not in TEXT:
            way_out = "store them as numbers"
        raise DataError(
            f"{file}: column {name!r} holds numbers with {what} (such as {example!r}): {way_out}, "
            f"{otherwise}"
        )
    texts = values.astype(str).str.strip()
    is_number = pd.to_numeric(texts.str.replace(dialect.decimal, "."), errors="coerce").notna()
    good, words = int(is_number.sum()), texts[~is_number]
    marks = words.unique()[:FEW_MARKS]
    only_marks = good and words.nunique() <= FEW_MARKS and all(map(NO_WORD.fullmatch, marks))
    if 2 * good >= len(values) or only_marks:
        markers = ""
        if 0 < words.nunique() <= FEW_MARKS:
            markers = f", say that they are missing: dataset.missing_markers=[{_quoted(marks)}]"
        raise DataError(
            f"{file}: {good} of {len(values)} values of column {name!r} are numbers, but "
            f"it is read as text{first_word(column)}. Correct these values{markers}, {otherwise}"
        )


def _quoted(texts: Iterable[str]) -> str:
    return ",".join(f"'{text}'" for text in texts)


def _is_saved_index(column: pd.Series) -> bool:
    """Whether the column looks like row numbers, which may start again or have gaps."""
    values = column.to_numpy()
    if values.dtype.kind not in "iuf" or not (values == np.round(values)).all():
        return False
    falls = int((values[1:] <= values[:-1]).sum())
    return bool(column.is_unique or falls <= RESTARTS * len(values))


def refuse_lost(table: pd.DataFrame, values: NDArray[np.float64], file: Path) -> None:
    """Raise DataError where whole numbers of ``table`` become equal as ``values`` [N, D]."""
    for place, name in enumerate(table):
        if _is_lost(table[name], values[:, place]):
            raise DataError(
                f"{file}: column {name!r} holds whole numbers, such as {values[0, place]:.3g}, "
                "that 64-bit floating numbers cannot tell apart: subtract an offset in the file, "
                "or leave the column out (dataset.columns=[...])"
            )


def _is_lost(column: pd.Series, values: NDArray[np.float64]) -> bool:
    """Whether whole numbers of a column are so large that they become equal as ``values`` [N].

    >>> large = pd.Series([2**60, 2**60 + 1])
    >>> _is_lost(large, large.to_numpy(np.float64)), _is_lost(large - 2**60, np.array([0.0, 1.0]))
    (True, False)
    """
    with np.errstate(invalid="ignore"):
        if not len(values) or not (np.abs(values) >= 2.0**53).any():
            return False
    if column.dtype.kind in "iuO" and column.nunique() > pd.Series(values).nunique():
        return True
    present = values[np.isfinite(values)]
    whole = len(present) > 1 and bool((np.abs(present) >= 2.0**53).all())
    return whole and bool(np.ptp(present) < FEW_STEPS * np.spacing(np.abs(present).max()))
