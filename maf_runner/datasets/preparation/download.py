"""Files from the network: whole and checked under their names, or not there at all.

A file grows as ``NAME.part`` beside its place and gets its name once its checksum is right. What
a cut, a kill or a full disk leaves of it is gone on with by the next call. A file that is there
already is never touched, and one process at a time fetches it.
"""

import errno
import hashlib
import logging
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
RETRIES = 3  # at one address after a cut, each time without a byte more
PAUSE_SECONDS = 1  # before each of them
CHUNK = 1 << 16


@dataclass(frozen=True)
class Download:
    """A file that can be had from the network.

    Attributes:
        path: where it goes, under the raw folder.
        urls: where it is, tried in this order: ``https://...``, or ``doi:DOI/FILE`` for a file in
            the repository the DOI leads to.
        checksum: ``sha256:...`` or ``md5:...``.
        size: in bytes, about: for the messages and the look for free space.
    """

    path: str
    urls: tuple[str, ...]
    checksum: str
    size: int


class _Failed(Exception):
    """An address does not give the file; why."""


def fetch(download: Download, raw: Path, *, mirror: str | None = None) -> Path:
    """Get a file, if it is not there yet.

    Args:
        download: the file.
        raw: the folder that ``download.path`` lies under; made if it is missing.
        mirror: an address that has ``download.path`` under it, tried before the others.

    Returns:
        where the file is.

    Raises:
        DataError: no address gives it, it cannot be written, or another file has its name.
    """
    path = raw / download.path
    try:
        if is_there(path, download.checksum):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock")
        with alone(lock, f"another process fetches {path}: waiting for it"):
            if not is_there(path, download.checksum):  # else another process has got it meanwhile
                first = () if mirror is None else (f"{mirror.rstrip('/')}/{download.path}",)
                _get(download, path, first + download.urls)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(download, path, str(error)) from error
        raise DataError(
            f"{path} cannot be written or read ({error}): mend that, or choose another folder "
            "with paths.raw_dir=DIR"
        ) from error
    return path


def is_there(path: Path, checksum: str) -> bool:
    """Whether the file of a download is at ``path``.

    Raises:
        DataError: another file is there.
    """
    if not path.exists():
        return False
    found = _checksum(path, checksum)
    if found != checksum.lower():
        raise DataError(
            f"{path} is there already and is not the file expected: its checksum should be "
            f"{checksum} and is {found}. Move it away, and it is fetched anew"
        )
    return True


def _checksum(path: Path, like: str) -> str:
    algorithm = like.partition(":")[0].lower()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def _get(download: Download, path: Path, urls: tuple[str, ...]) -> None:
    """Get a file from the first address that gives it."""
    part = _part(path)
    free = shutil.disk_usage(path.parent).free
    if free < download.size - _size(part):
        raise _no_space(download, path, f"{free:,} bytes are free")
    failures = ""
    for url in urls:
        log.info("fetching %s, %s bytes, from %s", download.path, f"{download.size:,}", url)
        try:
            _from(url, part, download)
        except _Failed as failure:
            log.warning("%s: %s", url, failure)
            failures += f"  {url}: {failure}\n"
        else:
            atomic.put(part, path)
            log.info("%s is there, and its checksum is right", path)
            return
    raise DataError(
        f"{path} is needed, and no address gave it:\n{failures}Try again later, which goes on "
        f"with what was loaded, or download it by hand to {path} ({download.size:,} bytes, "
        f"{download.checksum})"
    )


def _from(url: str, part: Path, download: Download) -> None:
    """Get the right file from one address, or remove it and fail."""
    if url.startswith("doi:"):
        url = _resolved(url, download.checksum)
    for _ in range(2):  # what was put together of two loads may not belong together: once anew
        in_one_piece = _load(url, part, download)
        found = _checksum(part, download.checksum)
        if found == download.checksum.lower():
            return
        part.unlink()
        if in_one_piece:
            break
    raise _Failed(f"wrong checksum: expected {download.checksum}, found {found}")


def _resolved(url: str, checksum: str) -> str:
    """The address of a file in the repository that its DOI leads to."""
    from types import SimpleNamespace

    from pooch import downloaders

    doi, _, name = url.removeprefix("doi:").rpartition("/")
    record = SimpleNamespace(registry={})
    try:
        repository = downloaders.doi_to_repository(doi, timeout=(CONNECT_SECONDS, READ_SECONDS))
        address = str(repository.download_url(name))
        repository.populate_registry(record)
        listed = str(record.registry[name]).lower()
    except Exception as error:  # of the network, or of an answer that is not as it was
        raise _Failed(f"cannot be resolved ({type(error).__name__}: {error})") from error
    algorithm, _, _ = listed.partition(":")
    if checksum.lower().startswith(f"{algorithm}:") and listed != checksum.lower():
        raise _Failed(f"the record has changed: expected {checksum}, it lists {listed}")
    return address


def _load(url: str, part: Path, download: Download) -> bool:
    """Load a file to its end, resuming after cuts; whether it came in one piece."""
    import requests
    import urllib3

    furthest = _size(part)
    left = 0  # an address that never gave a byte is not tried again
    while True:
        try:
            return _stream(url, part, download)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            why = _why(error)
        left = RETRIES if _size(part) > furthest else left - 1
        if left <= 0:
            raise _Failed(why)
        furthest = max(furthest, _size(part))
        log.warning("%s: %s; resuming at %s bytes", url, why, f"{_size(part):,}")
        time.sleep(PAUSE_SECONDS)


def _stream(url: str, part: Path, download: Download) -> bool:
    """Load what is missing, or everything; whether it was everything."""
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
            return False  # nothing is missing, or it is begun anew: the checksum will tell
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
            # The bytes as they are sent: requests would unpack a .gz that a server calls encoded.
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
    return not resumed


def _why(error: Exception) -> str:
    """The reason inside the wrappings of requests and urllib3."""
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", None) or inner)


def _no_space(download: Download, path: Path, why: str) -> DataError:
    missing = max(download.size - _size(_part(path)), 0)
    return DataError(
        f"{path}: no space left in {path.parent} ({why}), and {missing:,} bytes more are needed. "
        "Make room and try again, which goes on with what was loaded, or choose another folder "
        "with paths.raw_dir=DIR"
    )


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
