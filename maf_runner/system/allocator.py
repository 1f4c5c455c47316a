"""Free memory back to the system, where glibc's allocator holds on to it."""

import ctypes
import platform

MMAP_THRESHOLD = -3  # an option of mallopt(3): blocks larger than this go back when freed
DEFAULT = 128 << 10


def release_freed_memory() -> None:
    """Return free memory to the system, and from now on every large block when it is freed.

    Free blocks in glibc's heap cannot be returned if a small block above them is still in use.
    Where the memory of the process is limited, they then leave no room for blocks of another size.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, DEFAULT)
        libc.malloc_trim(0)
