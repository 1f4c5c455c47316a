"""The class labels of a user's table: their codes, and the prior of the classes."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.spaces.categories import text_of
from maf_runner.datasets.untrusted.tables import some
from maf_runner.system.errors import DataError

log = logging.getLogger("maf_runner")
MOST = 0.5  # classes for each row; with more the label is a measurement, or a name of the row
FEWEST = 20  # rows of which this is asked


def encode(
    labels: dict[str, pd.Series | None], file: Path
) -> tuple[list[Any], dict[str, NDArray[np.int64] | None]]:
    """The classes in sorted order, and the labels as codes 0, 1, ... in that order.

    Classes are numbers, truth values or text; other values (such as dates) become text.
    """
    if labels["train"] is None:
        return [], dict.fromkeys(SPLITS)
    parts = [own for name in SPLITS if (own := labels[name]) is not None]
    codes, values = categories(pd.concat([own.astype(object) for own in parts]), "label", file)
    ends = np.cumsum([len(own) for own in parts])[:-1]
    return values, dict(zip(SPLITS, np.split(codes, ends), strict=True))


def settle_texts(tables: Mapping[str, pd.DataFrame], names: Iterable[str]) -> None:
    """Make numbers or truth values of columns that were read as text, where no text is lost by it.

    So 01 and 1E2 stay as they are written, and so do all values of their column, in every table.

    >>> tables = {"train": pd.DataFrame({"y": ["01", "20"]}), "test": pd.DataFrame({"y": ["20"]})}
    >>> settle_texts(tables, ["y"]); tables["test"]["y"].tolist()
    ['20']
    >>> settle_texts({"all": (table := pd.DataFrame({"y": ["1", None, "20"]}))}, ["y"])
    >>> table["y"].tolist()
    [1, None, 20]
    """
    for name in names:
        own = [table for table in tables.values() if name in table]
        known = {text for table in own for text in table[name].dropna().unique()}
        for kind in (int, float, _truth):
            try:
                values = {text: kind(text) for text in known}
            except ValueError:
                continue
            if all(str(v) == text and np.isfinite(v) for text, v in values.items()):
                for table in own:
                    found = [values.get(text) for text in table[name]]
                    table[name] = pd.Series(found, index=table.index, dtype=object)
                break


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(text)
    return text == "True"


def categories(
    every: pd.Series, column: str, file: Path
) -> tuple[NDArray[np.int64], list[str | int | float | bool]]:
    """The codes [N] of values of which none is missing, and the categories in sorted order.

    Raises:
        DataError: values of several types, or about as many categories as rows; ``column`` says
            which column it is.
    """
    every = every.astype(object)
    kind = pd.api.types.infer_dtype(every)
    if kind in ("mixed", "mixed-integer"):
        kinds = {type(value).__name__: value for value in every}
        raise DataError(
            f"{file}: the {column} column has values of different types, "
            f"{' and '.join(map(repr, kinds.values()))}; expected numbers in all rows, or text in "
            "all rows"
        )
    if kind in ("integer", "floating", "mixed-integer-float"):
        # pandas reads whole numbers beside a missing value as 1.0, 2.0: make them whole again.
        every = pd.to_numeric(every)
        whole = pd.to_numeric(every, downcast="integer")  # rounds by up to 1e-8
        every = whole if (whole == every).all() else every
    elif kind not in ("boolean", "string"):
        every = every.map(text_of)
    codes, values = pd.factorize(every, sort=True)
    if len(every) >= FEWEST and len(values) > MOST * len(every):
        raise DataError(
            f"{file}: the {column} column has {len(values):,} different values in "
            f"{len(every):,} rows, such as {str(values[0])[:50]}: these are no classes or "
            "categories. Numbers are conditioned on by dataset.context=[...] (without "
            "dataset.categorical), or modelled with the others; dates and numbers with units must "
            "be made numbers first"
        )
    return codes.astype(np.int64), values.tolist()


def prior_of(
    codes: NDArray[np.int64] | None,
    values: list[Any],
    kind: str,
    file: Path,
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, ...] | None:
    """The frequency of each class in the training rows for ``empirical``; None for ``uniform``.

    With ``weights`` [N], the share of each class in their sum.
    """
    if codes is None:
        return None
    counts = np.bincount(codes, weights, minlength=len(values))
    absent = [str(value) for value, count in zip(values, counts, strict=True) if count == 0]
    if absent:
        consequence = (
            "their prior is 0" if kind == "empirical" else "their prior is that of the others"
        )
        log.warning("%s: no training row has the class %s: %s", file, some(absent), consequence)
    return tuple((counts / counts.sum()).tolist()) if kind == "empirical" else None
