"""The compiled engine (CPU): the whole update as one program, for models without native kernels.

torch's compiler needs a minute or two for the update of a narrow network: gradient, penalty and
Adam. This pays in long runs, because the many small operations of such an update take longer to
call than to carry out. A wide network spends its time in matrix products, which a compiler does
not make faster.
"""

import logging
import os
import shutil
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from maf_runner.engine.adam import PaperAdam
from maf_runner.engine.eager import Eager, Update
from maf_runner.engine.width import ModelSize
from maf_runner.flows.base import Density, inverts

log = logging.getLogger("maf_runner")
LONG = 20_000  # updates from which compiling the whole update of a narrow network pays


class Compiled(Eager):
    """One program for each update."""

    name = "compiled"

    @staticmethod
    def pays(model: Density, updates: int) -> bool:
        """Whether a run of at least ``updates`` updates gains more time than compiling takes."""
        return updates >= LONG and ModelSize.of(model).narrow and not inverts(model)

    def prepare(self, x: Tensor, context: Tensor | None) -> Update:
        """Define the program; torch compiles it at its first call."""
        log.info("compiling the training step; this can take a minute or two")
        adam = self.adam
        program = compiled(whole(self.model, adam))
        state = (adam.parameters, adam.first, adam.second)
        return lambda x, context: program(*state, *adam.next_coefficients(), x, context)


def whole(model: Density, adam: PaperAdam) -> Callable[..., Tensor]:
    """An update as a function of tensors alone: Adam's state, its a and b, and a batch."""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sizes = [parameter.numel() for parameter in named.values()]
    buffers = dict(model.named_buffers())

    def loss(flat: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        parts = zip(named.items(), flat.split(sizes), strict=True)
        values = {name: part.view(parameter.shape) for (name, parameter), part in parts}
        return -functional_call(model, {**values, **buffers}, (x, context)).mean()

    def update(
        flat: Tensor,
        first: Tensor,
        second: Tensor,
        a: Tensor,
        b: Tensor,
        x: Tensor,
        context: Tensor | None,
    ) -> Tensor:
        gradient, value = grad_and_value(loss)(flat, x, context)
        adam.update(flat, adam.clipped(gradient), first, second, a, b)
        return value

    return update


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a program for one shape of each argument, made at the first call.

    The checks that torch would repeat at every call (a tenth of a narrow network's update) are
    left out: everything they look at is fixed by then. torch stores its programs by the code
    object of the function, so the function gets a code object of its own; otherwise a program
    made from the same code for another model could be used in its place.
    """
    torch._inductor.config.compile_threads = 1  # no processes that outlive an interrupted run
    code = function.__code__.replace()
    own = FunctionType(code, function.__globals__, closure=function.__closure__)
    options: Any = {"guard_filter_fn": lambda guards: [False] * len(guards), "cpp_wrapper": True}
    return torch.compile(own, fullgraph=True, dynamic=False, options=options)


def has_compiler() -> bool:
    """Whether there is a C++ compiler: the one that CXX names, or one with a usual name."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return any(shutil.which(name) for name in names if name)
