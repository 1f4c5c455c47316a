"""One update of the parameters, by one of two paths that compute the same.

``eager``: the loss as the model states it, autograd, Adam. ``compiled``: gradient, penalty and
Adam as one program that torch's compiler makes; it takes about a minute to make, and pays in long
runs of narrow networks, whose many small operations cost more to call than to do.

Either works on the model in blocks where its masked layers are wide (`flows.blocks`).
"""

import logging
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from maf_runner.errors import UsageError
from maf_runner.flows.base import Density, Inverse
from maf_runner.flows.blocks import copy_back, in_blocks
from maf_runner.training.adam import PaperAdam
from maf_runner.training.settings import TrainerSettings

log = logging.getLogger("maf_runner")
EAGER, COMPILED = "eager", "compiled"
LONG = 20_000  # updates: a run that makes at least so many is compiled, if it may be
NARROW = 512  # networks wider than this are bound by their products, which a compiler leaves alone


class Step:
    """Makes updates of ``model``; call it with a batch.

    Args:
        model: what is trained. Between updates its tensors may lag behind: see `finish`.
        settings: of Adam.
        path: ``eager`` or ``compiled``; with the latter, the slower one is taken, and a warning
            says so, where there is no compiler or it fails.
    """

    def __init__(self, model: Density, settings: TrainerSettings, path: str) -> None:
        self.model = model
        self.working = in_blocks(model)
        self.path = path
        self.adam = PaperAdam(
            self.working.parameters(),
            learning_rate=settings.learning_rate,  # type: ignore[arg-type]
            betas=settings.betas,
            epsilon=settings.epsilon,
            l2=settings.l2,
        )
        self._compiled: Callable[..., Tensor] | None = None

    def __call__(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Update the parameters by a batch of rows [B, D]; returns its loss before that, nats."""
        if self.path == COMPILED:
            return self._by_compiled(x, context)
        self.adam.zero_grad()
        loss = -self.working(x, context).mean()  # nats
        loss.backward()
        self.adam.step()
        return loss.detach()

    def finish(self) -> None:
        """Bring the model up to date."""
        copy_back(self.working, self.model)

    def _by_compiled(self, x: Tensor, context: Tensor | None) -> Tensor:
        steps = self.adam.steps
        a, b = (x.new_tensor(value) for value in self.adam.next_coefficients())
        if self._compiled is not None:
            return self._compiled(x, context, a, b)
        log.info("compiling the training step; this can take a minute or two")
        self._compiled = _compile(self.working, self.adam)
        try:
            return self._compiled(x, context, a, b)
        except Exception as error:  # the compiler's own, or of what it calls
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning(
                "the training step cannot be compiled (%s): the slower path is taken", reason
            )
            self.adam.steps, self.path = steps, EAGER
            return self(x, context)


def _compile(model: Density, adam: PaperAdam) -> Callable[..., Tensor]:
    """A step of Adam on ``model`` as one program: from a batch and Adam's a and b to its loss.

    The program is made at the first call.
    """
    named = dict(model.named_parameters())
    sizes = [parameter.numel() for parameter in named.values()]
    buffers = dict(model.named_buffers())

    def loss(flat: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        parts = zip(named.items(), flat.split(sizes), strict=True)
        values = {name: part.view(parameter.shape) for (name, parameter), part in parts}
        return -functional_call(model, {**values, **buffers}, (x, context)).mean()

    def step(
        flat: Tensor,
        first: Tensor,
        second: Tensor,
        x: Tensor,
        context: Tensor | None,
        a: Tensor,
        b: Tensor,
    ) -> Tensor:
        gradient, value = grad_and_value(loss)(flat, x, context)
        adam.update(flat, gradient, first, second, a, b)
        return value

    torch._inductor.config.compile_threads = 1  # no processes that outlive an interrupted run
    program: Any = torch.compile(step, fullgraph=True, dynamic=False)
    state = (adam.parameters, adam.first, adam.second)
    return lambda x, context, a, b: program(*state, x, context, a, b)


def choose(model: Density, compile_: bool | str, updates: int) -> str:
    """The path of a run that makes at least ``updates`` updates.

    Args:
        model: what will be trained.
        compile_: ``true``, ``false``, or ``auto``: if it pays.
        updates: how many there will be at least.

    Raises:
        UsageError: a compiled step is asked for, and there is no compiler.
    """
    if compile_ is True and not has_compiler():
        raise UsageError(
            "trainer.compile=true needs a C++ compiler (g++ or clang++, or named by CXX): install "
            "one, or leave it to trainer.compile=auto"
        )
    if compile_ == "auto":
        compile_ = updates >= LONG and compilable(model) and has_compiler()
    return COMPILED if compile_ else EAGER


def compilable(model: Density) -> bool:
    """Whether a compiled step of the model is worth its making."""
    loops = any(isinstance(module, Inverse) for module in model.modules())  # a pass a feature
    widest = max((len(p) for p in model.parameters() if p.ndim == 2), default=0)
    return not loops and widest <= NARROW


def has_compiler() -> bool:
    """Whether there is a C++ compiler, by its name or that of CXX."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return any(shutil.which(name) for name in names if name)
