"""The authors' rule for cutting a table in three, and for scaling it."""

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import Rows, Splits
from maf_runner.datasets.preparation.recipe import Variant
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError

Array = NDArray[np.float64]


def cut(table: Array) -> tuple[Array, Array, Array]:
    """Training, validation, test rows: the last tenth tests, that of the rest validates.

    >>> [len(part) for part in cut(np.zeros((2049280, 1)))]  # POWER
    [1659917, 184435, 204928]
    """
    rest, test = cut_tenth(table)
    train, validation = cut_tenth(rest)
    return train, validation, test


def cut_tenth(table: Array) -> tuple[Array, Array]:
    """All but the last int(N/10) rows, and those."""
    end = len(table) - int(0.1 * len(table))
    return table[:end], table[end:]


def standardised(train: Array, validation: Array, test: Array) -> Splits:
    """Scale by mean and standard deviation (ddof 0) of training and validation rows together."""
    seen = np.vstack([train, validation])
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    return splits(*((part - mean) / deviation for part in (train, validation, test)))


def splits(train: Array, validation: Array, test: Array) -> Splits:
    """As float32, in the splits; which recipe it was is said where the files were found."""
    first, second, third = (Rows(x.astype(np.float32)) for x in (train, validation, test))
    return Splits(first, second, third, recipe="")


def repeats_smallest(table: Array) -> NDArray[np.bool_]:
    """For each column [D]: does its smallest value occur more than five times?

    The authors looked for columns with values that occur too often, to drop them; their code
    counts the smallest value only. Kept: a column whose other values repeat is not dropped.
    """
    return (table == table.min(axis=0)).sum(axis=0) > 5


def load_array(file: object, name: str, shape: tuple[int | None, int]) -> Array:
    """An npy file of numbers [rows, columns], as float64.

    Raises:
        DataError: it is something else; pickled objects are not read.
    """
    try:
        array = np.load(file, allow_pickle=False)  # type: ignore[arg-type]
    except Exception as error:  # numpy has many for a damaged header
        raise DataError(f"{name} is not an npy file of numbers ({error})") from error
    right = ", ".join("any" if n is None else str(n) for n in shape)
    fits = isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind in "fiu"
    if not fits or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "npz"
        raise DataError(f"{name} should be numbers of shape [{right}], and is {found}")
    return array.astype(np.float64, copy=False)


def ready_made(features: int, rows: tuple[int, int, int]) -> Variant:
    """Splits that somebody has stored as ``train.npy``, ``val.npy`` and ``test.npy``.

    They are taken as they are, if their shapes are right. Who made them, and how, is not known,
    so the recipe is not called ``authors``.
    """
    patterns = ("*train.npy", "*val*.npy", "*test.npy")

    def make(files: Files) -> Splits:
        parts = []
        for pattern, count in zip(patterns, rows, strict=True):
            name, *others = files.names(pattern)
            if others:
                raise DataError(f"{name} and {others[0]} are both there, and only one can count")
            with files.open(pattern) as file:
                parts.append(load_array(file, name, (count, features)))
        return splits(*parts)

    largest = max(rows) * features * 8 + (1 << 12)
    return Variant("raw", dict.fromkeys(patterns, largest), make)
