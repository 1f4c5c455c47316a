"""Several models of equal structure, trained as one: on a GPU, where calls bound small models.

Every parameter gets a leading dimension K, and `torch.func.vmap` turns the products of the members
into one batched product. Each member has its own batch, learning rate, penalty and count of
updates, and nothing passes from one to another. On a GPU the update is recorded as a CUDA graph.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from maf_runner.engine.adam import AdamSettings, PaperAdam, flatten, lay_into
from maf_runner.engine.graph import recorded
from maf_runner.flows.base import Density
from maf_runner.flows.univariate import Univariate
from maf_runner.system import shortage

log = logging.getLogger("maf_runner")


class StackedAdam(PaperAdam):
    """`PaperAdam` for K models, with one row of each tensor for each.

    Args:
        models: of equal structure; their parameters become views of the rows of ``parameters``.
        settings: one for each model; they may differ in ``l2`` alone.

    Attributes:
        parameters, first, second: [K, P].
        count, rate, l2s: [K, 1].
    """

    def __init__(self, models: Sequence[Density], settings: Sequence[AdamSettings]) -> None:
        super().__init__([], settings[0])
        self.parameters = torch.stack([flatten(model.parameters()) for model in models])
        self.first = torch.zeros_like(self.parameters)
        self.second = torch.zeros_like(self.parameters)
        self.count = self.parameters.new_zeros(len(models), 1, dtype=torch.float64)
        self.rate = torch.full_like(self.count, torch.nan)
        self.l2s = self.parameters.new_tensor([[each.l2] for each in settings])
        self.lay_out(models)

    def lay_out(self, models: Sequence[Density]) -> None:
        """Make the parameters of each model views of its row."""
        for row, model in zip(self.parameters, models, strict=True):
            lay_into(row, model.parameters())

    @torch.no_grad()
    def descend(self, gradient: Tensor) -> None:
        """Update the parameters by their gradient [K, P]."""
        a, b = self.next_coefficients()
        tensors = self.parameters, self.clipped(gradient), self.first, self.second
        self.update(*tensors, a, b)

    def clipped(self, gradient: Tensor) -> Tensor:
        """The gradient, with each row shortened if its norm exceeds ``clip``."""
        if self.clip is None:
            return gradient
        norm = gradient.norm(dim=1, keepdim=True)
        return gradient * (self.clip / (norm + 1e-6)).clamp_max(1)

    def penalised(self, gradient: Tensor, parameters: Tensor) -> Tensor:
        """The gradient with that of each member's penalty."""
        return torch.addcmul(gradient, parameters, self.l2s)

    def state(self) -> dict[str, Any]:
        """What `load` needs, of all members; see `MemberOptimiser.state` for one."""
        return {"steps": self.count, "first": self.first, "second": self.second}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a copy of what `state` returned."""
        for tensor, name in (
            (self.count, "steps"),
            (self.first, "first"),
            (self.second, "second"),
        ):
            tensor.copy_(state[name])

    def drop(self, place: int) -> None:
        """Forget a member."""
        rest = [k for k in range(len(self.parameters)) if k != place]
        for name in ("parameters", "first", "second", "count", "rate", "l2s"):
            setattr(self, name, getattr(self, name)[rest])


class Stacked:
    """K models that are updated together; each has an `Optimiser` in ``optimisers``.

    Args:
        models: of equal structure (the same class and settings), on one device. Their parameters
            become views of one buffer [K, P]; what else a model holds may differ, as the random
            degrees of its units may.
        settings: of Adam, one for each model; they may differ in ``l2`` alone.

    Raises:
        ValueError: models or settings that cannot be stacked; the message says why.
    """

    name = "stacked"
    _update: Callable[..., Tensor] | None
    _rates: list[float]

    def __init__(self, models: Sequence[Density], settings: Sequence[AdamSettings]) -> None:
        _require_alike(models, settings)
        self.optimisers = [MemberOptimiser(self, model) for model in models]
        # Computes for all of them; on the meta device it takes no memory.
        self._skeleton = copy.deepcopy(models[0]).to("meta").train()
        self._named = {name: p.shape for name, p in models[0].named_parameters()}
        self.adam = StackedAdam(models, settings)
        self._graph = models[0].reference.device.type == "cuda"
        self._renew()

    def step(
        self,
        x: Tensor,
        context: Tensor | None,
        rates: Sequence[float],
        weights: Tensor | None = None,
    ) -> Tensor:
        """Update every model by its own batch.

        Args:
            x: rows [K, B, D].
            context: [K, B, C], or None.
            rates: the K learning rates of this update.
            weights: of the rows [K, B], or None; as `Driver.step`.

        Returns:
            The losses [K] before the update, as `Engine.step`. The host does not wait for them.
        """
        if list(rates) != self._rates:
            self._rates = list(rates)
            column = torch.tensor(self._rates, dtype=torch.float64)[:, None]
            self.adam.rate.copy_(column, non_blocking=True)
        if self._update is None:
            self._update = self._prepared(x, context, weights)
        return self._update(x, context, weights)

    def update(self, x: Tensor, context: Tensor | None, weights: Tensor | None) -> Tensor:
        """Compute one update; the learning rates are set already."""
        flat = self.adam.parameters.detach().requires_grad_()
        losses = self._losses(flat, x, context, weights)
        (gradient,) = torch.autograd.grad(losses.sum(), flat)
        self.adam.descend(gradient)
        return losses.detach()

    def leave(self, optimiser: "MemberOptimiser") -> None:
        """Go on without a member, whose model gets parameters of its own."""
        flatten(optimiser.model.parameters())
        place = self.optimisers.index(optimiser)
        self.adam.drop(place)
        del self.optimisers[place]
        self.adam.lay_out([each.model for each in self.optimisers])
        if self.optimisers:
            self._renew()

    def _losses(
        self, flat: Tensor, x: Tensor, context: Tensor | None, weights: Tensor | None
    ) -> Tensor:
        """Mean negative log densities [K] of the batches under the parameters ``flat`` [K, P]."""
        sizes = [shape.numel() for shape in self._named.values()]
        parts = zip(self._named.items(), flat.split(sizes, dim=1), strict=True)
        parameters = {name: part.unflatten(1, shape) for (name, shape), part in parts}

        def loss(
            values: dict[str, Tensor],
            own: dict[str, Tensor],
            x: Tensor,
            context: Tensor | None,
            weights: Tensor | None,
        ) -> Tensor:
            log_prob = functional_call(self._skeleton, (values, own, self._shared), (x, context))
            return -(log_prob if weights is None else weights * log_prob).mean()

        rest = (None if context is None else 0, None if weights is None else 0)
        return vmap(loss, in_dims=(0, 0, 0, *rest))(parameters, self._own, x, context, weights)

    def _prepared(self, *batch: Tensor | None) -> Callable[..., Tensor]:
        """The function that computes updates: on a GPU a recorded graph, if that is possible."""
        if self._graph:
            try:
                return recorded(self.update, batch, self.adam)
            except Exception as error:  # drivers raise many kinds
                if shortage.is_memory(error):
                    raise
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("the stack cannot be recorded as a CUDA graph (%s): slower", reason)
                self._graph = False
        return self.update

    def _renew(self) -> None:
        """Prepare for these members: stack the buffers in which they differ, share the others."""
        self._update, self._rates = None, []
        buffers = [dict(optimiser.model.named_buffers()) for optimiser in self.optimisers]
        self._shared, self._own = {}, {}
        for name, first in buffers[0].items():
            if all(torch.equal(first, each[name]) for each in buffers):
                self._shared[name] = first.clone()
            else:
                self._own[name] = torch.stack([each[name] for each in buffers])


class MemberOptimiser:
    """The row of one member; see `engine.Optimiser`."""

    name = Stacked.name

    def __init__(self, stack: Stacked, model: Density) -> None:
        self.stack = stack
        self.model = model

    @property
    def place(self) -> int:
        """The number of the row; it falls when a member before leaves."""
        return self.stack.optimisers.index(self)

    @property
    def parameters(self) -> Tensor:
        """The row [P] of the parameters, a view."""
        return self.stack.adam.parameters[self.place]

    def state(self) -> dict[str, Any]:
        """State of the member's optimiser."""
        adam, place = self.stack.adam, self.place
        moments = {"first": adam.first[place], "second": adam.second[place]}
        return {"steps": int(adam.count[place]), **moments}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state`, or that of any engine, returned."""
        adam, place = self.stack.adam, self.place
        adam.count[place] = state["steps"]
        adam.first[place].copy_(state["first"])
        adam.second[place].copy_(state["second"])


def _require_alike(models: Sequence[Density], settings: Sequence[AdamSettings]) -> None:
    """Raise where these models cannot be trained as one, or not with these settings."""
    first = models[0]
    if first.closed_form or first.draws_in_training:
        raise ValueError(
            f"{first.title} cannot be stacked: models fitted in closed form, from outside the "
            "package or that draw random numbers while they train, as for dropout, train alone"
        )
    expected = _structure(first)
    if any(_structure(model) != expected for model in models):
        raise ValueError("stacked models must have the same class and settings, but the seed")
    if any(replace(each, l2=0.0) != replace(settings[0], l2=0.0) for each in settings):
        raise ValueError("the optimisers of stacked models may differ in rate and l2 alone")


def _structure(model: nn.Module) -> list[Any]:
    """What two models share if one can compute for the other."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    shapes = [(name, t.shape, t.dtype, t.device) for name, t in tensors]
    return [*shapes, *((name, _plain(module)) for name, module in model.named_modules())]


def _plain(thing: object) -> list[Any]:
    """The class of an object and its plain attributes, also of the maps of one variable in it."""
    kinds = (bool, int, float, str, tuple)
    values = {k: v for k, v in sorted(vars(thing).items()) if isinstance(v, kinds)}
    values.pop("training", None)
    inside = [(k, _plain(v)) for k, v in vars(thing).items() if isinstance(v, Univariate)]
    return [type(thing), values, inside]
