"""Batch normalisation as a layer of a flow (the paper, section 3.4 and appendix B)."""

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Transform

EPSILON = 1e-5


class BatchNorm(Transform):
    """u = exp(log_gamma) (x - mean) / sqrt(variance + 1e-5) + beta.

    In training mode mean and (biased) variance are those of the batch, and the gradient goes
    through them. In evaluation they are those of the whole training set, put there by
    `engine.rows.refresh_statistics`: there is no running average. Before that they are 0 and 1.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, *, context: int = 0) -> None:
        super().__init__(features, context)
        self.log_gamma = nn.Parameter(torch.zeros(features))
        self.beta = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        centred = x - (x.mean(dim=0) if self.training else self.mean)
        variance = centred.square().mean(dim=0) if self.training else self.variance
        variance = variance + EPSILON
        u = centred * (self.log_gamma.exp() * variance.rsqrt()) + self.beta
        log_det = (self.log_gamma - 0.5 * variance.log()).sum()
        return u, log_det.expand(len(x))

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        variance = self.variance + EPSILON
        x = (u - self.beta) * ((-self.log_gamma).exp() * variance.sqrt()) + self.mean
        log_det = (0.5 * variance.log() - self.log_gamma).sum()
        return x, log_det.expand(len(u))
