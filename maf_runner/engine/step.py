"""One update of the parameters, by one of four paths that compute the same.

- ``eager``: the loss as the model states it, autograd, Adam. What a student reads, and the oracle
  of the others in the tests.
- ``compiled`` (CPU): gradient, penalty and Adam as one program that torch's compiler makes. It
  takes a minute to make, and pays in long runs of narrow networks, whose many small operations
  cost more to call than to do. Of wide ones, whose time goes into products, only Adam is compiled.
- ``native`` (CPU): the whole update in one call of a library of our own (`engine.native`), of the
  models it knows, where it was built.
- ``graph`` (GPU): the eager update, recorded once as a CUDA graph and replayed, so that nothing
  is called one by one.

Each but the native one works on the model in blocks where its masked layers are wide
(`engine.blocks`).
"""

import copy
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value
from torch.nn.utils import parameters_to_vector

from maf_runner.engine.adam import PaperAdam
from maf_runner.engine.blocks import copy_back, copy_over, in_blocks
from maf_runner.engine.native.updates import NativeUpdate, serves
from maf_runner.engine.rows import is_short
from maf_runner.flows.base import Density, inverts
from maf_runner.system.errors import UsageError

if TYPE_CHECKING:
    from maf_runner.training.settings import TrainerSettings

log = logging.getLogger("maf_runner")
EAGER, COMPILED, GRAPH, NATIVE = "eager", "compiled", "graph", "native"
UNABLE = {  # how the warning about a path that fails goes on
    COMPILED: "be compiled", GRAPH: "be captured", NATIVE: "be done by the native engine"
}  # fmt: skip
NARROW = 512  # networks wider than this are bound by their products, which a compiler leaves alone
EVERY = 10  # updates between two looks of the average at the parameters
LONG = 20_000  # updates of a narrow network: a run that makes so many is compiled, if it may be
LONG_OF_WIDE = 2_000  # Adam alone is compiled in seconds

Update = Callable[[Tensor, Tensor | None], Tensor]  # of the parameters by a batch; gives its loss


class Step:
    """Makes updates of ``model``; call it with a batch, always of the same size.

    Args:
        model: what is trained. Between updates its tensors may lag behind: see `finish`.
        settings: of Adam.
        path: ``eager``, ``compiled``, ``native`` or ``graph``; if one of the latter fails, the
            slower one is taken, and a warning says so.
    """

    def __init__(self, model: Density, settings: "TrainerSettings", path: str) -> None:
        self.model = model
        self.working = model if path == NATIVE else in_blocks(model)
        self.path = path
        self.adam = PaperAdam(
            self.working.parameters(),
            learning_rate=settings.learning_rate,  # type: ignore[arg-type]
            betas=settings.betas,
            epsilon=settings.epsilon,
            l2=settings.l2,
        )
        self.updates = 0
        self._update: Update | None = None
        self._decay = settings.averaging**EVERY
        self.average = self.adam.parameters.clone() if settings.averaging else None

    def __call__(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Update the parameters by a batch of rows [B, D]; returns its loss before that, nats."""
        loss = self._first(x, context) if self._update is None else self._update(x, context)
        self.updates += 1
        if self.average is not None and self.updates % EVERY == 0:
            seen = self.updates // EVERY
            self.average.lerp_(self.adam.parameters, 1 - min(self._decay, seen / (seen + 9)))
        return loss

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the parameters are their averages, if such are kept."""
        return nullcontext() if self.average is None else self._holding(self.average)

    @contextmanager
    def _holding(self, values: Tensor) -> Iterator[None]:
        """Inside, the parameters have other values."""
        current = self.adam.parameters.clone()
        self.adam.parameters.copy_(values)
        try:
            yield
        finally:
            self.adam.parameters.copy_(current)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, beside the parameters.

        Tensors are laid out as the model's parameters, not as their blocks, so that a run can go
        on where there are none, or others: on another device, with another version.
        """
        return _mapped({**self.adam.state(), "average": self.average}, self._as_model)

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        flat = _mapped(state, self._as_blocks)
        self.adam.load(flat)
        self.updates = flat["steps"]
        if self.average is not None:
            self.average.copy_(flat["average"])

    @torch.no_grad()
    def _as_model(self, flat: Tensor) -> Tensor:
        """Numbers that belong to the working parameters, laid out as the model's."""
        if self.working is self.model:
            return flat
        with self._holding(flat):
            self.finish()
            vector = parameters_to_vector(self.model.parameters())
        self.finish()
        return vector

    @torch.no_grad()
    def _as_blocks(self, vector: Tensor) -> Tensor:
        """And back."""
        if self.working is self.model:
            return vector
        parameters = list(self.model.parameters())
        parts = vector.split([p.numel() for p in parameters])
        with self._holding(self.adam.parameters):
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))
            copy_over(self.model, self.working)
            flat = self.adam.parameters.clone()
        self.finish()
        return flat

    def finish(self) -> None:
        """Bring the model up to date."""
        copy_back(self.working, self.model)

    def _first(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The first update: makes the path ready, or falls back."""
        done, chunk = int(self.adam.count), self.adam.chunk
        try:
            if self.path == COMPILED:
                log.info("compiling the training step; this can take a minute or two")
                self._update = self._compiled()
            elif self.path == NATIVE:
                self._update = NativeUpdate(self.model, self.adam)
            elif self.path == GRAPH:
                self._update = self._captured(x, context)
            else:
                self._update = self._eager
            return self._update(x, context)
        except Exception as error:  # the compiler's own, or of what it calls
            if self.path == EAGER or is_short(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning(
                "the training step cannot %s (%s): the slower path is taken",
                UNABLE[self.path],
                reason,
            )
            self.path = EAGER
            self.adam.count.fill_(done)
            self.adam.program, self.adam.chunk = self.adam.update, chunk
            return self._first(x, context)

    def _eager(self, x: Tensor, context: Tensor | None) -> Tensor:
        self.adam.zero_grad()
        loss = -self.working(x, context).mean()  # nats
        loss.backward()
        self.adam.step()
        return loss.detach()

    def _compiled(self) -> Update:
        """As one program, or, of a wide model, with Adam as one; made at the first call."""
        adam = self.adam
        if not narrow(self.model):
            adam.chunk = adam.parameters.numel()
            adam.program = compiled(lambda *tensors: adam.update(*tensors))
            return self._eager
        program = compiled(whole(self.working, adam))
        state = (adam.parameters, adam.first, adam.second)
        return lambda x, context: program(*state, *adam.next_coefficients(), x, context)

    def _captured(self, x: Tensor, context: Tensor | None) -> Update:
        """The eager update as a CUDA graph, which reads its batch from a place of its own."""
        place = x.clone(), None if context is None else context.clone()
        parameters, state = self.adam.parameters.clone(), copy.deepcopy(self.adam.state())
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries make what they need, outside the graph
                for _ in range(3):
                    self._eager(*place)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loss = self._eager(*place)
        finally:  # these updates were none of the run's
            self.adam.parameters.copy_(parameters)
            self.adam.load(state)

        def update(x: Tensor, context: Tensor | None) -> Tensor:
            for there, given in zip(place, (x, context), strict=True):
                if there is not None and given is not None:
                    there.copy_(given)
            graph.replay()
            return loss.clone()

        return update


def _mapped(state: dict[str, Any], function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    return {k: function(v) if isinstance(v, Tensor) else v for k, v in state.items()}


def whole(model: Density, adam: PaperAdam) -> Callable[..., Tensor]:
    """An update as a function of tensors alone: Adam's state, its a and b, and a batch."""
    named = dict(model.named_parameters())
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
        adam.update(flat, gradient, first, second, a, b)
        return value

    return update


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a program for one shape of each argument, made at the first call.

    What torch would check at every call, a tenth of a narrow network's update, is left out: all
    it depends on is fixed by then. So that no other program is mistaken for this one, which torch
    keeps by the code of the function, the function gets a code object of its own.
    """
    torch._inductor.config.compile_threads = 1  # no processes that outlive an interrupted run
    code = function.__code__.replace()
    own = FunctionType(code, function.__globals__, closure=function.__closure__)
    options: Any = {"guard_filter_fn": lambda guards: [False] * len(guards), "cpp_wrapper": True}
    return torch.compile(own, fullgraph=True, dynamic=False, options=options)


def choose(model: Density, compile_: bool | str, updates: int) -> str:
    """The path of a run that makes at least ``updates`` updates.

    Args:
        model: what will be trained, where it will be trained.
        compile_: ``true``, ``false``, or ``auto``: the native engine if it serves the model, else
            if it pays.
        updates: how many there will be at least.

    Raises:
        UsageError: a compiled step is asked for, and there is no compiler.
    """
    if compile_ is False:
        return EAGER
    if model.reference.device.type == "cuda":
        return GRAPH
    if compile_ == "auto" and serves(model):
        return NATIVE
    pays = updates >= (LONG if narrow(model) else LONG_OF_WIDE) and not inverts(model)
    if compile_ == "auto" and not pays:
        return EAGER
    if has_compiler():
        return COMPILED
    if compile_ == "auto":
        log.info("no C++ compiler is here: training takes the slower path")
        return EAGER
    raise UsageError(
        "trainer.compile=true needs a C++ compiler (g++ or clang++, or named by CXX): install "
        "one, or leave it to trainer.compile=auto"
    )


def narrow(model: Density) -> bool:
    """Whether calling the operations of an update takes as long as their work, about."""
    return max((len(p) for p in model.parameters() if p.ndim == 2), default=0) <= NARROW


def has_compiler() -> bool:
    """Whether there is a C++ compiler, by its name or that of CXX."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return any(shutil.which(name) for name in names if name)
