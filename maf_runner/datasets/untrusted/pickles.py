"""Pickles of arrays from the years when datasets were pickles, read without trusting them.

A pickle is a program for a machine with a stack. The machine here knows the instructions that
make numbers, text and containers, and no other. What a pickle names (arrays, the parts of pandas
frames of the time of pandas 0.13 to 0.25) is kept as the name with its arguments and its state;
it can name nothing else. Arrays are made of that afterwards, of their bytes: numpy's own way
back from a pickle follows whatever a stranger gives it for a pointer.
"""

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from maf_runner.system.errors import DataError

INSTRUCTIONS = 1_000_000  # the files this is for have 60,000 at most


@dataclass(frozen=True)
class Name:
    """What stands for something that a pickle names, until it is called."""

    name: str


@dataclass(eq=False)
class Thing:
    """What something named gives when it is called: its arguments, and its state."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


RECONSTRUCT = "numpy.core.multiarray._reconstruct"
ARRAYS = {
    "_codecs.encode": "bytes",  # as Python 3 writes bytes for Python 2 to read
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


class _Machine:
    """Carries out a pickle; ``allowed`` is what it may name, and what that stands for."""

    def __init__(self, allowed: dict[str, str]) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """What the pickle builds."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count == INSTRUCTIONS:
                raise ValueError("it is too long for one")
            self.step(opcode.name, argument)
        return self.stack.pop()

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        stack = self.stack
        if name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name.endswith("STRING"):  # text of Python 2
            stack.append(argument.encode("latin1"))
        elif name in VALUES:
            stack.append(argument)
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in CONTAINERS:
            stack.append(CONTAINERS[name](self.marked()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self.popped(int(name[-1]))))
        elif name in ("APPEND", "APPENDS"):
            items = self.marked() if name == "APPENDS" else self.popped(1)
            _of(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.marked() if name == "SETITEMS" else self.popped(2)
            _of(dict, stack[-1]).update(_dictionary(items))
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name.endswith("PUT"):
            self.memo[int(argument)] = stack[-1]
        elif name.endswith("GET"):
            stack.append(self.memo[int(argument)])
        elif name == "GLOBAL":
            stack.append(self.named(*argument.split(" ")))
        elif name == "STACK_GLOBAL":
            stack.append(self.named(*self.popped(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            called, arguments = self.popped(2)
            stack.append(_called(_of(Name, called).name, _of(tuple, arguments)))
        elif name == "BUILD":
            (state,) = self.popped(1)
            _of(Thing, stack[-1]).state = state
        else:
            raise ValueError(f"its instruction {name} makes no array")

    def named(self, module: str, name: str) -> Name:
        """What stands for a name, if it is allowed."""
        whole = f"{module}.{name}"
        if whole not in self.allowed:
            raise ValueError(f"it names {whole[:200]}")
        return Name(self.allowed[whole])

    def popped(self, count: int) -> list[Any]:
        """The topmost values, taken off the stack."""
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def marked(self) -> list[Any]:
        """The values above the last mark, taken off the stack."""
        place = self.marks.pop()
        taken = self.stack[place:]
        del self.stack[place:]
        return taken


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} stands in the wrong place")
    return value


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "bytes":
        text, encoding = arguments
        return _of(str, text).encode("latin1" if encoding == "latin1" else "")
    if name == "slice":
        return slice(*(None if part is None else _of(int, part) for part in arguments))
    return Thing(name, arguments)


def _dictionary(items: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn as a dict; keys are plain, for others can take forever to hash."""
    keys = items[::2]
    if not all(isinstance(key, (str, bytes, int)) for key in keys):
        raise ValueError("a dict has keys that are no text")
    return dict(zip(keys, items[1::2], strict=True))


CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "LIST": list,
    "TUPLE": tuple,
    "DICT": _dictionary,
}
VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}  # instructions whose argument is the value


def load(content: bytes, source: Path | str) -> Any:
    """What a pickle of plain containers and numpy arrays holds; text of Python 2 as bytes.

    Args:
        content: the pickle.
        source: for messages.

    Raises:
        DataError: damaged, or it names anything but what an array needs.
    """
    try:
        return _whole(_Machine(ARRAYS).run(content), {})
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{source} is not a pickle of plain arrays: {error}") from error


def load_frame(content: bytes, source: Path | str) -> pd.DataFrame:
    """A frame of numbers that pandas 0.13 to 0.25 has pickled; its row labels are not kept.

    Raises:
        DataError: damaged, not such a frame, or it names anything but what one needs.
    """
    try:
        frame = _Machine(FRAMES).run(content)
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
    except Exception as error:  # whatever a strange pickle may raise
        raise DataError(f"{source} is not a frame of numbers of an old pandas: {error}") from error
    return pd.DataFrame(table, columns=columns)


def _whole(value: Any, known: dict[int, Any]) -> Any:
    """The value with arrays in place of what stands for them; each is looked at once."""
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
    """The array of numbers that ``value`` stands for, in memory that is not written to.

    What an array keeps: a version (in newer ones), shape, dtype, whether the columns come first,
    and its bytes.
    """
    if not isinstance(value, Thing) or value.name != "array":
        raise ValueError("something else stands where an array should")
    *_, shape, kind, fortran, content = value.state
    code = _text(_of(Thing, kind).arguments[0])
    if code.startswith("O"):
        raise ValueError("an array holds objects")
    if not re.fullmatch("[biuf][1248]", code):
        raise ValueError(f"an array holds {code[:20]!r}")
    dtype = np.dtype(code).newbyteorder(_text(kind.state[1]))  # type: ignore[arg-type]
    shape = tuple(_of(int, length) for length in _of(tuple, shape))
    order: Literal["C", "F"] = "F" if fortran else "C"
    return np.frombuffer(_of(bytes, content), dtype).reshape(shape, order=order)


def _named(state: Any) -> dict[str, Any]:
    """A dict with text keys, from one of Python 2 or 3."""
    return {_text(key): value for key, value in _of(dict, state).items()}


def _text(label: Any) -> str:
    return label.decode() if isinstance(label, bytes) else str(_of(str | int, label))


def _labels(index: Any) -> list[Any] | range:
    """The labels of an axis: a range, or an array, of objects as it may be."""
    parts = _named(index.arguments[1])
    if "data" not in parts:
        return range(parts["start"], parts["stop"], parts["step"])
    content = _of(Thing, parts["data"]).state[-1]
    return content if isinstance(content, list) else _array(parts["data"]).tolist()
