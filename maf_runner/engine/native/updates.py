"""The native engine as a path of a training step."""

import logging
import math
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from maf_runner.engine.native.describe import UnknownError, describe
from maf_runner.engine.native.library import Coefficients, Kernels, instructions
from maf_runner.flows.base import Density

log = logging.getLogger("maf_runner")
NOT_BUILT = (
    "the native engine is not built here (to build it, install the package again with a C++ "
    "compiler)"
)


class Adam(Protocol):
    """What an update needs of the optimiser: `PaperAdam`'s state and settings."""

    parameters: Tensor
    first: Tensor
    second: Tensor
    count: Tensor
    rate: Tensor
    betas: tuple[float, float]
    epsilon: float
    l2: float


class NativeUpdate:
    """Updates a model's parameters by a batch, in one call of the library.

    It works on the optimiser's own buffers and keeps nothing between two updates, so that it can
    be left, and taken up again, at any of them.

    Args:
        model: what is trained; its parameters are views of ``adam.parameters``, in their order.
        adam: the optimiser's state.

    Raises:
        UnknownError: the model is none that the library knows.
        RuntimeError: there is no library that fits.
    """

    def __init__(self, model: Density, adam: Adam) -> None:
        self.description, self.adam = describe(model), adam
        if instructions() is None:
            raise RuntimeError("the native library was not built here")
        self._engines: dict[int, Kernels] = {}  # by batch size

    def __call__(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Update by a batch of rows [B, D]; returns its loss before that, nats."""
        if (engine := self._engines.get(len(x))) is None:
            engine = Kernels(self.description, x.dtype, len(x), torch.get_num_threads())
            self._engines[len(x)] = engine
        adam = self.adam
        given = None if context is None else context.contiguous()
        flat = adam.parameters, adam.first, adam.second
        return x.new_tensor(engine.update(*flat, x.contiguous(), given, next_coefficients(adam)))


def next_coefficients(adam: Adam) -> Coefficients:
    """`PaperAdam.next_coefficients`, as plain numbers: a dozen operations on tensors less."""
    power = float(adam.count.add_(1)) + 1
    correction1, correction2 = (1 - beta**power for beta in adam.betas)
    rate = float(adam.rate) / correction1
    square = rate**2
    a = 1 / (correction2 * square) if square else math.inf
    b = adam.epsilon / square if square else math.inf
    return Coefficients(a, b, adam.betas, adam.l2)


def look(model: Density) -> tuple[list[int] | None, str]:
    """The description of a model where it is now; None, and why the engine cannot take it."""
    reference = model.reference
    if reference.device.type != "cpu" or reference.dtype not in (torch.float32, torch.float64):
        return None, "it works on the CPU, in float32 or float64"
    try:
        description = describe(model)
    except UnknownError as error:
        return None, f"it has no kernels for {error}"
    if instructions() is None:
        return None, NOT_BUILT
    return description, ""


def served(model: Density) -> list[int] | None:
    """The description of a model that the native engine can take.

    Else None; it is said once if only the library is missing.
    """
    description, reason = look(model)
    if reason == NOT_BUILT:
        _say_missing()
    return description


def serves(model: Density) -> bool:
    """Whether the native engine can take a model."""
    return served(model) is not None


@cache
def _say_missing() -> None:
    """Once is enough."""
    log.info(f"{NOT_BUILT}: training takes longer")
