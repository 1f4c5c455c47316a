"""Unpack files, and tar and zip archives, within limits of size."""

import bz2
import gzip
import lzma
import math
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from maf_runner.datasets.untrusted import limits
from maf_runner.system.errors import DataError

OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
DAMAGE = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error)
MAX_HEADER_BYTES = 1 << 20  # of one file in a tar archive


def members(archive: Path) -> Iterator[tuple[str, int, Any]]:
    """Name, size and opener of each plain file in an archive, in its order."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as pack:
            for info in pack.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: pack.open(info)
        return
    packing = archive.suffix.lower().replace(".tgz", ".gz")
    opener = OPENERS.get(packing, open)
    with opener(archive, "rb") as unpacked:
        file: Any = _Limited(unpacked, archive)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            seen: Any = tar
            while member := tar.next():
                file.left = math.inf
                if member.isreg():
                    yield member.name, member.size, lambda member=member: tar.extractfile(member)
                seen.members.clear()  # the list of members would fill the memory
                seen.pax_headers.clear()
                file.left = MAX_HEADER_BYTES
        file.left = math.inf
        while file.read(1 << 20):
            pass  # the checksum of the compression is at the end


class _Limited:
    """A decompressed tar archive of which at most ``left`` more bytes may be read."""

    def __init__(self, file: IO[bytes], archive: Path) -> None:
        self.file = file
        self.size = archive.stat().st_size
        self.left: float = MAX_HEADER_BYTES
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes."""
        self.left -= size
        if size < 0 or self.left < 0:
            raise ValueError(f"it has a header of more than {MAX_HEADER_BYTES:,} bytes")
        limits.check(self.tell(), self.size, "its content")
        return self.file.read(size)

    def seek(self, place: int) -> int:
        """Go to a place. Everything before it is decompressed."""
        limits.check(place, self.size, "its content")
        return self.file.seek(place)


def copy(source: IO[bytes], target: IO[bytes], name: str, limit: int) -> None:
    """Copy a file.

    Raises:
        DataError: it has more than ``limit`` bytes; ``name`` is for the message.
    """
    size = 0
    while chunk := source.read(1 << 20):
        size += len(chunk)
        check_size(name, size, limit)
        target.write(chunk)


def check_size(name: str, size: int, limit: int) -> None:
    """Raise DataError if a file is larger than its limit."""
    if size > limit:
        raise DataError(
            f"{name} has at least {size:,} bytes, expected at most {max(limit, 0):,}: it is "
            "not the expected file"
        )


def damaged(name: str, error: Exception) -> str:
    """The message for a damaged file."""
    return f"{name} is damaged, or cannot be unpacked ({error})"
