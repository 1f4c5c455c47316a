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

from maf_runner.engine.width import ModelSize

log = logging.getLogger("maf_runner")
TOLERANCE = 1e-6  # relative error of a product that still counts as float32


@contextmanager
def fast_products(model: nn.Module, rows: int) -> Iterator[bool]:
    """Inside, float32 products go through oneDNN if that is faster; yields whether they do.

    That needs a large model (`ModelSize.switches_products`, for ``rows`` rows at a time) and a
    processor by AMD: MKL, which torch uses for products, is slow there, and oneDNN up to twice as
    fast. On Intel's processors oneDNN is the slower one. By its name, torch's switch allows
    products in bfloat16. On a machine that really uses them the check of accuracy fails, and
    nothing is switched. So the choice depends on the model, the rows and the machine alone.
    """
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    if not ModelSize.of(model).switches_products(rows) or not _on_amd():
        yield False
        return
    if not _exact_enough():
        log.info("oneDNN's matrix products are not exact here: MKL's are used, which are slower")
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
