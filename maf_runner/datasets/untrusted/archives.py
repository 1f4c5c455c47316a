"""Files of a dataset wherever they lie: in folders, packed, inside tar and zip archives.

What a recipe wants it names by patterns: ``data.npy`` is any file of that name, ``train/*.jpg``
any picture in a folder ``train``; the letter case does not matter, and packed files
(``data.npy.gz``) count as well. Looked at are ``<raw>/<dataset>/`` and ``<raw>/data/<dataset>/``
with all their folders, then the archives there, then the authors' archive ``<raw>/data.tar.gz``.

Archives are not trusted: only plain files are taken, no links; their paths are compared and never
used as paths; nothing larger than the recipe allows is unpacked, nor what is far larger than
its archive.
"""

import bz2
import gzip
import hashlib
import lzma
import math
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from maf_runner.datasets.untrusted import limits
from maf_runner.system.errors import DataError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
AUTHORS_ARCHIVE = "data.tar.gz"
OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
DAMAGE = (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error)
HEADERS = 1 << 20  # bytes that the headers of a file in a tar archive may have


class MissingError(DataError):
    """Not every file that is wanted was found."""

    def __init__(self, missing: list[str], found: list[str]) -> None:
        super().__init__(f"{', '.join(missing)} not found")
        self.missing = missing
        self.found = found


@dataclass(frozen=True)
class File:
    """One file: its own name, for messages where it comes from, and where it can be read."""

    name: str
    origin: str
    path: Path


Found = dict[str, list[File]]


class Files:
    """What was found for each pattern, sorted by name.

    Files from an archive lie in a temporary folder while the `find` that gave them is open.
    """

    def __init__(self, limits: Mapping[str, int], found: Found) -> None:
        self.limits = limits
        self.found = found

    def names(self, pattern: str) -> list[str]:
        """Where the files of ``pattern`` come from."""
        return [file.origin for file in self.found[pattern]]

    @contextmanager
    def open(self, pattern: str, index: int = 0) -> Iterator[BinaryIO]:
        """The unpacked content of a file, in which one can seek.

        Raises:
            DataError: it is damaged, or larger than is right.
        """
        found = self.found[pattern][index]
        opener = OPENERS.get(found.path.suffix.lower())
        limit = self.limits[pattern]
        if opener is None:
            _check_size(found.origin, found.path.stat().st_size, limit)
            with found.path.open("rb") as file:
                yield file
            return
        with tempfile.TemporaryFile() as unpacked:
            try:
                with opener(found.path, "rb") as packed:
                    _copy(packed, unpacked, found.origin, limit)
            except DAMAGE as error:
                raise DataError(_damaged(found.origin, error)) from error
            unpacked.seek(0)
            yield unpacked

    def read(self, pattern: str, index: int = 0) -> bytes:
        """The unpacked content of a file, in memory."""
        with self.open(pattern, index) as file:
            return file.read()

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the file of each pattern as it lies there; of several, of their list."""
        result = {}
        for pattern, files in self.found.items():
            lines = []
            for found in files:
                with found.path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                lines.append(f"{digest}  {found.name}\n")
            if len(files) > 1:
                digest = hashlib.sha256("".join(lines).encode()).hexdigest()
            result[pattern] = digest
        return result


def places(raw: Path, dataset: str) -> list[Path]:
    """The folders where the files of a dataset may lie, those that are there."""
    return [
        folder
        for base in (raw, raw / "data")
        if base.is_dir()
        for folder in sorted(base.iterdir())
        if folder.name.lower() == dataset and folder.is_dir()
    ]


def archives(raw: Path, dataset: str) -> list[Path]:
    """The archives that may hold files of a dataset; the authors' own comes last."""
    inside = [
        path
        for folder in places(raw, dataset)
        for path in sorted(folder.rglob("*"))
        if path.name.lower().endswith(ARCHIVES) and path.is_file()
    ]
    authors = raw / AUTHORS_ARCHIVE
    return [*inside, *([authors] if authors.is_file() else [])]


@contextmanager
def find(
    raw: Path, dataset: str, limits: Mapping[str, int], *, look_inside: bool = True
) -> Iterator[Files]:
    """Find the files that match each pattern of ``limits``.

    Args:
        raw: the folder of raw data.
        dataset: its name.
        limits: for each pattern, how many bytes its files may have in all when unpacked. A
            pattern without ``*`` stands for one file.
        look_inside: archives too. Without, this is quick.

    Raises:
        MissingError: no file for some pattern.
        DataError: an archive is damaged, or a file in it larger than is right.
    """
    found: Found = {pattern: [] for pattern in limits}
    for folder in places(raw, dataset):
        taken = _taken(found)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            for pattern in limits:
                if pattern not in taken and _matches(path, pattern):
                    _add(found, pattern, File(path.name, str(path), path))
    if look_inside and len(_taken(found)) < len(limits):
        with tempfile.TemporaryDirectory(prefix="maf_runner-") as unpacked:
            for archive in archives(raw, dataset):
                parent = dataset if archive == raw / AUTHORS_ARCHIVE else None
                _unpack(archive, found, limits, Path(unpacked), parent)
            yield _complete(limits, found)
            return
    yield _complete(limits, found)


def _complete(limits: Mapping[str, int], found: Found) -> Files:
    missing = [pattern for pattern in limits if not found[pattern]]
    if missing:
        raise MissingError(missing, [file.origin for files in found.values() for file in files])
    for files in found.values():
        files.sort(key=lambda file: file.name)
    return Files(limits, found)


def _taken(found: Found) -> set[str]:
    return {pattern for pattern, files in found.items() if files}


def _add(found: Found, pattern: str, file: File) -> None:
    if "*" in pattern or not found[pattern]:
        found[pattern].append(file)


def _matches(path: Path | PurePosixPath, pattern: str) -> bool:
    wanted = pattern.lower().split("/")
    parts = [part.lower() for part in path.parts[-len(wanted) :]]
    parts[-1] = _unpacked_name(parts[-1])
    if len(parts) != len(wanted) or parts[-1].startswith("._"):  # macOS's notes on a file
        return False
    return all(map(fnmatchcase, parts, wanted))


def _unpacked_name(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix in OPENERS else name


def _unpack(
    archive: Path,
    found: Found,
    limits: Mapping[str, int],
    folder: Path,
    parent: str | None,
) -> None:
    """Copy what is still wanted out of ``archive``, under names of our own."""
    taken = _taken(found)
    try:
        for name, size, opened in _members(archive):
            path = PurePosixPath(name)
            if parent is not None and parent not in [part.lower() for part in path.parts[:-1]]:
                continue
            for pattern, limit in limits.items():
                if pattern in taken or not _matches(path, pattern):
                    continue
                whole = f"{name} in {archive}"
                left = limit - sum(file.path.stat().st_size for file in found[pattern])
                _check_size(whole, size, left)
                copy = folder / f"{sum(map(len, found.values()))}{path.suffix.lower()}"
                with opened() as source, copy.open("wb") as target:
                    _copy(source, target, whole, left)
                if copy.stat().st_size != size:
                    raise DataError(f"{whole} is cut short; get it anew")
                _add(found, pattern, File(path.name, whole, copy))
    except DataError:
        raise
    except Exception as error:  # damaged archives raise almost anything
        raise DataError(_damaged(str(archive), error)) from error


def _members(archive: Path) -> Iterator[tuple[str, int, Any]]:
    """Name, size and a way to open each plain file of an archive, in its order."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as pack:
            for info in pack.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: pack.open(info)
        return
    packing = archive.suffix.lower().replace(".tgz", ".gz")
    opener = OPENERS.get(packing, open)
    with opener(archive, "rb") as unpacked:
        file: Any = _Careful(unpacked, archive)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            kept: Any = tar
            while member := tar.next():
                file.left = math.inf
                if member.isreg():
                    yield member.name, member.size, lambda member=member: tar.extractfile(member)
                kept.members.clear()  # they would fill the memory
                kept.pax_headers.clear()
                file.left = HEADERS
        file.left = math.inf
        while file.read(1 << 20):
            pass  # to the end, where the checksum of the packing is


class _Careful:
    """An unpacked tar archive, of which ``left`` bytes may be read."""

    def __init__(self, file: IO[bytes], archive: Path) -> None:
        self.file = file
        self.size = archive.stat().st_size
        self.left: float = HEADERS
        self.tell = file.tell

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes."""
        self.left -= size
        if size < 0 or self.left < 0:
            raise ValueError(f"a header of more than {HEADERS:,} bytes")
        limits.check(self.tell(), self.size, "what is in it")
        return self.file.read(size)

    def seek(self, place: int) -> int:
        """Go to a place; to get there, all before it is unpacked."""
        limits.check(place, self.size, "what is in it")
        return self.file.seek(place)


def _copy(source: IO[bytes], target: IO[bytes], name: str, limit: int) -> None:
    size = 0
    while chunk := source.read(1 << 20):
        size += len(chunk)
        _check_size(name, size, limit)
        target.write(chunk)


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise DataError(
            f"{name} has {size:,} bytes or more, at most {max(limit, 0):,} would be right: it is "
            "not the file expected"
        )


def _damaged(name: str, error: Exception) -> str:
    return f"{name} is damaged, or cannot be unpacked ({error})"
