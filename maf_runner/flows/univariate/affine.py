"""Affine maps: unbounded as in the paper, with a bounded scale, and without one."""

from collections.abc import Callable

import torch
from torch import Tensor

from maf_runner.flows.univariate.base import Univariate


class Affine(Univariate):
    """u = exp(p / 2) (x - m), with mean m and log precision p, as in the authors' code.

    The paper writes alpha = log standard deviation = -p / 2. Neither parameter is bounded: the
    authors cap the scale when they sample, this class does not.
    """

    parameters = 2

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx, each of the shape of ``x``."""
        mean, log_precision = parameters.unbind(dim)
        return to_noise(x, mean, 0.5 * log_precision)

    def inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Data ``x`` and log dx/du, each of the shape of ``u``."""
        mean, log_precision = parameters.unbind(dim)
        return to_data(u, mean, -0.5 * log_precision)

    def log_slope(self, x: Tensor, parameters: Tensor, dim: int) -> Tensor:
        """Half of p, whatever ``x`` is."""
        return 0.5 * parameters.select(dim, 1)

    def inverter(self, u: Tensor, parameters: Tensor, x: Tensor) -> Callable[[int], object]:
        """As for any map, in two operations for each variable."""
        mean, log_precision = parameters.unbind()
        mean_of, precision_of = mean.unbind(), log_precision.unbind()
        noise_of, value_of = u.unbind(), x.unbind()
        minus_half = u.new_tensor(-0.5)  # a tensor, since a number is converted at every use

        def write(i: int) -> None:
            scale = (precision_of[i] * minus_half).exp_()
            torch.addcmul(mean_of[i], noise_of[i], scale, out=value_of[i])

        return write


class BoundedAffine(Affine):
    """As `Affine`, with a log slope p / 2 that is softly clipped to (-3, 3).

    No layer stretches by more than e^3 = 20. A row far from all training rows thus keeps a
    moderate log density, where the unbounded map can make it as low as -1e9.
    """

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx, each of the shape of ``x``."""
        mean, log_precision = parameters.unbind(dim)
        return to_noise(x, mean, soft_clip(0.5 * log_precision))

    def inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Data ``x`` and log dx/du, each of the shape of ``u``."""
        mean, log_precision = parameters.unbind(dim)
        return to_data(u, mean, -soft_clip(0.5 * log_precision))

    def log_slope(self, x: Tensor, parameters: Tensor, dim: int) -> Tensor:
        """Half of p, clipped, whatever ``x`` is."""
        return soft_clip(0.5 * parameters.select(dim, 1))

    def inverter(self, u: Tensor, parameters: Tensor, x: Tensor) -> Callable[[int], object]:
        """As for any map."""
        return Univariate.inverter(self, u, parameters, x)


class Additive(Univariate):
    """u = x - m: the map of NICE (Dinh et al. 2015), which keeps volumes."""

    parameters = 1

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx = 0, each of the shape of ``x``."""
        return x - parameters.select(dim, 0), torch.zeros_like(x)

    def inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Data ``x`` and log dx/du = 0, each of the shape of ``u``."""
        return u + parameters.select(dim, 0), torch.zeros_like(u)


def soft_clip(log_slope: Tensor, bound: float = 3.0) -> Tensor:
    """Map all numbers smoothly into (-bound, bound), small ones almost to themselves."""
    return log_slope / (1 + log_slope.abs() / bound)


def to_noise(x: Tensor, shift: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift data to noise: u = exp(log_slope) (x - shift), and log du/dx."""
    return log_slope.exp() * (x - shift), log_slope


def to_data(u: Tensor, shift: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift noise to data: x = shift + u exp(log_slope), and log dx/du."""
    return shift + u * log_slope.exp(), log_slope
