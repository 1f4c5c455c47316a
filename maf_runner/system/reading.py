"""The one door through which files of runs are read: strangers' files, files out of reach.

What is read and found wrong is damaged. What cannot be read now (a failing disk, no permission,
too many open files, no memory) is an `OSError` as it comes, and says nothing about the file.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MB = 1 << 20


class OddFileError(ValueError):
    """What has the name of a file is none, or is far larger than such a file can be."""


def opened(path: Path, at_most: int | None = None) -> BufferedReader:
    """Open a regular file of at most ``at_most`` bytes for reading. A pipe is not waited for.

    Raises:
        OddFileError: it is no regular file, or is larger.
        OSError: it is missing, or cannot be read now.
    """
    if path.is_dir():
        raise OddFileError(f"{path} is a folder")
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode):
            raise OddFileError(f"{path} is {_kind(about.st_mode)}, and no regular file")
        if at_most is not None and about.st_size > at_most:
            raise OddFileError(
                f"{path} has {about.st_size:,} bytes, where at most {at_most:,} are expected"
            )
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_text(path: Path, at_most: int) -> str:
    """The text of a regular file, as `opened`.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    with opened(path, at_most) as file:
        return file.read().decode()


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a socket"


def out_of_reach(error: BaseException) -> OSError | None:
    """The error of the system behind ``error`` that says that a file cannot be read now, if any.

    A file that is missing is not meant, nor a wrong argument, by which libraries ask for places
    that a damaged file does not have. Libraries hide such errors behind their own.
    """
    from maf_runner.system import shortage

    of_content = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL)
    seen: BaseException | None = error
    while seen is not None:
        of_system = isinstance(seen, OSError) and seen.errno not in of_content
        if isinstance(seen, OSError) and of_system and (seen.errno or shortage.is_shortage(seen)):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
