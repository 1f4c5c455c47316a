"""Not enough memory or disk: recognise it, say it, and refuse beforehand what cannot fit."""

import errno
import os
from typing import TYPE_CHECKING

from maf_runner.system import memory
from maf_runner.system.errors import UsageError

if TYPE_CHECKING:
    import torch

# How torch and its libraries say that an allocation failed.
NO_MEMORY = ("out of memory", "allocate memory", "failed to map segment", "create a primitive")
# The same of a GPU, where it is not torch that has asked for the memory, but the driver or cuBLAS.
NO_GPU_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
# A disk that is full, fails, is read-only or was taken away, a file that was removed or locked
# away, or too many open files.
DISK = {
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR",
        "ESTALE", "ENODEV", "ENXIO", "EBUSY", "EMFILE", "ENFILE", "EBADF", "ENOLCK", "EREMOTEIO",
        "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH",  # a network's file system
    )
    if hasattr(errno, name)
}  # fmt: skip


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, the CPU's or a GPU's."""
    if isinstance(error, MemoryError) or is_gpu_memory(error):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error)
    return isinstance(error, (RuntimeError, ImportError)) and any(w in said for w in NO_MEMORY)


def is_gpu_memory(error: BaseException) -> bool:
    """Whether it says that a GPU's memory did not suffice.

    torch's own error is known by name, because torch is imported late.
    """
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and any(words in said for words in NO_GPU_MEMORY)


def is_disk(error: BaseException) -> bool:
    """Whether an error says that a file could not be read or written as it should.

    Other kinds of OSError, such as a refused connection, do not. Some libraries give the system's
    words without its number.
    """
    if not isinstance(error, OSError):
        return False
    if error.errno is None:
        return any(os.strerror(number) in str(error) for number in DISK)
    return error.errno in DISK


def is_shortage(error: BaseException) -> bool:
    """Whether memory or disk did not suffice."""
    return is_memory(error) or is_disk(error)


def describe(error: BaseException) -> str:
    """What to tell the user of a run that a shortage has ended."""
    what = "there is not enough memory for this run"
    if isinstance(error, OSError) and not is_memory(error):
        what = f"{error.filename or 'a file'}: {error.strerror or error}"
    return f"{what}; what was saved before is whole, and the same command goes on from there"


def describe_gpu(device: "torch.device", asked: str) -> str:
    """What to tell the user of a GPU that is too small for a run.

    Args:
        device: the GPU.
        asked: the setting ``device``.
    """
    import torch

    free = ""
    try:
        sizes = [size / 2**30 for size in torch.cuda.mem_get_info(device)]
        free = f"{sizes[0]:.1f} of {sizes[1]:.1f} GiB are free; "
    except (RuntimeError, AssertionError, ValueError):  # too little for CUDA to be asked
        pass
    return (
        f"the GPU has not enough memory for this run ({free}device={asked}): use device=cpu, a "
        "smaller model or dataset, or another GPU"
    )


def require(needed: int, what: str, way_out: str) -> None:
    """Refuse what cannot fit into memory, before it is tried.

    Args:
        needed: the least number of bytes it will take.
        what: subject of the message: what needs them.
        way_out: what the user can do.

    Raises:
        UsageError: less memory is free.
    """
    free = memory.available()
    if free is not None and needed > free:
        raise UsageError(
            f"{what} needs at least {memory.in_words(needed)} of memory, and "
            f"{memory.in_words(free)} are free here: {way_out}"
        )
