"""The files that a user names for results: ``--out``."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from maf_runner.system import atomic
from maf_runner.system.errors import DataError, UsageError

STDOUT = Path("-")


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to write ``path`` with.

    A regular file is complete or as it was before: it is written beside its place and renamed
    when it is done. A link is followed. What is no regular file (a pipe, ``/dev/stdout``,
    ``/dev/null``) is written straight to, and ``-`` is standard output.

    Raises:
        UsageError: ``path`` is a folder.
        DataError: it cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    if path == STDOUT:
        yield cast(BinaryIO, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        kind = path.stat().st_mode if path.exists() else stat.S_IFREG
        if stat.S_ISDIR(kind):
            raise UsageError(f"{path} is a folder: name a file in it")
        if stat.S_ISREG(kind) and not path.is_relative_to("/dev"):
            place = Path(os.path.realpath(path))  # a link stays one
            temporary = atomic.temporary(place)
            try:
                with temporary.open("wb") as file:
                    yield file
                atomic.put(temporary, place)
            finally:
                temporary.unlink(missing_ok=True)
        else:
            with path.open("wb") as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror})") from error


def write(path: Path, content: bytes) -> None:
    """Write ``content`` to what the user has named; see `opened`."""
    with opened(path) as file:
        file.write(content)
