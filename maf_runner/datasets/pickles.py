"""Pickles of arrays from the years when datasets were pickles, read without trusting them.

A pickle is a program. Here it may build numbers, text, containers and numpy arrays, and name
nothing else.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from maf_runner.errors import DataError


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """As numpy's own, which an old pickle names by a module that moved."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"an array of type {kind!r}")
    return np.ndarray.__new__(np.ndarray, shape, code)


def _encode(text: Any, encoding: Any) -> bytes:
    """As Python 3 writes bytes for Python 2 to read."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


ALLOWED = {
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None


def load(content: bytes, source: Path | str) -> Any:
    """What a pickle of plain containers and numpy arrays holds; text of Python 2 as bytes.

    Args:
        content: the pickle.
        source: for messages.

    Raises:
        DataError: damaged, or it names anything but what an array needs.
    """
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{source} is not a pickle of plain arrays: {error}") from error
    if any(array.dtype.hasobject for array in _arrays(value)):
        raise DataError(f"{source} is not a pickle of plain arrays: one holds objects")
    return value


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [array for entry in value for array in _arrays(entry)]
    return []
