"""Float32 products by the faster of torch's two CPU libraries, where it computes the same."""

import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

log = logging.getLogger("maf_runner")
WORK = 4e6  # multiplications of the largest product; below, the switch costs more than it gains
TOLERANCE = 1e-6  # relative error of a product that still counts as float32


@contextmanager
def fast_products(model: nn.Module, rows: int) -> Iterator[bool]:
    """Route the float32 products of ``rows`` rows at a time through oneDNN; yield whether it is.

    It is where the largest product takes at least `WORK` multiplications.

    MKL, which torch uses for products, holds back on AMD's processors, where oneDNN is up to
    twice as fast; on Intel's it is the slower of the two. torch's switch allows, by its name,
    products in bfloat16: where they are used the check of accuracy fails and nothing is switched.
    So which library it is depends on the machine alone.
    """
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    largest = max((p.numel() for p in model.parameters() if p.ndim == 2), default=0)
    if rows * largest < WORK or not _on_amd():
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
def _on_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return "AMD" in platform.processor()


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
