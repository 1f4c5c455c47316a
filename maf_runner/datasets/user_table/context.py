"""The columns of a user's table that a model is conditioned on."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.spaces.context import ContextColumn, ContextSpace
from maf_runner.datasets.untrusted.notations import notation
from maf_runner.datasets.untrusted.tables import is_numeric, need, numbers, some
from maf_runner.datasets.user_table.float32 import LARGEST
from maf_runner.datasets.user_table.labels import MOST, categories
from maf_runner.datasets.user_table.part import Part
from maf_runner.system.errors import DataError

log = logging.getLogger("maf_runner")


def given_columns(table: pd.DataFrame, context: list[Any], label: str | None) -> list[str]:
    """The names of the columns that are conditioned on; with them the label, where there is one.

    The name of an array of an archive stands for all its columns.
    """
    found = [label] if context and label is not None else []
    for name in map(str, context):
        of_array = [column for column in table if re.fullmatch(rf"{re.escape(name)}_\d+", column)]
        found += of_array if name not in table.columns and of_array else [name]
    return found


def take_context(table: pd.DataFrame, context: list[str], file: Path) -> pd.DataFrame | None:
    """Remove the context columns from ``table`` and return them; None if there are none.

    Raises:
        DataError: the table lacks one of them.
    """
    for column in context:
        need(column, table, "dataset.context", file)
    return pd.DataFrame({column: table.pop(column) for column in context}) if context else None


def missing_context(part: Part) -> NDArray[np.bool_]:
    """Which values of the context columns are missing or not finite: [N, columns]."""
    if part.context is None:
        return np.empty((len(part), 0), dtype=bool)
    return part.context.isin([np.inf, -np.inf]).to_numpy() | part.context.isna().to_numpy()


def context_space(parts: Mapping[str, Part], categorical: list[str]) -> ContextSpace | None:
    """How the context columns of the three splits are encoded; None if there are none.

    Numbers are scaled by the training rows; words, and the columns in ``categorical``, are
    categories.

    Raises:
        DataError: a column is constant, holds dates, or has about as many words as rows.
    """
    train = parts["train"]
    if train.context is None:
        return None
    space = ContextSpace(
        tuple(_column(parts, name, categorical=name in categorical) for name in train.context)
    )
    if flagged := [column.name for column in space.columns if column.flagged]:
        log.info("%s: a flag says where a value is missing: %s", train.file, some(flagged))
    return space


def encoded(part: Part, split: str, space: ContextSpace | None) -> NDArray[np.float32] | None:
    """The context [N, C] of the rows of a split.

    Raises:
        DataError: a category that no training row has.
    """
    if space is None or part.context is None:
        return None
    try:
        return space.encode(part.context, str(part.file)).astype(np.float32)
    except DataError as error:
        raise DataError(
            f"{error} (split {split}). Give such rows another category, leave them out, or name "
            "the splits by dataset.split so that training has them"
        ) from error


def _column(parts: Mapping[str, Part], name: str, *, categorical: bool) -> ContextColumn:
    own = {split: _values(parts[split], name) for split in SPLITS}
    train, file = own["train"], parts["train"].file
    flagged = any(bool(values.isna().any()) for values in own.values())
    present = train.dropna()
    if present.nunique() < 2:
        value = f" ({str(present.iloc[0])[:50]!r})" if len(present) else ""
        raise DataError(
            f"{file}: context column {name!r} has one value in all training rows{value}, so "
            "nothing can be learned from it: take it out of dataset.context"
        )
    if categorical or not is_numeric(present):
        if present.dtype.kind in "mM":
            raise DataError(
                f"{file}: context column {name!r} holds dates or times: give them as numbers"
            )
        if len(present.unique()) > MOST * len(present) and (other := notation(present)):
            raise DataError(
                f"{file}: context column {name!r} holds numbers with {other.what} (such as "
                f"{other.example!r}): {other.way_out}"
            )
        _, values = categories(present, f"context ({name})", file)
        return ContextColumn(name, categories=tuple(values), flagged=flagged)
    x = numbers(present.to_frame(), file)[:, 0]
    if np.abs(x).max() > LARGEST:
        raise DataError(
            f"{file}: context column {name!r} has the value {x[np.abs(x).argmax()]:g}, which is "
            "too large for 32-bit numbers: rescale the column"
        )
    mean, deviation = float(x.mean()), float(x.std())
    return ContextColumn(name, mean, deviation, float(x.min()), float(x.max()), (), flagged)


def _values(part: Part, name: str) -> pd.Series:
    """A context column, infinite values as missing."""
    assert part.context is not None
    values = part.context[name]
    return values.mask(values.isin([np.inf, -np.inf]))
