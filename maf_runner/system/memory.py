"""How much memory there is, who is told that it is not enough, and keeping what is used again."""

import ctypes
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maf_runner.system.errors import UsageError

CGROUPS = Path("/sys/fs/cgroup")  # version 2: the limits of containers and of queueing systems


# glibc's mallopt(3): below how much free memory at its end the heap is not shortened, and from
# which size on a piece is mapped by itself. glibc adapts both, up to these values, until either is
# set.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
ADAPTED = {TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20}


@contextmanager
def kept() -> Iterator[None]:
    """Inside, memory that is freed stays with the process, which will want it again.

    glibc gives large pieces back to the system, and each update of a wide model takes them anew: a
    page fault for every 4 kB, 5 to 19 % of an update on MNIST. At the end what is free goes back,
    and the thresholds are those to which glibc adapts itself where large pieces are freed. Other
    allocators are left alone.
    """
    if (libc := _glibc()) is None:
        yield
        return
    for option, value in {**ADAPTED, TRIM_THRESHOLD: 2**31 - 1}.items():
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in ADAPTED.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)


def spare() -> None:
    """From here on every large piece is mapped by itself, so that all of it can go back.

    Pieces freed in glibc's heap stay there, below any small one that is still in use, and under a
    limit of the process leave no room for others.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(MMAP_THRESHOLD, 128 << 10)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def require(needed: int, what: str, way_out: str) -> None:
    """Refuse what cannot fit, before it is tried.

    Args:
        needed: bytes, the least it will take.
        what: needs them.
        way_out: what the user can do.

    Raises:
        UsageError: there is less memory than that.
    """
    free = available()
    if free is not None and needed > free:
        raise UsageError(
            f"{what} needs at least {in_words(needed)} of memory, and {in_words(free)} are free "
            f"here: {way_out}"
        )


def available() -> int | None:
    """Bytes this process may still take; None where the system does not say."""
    free = [found for found in (_of_system(), _of_group(), _of_process()) if found is not None]
    return max(0, min(free)) if free else None


def in_words(size: float) -> str:
    """Bytes, for people.

    >>> in_words(1_290_000_000), in_words(4000)
    ('1.29 GB', '0.004 MB')
    """
    unit, scale = next((u for u in (("TB", 1e12), ("GB", 1e9)) if size >= u[1]), ("MB", 1e6))
    return f"{size / scale:.3g} {unit}"


def _of_system() -> int | None:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable")


def _of_group() -> int | None:
    try:
        (name,) = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
        group = CGROUPS / name
        limit, used = (int((group / f"memory.{f}").read_text()) for f in ("max", "current"))
        kept = re.search(
            r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE
        )
        return limit - used + (int(kept[1]) if kept else 0)  # files in the cache can give way
    except (OSError, ValueError):  # no group, or no limit: "max"
        return None


def _of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _kilobytes(Path("/proc/self/status"), "VmSize")
    return None if limit == resource.RLIM_INFINITY or used is None else limit - used


def _kilobytes(path: Path, key: str) -> int | None:
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) << 10 if found else None
