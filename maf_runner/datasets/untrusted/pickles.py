"""Pickles of arrays and of old pandas frames, read without trusting them.

`pickle_machine` reads the pickle and executes nothing in it. The arrays are then made here, from
their shape, dtype and bytes: numpy's own ``__setstate__`` is not safe with a hostile pickle.
"""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from maf_runner.datasets.untrusted.pickle_machine import Machine, Name, Thing, expect
from maf_runner.system.errors import DataError

RECONSTRUCT = "numpy.core.multiarray._reconstruct"
ARRAYS = {
    "_codecs.encode": "bytes",  # how Python 3 writes bytes for Python 2
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    RECONSTRUCT: "array",
    RECONSTRUCT.replace("core", "_core"): "array",
}
INDEX_MODULES = ["pandas.core.index", "pandas.indexes", "pandas.core.indexes"]
INDEX_FILES = ["", ".base", ".numeric", ".range"]
FRAMES = {
    **ARRAYS,
    "__builtin__.slice": "slice",
    "builtins.slice": "slice",
    "pandas.core.frame.DataFrame": "frame",
    "pandas.core.internals.BlockManager": "manager",
    "pandas.core.internals.managers.BlockManager": "manager",
    **{
        f"{module}{file}.{name}": "index" if name == "_new_Index" else "kind of index"
        for module in INDEX_MODULES
        for file in INDEX_FILES
        for name in ("_new_Index", "Index", "Int64Index", "RangeIndex")
    },
}


def load(content: bytes, source: Path | str) -> Any:
    """The content of a pickle of plain containers and numpy arrays; text of Python 2 as bytes.

    Args:
        content: the pickle.
        source: its file, for messages.

    Raises:
        DataError: the pickle is damaged, or names anything that an array does not need.
    """
    try:
        return _whole(Machine(ARRAYS).run(content), {})
    except Exception as error:  # a damaged pickle can raise almost anything
        raise DataError(f"{source} is not a pickle of plain arrays: {error}") from error


def load_frame(content: bytes, source: Path | str) -> pd.DataFrame:
    """A frame of numbers pickled by pandas 0.13 to 0.25, without its row labels.

    Raises:
        DataError: the pickle is damaged, is no such frame, or names anything that a frame does
            not need.
    """
    try:
        frame = Machine(FRAMES).run(content)
        if not isinstance(frame, Thing) or frame.name != "frame":
            raise ValueError(f"it holds a {type(frame).__name__}")
        manager = _named(frame.state)["_data"]
        # The state of a manager: axes, values and labels of the blocks, then a newer form of it.
        newer = _named(_named(manager.state[3])["0.14.1"])
        labels = _labels(newer["axes"][0])
        blocks = [_named(block) for block in newer["blocks"]]
        parts = [_array(block["values"]) for block in blocks]
        rows = parts[0].shape[1]
        if rows * len(labels) != sum(part.size for part in parts):
            raise ValueError(f"its values are not those of {len(labels)} columns")
        table = np.full((rows, len(labels)), np.nan)
        for block, part in zip(blocks, parts, strict=True):
            place = block["mgr_locs"]
            table[:, place if isinstance(place, slice) else _array(place)] = part.T
        columns = [_text(label) for label in labels]
    except Exception as error:  # a hostile pickle can raise almost anything
        raise DataError(
            f"{source} is not a frame of numbers of pandas 0.13 to 0.25: {error}"
        ) from error
    return pd.DataFrame(table, columns=columns)


def _whole(value: Any, known: dict[int, Any]) -> Any:
    """The value, with arrays in place of things. Each part is converted once."""
    if id(value) not in known:
        if isinstance(value, (Name, Thing)):
            known[id(value)] = _array(value)
        elif isinstance(value, dict):
            known[id(value)] = {key: _whole(entry, known) for key, entry in value.items()}
        elif isinstance(value, (list, tuple)):
            known[id(value)] = type(value)(_whole(entry, known) for entry in value)
        else:
            return value
    return known[id(value)]


def _array(value: Any) -> np.ndarray:
    """The array of numbers that ``value`` describes, as a read-only view of its bytes.

    The state of a pickled array: a version (in newer pickles), shape, dtype, whether it is in
    Fortran order, and its bytes.
    """
    if not isinstance(value, Thing) or value.name != "array":
        raise ValueError("something else is in the place of an array")
    *_, shape, kind, fortran, content = value.state
    code = _text(expect(Thing, kind).arguments[0])
    if code.startswith("O"):
        raise ValueError("an array holds objects")
    if not re.fullmatch("[biuf][1248]", code):
        raise ValueError(f"an array holds {code[:20]!r}")
    dtype = np.dtype(code).newbyteorder(_text(kind.state[1]))  # type: ignore[arg-type]
    shape = tuple(expect(int, length) for length in expect(tuple, shape))
    order: Literal["C", "F"] = "F" if fortran else "C"
    return np.frombuffer(expect(bytes, content), dtype).reshape(shape, order=order)


def _named(state: Any) -> dict[str, Any]:
    """A dict with its keys as text, from a pickle of Python 2 or 3."""
    return {_text(key): value for key, value in expect(dict, state).items()}


def _text(label: Any) -> str:
    return label.decode() if isinstance(label, bytes) else str(expect(str | int, label))


def _labels(index: Any) -> list[Any] | range:
    """The labels of an axis: a range, or an array of numbers or objects."""
    parts = _named(index.arguments[1])
    if "data" not in parts:
        return range(parts["start"], parts["stop"], parts["step"])
    content = expect(Thing, parts["data"]).state[-1]
    return content if isinstance(content, list) else _array(parts["data"]).tolist()
