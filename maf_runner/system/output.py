"""The files that a user names for results: ``--out``."""

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from maf_runner.system import atomic
from maf_runner.system.errors import DataError, ShortageError, UsageError

STDOUT = Path("-")
NUMBERS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def descriptor(path: Path) -> int | None:
    """The number of the open file that ``-``, ``/dev/stdout`` or ``/dev/fd/3`` names, or None."""
    if path == STDOUT:
        return 1
    number = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", str(path))
    return int(number[1]) if number else NUMBERS.get(str(path))


def is_special(path: Path) -> bool:
    """Whether ``path`` names no file on a disk, but an open file, a pipe or a device."""
    return descriptor(path) is not None or (path.exists() and not path.is_file())


class _StandardOutput:
    """Standard output, whose errors say that it is the place."""

    def write(self, content: bytes) -> int:
        return self._tried(lambda: sys.stdout.buffer.write(content))

    def flush(self) -> None:
        self._tried(sys.stdout.buffer.flush)

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = f"standard output cannot be written ({error.strerror})"
            raise ShortageError(reason) from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file to write ``path`` with.

    A regular file is complete or as it was before: it is written beside its place and renamed
    when it is done. A link is followed. What is no regular file (a pipe, ``/dev/null``) is written
    straight to, and so is a file that is open already (``-`` and ``/dev/stdout`` are standard
    output): what others wrote there stays.

    Raises:
        UsageError: ``path`` is a folder.
        DataError: it cannot be written.
        ShortageError: standard output cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    number = descriptor(path)
    if number == 1:
        standard = cast(BinaryIO, _StandardOutput())
        yield standard
        standard.flush()
        return
    try:
        if number is not None:
            with open(number, "wb", closefd=False) as file:
                yield file
            return
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


def keep_apart(out: Path, *inputs: Path) -> None:
    """Raise UsageError if ``out`` is a regular file that is also read."""
    for path in inputs:
        if out.is_file() and path.is_file() and out.samefile(path):
            raise UsageError(f"--out {out} is the file that is read: name another one")
