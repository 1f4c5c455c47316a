"""A uniform mixture of trained densities over the same rows."""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Density

# Log densities [B] of a part at rows [B, D] given a context, and rows [n, D] drawn from a part.
LogProb = Callable[[Tensor, Tensor | None], Tensor]
Draw = Callable[[Density, int, Tensor | None, torch.Generator | None], Tensor]


class Units(NamedTuple):
    """How the rows of a mixture become those that a part takes: x scale + shift.

    Attributes:
        scale: above 0, float64 [D].
        shift: float64 [D].
        context: A [C, C] and b [C], float64: a context c [B, C] of the mixture becomes c A + b.
            None where it stays as it is.
    """

    scale: Tensor
    shift: Tensor
    context: tuple[Tensor, Tensor] | None = None


class UniformMixture(Density):
    """p(x) = 1/K sum_k p_k(x) of K densities; rows may have other units in each.

    It computes in float64 between its parts, each of which takes its own dtype, and answers in
    the dtype of ``x``.

    Args:
        parts: densities over the same features and context.
        units: of each part; None: those of the mixture.
    """

    title = "mixture"
    any_dtype = True
    float64: Tensor

    def __init__(
        self, parts: Sequence[Density], units: Sequence[Units | None] | None = None
    ) -> None:
        super().__init__(parts[0].features, parts[0].context)
        if any((p.features, p.context) != (self.features, self.context) for p in parts):
            raise ValueError("the parts of a mixture must have the same features and context")
        self.parts = nn.ModuleList(parts)
        self.units = list(units or [None] * len(parts))
        self.register_buffer("float64", torch.empty(0, dtype=torch.float64), persistent=False)

    @property
    def densities(self) -> list[Density]:
        """The parts."""
        return cast(list[Density], list(self.parts))

    @property
    def reference(self) -> Tensor:
        """Float64, so that rows reach every part as exactly as if it were alone."""
        return self.float64

    @property
    def can_sample(self) -> bool:
        """Whether every part can."""
        return all(part.can_sample for part in self.densities)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of rows ``x`` [B, D]."""
        return self.mixed(self.densities, x, context).to(x.dtype)

    def mixed(
        self, log_probs: Sequence[LogProb], x: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Log densities [B] in float64 by the ``log_probs`` of the parts.

        Where the log density of a part is not a finite number, that part counts as 0.
        """
        by_part = []
        for part, units, log_prob in zip(self.densities, self.units, log_probs, strict=True):
            rows = x if units is None else x.double() * units.scale + units.shift
            given = _context_of(part, units, context)
            nats = log_prob(rows.to(part.reference.dtype), given).double()
            if units is not None:
                nats = nats + units.scale.log().sum()
            by_part.append(torch.where(nats.isfinite(), nats, -math.inf))
        return torch.logsumexp(torch.stack(by_part), dim=0) - math.log(len(by_part))

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return self.drawn(_sample_of, n, context, generator)

    def drawn(
        self, draw: Draw, n: int, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Rows [n, D], each of a part chosen at random, by the function that draws from a part."""
        chosen = torch.randint(len(self.parts), (n,), generator=generator)
        dtypes = [part.reference.dtype for part in self.densities]
        x = torch.empty(n, self.features, dtype=reduce(torch.promote_types, dtypes))
        for k, (part, units) in enumerate(zip(self.densities, self.units, strict=True)):
            where = (chosen == k).nonzero().squeeze(1)
            given = None if context is None else context[where]
            rows = draw(part, len(where), _context_of(part, units, given), generator)
            if units is not None:
                rows = (rows.double() - units.shift) / units.scale
            x[where] = rows.to(x.dtype)
        return x

    def parameter_count(self) -> int:
        """Those of all parts."""
        return sum(part.parameter_count() for part in self.densities)


def _sample_of(
    part: Density, n: int, context: Tensor | None, generator: torch.Generator | None
) -> Tensor:
    """Rows [n, D] of a part, by its own ``sample``."""
    return part.sample(n, context, generator)


def _context_of(part: Density, units: Units | None, context: Tensor | None) -> Tensor | None:
    """The context that a part takes, from that of the mixture."""
    if context is None:
        return None
    if units is not None and units.context is not None:
        scale, shift = units.context
        context = context.double() @ scale + shift
    return context.to(part.reference.dtype)
