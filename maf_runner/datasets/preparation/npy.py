"""Raw files in numpy's npy format: one array, or three splits that another program made."""

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import Splits
from maf_runner.datasets.preparation.preparation import Variant
from maf_runner.datasets.preparation.splitting import splits
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError


def load_array(file: object, name: str, shape: tuple[int | None, int]) -> NDArray[np.float64]:
    """Read an npy file of numbers [rows, columns], as float64.

    Args:
        file: open for reading.
        name: of the file, for messages.
        shape: the expected shape; None for any number of rows.

    Raises:
        DataError: the content is something else. Pickled objects are not read.
    """
    try:
        array = np.load(file, allow_pickle=False)  # type: ignore[arg-type]
    except Exception as error:  # a damaged header can raise many kinds
        raise DataError(f"{name} is not an npy file of numbers ({error})") from error
    expected = ", ".join("any" if n is None else str(n) for n in shape)
    fits = isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind in "fiu"
    if not fits or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        actual = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "npz"
        raise DataError(f"{name} should be numbers of shape [{expected}], and is {actual}")
    return array.astype(np.float64, copy=False)


def ready_made(features: int, rows: tuple[int, int, int]) -> Variant:
    """The variant for splits stored as ``train.npy``, ``val.npy`` and ``test.npy``.

    They are used as they are if their shapes are right. Nobody knows how they were made, so
    their origin is ``raw``, not ``authors``.
    """
    patterns = ("*train.npy", "*val*.npy", "*test.npy")

    def make(files: Files) -> Splits:
        parts = []
        for pattern, count in zip(patterns, rows, strict=True):
            name, *others = files.names(pattern)
            if others:
                raise DataError(f"{name} and {others[0]} both match {pattern}. Remove one of them")
            with files.open(pattern) as file:
                parts.append(load_array(file, name, (count, features)))
        return splits(*parts)

    largest = max(rows) * features * 8 + (1 << 12)
    return Variant("raw", dict.fromkeys(patterns, largest), make)
