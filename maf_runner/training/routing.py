"""Float32 products by the faster of torch's two CPU libraries, where it computes the same."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

log = logging.getLogger("maf_runner")
WIDE = 512  # below this width the switch costs more than it gains
TOLERANCE = 1e-6  # relative error of a product that still counts as float32


@contextmanager
def fast_products(width: int) -> Iterator[bool]:
    """Route float32 products of layers at least `WIDE` wide through oneDNN; yield whether it is.

    torch's switch for this allows, by its name, products in bfloat16. On most CPUs none are used
    and oneDNN is up to twice as fast as MKL in true float32; where they are, the check of
    accuracy fails and nothing is switched. Which of the two it is depends on the machine alone.
    """
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    if width < WIDE:
        yield False
        return
    if not _exact_enough():
        log.info("oneDNN's products are not exact on this machine: they are left to MKL, slower")
        yield False
        return
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield True
    finally:
        matmul.fp32_precision = before


@cache
def _exact_enough() -> bool:
    """Whether products under the switch agree with float64 as well as float32 can."""
    if not torch.backends.mkldnn.is_available():
        return False
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(100, 1024, dtype=torch.float64, generator=generator)
    b = torch.randn(1024, 1024, dtype=torch.float64, generator=generator)
    exact = a.float().double() @ b.float().double()
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        product = a.float() @ b.float()
    finally:
        matmul.fp32_precision = before
    return float((product - exact).norm() / exact.norm()) < TOLERANCE
