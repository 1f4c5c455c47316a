"""Linear layers of a flow: a fixed permutation, and a matrix with an LU decomposition."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maf_runner.flows.base import Transform

LEAST = 1e-3  # of the diagonal of U


class Permutation(Transform):
    """The features in another order, which is drawn once and stays.

    Args:
        features: D.
        context: accepted and ignored.
    """

    order: Tensor

    def __init__(self, features: int, *, context: int = 0) -> None:
        super().__init__(features, context)
        self.register_buffer("order", torch.randperm(features))

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.order), x.new_zeros(len(x))

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return u.index_select(1, self.order.argsort()), u.new_zeros(len(u))


class LULinear(Transform):
    """u = L U x + b (Durkan et al. 2019; Oliva et al. 2018), at first the identity.

    One matrix holds L below its diagonal (L has ones on it), and U above. The diagonal of U is
    softplus of the matrix's, plus 1e-3.

    Args:
        features: D.
        context: accepted and ignored.
    """

    eye: Tensor

    def __init__(self, features: int, *, context: int = 0) -> None:
        super().__init__(features, context)
        start = math.log(math.exp(1 - LEAST) - 1)  # softplus of it is 1 - LEAST
        self.register_buffer("eye", torch.eye(features), persistent=False)
        self.weight = nn.Parameter(self.eye * start)
        self.bias = nn.Parameter(torch.zeros(features))

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """L [D, D], U [D, D], and the log determinant."""
        diagonal = F.softplus((self.weight * self.eye).sum(dim=0)) + LEAST
        lower = self.weight.tril(-1) + self.eye
        upper = self.weight.triu(1) + self.eye * diagonal
        return lower, upper, diagonal.log().sum()

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        lower, upper, log_det = self._factors()
        return F.linear(F.linear(x, upper), lower, self.bias), log_det.expand(len(x))

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        lower, upper, log_det = self._factors()
        solve = torch.linalg.solve_triangular
        x = solve(lower, (u - self.bias).mT, upper=False, unitriangular=True)
        return solve(upper, x, upper=True).mT, -log_det.expand(len(u))
