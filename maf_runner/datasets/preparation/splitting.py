"""How the authors split a table, and how they standardise it."""

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import Rows, Splits

Array = NDArray[np.float64]


def cut(table: Array) -> tuple[Array, Array, Array]:
    """Split into training, validation and test rows.

    The last tenth of all rows is for the test, the last tenth of the rest for validation.


    >>> [len(part) for part in cut(np.zeros((2049280, 1)))]  # POWER
    [1659917, 184435, 204928]
    """
    rest, test = cut_tenth(table)
    train, validation = cut_tenth(rest)
    return train, validation, test


def cut_tenth(table: Array) -> tuple[Array, Array]:
    """Split off the last int(N/10) rows."""
    end = len(table) - int(0.1 * len(table))
    return table[:end], table[end:]


def standardised(train: Array, validation: Array, test: Array) -> Splits:
    """Standardise by the mean and deviation (ddof 0) of training and validation rows together."""
    seen = np.vstack([train, validation])
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    return splits(*((part - mean) / deviation for part in (train, validation, test)))


def splits(train: Array, validation: Array, test: Array) -> Splits:
    """The three arrays as float32 `Splits`; `making` fills in their origin."""
    first, second, third = (Rows(x.astype(np.float32)) for x in (train, validation, test))
    return Splits(first, second, third, origin="")


def repeats_smallest(table: Array) -> NDArray[np.bool_]:
    """For each column [D]: does its smallest value occur more than five times?

    The authors meant to drop columns in which any value occurs too often. Their code counts the
    smallest value only, and so does this one: a column in which other values repeat stays.
    """
    return (table == table.min(axis=0)).sum(axis=0) > 5
