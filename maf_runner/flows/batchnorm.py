"""Batch normalisation as a layer of a flow (the paper, section 3.4 and appendix B)."""

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Density, Flow, Transform

EPSILON = 1e-5


class BatchNorm(Transform):
    """u = exp(log_gamma) (x - mean) / sqrt(variance + 1e-5) + beta.

    In training mode mean and (biased) variance are those of the batch, and the gradient goes
    through them. In evaluation they are those of the whole training set, put there by
    `refresh_statistics`: there is no running average. Before that they are 0 and 1.
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
        if self.training:
            variance, mean = torch.var_mean(x, dim=0, correction=0)
        else:
            variance, mean = self.variance, self.mean
        variance = variance + EPSILON
        u = (x - mean) * (self.log_gamma.exp() * variance.rsqrt()) + self.beta
        log_det = (self.log_gamma - 0.5 * variance.log()).sum()
        return u, log_det.expand(len(x))

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        variance = self.variance + EPSILON
        x = (u - self.beta) * ((-self.log_gamma).exp() * variance.sqrt()) + self.mean
        log_det = (0.5 * variance.log() - self.log_gamma).sum()
        return x, log_det.expand(len(u))


@torch.no_grad()
def refresh_statistics(
    flow: Density, x: Tensor, context: Tensor | None = None, *, chunk: int = 2048
) -> None:
    """Give every batch norm of ``flow``, if it has any, the statistics of the rows ``x`` [N, D].

    Layer by layer: the rows are carried through the flow once, a copy of them in memory, and
    each batch norm is set before they pass it, so layer k sees what layer k-1 makes of the
    same rows. Sums are in float64. One pass over the rows, in chunks.
    """
    if not isinstance(flow, Flow):
        return
    norms = [i for i, t in enumerate(flow.chain) if isinstance(t, BatchNorm)]
    if not norms:
        return
    was_training = flow.training
    flow.eval()
    rows = x.clone()
    parts = [slice(start, start + chunk) for start in range(0, len(x), chunk)]
    for i, transform in enumerate(flow.chain[: norms[-1] + 1]):
        if isinstance(transform, BatchNorm):
            mean = torch.stack([rows[p].double().sum(dim=0) for p in parts]).sum(dim=0) / len(rows)
            squares = [(rows[p].double() - mean).square().sum(dim=0) for p in parts]
            variance = torch.stack(squares).sum(dim=0) / len(rows)
            transform.mean.copy_(mean)
            transform.variance.copy_(variance)
        if i < norms[-1]:
            for part in parts:
                given = None if context is None else context[part]
                rows[part] = transform._forward(rows[part], given)[0]
    flow.train(was_training)
