"""The coupling layer of Real NVP (Dinh et al. 2017), as the MAF authors use it on vectors."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Transform
from maf_runner.flows.checks import widths
from maf_runner.flows.made import ACTIVATIONS
from maf_runner.flows.univariate import to_data, to_noise


class Coupling(Transform):
    """u = x where copied, and u = (x - t) exp(-s) elsewhere; s and t depend on what is copied.

    s (tanh hidden units) and t (relu) are two full networks. The authors feed them all D
    features, with zeros for those not copied, and use only some of their D outputs. Weights that
    meet only zeros, or outputs that nobody reads, change nothing, so they are left out here; the
    initialisation still counts all D features.

    Args:
        features: D.
        hidden: widths of the hidden layers of both networks.
        copy_odd: copy the odd features (from 0) and transform the even ones, or the reverse.
        context: C. It is joined to the input of both networks.
    """

    copied: Tensor
    changed: Tensor

    def __init__(
        self, features: int, *, hidden: Sequence[int], copy_odd: bool, context: int = 0
    ) -> None:
        super().__init__(features, context)
        odd, even = torch.arange(1, features, 2), torch.arange(0, features, 2)
        copied, changed = (odd, even) if copy_odd else (even, odd)
        self.register_buffer("copied", copied, persistent=False)
        self.register_buffer("changed", changed, persistent=False)
        sizes = [len(copied) + context, *widths(hidden), len(changed)]
        self.log_scale = _Network(sizes, features + context, "tanh")
        self.shift = _Network(sizes, features + context, "relu")

    def _scale_and_shift(self, copied: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        given = copied if context is None else torch.cat([copied, context], dim=1)
        return self.log_scale(given), self.shift(given)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        copied = x.index_select(1, self.copied)
        s, t = self._scale_and_shift(copied, context)
        changed, log_slope = to_noise(x.index_select(1, self.changed), t, -s)
        return self._join(copied, changed), log_slope.sum(dim=1)

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        copied = u.index_select(1, self.copied)
        s, t = self._scale_and_shift(copied, context)
        changed, log_slope = to_data(u.index_select(1, self.changed), t, s)
        return self._join(copied, changed), log_slope.sum(dim=1)

    def _join(self, copied: Tensor, changed: Tensor) -> Tensor:
        joined = copied.new_empty(len(copied), self.features)
        joined = joined.index_copy(1, self.copied, copied)
        return joined.index_copy(1, self.changed, changed)


class _Network(nn.Module):
    """A plain network with linear outputs.

    Args:
        sizes: of the input, each hidden layer and the output.
        fan_in: what the initialisation takes for the size of the input.
        activation: of the hidden layers.
    """

    def __init__(self, sizes: Sequence[int], fan_in: int, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList()
        here = torch.get_default_device()
        for number, (inputs, outputs) in enumerate(pairwise(sizes)):
            layer = nn.utils.skip_init(nn.Linear, inputs, outputs, device=here)
            nn.init.normal_(layer.weight, std=((inputs if number else fan_in) + 1) ** -0.5)
            nn.init.zeros_(layer.bias)
            self.layers.append(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, in] to [B, out]."""
        activate = ACTIVATIONS[self.activation]
        first, *rest = self.layers
        x = first(x)
        for layer in rest:
            x = layer(activate(x))
        return x
