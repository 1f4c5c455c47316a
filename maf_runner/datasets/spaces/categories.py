"""The codes 0, 1, ... of categories, by their values or their texts."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.system.errors import DataError, suggestion

if TYPE_CHECKING:
    import pandas as pd

Category = str | int | float | bool


def text_of(value: Any) -> str:
    """A value as text: bytes decoded, a date or a duration without the time 00:00:00."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value).removesuffix(" 00:00:00")


def _as_float(value: Any) -> Any:
    """A text such as 5.0, as pandas writes a whole number beside a missing one, as the number."""
    try:
        return float(value) if isinstance(value, str) and str(float(value)) == value else value
    except ValueError:
        return value


def codes_of(values: "pd.Series", categories: Sequence[Category]) -> NDArray[np.int64]:
    """The index of each value [N] among ``categories``; -1 where it is missing.

    Raises:
        DataError: a value that is none of them, or a list. The name of ``values`` and their index
            say where.
    """
    texts = {text: code for code, text in enumerate(map(str, categories))}
    numbers = {v: code for code, v in enumerate(categories) if not isinstance(v, str)}
    try:
        different = values.dropna().unique().tolist()
    except TypeError as error:
        row, odd = next((r, v) for r, v in values.items() if not isinstance(v, Hashable))
        raise DataError(
            f"column {values.name!r} has {str(odd)[:50]} in row {row} (from 0), expected one "
            "category in each row"
        ) from error
    # str: categories of a date in older records have the time 00:00:00.
    codes = {
        v: texts.get(str(v), texts.get(text_of(v), numbers.get(_as_float(v), -1)))
        for v in different
    }
    unknown = next((value for value, code in codes.items() if code < 0), None)
    if unknown is not None:
        row = values.index[(values == unknown).to_numpy().argmax()]
        near = suggestion(str(unknown), [str(known) for known in categories])
        raise DataError(
            f"column {values.name!r} has {str(unknown)[:50]!r} in row {row} (from 0), which no "
            f"training row has{near}"
        )
    return values.map(codes).fillna(-1).to_numpy(dtype=np.int64)
