"""Texts that may come from strangers, for a terminal or a file."""


def plain(text: str) -> str:
    r"""``text`` in one line, without signs that would control a terminal or turn its direction.

    >>> plain("a\x1b[2Jb\u202ec\n")
    'a�[2Jb�c�'
    """
    return "".join(c if c.isprintable() else "�" for c in text)


def plain_lines(text: str) -> str:
    """The same with its lines kept."""
    return "\n".join(plain(line) for line in text.split("\n"))
