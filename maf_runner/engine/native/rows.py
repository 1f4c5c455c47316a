"""Many rows through a model by the native engine, with given statistics of batch norms."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from maf_runner.engine.native.describe import statistics
from maf_runner.engine.native.library import Kernels
from maf_runner.engine.native.updates import served
from maf_runner.flows.base import Density, Flow

AT_ONCE = 112  # rows, whose activations stay in the second cache; seven vectors of sixteen


class NativeRows:
    """Log densities of many rows, and rows through a single transform.

    Args:
        model: in evaluation. Its parameters are taken as they are now,
            the statistics of its batch norms at each call.
        description: of it, by `describe`.
    """

    def __init__(self, model: Density, description: list[int]) -> None:
        self.model = model
        self._description, self._threads = description, torch.get_num_threads()
        self._parameters = flat(model)
        self._engine = self._kernels(AT_ONCE)

    @torch.no_grad()
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """`log_prob_of_rows` of a model in evaluation: [N], nats, in float64."""
        if context is not None:
            context = context.expand(len(x), -1).contiguous()
        state = self._parameters, statistics(self.model)
        found = self._engine.log_density(*state, x.contiguous(), context)
        return found.double()

    def inverts(self) -> bool:
        """Whether every transform has an inverse here, as `from_noise` needs."""
        reference = self.model.reference
        nothing = [reference.new_empty(0, n) for n in self._description[:2]]
        state = self._parameters, statistics(self.model)
        return self._engine.inverse(*state, *nothing) is not None

    @torch.no_grad()
    def from_noise(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        """`Flow.from_noise` of a flow in evaluation, in one pass. See `inverts`."""
        given = None if context is None else context.contiguous()
        state = self._parameters, statistics(self.model)
        # One pass from the noise is one thread's work, so each has rows of its own.
        engine = self._engine if self._threads == 1 else self._kernels(AT_ONCE * self._threads)
        x = engine.inverse(*state, u.contiguous(), given)
        assert x is not None
        return x

    @torch.no_grad()
    def carrier(self) -> Callable[[int, Tensor, Tensor | None], None]:
        """A function that puts rows [N, D] through a transform of the flow, by its number."""
        assert isinstance(self.model, Flow)

        @torch.no_grad()
        def carry(number: int, rows: Tensor, context: Tensor | None) -> None:
            given = None if context is None else context.contiguous()
            place = rows.contiguous()
            self._engine.transform(number, self._parameters, statistics(self.model), place, given)
            if place is not rows:
                rows.copy_(place)

        return carry

    def _kernels(self, batch: int) -> Kernels:
        return Kernels(self._description, self.model.reference.dtype, batch, self._threads)


@torch.no_grad()
def flat(model: Density) -> Tensor:
    """All parameters, one after another: a view of them where they lie so, else a copy."""
    parameters = list(model.parameters())
    first = parameters[0]
    place, storage = first.data_ptr(), first.untyped_storage().data_ptr()
    for parameter in parameters:
        lies_next = parameter.data_ptr() == place and parameter.is_contiguous()
        if not lies_next or parameter.untyped_storage().data_ptr() != storage:
            return parameters_to_vector(parameters)
        place += parameter.nbytes
    return first.as_strided((sum(p.numel() for p in parameters),), (1,), first.storage_offset())


def native_rows(model: Density) -> NativeRows | None:
    """For a model that is served; else None."""
    description = served(model)
    return None if description is None else NativeRows(model, description)
