"""The autoregressive transform: one MADE as a layer of a flow (the paper, section 3)."""

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor

from maf_runner.flows.base import Transform
from maf_runner.flows.inversion import generate
from maf_runner.flows.made import Network, masked_network
from maf_runner.flows.univariate import Affine, BoundedAffine, Univariate


class Autoregressive(Transform):
    """u_d = f(x_d), where the parameters of the map f are functions of x_1 .. x_(d-1).

    Args:
        features: D.
        univariate: the family of maps f.
        reverse: the order: natural, or reversed.
        network: see `Network`.
    """

    def __init__(
        self,
        features: int,
        univariate: Univariate,
        *,
        reverse: bool = False,
        **network: Unpack[Network],
    ) -> None:
        super().__init__(features, network.get("context", 0))
        self.univariate = univariate
        outputs = univariate.parameters
        self.network = masked_network(features, outputs=outputs, reverse=reverse, **network)
        output = self.network.linears[-1]
        with torch.no_grad():
            univariate.initialise(
                output.weight.view(outputs, features, -1), output.bias.view(outputs, features)
            )

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        u, log_slope = self.univariate.forward(x, self.network(x, context), 1)
        return u, log_slope.sum(dim=1)

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            return self._inverse_step_by_step(u, context)
        noise = u.mT.contiguous()
        blocks = []

        def emitter(parameters: Tensor, values: Tensor, block: slice) -> Callable[[int], object]:
            blocks.append((values, parameters))
            return self.univariate.inverter(noise[block], parameters, values)

        x = generate(self.network, len(u), emitter, context)
        log_slopes = [self.univariate.log_slope(*block, 0) for block in blocks]
        return x, -torch.cat(log_slopes).sum(dim=0)

    def _inverse_step_by_step(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same, differentiable: one full pass of the network for each feature."""
        x, log_det = torch.zeros_like(u), u.new_zeros(len(u))
        for feature in self.network.order.tolist():
            parameters = self.network(x, context)[:, :, feature]
            column, log_slope = self.univariate.inverse(u[:, feature], parameters, 1)
            x = torch.cat([x[:, :feature], column[:, None], x[:, feature + 1 :]], dim=1)
            log_det = log_det + log_slope
        return x, log_det


class BoundedAutoregressive(Autoregressive):
    """As `AffineAutoregressive`, with the slope exp(p / 2) bounded; see `BoundedAffine`."""

    def __init__(
        self, features: int, *, reverse: bool = False, **network: Unpack[Network]
    ) -> None:
        super().__init__(features, BoundedAffine(), reverse=reverse, **network)


class AffineAutoregressive(Autoregressive):
    """u_d = exp(p_d / 2) (x_d - m_d): the layer of MADE, MAF and IAF. Args: as its parent's."""

    def __init__(
        self, features: int, *, reverse: bool = False, **network: Unpack[Network]
    ) -> None:
        super().__init__(features, Affine(), reverse=reverse, **network)
