"""Texts that may come from strangers, for a terminal or a file."""

import json
from typing import Any


def plain(text: str) -> str:
    r"""``text`` in one line, without signs that would control a terminal or turn its direction.

    >>> plain("a\x1b[2Jb\u202ec\n")
    'a�[2Jb�c�'
    """
    return "".join(c if c.isprintable() else "�" for c in text)


def plain_lines(text: str) -> str:
    """The same with its lines kept."""
    return "\n".join(plain(line) for line in text.split("\n"))


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "epoch"), counted(2000, "epoch")
    ('1 epoch', '2,000 epochs')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def as_typed(value: Any) -> str:
    """The value of a setting as it is typed in a command.

    >>> as_typed(True), as_typed(None), as_typed([64, 64]), as_typed("lu")
    ('true', 'null', '[64,64]', 'lu')
    """
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as on the command line.

    >>> flat({"model": {"layers": 5}, "seed": 0})
    {'model.layers': 5, 'seed': 0}
    """
    if not isinstance(node, dict):
        return {prefix: node}
    flattened: dict[str, Any] = {}
    for key, value in node.items():
        flattened |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flattened
