"""A machine that carries out the harmless instructions of a pickle, and no others.

A pickle is a program for a machine with a stack. This machine knows the instructions that make
numbers, text and containers. Where a pickle names a function or class, the machine checks the name
against a list and keeps it, with its arguments and state, as a `Thing`; it never imports or calls
anything.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_INSTRUCTIONS = 1_000_000  # the files of the datasets have 60,000 at most


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle names; it is never imported."""

    name: str


@dataclass(eq=False)
class Thing:
    """An object that a pickle would make: the name called, the arguments, and the state."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


class Machine:
    """Carries out a pickle. ``allowed`` lists the names it may use, with a short name for each."""

    def __init__(self, allowed: dict[str, str]) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """The value that the pickle builds."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count == MAX_INSTRUCTIONS:
                raise ValueError(f"it has more than {MAX_INSTRUCTIONS:,} instructions")
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
            expect(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.marked() if name == "SETITEMS" else self.popped(2)
            expect(dict, stack[-1]).update(_dictionary(items))
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
            stack.append(_called(expect(Name, called).name, expect(tuple, arguments)))
        elif name == "BUILD":
            (state,) = self.popped(1)
            expect(Thing, stack[-1]).state = state
        else:
            raise ValueError(f"its instruction {name} is not allowed")

    def named(self, module: str, name: str) -> Name:
        """The short name of something that the pickle names, if it is allowed."""
        whole = f"{module}.{name}"
        if whole not in self.allowed:
            raise ValueError(f"it names {whole[:200]}, which is not allowed")
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


def expect(kind: Any, value: Any) -> Any:
    """The value, if it is of this kind; else ValueError."""
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} is in the wrong place")
    return value


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "bytes":
        text, encoding = arguments
        return expect(str, text).encode("latin1" if encoding == "latin1" else "")
    if name == "slice":
        return slice(*(None if part is None else expect(int, part) for part in arguments))
    return Thing(name, arguments)


def _dictionary(items: list[Any]) -> dict[Any, Any]:
    """A dict of alternating keys and values. Only simple keys: others may take forever to hash."""
    keys = items[::2]
    if not all(isinstance(key, (str, bytes, int)) for key in keys):
        raise ValueError("a dict has keys other than text, bytes and integers")
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
