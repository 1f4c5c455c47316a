"""Columns of categories that are modelled: as whole numbers with uniform noise."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from maf_runner.datasets.spaces.categories import Category, codes_of
from maf_runner.datasets.untrusted.tables import need
from maf_runner.datasets.user_table.labels import categories

log = logging.getLogger("maf_runner")


def to_codes(
    tables: Mapping[str, pd.DataFrame], columns: list[str], files: Mapping[str, Path]
) -> dict[str, list[Category]]:
    """Put codes 0, 1, ... in the place of the categories of ``columns``; missing ones are NaN.

    Returns:
        The categories of each column, in the order of their codes.

    Raises:
        DataError: a table lacks one of the columns, or it holds no categories.
    """
    found: dict[str, list[Category]] = {}
    for column in columns:
        for name, table in tables.items():
            need(column, table, "dataset.categorical", files[name])
        every = pd.concat([table[column].dropna().astype(object) for table in tables.values()])
        _, found[column] = categories(every, repr(column), next(iter(files.values())))
        for table in tables.values():
            codes = codes_of(table[column], found[column])
            table[column] = np.where(codes < 0, np.nan, codes)
    return found


def holds_truth(tables: Mapping[str, pd.DataFrame], column: str) -> bool:
    """Whether a column is of true and false in every table."""
    own = [table[column] for table in tables.values() if column in table]
    return bool(own) and all(values.dtype.kind == "b" for values in own)


def say_bits(coded: Mapping[str, Sequence[Category]], columns: list[str], file: Path) -> None:
    """Say how categories are modelled."""
    for column in (name for name in columns if name in coded):
        count = len(coded[column])
        log.info(
            "%s: the %d categories of %r are modelled as whole numbers with uniform noise, which "
            "adds their entropy of at most %.3g bits (%.3g nats) to the loss of a row",
            file,
            count,
            column,
            math.log2(count),
            math.log(count),
        )
