"""The noise at the end of a flow: simple densities of independent variables, by name."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from maf_runner.flows.base import Density, StandardNormal
from maf_runner.flows.checks import one_of
from maf_runner.flows.mixture import MADEMoG

BASES = ("normal", "uniform", "student", "logistic", "beta", "mixture")
HALF = 3.0  # the uniform density goes from -3 to 3, as a spline does
COMPONENTS = 10  # of each mixture
HIDDEN = (32,)  # of a MADE MoG under a flow without networks


def chosen(
    base: Density | str, features: int, *, hidden: Sequence[int], context: int = 0
) -> Density:
    """The base density that the setting ``base`` of a flow names.

    Args:
        base: ``normal``, ``uniform`` (from -3 to 3), ``student`` (with 4 degrees of freedom),
            ``logistic``, ``beta`` (the logit of Beta(5, 5)) or ``mixture`` (a MADE MoG of 10
            components that is trained with the flow), or a density of one's own.
        features: D.
        hidden: widths of the hidden layers of the MADE MoG.
        context: C, which the MADE MoG sees too.

    Raises:
        ValueError: another name.
    """
    if isinstance(base, Density):
        return base
    one_of("base", base, BASES)
    if base == "mixture":
        return MADEMoG(
            features,
            components=COMPONENTS,
            hidden=hidden,
            activation="relu",
            degrees="sequential",
            mask="full_context",
            context=context,
        )
    return {
        "normal": StandardNormal,
        "uniform": Uniform,
        "student": Student,
        "logistic": Logistic,
        "beta": Beta,
    }[base](features)


class _Independent(Density):
    """Every variable has the same density, and there is nothing to learn."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The normal quantile of the distribution function, from the nearer tail."""
        tail = self._lower_tail(-x.double().abs()).clamp_min(torch.finfo(torch.float64).tiny)
        u = torch.special.ndtri(tail)
        return torch.where(x < 0, u, -u).to(x.dtype)

    def _lower_tail(self, x: Tensor) -> Tensor:
        """The distribution function at ``x`` up to 0; all densities here are even."""
        raise NotImplementedError

    def _uniform(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Numbers [n, D] in (0, 1)."""
        tiny = torch.finfo(self.reference.dtype).tiny
        drawn = self.reference.new_empty(n, self.features).uniform_(generator=generator)
        return drawn.clamp_min(tiny)


class Uniform(_Independent):
    """Uniform from -3 to 3; the log density outside is minus infinity.

    It suits flows that map every row to this cube: splines without linear layers, and data within.
    """

    title = "Uniform"

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of ``x`` [B, D]."""
        inside = (x.abs() <= HALF).all(dim=1)
        level = x.new_full((len(x),), -self.features * math.log(2 * HALF))
        return level.masked_fill(~inside, -math.inf)

    def _lower_tail(self, x: Tensor) -> Tensor:
        return (x + HALF) / (2 * HALF)

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return HALF * (2 * self._uniform(n, generator) - 1)


class Logistic(_Independent):
    """The standard logistic density, with tails that fall as exp(-|x|).

    A distribution function that leads to it is followed by the uniform density on (0, 1).
    """

    title = "Logistic"

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of ``x`` [B, D]."""
        log_sigmoid = torch.nn.functional.logsigmoid
        return (log_sigmoid(x) + log_sigmoid(-x)).sum(dim=1)

    def _lower_tail(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        u = self._uniform(n, generator)
        return u.log() - torch.log1p(-u.clamp_max(1 - torch.finfo(u.dtype).eps))


class Beta(_Independent):
    """The logit of Beta(5, 5): a flow to it leads, before the logit, to Beta(5, 5) on (0, 1)."""

    title = "Beta"

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of ``x`` [B, D]."""
        log_sigmoid = torch.nn.functional.logsigmoid
        return (math.log(630) + 5 * (log_sigmoid(x) + log_sigmoid(-x))).sum(dim=1)

    def _lower_tail(self, x: Tensor) -> Tensor:
        # The median of nine uniform numbers has this distribution.
        p, q = x.sigmoid(), (-x).sigmoid()
        terms = [math.comb(9, j) * p**j * q ** (9 - j) for j in range(5, 10)]
        return torch.stack(terms).sum(dim=0)

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        nine = torch.stack([self._uniform(n, generator) for _ in range(9)])
        u = nine.median(dim=0).values
        return u.log() - torch.log1p(-u)


class Student(_Independent):
    """Student's t with 4 degrees of freedom, with tails that fall as |x|^-5."""

    title = "Student"

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of ``x`` [B, D]."""
        return (math.log(3 / 8) - 2.5 * torch.log1p(x.square() / 4)).sum(dim=1)

    def _lower_tail(self, x: Tensor) -> Tensor:
        # (1 + s)^2 (2 - s) / 4 with s = x / sqrt(4 + x^2), without cancellation in 1 + s.
        root = (4 + x.square()).sqrt()
        return (4 / ((root - x) * root)).square() * (2 - x / root) / 4

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        normal = self.reference.new_empty(n, self.features).normal_(generator=generator)
        both = (self._uniform(n, generator).log() + self._uniform(n, generator).log()).neg()
        return normal / (both / 2).sqrt()  # 2 both is chi-squared with 4 degrees of freedom
