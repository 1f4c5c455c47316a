"""MADE with mixtures of Gaussians as conditionals (the paper's MADE MoG)."""

import math
from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Density
from maf_runner.flows.checks import positive
from maf_runner.flows.inversion import generate
from maf_runner.flows.made import Network, masked_network
from maf_runner.flows.quantiles import normal_quantile


class MADEMoG(Density):
    """p(x_d | x_1 .. x_(d-1)) = sum_c w_c N(m_c, exp(-p_c)), where w, m and p depend on the x.

    The mixture is summed with a stable log-sum-exp; the authors' code has a plain one, which
    under- and overflows. As theirs, the output biases start at N(0, 1), so that the components
    differ from the start.

    Args:
        features: D.
        components: number of Gaussians in each mixture.
        reverse: the order: natural, or reversed.
        network: see `Network`.
    """

    title = "MADE MoG"

    def __init__(
        self,
        features: int,
        *,
        components: int,
        reverse: bool = False,
        **network: Unpack[Network],
    ) -> None:
        super().__init__(features, network.get("context", 0))
        self.components = positive("components", components, 10**4)
        outputs = 3 * components
        self.network = masked_network(features, outputs=outputs, reverse=reverse, **network)
        nn.init.normal_(self.network.linears[-1].bias)

    def _conditionals(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:  # mean, log precision, logit, each [B, components, D]
        parameters = self.network(x, context).unflatten(1, (3, self.components))
        mean, log_precision, logit = parameters.unbind(dim=1)
        return mean, log_precision, logit

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of rows ``x`` [B, D]."""
        mean, log_precision, logit = self._conditionals(x, context)
        squares = log_precision.exp() * (x[:, None] - mean).square()
        by_component = logit + 0.5 * (log_precision - squares)
        by_feature = torch.logsumexp(by_component, dim=1) - torch.logsumexp(logit, dim=1)
        return by_feature.sum(dim=1) - 0.5 * self.features * math.log(2 * math.pi)

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """u_d is the normal quantile of F(x_d | x_1 .. x_(d-1)), F the distribution function.

        Beyond the median it is taken from 1 - F, where F alone would round to 1; it ends at 37,
        beyond which both round to 0.
        """
        mean, log_precision, logit = (t.double() for t in self._conditionals(x, context))
        z = (0.5 * log_precision).exp() * (x.double()[:, None] - mean)
        weights = logit.softmax(dim=1)
        below, above = ((weights * torch.special.ndtr(s * z)).sum(dim=1) for s in (1, -1))
        return normal_quantile(below, above).to(x.dtype)

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        empty = self.reference.new_empty
        noise = empty(self.features, n).normal_(generator=generator)
        choice = empty(self.features, n).uniform_(generator=generator)

        def emitter(parameters: Tensor, values: Tensor, block: slice) -> Callable[[int], object]:
            mean, log_precision, logit = parameters.unflatten(0, (3, -1)).unbind()
            uniform, normal = choice[block], noise[block]

            def emit(i: int) -> None:
                below = logit[:, i].softmax(dim=0).cumsum(dim=0) < uniform[i]
                component = below.sum(dim=0, keepdim=True).clamp_(max=self.components - 1)
                m, p = (t[:, i].gather(0, component)[0] for t in (mean, log_precision))
                torch.addcmul(m, normal[i], (-0.5 * p).exp_(), out=values[i])

            return emit

        return generate(self.network, n, emitter, context)
