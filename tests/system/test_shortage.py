"""Which errors say that memory or disk did not suffice, and what is said of them."""

import errno

import pytest
import torch

from maf_runner.system import memory, shortage
from maf_runner.system.errors import UsageError

MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory"),
    torch.OutOfMemoryError("in other words"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    ImportError("libx.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
ON_GPU = MEMORY[1:5]
DISK = [
    OSError(errno.ENOSPC, "No space left on device", "last.pt"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    PermissionError(errno.EACCES, "Permission denied"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
]
NEITHER = [
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    BrokenPipeError(errno.EPIPE, "Broken pipe"),
    OSError("could not get source code"),
    OSError(),
    RuntimeError("no such compiler"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize("error", [*MEMORY, *DISK, *NEITHER], ids=repr)
def test_which_errors_are_shortages(error):
    assert shortage.is_memory(error) == (error in MEMORY)
    assert shortage.is_gpu_memory(error) == (error in ON_GPU)
    assert shortage.is_disk(error) == (error in DISK)
    assert shortage.is_shortage(error) == (error not in NEITHER)


def test_what_is_said():
    rest = "; what was saved before is whole, and the same command goes on from there"
    assert shortage.describe(DISK[0]) == f"last.pt: No space left on device{rest}"
    assert shortage.describe(DISK[1]) == f"a file: Disk quota exceeded{rest}"
    for error in MEMORY:
        assert shortage.describe(error) == f"there is not enough memory for this run{rest}"
    said = shortage.describe_gpu(torch.device("cpu"), "cuda:1")
    assert "the GPU has not enough memory for this run" in said and "device=cuda:1" in said


def test_what_cannot_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    shortage.require(10**9, "it", "take less")
    expected = "it needs at least 2 GB of memory, and 1 GB are free here: take less"
    with pytest.raises(UsageError, match=expected):
        shortage.require(2 * 10**9, "it", "take less")
    monkeypatch.setattr(memory, "available", lambda: None)  # the system does not say
    shortage.require(10**20, "it", "take less")
