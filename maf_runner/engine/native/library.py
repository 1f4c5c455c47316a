"""The compiled library: found, loaded and called through its plain C interface."""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

VERSION = 3  # of the interface; a library built from other sources is not used


class Coefficients(NamedTuple):
    """Adam's numbers of one update: a and b in m / sqrt(a v + b), the decays, the penalty."""

    a: float
    b: float
    betas: tuple[float, float]
    l2: float


class _Numbers(ctypes.Structure):
    """``Numbers`` of ``src/table.h``."""

    _fields_ = (
        *((n, ctypes.c_void_p) for n in ("parameters", "first", "second", "gradient")),
        *((n, ctypes.c_void_p) for n in ("x", "context")),
        *((n, ctypes.c_double) for n in ("a", "b", "beta1", "beta2", "l2")),
    )


def is_whole(file: Path) -> bool:
    """Whether a library of Linux is as long as its header says; other files are not judged.

    The table of sections, of which the header says place and size, is the end of such a file.
    """
    with file.open("rb") as raw:
        header = raw.read(64)
    if header[:6] != b"\x7fELF\x02\x01" or len(header) < 64:
        return True
    place, size, count = (
        int.from_bytes(header[start:end], "little")
        for start, end in ((40, 48), (58, 60), (60, 62))
    )
    return file.stat().st_size >= place + size * count


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None where none was built that fits."""
    for file in sorted(Path(__file__).parent.glob("_library*.so")):
        try:
            if not is_whole(file):  # loaded all the same, it would end the process
                continue
            found = ctypes.CDLL(str(file))
            if found.maf_version() != VERSION:
                continue
        except (OSError, AttributeError):  # of another system, or not whole
            continue
        found.maf_error.restype = ctypes.c_char_p
        found.maf_instructions.restype = ctypes.c_char_p
        found.maf_instructions.argtypes = [ctypes.c_char_p]
        found.maf_create.restype = ctypes.c_void_p
        found.maf_create.argtypes = [
            ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_int64,
            ctypes.c_int,
        ]  # fmt: skip
        found.maf_destroy.restype = None
        found.maf_destroy.argtypes = [ctypes.c_void_p]
        found.maf_update.restype = ctypes.c_double
        found.maf_update.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Numbers)]
        found.maf_log_density.restype = None
        found.maf_log_density.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(_Numbers), ctypes.c_void_p, ctypes.c_int64,
            ctypes.c_void_p,
        ]  # fmt: skip
        found.maf_transform.restype = None
        found.maf_transform.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(_Numbers), ctypes.c_void_p, ctypes.c_int64,
            ctypes.c_int64, ctypes.c_void_p,
        ]  # fmt: skip
        found.maf_inverse.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(_Numbers), ctypes.c_void_p, ctypes.c_int64,
            ctypes.c_void_p,
        ]  # fmt: skip
        return found
    return None


def instructions(name: str = "") -> str | None:
    """The instruction set in use (``avx512``, ``avx2``, ``portable``), or None if it is not here.

    Args:
        name: one of them; by default the best that this processor has.
    """
    found = library()
    said = found.maf_instructions(name.encode()) if found else None
    return said.decode() if said else None


class Kernels:
    """A model in the library, for batches of one size.

    Args:
        description: of the model, by `describe`.
        dtype: float32 or float64.
        batch: rows of every batch.
        threads: that work together; never more.
        instructions: the instruction set, by default the best.
    """

    def __init__(
        self,
        description: Sequence[int],
        dtype: torch.dtype,
        batch: int,
        threads: int,
        instructions: str = "",
    ) -> None:
        found = library()
        if found is None:
            raise RuntimeError("the native library was not built")
        self._library, self._handle = found, None
        self.dtype, self.batch = dtype, batch
        self.features, self.context = description[:2]
        numbers = np.asarray(description, dtype=np.int64)
        self._handle = found.maf_create(
            instructions.encode(),
            numbers.ctypes.data,
            len(numbers),
            int(dtype == torch.float64),
            batch,
            threads,
        )
        if not self._handle:
            said = found.maf_error().decode()
            raise MemoryError(said) if said == "out of memory" else RuntimeError(said)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.maf_destroy(self._handle)

    def update(
        self,
        parameters: Tensor,
        first: Tensor,
        second: Tensor,
        x: Tensor,
        context: Tensor | None,
        adam: Coefficients,
    ) -> float:
        """Update the flat parameters and their moments by a batch; gives its loss before, nats."""
        numbers = self._numbers(parameters, x, context)
        self._need(first, parameters.shape)
        self._need(second, parameters.shape)
        numbers.first, numbers.second = first.data_ptr(), second.data_ptr()
        numbers.a, numbers.b, (numbers.beta1, numbers.beta2), numbers.l2 = adam
        return self._library.maf_update(self._handle, numbers)

    def gradient(
        self, parameters: Tensor, x: Tensor, context: Tensor | None
    ) -> tuple[float, Tensor]:
        """The loss of a batch, and its gradient by the flat parameters, which stay as they are."""
        numbers = self._numbers(parameters, x, context)
        gradient = torch.zeros_like(parameters)
        numbers.gradient = gradient.data_ptr()
        return self._library.maf_update(self._handle, numbers), gradient

    def log_density(
        self, parameters: Tensor, statistics: Tensor, x: Tensor, context: Tensor | None
    ) -> Tensor:
        """Log densities [N] of any number of rows [N, D], in nats.

        Args:
            parameters: flat.
            statistics: of the batch norms, by `describe.statistics`.
            x: rows.
            context: [N, C] or None.
        """
        numbers = self._numbers(parameters, x, context, len(x))
        self._need(statistics, statistics.shape)
        result = parameters.new_empty(len(x))
        self._library.maf_log_density(
            self._handle, numbers, statistics.data_ptr(), len(x), result.data_ptr()
        )
        return result

    def transform(
        self,
        layer: int,
        parameters: Tensor,
        statistics: Tensor,
        x: Tensor,
        context: Tensor | None,
    ) -> None:
        """Put into the place of rows ``x`` [N, D] what a layer of the flow makes of them."""
        numbers = self._numbers(parameters, x, context, len(x))
        self._need(statistics, statistics.shape)
        self._library.maf_transform(
            self._handle, numbers, statistics.data_ptr(), layer, len(x), x.data_ptr()
        )

    def inverse(
        self, parameters: Tensor, statistics: Tensor, u: Tensor, context: Tensor | None
    ) -> Tensor | None:
        """Data [N, D] from the base's noise ``u`` [N, D]; None if a layer has no inverse."""
        numbers = self._numbers(parameters, u, context, len(u))
        self._need(statistics, statistics.shape)
        result = torch.empty_like(u)
        done = self._library.maf_inverse(
            self._handle, numbers, statistics.data_ptr(), len(u), result.data_ptr()
        )
        return result if done else None

    def _numbers(
        self, parameters: Tensor, x: Tensor, context: Tensor | None, rows: int | None = None
    ) -> _Numbers:
        rows = self.batch if rows is None else rows
        self._need(parameters, parameters.shape)
        self._need(x, (rows, self.features))
        if self.context:
            self._need(context, (rows, self.context))
        numbers = _Numbers(parameters=parameters.data_ptr(), x=x.data_ptr())
        numbers.context = context.data_ptr() if context is not None and self.context else None
        return numbers

    def _need(self, tensor: Tensor | None, shape: Sequence[int]) -> None:
        """The library believes what it is told; so it is looked at here."""
        if (
            tensor is None
            or tensor.dtype != self.dtype
            or tensor.shape != tuple(shape)
            or tensor.device.type != "cpu"
            or not tensor.is_contiguous()
        ):
            raise ValueError(f"expected a plain {self.dtype} tensor of shape {tuple(shape)}")
