"""Download files, resume after interruptions, and check them.

A file is downloaded to ``NAME.part`` and renamed once its checksum is right, so that a file under
its own name is always complete. After a lost connection, a kill or a full disk, the next call
continues from what is in ``NAME.part``. Existing files are never changed, and only one process at
a time downloads a file.

The checksums are constants of this package, so that a file that was changed, at its source or by a
mirror, is refused. For the authors' archive it is the MD5 in the record 10.5281/zenodo.1161203 on
Zenodo, for CIFAR-10 the MD5 on its web page, for MNIST, whose source publishes none, the SHA-256
of the files that the mirrors serve.
"""

import errno
import hashlib
import logging
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from maf_runner.system import atomic, logs
from maf_runner.system.errors import DataError
from maf_runner.system.locks import alone

log = logging.getLogger("maf_runner")
CONNECT_SECONDS = 10
READ_SECONDS = 60
RETRIES = 3  # at one address after a lost connection, as long as no byte arrives
PAUSE_SECONDS = 1  # before each retry
CHUNK = 1 << 16  # bytes
MOST = 2  # times the expected size; nothing larger is what was asked for
LEAST_PACE, PACE_SECONDS = 1000, 60  # bytes a second, and over how long it is looked at


@dataclass(frozen=True)
class Download:
    """A file that can be downloaded.

    Attributes:
        path: of the file, relative to the raw folder.
        urls: its addresses, tried in this order.
        checksum: ``sha256:...`` or ``md5:...``.
        size: in bytes, approximate: for messages, and to check the free space.
    """

    path: str
    urls: tuple[str, ...]
    checksum: str
    size: int


class _Failed(Exception):
    """The download from one address failed; the message says why."""


def fetch(download: Download, raw: Path, *, mirror: str | None = None) -> Path:
    """Download a file, unless it exists.

    Args:
        download: the file.
        raw: the folder of raw data; created if it is missing.
        mirror: an address with a copy of the raw folder; tried before the others.

    Returns:
        the path of the file.

    Raises:
        DataError: the download fails from all addresses, the file cannot be written, or a
            different file exists at its path.
    """
    path = raw / download.path
    try:
        if is_there(path, download.checksum):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock")
        with alone(lock, f"another process is downloading {path}: waiting for it"):
            if not is_there(path, download.checksum):  # another process may have finished it
                first = () if mirror is None else (f"{mirror.rstrip('/')}/{download.path}",)
                _get(download, path, first + download.urls)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(download, path, str(error)) from error
        raise DataError(
            f"{path} cannot be written or read ({error}). Solve this, or choose another folder "
            "with paths.raw_dir=DIR"
        ) from error
    return path


def is_there(path: Path, checksum: str) -> bool:
    """Whether the file at ``path`` exists and has the right checksum.

    Raises:
        DataError: it exists and has another checksum.
    """
    if not path.exists():
        return False
    actual = _checksum(path, checksum)
    if actual != checksum.lower():
        raise DataError(
            f"{path} exists already and is not the expected file: its checksum should be "
            f"{checksum} and is {actual}. Move it away to have it downloaded again"
        )
    return True


def _checksum(path: Path, like: str) -> str:
    algorithm = like.partition(":")[0].lower()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def _get(download: Download, path: Path, urls: tuple[str, ...]) -> None:
    """Download a file from the first address that works."""
    part = _part(path)
    free = shutil.disk_usage(path.parent).free
    if free < download.size - _size(part):
        raise _no_space(download, path, f"{free:,} bytes are free")
    failures = ""
    for url in urls:
        shown = without_password(url)
        log.info("downloading %s (%s bytes) from %s", download.path, f"{download.size:,}", shown)
        try:
            _from(url, part, download)
        except _Failed as failure:
            log.warning("%s: %s", shown, failure)
            failures += f"  {shown}: {failure}\n"
        else:
            atomic.put(part, path)
            log.info("%s is complete, and its checksum is right", path)
            return
    raise DataError(
        f"{path} is needed, and its download failed:\n{failures}Try again later: the download "
        f"continues where it stopped. Or download the file by hand to {path} "
        f"({download.size:,} bytes, {download.checksum})"
    )


def _from(url: str, part: Path, download: Download) -> None:
    """Download a file from one address; if its checksum is wrong, remove it and fail."""
    for _ in range(2):  # parts of two downloads may not belong together: start again once
        complete = _load(url, part, download)
        actual = _checksum(part, download.checksum)
        if actual == download.checksum.lower():
            return
        part.unlink()
        if complete:
            break
    raise _Failed(f"wrong checksum: expected {download.checksum}, got {actual}")


def _load(url: str, part: Path, download: Download) -> bool:
    """Download a file, resuming after lost connections.

    Returns:
        whether all of it came in one response.
    """
    import requests
    import urllib3

    furthest = _size(part)
    left = 0  # there are no retries at an address that has sent no byte
    while True:
        try:
            return _stream(url, part, download)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            why = _why(error)
        left = RETRIES if _size(part) > furthest else left - 1
        if left <= 0:
            raise _Failed(why)
        furthest = max(furthest, _size(part))
        shown = without_password(url)
        log.warning("%s: %s; resuming at %s bytes", shown, why, f"{_size(part):,}")
        time.sleep(PAUSE_SECONDS)


def _stream(url: str, part: Path, download: Download) -> bool:
    """Request the missing part of a file, or all of it, and append it to ``part``.

    Returns:
        whether this response was all of the file.
    """
    import requests

    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(
        url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)
    ) as response:
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        resumed = have > 0 and response.status_code == 206 and begins
        if have and not resumed and response.status_code in (206, 416):
            return False  # either nothing is missing or the server ignored the range: see checksum
        if response.status_code != 200 and not resumed:
            raise _Failed(f"{response.status_code} {response.reason}")
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=download.size,
                initial=have if resumed else 0,
                desc=part.stem,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=not logs.has_terminal(),
                dynamic_ncols=True,
            ) as bar,
        ):
            # Raw bytes: requests would decompress a .gz that the server declares as encoded.
            pace = _Pace()
            total = have if resumed else 0
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                total += len(chunk)
                if total > MOST * download.size + CHUNK:
                    raise _Failed(f"it is larger than expected, more than {total:,} bytes")
                file.write(chunk)
                bar.update(len(chunk))
                pace.check(len(chunk))
    return not resumed


class _Pace:
    """Whether a server still sends at a pace at which the download will end."""

    def __init__(self) -> None:
        self.start, self.bytes = time.monotonic(), 0

    def check(self, arrived: int) -> None:
        """Note some bytes.

        Raises:
            _Failed: too few have arrived in the last minute.
        """
        self.bytes += arrived
        seconds = time.monotonic() - self.start
        if seconds < PACE_SECONDS:
            return
        if self.bytes < LEAST_PACE * seconds:
            raise _Failed(f"it sends only {self.bytes / seconds:.0f} bytes a second")
        self.start, self.bytes = time.monotonic(), 0


def _why(error: Exception) -> str:
    """The reason of an error, without the layers that requests and urllib3 add."""
    inner = error.args[0] if error.args else error
    return without_password(str(getattr(inner, "reason", None) or inner))


def without_password(text: str) -> str:
    """A text in which no address has a user or a password.

    >>> without_password("https://me:secret@example.org/x")
    'https://example.org/x'
    """
    return re.sub(r"(https?://)[^/@\s]*@", r"\1", text)


def _no_space(download: Download, path: Path, why: str) -> DataError:
    missing = max(download.size - _size(_part(path)), 0)
    return DataError(
        f"{path}: no space left in {path.parent} ({why}), and {missing:,} bytes more are needed. "
        "Make room and try again: the download continues where it stopped. Or choose another "
        "folder with paths.raw_dir=DIR"
    )


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
