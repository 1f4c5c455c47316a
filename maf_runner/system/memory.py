"""How much memory is free: the least of what the system, the group and the process allow."""

import re
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")  # version 2: the limits of containers and of queueing systems


def available() -> int | None:
    """Bytes this process may still take; None if the system does not say."""
    limits = [size for size in (_of_system(), _of_group(), _of_process()) if size is not None]
    return max(0, min(limits)) if limits else None


def in_words(size: float) -> str:
    """A number of bytes with a unit.

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
        statistics = (group / "memory.stat").read_text()
        cached = re.search(r"^inactive_file (\d+)$", statistics, re.MULTILINE)
        return limit - used + (int(cached[1]) if cached else 0)  # cached files can be dropped
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
    """The bytes after ``key`` in a file of /proc, which are given there in kB."""
    try:
        match = re.search(rf"^{key}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) << 10 if match else None
