"""Many rows through a model by the native engine, with given statistics of batch norms."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from maf_runner.engine.native.describe import describe, statistics
from maf_runner.engine.native.library import Kernels
from maf_runner.engine.native.updates import serves
from maf_runner.flows.base import Density, Flow

AT_ONCE = 112  # rows, whose activations stay in the second cache; seven vectors of sixteen


class NativeRows:
    """Log densities of many rows, and rows through a single transform.

    Args:
        model: one that `serves` accepts. It is looked at anew at every call.
    """

    def __init__(self, model: Density) -> None:
        description = describe(model)
        if description is None:
            raise RuntimeError(f"the native engine has no kernels for {type(model).__name__}")
        self.model = model
        threads = torch.get_num_threads()
        self._engine = Kernels(description, model.reference.dtype, AT_ONCE, threads)

    @torch.no_grad()
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """`log_prob_of_rows` of a model in evaluation: [N], nats, in float64."""
        if context is not None:
            context = context.expand(len(x), -1).contiguous()
        found = self._engine.log_density(*self._state(), x.contiguous(), context)
        return found.double()

    @torch.no_grad()
    def carrier(self) -> Callable[[int, Tensor, Tensor | None], None]:
        """A function that puts rows [N, D] through a transform of the flow, by its number.

        The parameters are those of now, the statistics those of each call.
        """
        assert isinstance(self.model, Flow)
        flat = parameters_to_vector(self.model.parameters())

        @torch.no_grad()
        def carry(number: int, rows: Tensor, context: Tensor | None) -> None:
            given = None if context is None else context.contiguous()
            place = rows.contiguous()
            self._engine.transform(number, flat, statistics(self.model), place, given)
            if place is not rows:
                rows.copy_(place)

        return carry

    def _state(self) -> tuple[Tensor, Tensor]:
        return parameters_to_vector(self.model.parameters()), statistics(self.model)


def native_rows(model: Density) -> NativeRows | None:
    """For a model that is served; else None."""
    return NativeRows(model) if serves(model) else None
