"""Pickles of arrays from the years when datasets were pickles, read without trusting them.

A pickle is a program. Here it may build numbers, text, containers and numpy arrays, and, for
pandas frames of the time of pandas 0.13 to 0.25, keep what they were made of in objects that do
nothing. It can name nothing else.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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


class _Inert:
    """Stands for a class of an old pandas: keeps arguments and state, does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Frame(_Inert):
    pass


class _Manager(_Inert):
    pass


class _IndexKind(_Inert):
    pass


def _new_index(kind: Any, parts: Any) -> _IndexKind:
    index = _IndexKind(kind)
    index.state = parts
    return index


ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}
INDEX_MODULES = ["pandas.core.index", "pandas.indexes", "pandas.core.indexes"]
INDEX_FILES = ["", ".base", ".numeric", ".range"]
OF_FRAMES: dict[tuple[str, str], Any] = {
    **ALLOWED,
    ("__builtin__", "slice"): slice,
    ("builtins", "slice"): slice,
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals", "BlockManager"): _Manager,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    **{
        (module + file, name): _new_index if name == "_new_Index" else _IndexKind
        for module in INDEX_MODULES
        for file in INDEX_FILES
        for name in ("_new_Index", "Index", "Int64Index", "RangeIndex")
    },
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, allowed: dict[tuple[str, str], Any]) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
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
        value = _Unpickler(content, ALLOWED).load()
        if any(array.dtype.hasobject for array in _arrays(value)):
            raise ValueError("one holds objects")
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{source} is not a pickle of plain arrays: {error}") from error
    return value


def load_frame(content: bytes, source: Path | str) -> pd.DataFrame:
    """A frame of numbers that pandas 0.13 to 0.25 has pickled; its row labels are not kept.

    Raises:
        DataError: damaged, not such a frame, or it names anything but what one needs.
    """
    try:
        frame = _Unpickler(content, OF_FRAMES).load()
        if not isinstance(frame, _Frame):
            raise ValueError(f"it holds a {type(frame).__name__}")
        manager = _named(frame.state)["_data"]
        # The state of a manager: axes, values and labels of the blocks, then a newer form of it.
        newer = _named(_named(manager.state[3])["0.14.1"])
        columns = [_text(label) for label in _labels(newer["axes"][0])]
        blocks = [_named(block) for block in newer["blocks"]]
        rows = blocks[0]["values"].shape[1]
        table = np.full((rows, len(columns)), np.nan)
        for block in blocks:
            table[:, block["mgr_locs"]] = block["values"].T
    except Exception as error:  # whatever a strange pickle may raise
        raise DataError(f"{source} is not a frame of numbers of an old pandas: {error}") from error
    return pd.DataFrame(table, columns=columns)


def _named(state: Any) -> dict[str, Any]:
    """A dict with text keys, from one of Python 2 or 3."""
    return {_text(key): value for key, value in state.items()}


def _text(label: Any) -> str:
    return label.decode() if isinstance(label, bytes) else str(label)


def _labels(index: _IndexKind) -> list[Any]:
    parts = _named(index.state)
    if "data" in parts:
        return list(parts["data"])
    return list(range(parts["start"], parts["stop"], parts["step"]))


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [array for entry in value for array in _arrays(entry)]
    return []
