"""Settings of glibc's allocator: whether freed memory stays with the process. Others are left."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# Options of mallopt(3). Free memory at the end of the heap goes back to the system if it exceeds
# TRIM_THRESHOLD; blocks larger than MMAP_THRESHOLD are mapped one by one, and go back when freed.
# As long as a program sets neither, glibc raises both by itself, at most to these values.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LIMITS = {TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20}


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Inside, freed memory stays with the process, so that it can be used again at once.

    Otherwise glibc returns large blocks to the system, and each update of a wide model requests
    them again: a page fault for every 4 kB, 5 to 19 % of the time of an update on MNIST. On
    leaving, free memory is returned, and the thresholds are set to the limits of glibc's own
    adaptation.
    """
    if (libc := _glibc()) is None:
        yield
        return
    for option, value in {**LIMITS, TRIM_THRESHOLD: 2**31 - 1}.items():
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in LIMITS.items():
            libc.mallopt(option, value)
        libc.malloc_trim(0)


def release_freed_memory() -> None:
    """Return free memory to the system, and from now on every large block when it is freed.

    Free blocks in glibc's heap cannot be returned if a small block above them is still in use.
    Where the memory of the process is limited, they then leave no room for blocks of another size.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(MMAP_THRESHOLD, 128 << 10)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
