"""Coupling layers: Real NVP's (Dinh et al. 2017) as the MAF authors use it, and of any map."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Transform
from maf_runner.flows.checks import widths
from maf_runner.flows.made import ACTIVATIONS, ResidualNetwork
from maf_runner.flows.univariate import Univariate, to_data, to_noise
from maf_runner.flows.univariate.affine import soft_clip


def halves(features: int, *, copy_odd: bool) -> tuple[Tensor, Tensor]:
    """The features that a coupling copies, and those that it changes."""
    odd, even = torch.arange(1, features, 2), torch.arange(0, features, 2)
    return (odd, even) if copy_odd else (even, odd)


def join(copied: Tensor, at: Tensor, changed: Tensor, there: Tensor) -> Tensor:
    """Rows of which the columns ``at`` are ``copied`` and the columns ``there`` ``changed``."""
    joined = copied.new_empty(len(copied), len(at) + len(there))
    return joined.index_copy(1, at, copied).index_copy(1, there, changed)


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
        copied, changed = halves(features, copy_odd=copy_odd)
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
        return join(copied, self.copied, changed, self.changed), log_slope.sum(dim=1)

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        copied = u.index_select(1, self.copied)
        s, t = self._scale_and_shift(copied, context)
        changed, log_slope = to_data(u.index_select(1, self.changed), t, s)
        return join(copied, self.copied, changed, self.changed), log_slope.sum(dim=1)


class BoundedCoupling(Coupling):
    """As `Coupling`, with s softly clipped to (-3, 3); see `univariate.BoundedAffine`."""

    def _scale_and_shift(self, copied: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        s, t = super()._scale_and_shift(copied, context)
        return soft_clip(s), t


class UnivariateCoupling(Transform):
    """A coupling whose changed features pass a map of one variable each (Durkan et al. 2019).

    The parameters of the maps are functions of the other features, by a residual network. These
    features pass maps of their own, whose parameters are learned and the same for every row.

    Args:
        features: D.
        univariate: the family of maps of the changed features.
        alone: the same family, for the other features.
        hidden: width of the residual blocks, once for each.
        copy_odd: change the even features (from 0), or the odd ones.
        dropout: share of hidden units left out in each block while training.
        context: C. It is joined to the input of the network.
    """

    given: Tensor
    changed: Tensor

    def __init__(
        self,
        features: int,
        univariate: Univariate,
        alone: Univariate,
        *,
        hidden: Sequence[int],
        copy_odd: bool,
        dropout: float = 0.0,
        context: int = 0,
    ) -> None:
        super().__init__(features, context)
        self.univariate, self.alone = univariate, alone
        given, changed = halves(features, copy_odd=copy_odd)
        self.register_buffer("given", given, persistent=False)
        self.register_buffer("changed", changed, persistent=False)
        inputs, outputs = len(given) + context, univariate.parameters * len(changed)
        self.network = ResidualNetwork(inputs, outputs, hidden=hidden, dropout=dropout)
        self.own = nn.Parameter(torch.rand(alone.parameters, len(given)))
        with torch.no_grad():
            *_, last = self.network.linears
            shape = univariate.parameters, len(changed)
            univariate.initialise(last.weight.view(*shape, hidden[-1]), last.bias.view(shape))
            alone.initialise(self.own[..., None], self.own)

    def _parameters_of(self, given: Tensor, context: Tensor | None) -> Tensor:
        known = given if context is None else torch.cat([given, context], dim=1)
        return self.network(known).unflatten(1, (self.univariate.parameters, len(self.changed)))

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        given = x.index_select(1, self.given)
        parameters = self._parameters_of(given, context)
        changed, slope = self.univariate.forward(x.index_select(1, self.changed), parameters, 1)
        given, own_slope = self.alone.forward(given, self._own(x), 1)
        log_det = slope.sum(dim=1) + own_slope.sum(dim=1)
        return join(given, self.given, changed, self.changed), log_det

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        given, own_slope = self.alone.inverse(u.index_select(1, self.given), self._own(u), 1)
        parameters = self._parameters_of(given, context)
        changed, slope = self.univariate.inverse(u.index_select(1, self.changed), parameters, 1)
        log_det = slope.sum(dim=1) + own_slope.sum(dim=1)
        return join(given, self.given, changed, self.changed), log_det

    def _own(self, rows: Tensor) -> Tensor:
        return self.own.expand(len(rows), -1, -1)


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
