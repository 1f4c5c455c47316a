"""Find the raw files of a dataset: in folders, compressed, or inside tar and zip archives.

Files are described by patterns: ``data.npy`` is any file of that name, ``train/*.jpg`` any picture
in a folder ``train``. Patterns ignore case, and also match compressed files (``data.npy.gz``). The
search covers ``<raw>/<dataset>/`` and ``<raw>/data/<dataset>/`` with their subfolders, then the
archives in them, then the authors' archive ``<raw>/data.tar.gz``.

Archives are not trusted. Only plain files are taken, no links. Their paths are compared with the
patterns and never used as paths. Nothing larger than the limit of its pattern is unpacked, nor
anything far larger than its archive.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from maf_runner.datasets.untrusted import unpacking
from maf_runner.system.errors import DataError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
AUTHORS_ARCHIVE = "data.tar.gz"


class MissingError(DataError):
    """Not all files were found; ``present`` lists the ones that were."""

    def __init__(self, missing: list[str], present: list[str]) -> None:
        super().__init__(f"{', '.join(missing)} not found")
        self.missing = missing
        self.present = present


@dataclass(frozen=True)
class File:
    """A file: its own name, where it comes from (for messages), and the path to read it from."""

    name: str
    source: str
    path: Path


Matches = dict[str, list[File]]  # by pattern


class Files:
    """The files found for each pattern, sorted by name.

    Files from an archive exist in a temporary folder as long as the context of `find` is open.
    """

    def __init__(self, limits: Mapping[str, int], matches: Matches) -> None:
        self.limits = limits
        self.matches = matches

    def names(self, pattern: str) -> list[str]:
        """Where the files of ``pattern`` come from."""
        return [file.source for file in self.matches[pattern]]

    @contextmanager
    def open(self, pattern: str, index: int = 0) -> Iterator[BinaryIO]:
        """The decompressed content of a file, as a seekable file.

        Raises:
            DataError: the file is damaged, or larger than its limit.
        """
        file = self.matches[pattern][index]
        opener = unpacking.OPENERS.get(file.path.suffix.lower())
        limit = self.limits[pattern]
        if opener is None:
            unpacking.check_size(file.source, file.path.stat().st_size, limit)
            with file.path.open("rb") as content:
                yield content
            return
        with tempfile.TemporaryFile() as unpacked:
            try:
                with opener(file.path, "rb") as packed:
                    unpacking.copy(packed, unpacked, file.source, limit)
            except unpacking.DAMAGE as error:
                raise DataError(unpacking.damaged(file.source, error)) from error
            unpacked.seek(0)
            yield unpacked

    def read(self, pattern: str, index: int = 0) -> bytes:
        """The decompressed content of a file, in memory."""
        with self.open(pattern, index) as content:
            return content.read()

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the file of each pattern, or of the list of hashes if there are several."""
        result = {}
        for pattern, files in self.matches.items():
            lines = []
            for file in files:
                with file.path.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                lines.append(f"{digest}  {file.name}\n")
            if len(files) > 1:
                digest = hashlib.sha256("".join(lines).encode()).hexdigest()
            result[pattern] = digest
        return result


def places(raw: Path, dataset: str) -> list[Path]:
    """The existing folders that may hold files of a dataset."""
    return [
        folder
        for base in (raw, raw / "data")
        if base.is_dir()
        for folder in sorted(base.iterdir())
        if folder.name.lower() == dataset and folder.is_dir()
    ]


def archives(raw: Path, dataset: str) -> list[Path]:
    """The archives that may hold files of a dataset; the authors' archive comes last."""
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
        limits: for each pattern, the most bytes that its files may have in total when
            decompressed. A pattern without ``*`` stands for one file.
        look_inside: search in archives too, which can take minutes.

    Raises:
        MissingError: a pattern has no file.
        DataError: an archive is damaged, or a file in it is larger than its limit.
    """
    matches: Matches = {pattern: [] for pattern in limits}
    for folder in places(raw, dataset):
        taken = _taken(matches)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            for pattern in limits:
                if pattern not in taken and _matches(path, pattern):
                    _add(matches, pattern, File(path.name, str(path), path))
    if look_inside and len(_taken(matches)) < len(limits):
        with tempfile.TemporaryDirectory(prefix="maf_runner-") as unpacked:
            for archive in archives(raw, dataset):
                parent = dataset if archive == raw / AUTHORS_ARCHIVE else None
                _unpack(archive, matches, limits, Path(unpacked), parent)
            yield _complete(limits, matches)
            return
    yield _complete(limits, matches)


def _complete(limits: Mapping[str, int], matches: Matches) -> Files:
    missing = [pattern for pattern in limits if not matches[pattern]]
    if missing:
        raise MissingError(missing, [file.source for files in matches.values() for file in files])
    for files in matches.values():
        files.sort(key=lambda file: file.name)
    return Files(limits, matches)


def _taken(matches: Matches) -> set[str]:
    return {pattern for pattern, files in matches.items() if files}


def _add(matches: Matches, pattern: str, file: File) -> None:
    if "*" in pattern or not matches[pattern]:
        matches[pattern].append(file)


def _matches(path: Path | PurePosixPath, pattern: str) -> bool:
    wanted = pattern.lower().split("/")
    parts = [part.lower() for part in path.parts[-len(wanted) :]]
    parts[-1] = _unpacked_name(parts[-1]).replace(".idx", "-idx")  # as some copies are named
    if len(parts) != len(wanted) or parts[-1].startswith("._"):  # metadata files of macOS
        return False
    return all(map(fnmatchcase, parts, wanted))


def _unpacked_name(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix in unpacking.OPENERS else name


def _unpack(
    archive: Path,
    matches: Matches,
    limits: Mapping[str, int],
    folder: Path,
    parent: str | None,
) -> None:
    """Copy the files still missing out of ``archive``, under names that are chosen here."""
    taken = _taken(matches)
    try:
        for name, size, opened in unpacking.members(archive):
            path = PurePosixPath(name)
            if parent is not None and parent not in [part.lower() for part in path.parts[:-1]]:
                continue
            for pattern, limit in limits.items():
                if pattern in taken or not _matches(path, pattern):
                    continue
                whole = f"{name} in {archive}"
                left = limit - sum(file.path.stat().st_size for file in matches[pattern])
                unpacking.check_size(whole, size, left)
                copy = folder / f"{sum(map(len, matches.values()))}{path.suffix.lower()}"
                with opened() as source, copy.open("wb") as target:
                    unpacking.copy(source, target, whole, left)
                if copy.stat().st_size != size:
                    raise DataError(f"{whole} is truncated. Download it again")
                _add(matches, pattern, File(path.name, whole, copy))
    except DataError:
        raise
    except Exception as error:  # a damaged archive can raise almost anything
        raise DataError(unpacking.damaged(str(archive), error)) from error
