"""The affine autoregressive transform: one MADE as a layer of a flow (the paper, section 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maf_runner.flows.base import Transform
from maf_runner.flows.made import MaskedNetwork


class AffineAutoregressive(Transform):
    """u_d = exp(p_d / 2) (x_d - m_d), where m_d and p_d are functions of x_1 .. x_(d-1).

    m is the mean and p the log precision of the conditional, as in the authors' code; the paper
    writes alpha = log standard deviation = -p / 2. Neither is bounded: the authors cap the scale
    when they sample, this class does not.

    Args: see `MaskedNetwork`.
    """

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int],
        activation: str,
        degrees: str,
        mask: str,
        reverse: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__(features, context)
        self.network = MaskedNetwork(
            features,
            outputs=2,
            hidden=hidden,
            activation=activation,
            degrees=degrees,
            mask=mask,
            reverse=reverse,
            context=context,
        )

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, log_precision = self.network(x, context).unbind(dim=1)
        half = 0.5 * log_precision
        return half.exp() * (x - mean), half.sum(dim=1)

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """One full pass of the network for each feature."""
        x = torch.zeros_like(u)
        for feature in self.network.degrees[0].argsort().tolist():
            mean, log_precision = self.network(x, context).unbind(dim=1)
            x = x.clone()
            x[:, feature] = (
                mean[:, feature] + u[:, feature] * (-0.5 * log_precision[:, feature]).exp()
            )
        return x, -0.5 * self.network(x, context)[:, 1].sum(dim=1)
