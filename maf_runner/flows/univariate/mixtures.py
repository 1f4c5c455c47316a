"""Maps made of distribution functions: mixtures of logistics or Gaussians, and deep sigmoids.

Each is the distribution function of a mixture, followed by the quantile function of a standard
logistic or normal distribution, so that it leads from all numbers to all numbers. Both tails are
computed by their logarithms. There is no formula for the inverse; see `bisection`.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from maf_runner.flows.checks import positive
from maf_runner.flows.univariate.base import Univariate
from maf_runner.flows.univariate.bisection import invert

MOST = 1000
LEAST_SLOPE = 1e-3  # of a unit of `DeepSigmoidal`


class _Mixture(Univariate):
    """What all have in common: components, and the inverse by bisection.

    Args:
        components: K.
    """

    def __init__(self, components: int) -> None:
        self.components = positive("bins", components, MOST)

    def inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Data ``x`` and log dx/du, each of the shape of ``u``."""
        return invert(lambda x: self.forward(x, parameters, dim), u)

    def _split(self, parameters: Tensor, dim: int) -> tuple[Tensor, ...]:
        """The three parameters of each component, then the others."""
        sizes = [self.components] * 3
        return parameters.split([*sizes, *[1] * (self.parameters - sum(sizes))], dim)


class LogisticMixture(_Mixture):
    """u = logit(sum_k w_k sigmoid((x - m_k) exp(-s_k))) exp(a) + b (Ho et al. 2019, Flow++).

    The 3 K + 2 parameters are K logits of the weights, K means m, K log scales s, then a and b.
    """

    def __init__(self, components: int) -> None:
        super().__init__(components)
        self.parameters = 3 * components + 2

    def initialise(self, weight: Tensor, bias: Tensor) -> None:
        """Spread the means from -2 to 2: equal components would stay equal."""
        _spread(bias[self.components : 2 * self.components])

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx, each of the shape of ``x``."""
        logit, mean, log_scale, a, b = self._split(parameters, dim)
        a, b = a.squeeze(dim), b.squeeze(dim)
        z = (x.unsqueeze(dim) - mean) * (-log_scale).exp()
        u, log_slope = _logit_of_mixture(logit.log_softmax(dim), z, -log_scale, dim)
        return u * a.exp() + b, log_slope + a


class DeepSigmoidal(_Mixture):
    """u = logit(sum_k w_k sigmoid(a_k x + b_k)) (Huang et al. 2018, NAF with one layer).

    The 3 K parameters are K logits of the weights, K slopes a before softplus, and K shifts b.
    """

    def __init__(self, components: int) -> None:
        super().__init__(components)
        self.parameters = 3 * components

    def initialise(self, weight: Tensor, bias: Tensor) -> None:
        """Spread the shifts from -2 to 2: equal units would stay equal."""
        _spread(bias[2 * self.components :])

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx, each of the shape of ``x``."""
        logit, slope, shift = self._split(parameters, dim)
        a = F.softplus(slope) + LEAST_SLOPE
        z = a * x.unsqueeze(dim) + shift
        return _logit_of_mixture(logit.log_softmax(dim), z, a.log(), dim)


class GaussianMixture(_Mixture):
    """u is the normal quantile of sum_k w_k Phi((x - m_k) exp(-s_k)): a MADE MoG as a layer.

    The 3 K parameters are K logits of the weights, K means m and K log scales s.
    """

    def __init__(self, components: int) -> None:
        super().__init__(components)
        self.parameters = 3 * components

    def initialise(self, weight: Tensor, bias: Tensor) -> None:
        """Spread the means from -2 to 2: equal components would stay equal."""
        _spread(bias[self.components : 2 * self.components])

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx, each of the shape of ``x``."""
        logit, mean, log_scale = self._split(parameters, dim)
        log_weight = logit.log_softmax(dim)
        z = (x.unsqueeze(dim) - mean) * (-log_scale).exp()
        below = torch.logsumexp(log_weight + log_ndtr(z), dim)
        above = torch.logsumexp(log_weight + log_ndtr(-z), dim)
        u = log_normal_quantile(torch.minimum(below, above))
        u = torch.where(below <= above, u, -u)
        log_density = torch.logsumexp(log_weight - 0.5 * z.square() - log_scale, dim)
        return u, log_density + 0.5 * u.square()


def log_ndtr(x: Tensor) -> Tensor:
    """Log of the normal distribution function, of operations that torch can compile and batch."""
    scaled = x * math.sqrt(0.5)
    low = x < -1
    left = torch.where(low, scaled, -1.0)
    tail = (0.5 * torch.special.erfcx(-left)).log() - left.square()
    return torch.where(low, tail, torch.log1p(-0.5 * torch.where(low, 1.0, scaled).erfc()))


def log_normal_quantile(log_p: Tensor) -> Tensor:
    """The u at which log Phi(u) is ``log_p``, at most log(1/2), with its derivative.

    From a first guess by steps of Newton, the last one with a gradient.
    """
    with torch.no_grad():
        smallest = math.log(torch.finfo(log_p.dtype).tiny)
        guess = torch.special.ndtri(log_p.clamp_min(smallest).exp())
        square = (-2 * log_p - math.log(2 * math.pi)).clamp_min(1)
        far = -(square - square.log()).clamp_min(0).sqrt()
        u = torch.where(log_p > smallest, guess, far)
        for _ in range(3):
            u = _newton(u, log_p)
    return _newton(u, log_p)


def _newton(u: Tensor, log_p: Tensor) -> Tensor:
    slope = math.sqrt(2 / math.pi) / torch.special.erfcx(u * -math.sqrt(0.5))  # of log Phi
    return u - (log_ndtr(u) - log_p) / slope


def _logit_of_mixture(
    log_weight: Tensor, z: Tensor, log_dz: Tensor, dim: int
) -> tuple[Tensor, Tensor]:
    """Logit of the weighted sum of sigmoids of z, and its log derivative.

    Args:
        log_weight: of the components, along ``dim``.
        z: what each sigmoid is taken of.
        log_dz: log dz/dx.
        dim: the axis, which the results do not have.
    """
    low, high = F.logsigmoid(z), F.logsigmoid(-z)
    below = torch.logsumexp(log_weight + low, dim)
    above = torch.logsumexp(log_weight + high, dim)
    log_density = torch.logsumexp(log_weight + low + high + log_dz, dim)
    return below - above, log_density - below - above


def _spread(bias: Tensor) -> None:
    """Set a bias [K, D] to K numbers from -2 to 2, the same for every variable."""
    bias.copy_(torch.linspace(-2, 2, len(bias)).to(bias)[:, None].expand_as(bias))
