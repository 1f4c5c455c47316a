"""Files that are either the old ones or the new ones, never something between."""

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def write(path: Path, content: bytes | str | Callable[[Path], None]) -> None:
    """Replace ``path`` by ``content`` in one step that survives a kill and a power loss.

    Args:
        path: the file; its folder exists.
        content: bytes, text (UTF-8), or a function that writes the file it is given.

    Raises:
        OSError: it could not be written, and names ``path``; what was there is there still.
    """
    temporary_path = temporary(path)
    try:
        if callable(content):
            content(temporary_path)
        else:
            temporary_path.write_bytes(content.encode() if isinstance(content, str) else content)
        put(temporary_path, path)
    except OSError as error:
        error.filename = str(path)  # a write alone does not say where
        raise
    finally:
        with suppress(OSError):
            temporary_path.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """A name beside ``path`` that no other process uses, on whatever machine it runs."""
    host = re.sub(r"\W", "", socket.gethostname())[:16]
    return path.with_name(f".{path.name}.{host}.{os.getpid()}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a name is one that `temporary` gives.

    >>> is_temporary(temporary(Path("record.json"))), is_temporary(Path(".notes.tmp"))
    (True, False)
    """
    return re.fullmatch(r"\..+\.\w*\.\d+\.tmp", path.name) is not None


def put(finished: Path, path: Path) -> None:
    """Give a finished file the name ``path``, in the same folder, in one such step."""
    _sync(finished)
    finished.replace(path)
    _sync(path.parent)


def write_array(path: Path, array: "np.ndarray") -> None:
    """Replace ``path`` by an npy file of ``array``, which holds no objects."""
    import numpy as np

    def save(place: Path) -> None:
        with place.open("wb") as file:  # given a name, numpy would add an ending to it
            np.save(file, array, allow_pickle=False)

    write(path, save)


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder cannot be opened on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
