"""The paper's baseline: a Gaussian with full covariance, by maximum likelihood."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from maf_runner.flows.base import Density


class Gaussian(Density):
    """N(mean, covariance) fitted in closed form; given a class, one Gaussian for each.

    Works in float64 inside, and answers in the dtype of ``x``.

    Args:
        features: D.
        context: number of classes C; the context is then the one-hot class [B, C].
    """

    title = "Gaussian"
    closed_form = True
    any_dtype = True
    mean: Tensor
    cholesky: Tensor

    def __init__(self, features: int, *, context: int = 0) -> None:
        super().__init__(features, context)
        groups = max(1, context)
        self.register_buffer("mean", torch.zeros(groups, features, dtype=torch.float64))
        eye = torch.eye(features, dtype=torch.float64)
        self.register_buffer("cholesky", eye.repeat(groups, 1, 1))

    def fit(self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None) -> None:
        """Maximum likelihood from rows ``x`` [N, D], dividing by N.

        With ``weights`` [N], of the weighted likelihood, dividing by their sum.

        Raises:
            ValueError: a class without rows, or a covariance that is not positive definite.
        """
        self.check("x", x, context)
        if context is not None and (context.sum(dim=0) == 0).any():
            empty = int((context.sum(dim=0) == 0).nonzero()[0])
            raise ValueError(f"class {empty} has no rows, so it has no Gaussian")
        for group, where in self._groups(x, context):
            rows = x[where].to(self.mean.dtype)
            if weights is None:
                mean = rows.mean(dim=0)
                centred = rows - mean
                covariance = centred.mT @ centred / len(rows)
            else:
                own = weights[where].to(rows)
                share = (own / own.sum())[:, None]
                mean = (share * rows).sum(dim=0)
                centred = rows - mean
                covariance = centred.mT @ (share * centred)
            cholesky, info = torch.linalg.cholesky_ex(covariance)
            if int(info) != 0 or not torch.isfinite(cholesky).all():
                of_class = f" of class {group}" if self.context else ""
                raise ValueError(
                    f"the covariance of the {len(rows)} rows{of_class} is not positive definite: "
                    f"a full-covariance Gaussian over {self.features} features needs more rows "
                    "than features, and no column that is constant or a combination of others"
                )
            self.mean[group] = mean
            self.cholesky[group] = cholesky

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of rows ``x`` [B, D]."""
        result = x.new_empty(len(x))
        for group, where in self._groups(x, context):
            u = self._whitened(x[where], group)
            log_det = -self.cholesky[group].diagonal().log().sum()
            squares = u.square().sum(dim=1) + self.features * math.log(2 * math.pi)
            result[where] = (log_det - 0.5 * squares).to(x.dtype)
        return result

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The rows, centred and whitened."""
        u = torch.empty_like(x)
        for group, where in self._groups(x, context):
            u[where] = self._whitened(x[where], group).to(x.dtype)
        return u

    def _whitened(self, rows: Tensor, group: int) -> Tensor:
        cholesky = self.cholesky[group]
        centred = rows.to(cholesky.dtype) - self.mean[group]
        return torch.linalg.solve_triangular(cholesky, centred.mT, upper=False).mT

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        u = self.mean.new_empty(n, self.features).normal_(generator=generator)
        x = torch.empty_like(u)
        for group, where in self._groups(u, context):
            x[where] = self.mean[group] + u[where] @ self.cholesky[group].mT
        return x

    def _groups(self, x: Tensor, context: Tensor | None) -> Iterator[tuple[int, Tensor | slice]]:
        """Each class that has rows, and where they are."""
        if context is None:
            yield 0, slice(None)
            return
        if same := context.stride(0) == 0:  # expanded: the same class in every row
            context = context[:1]
        if not ((context == 0) | (context == 1)).all() or not (context.sum(dim=1) == 1).all():
            raise ValueError(
                "context must be one-hot: a Gaussian has one component for each class"
            )
        labels = context.argmax(dim=1)
        for group in labels.unique().tolist():
            yield group, slice(None) if same else labels == group

    def parameter_count(self) -> int:
        """D means and D (D + 1) / 2 covariances, for each class."""
        return len(self.mean) * (self.features + self.features * (self.features + 1) // 2)
