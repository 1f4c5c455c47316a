"""Increasing maps of one variable, whose parameters a network gives for each variable.

A map has P parameters. They lie along axis ``dim`` of one tensor, whose other axes are those of
the values: [B, P, D] with ``dim=1`` for values [B, D], [P, D, B] with ``dim=0`` for values [D, B].
As everywhere, ``forward`` leads from data ``x`` to noise ``u``, and log slopes are natural
logarithms.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class Univariate:
    """A family of increasing maps. A subclass holds ``parameters``, `forward` and `inverse`."""

    parameters: int  # P

    def initialise(self, weight: Tensor, bias: Tensor) -> None:
        """Change the output layer's ``weight`` [P, D, H] and ``bias`` [P, D] in place.

        By default they stay as the network has drawn them.
        """

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx, each of the shape of ``x``."""
        raise NotImplementedError

    def inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Data ``x`` and log dx/du, each of the shape of ``u``."""
        raise NotImplementedError

    def log_slope(self, x: Tensor, parameters: Tensor, dim: int) -> Tensor:
        """Log du/dx of the shape of ``x``; quicker than `forward` for some maps."""
        return self.forward(x, parameters, dim)[1]

    def inverter(self, u: Tensor, parameters: Tensor, x: Tensor) -> Callable[[int], object]:
        """A function that writes the values of the i-th variable into ``x[i]``, without gradient.

        Sampling calls it once for each variable, so a map may prepare here what all of them need.

        Args:
            u: noise [d, B].
            parameters: [P, d, B]; those of variable i are complete when it is called with i.
            x: the place for the values [d, B].
        """

        def write(i: int) -> None:
            x[i] = self.inverse(u[i], parameters[:, i], 0)[0]

        return write


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


def to_noise(x: Tensor, shift: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift data to noise: u = exp(log_slope) (x - shift), and log du/dx."""
    return log_slope.exp() * (x - shift), log_slope


def to_data(u: Tensor, shift: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift noise to data: x = shift + u exp(log_slope), and log dx/du."""
    return shift + u * log_slope.exp(), log_slope
