"""Flows whose maps do not depend on other variables: diagonal ones, and with linear layers."""

from typing import Unpack

import torch
from torch import Tensor, nn

from maf_runner.flows import bases, univariate
from maf_runner.flows.base import Density, Flow, Transform
from maf_runner.flows.splineflow import steps
from maf_runner.flows.univariate import Map, Univariate


class ElementwiseMap(Transform):
    """u_d = f(x_d), where the parameters of each map f are learned, or linear in the context.

    Args:
        features: D.
        univariate: the family of maps f.
        context: C; 0 for none.
    """

    def __init__(self, features: int, univariate: Univariate, *, context: int = 0) -> None:
        super().__init__(features, context)
        self.univariate = univariate
        shape = univariate.parameters, features
        self.own = nn.Parameter(0.1 * torch.randn(shape))
        self.by_context = nn.Parameter(0.1 * torch.randn(context, *shape)) if context else None
        with torch.no_grad():
            univariate.initialise(self.own[..., None], self.own)

    def _parameters_of(self, rows: Tensor, context: Tensor | None) -> Tensor:
        own = self.own.expand(len(rows), -1, -1)
        if context is None or self.by_context is None:
            return own
        return own + torch.einsum("bc,cpd->bpd", context, self.by_context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        u, log_slope = self.univariate.forward(x, self._parameters_of(x, context), 1)
        return u, log_slope.sum(dim=1)

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.univariate.inverse(u, self._parameters_of(u, context), 1)
        return x, log_slope.sum(dim=1)


class Elementwise(Flow):
    """A flow without networks: a map for each variable, and linear layers between.

    With ``map: affine`` and ``linear: lu`` it is the full affine flow, a Gaussian; with ``linear:
    none`` the diagonal one. Of one variable, with a distribution function as its map, it learns
    any density.

    Args:
        features: D.
        layers: number of steps.
        linear: as of `NSF`.
        base: density of the noise; see `bases.chosen`.
        context: C; 0 for none.
        settings: of the map of one variable; see `univariate.Map`.
    """

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        linear: str,
        base: Density | str = "normal",
        context: int = 0,
        **settings: Unpack[Map],
    ) -> None:
        transforms = steps(
            features,
            layers,
            linear,
            context,
            lambda _: ElementwiseMap(features, univariate.chosen(settings), context=context),
        )
        noise = bases.chosen(base, features, hidden=bases.HIDDEN, context=context)
        super().__init__(transforms, noise, context)
        self.title = f"Elementwise ({layers}), {settings['map'].replace('_', ' ')}"
