"""Increasing maps of one variable, whose parameters a network gives for each variable.

A map has P parameters. They lie along axis ``dim`` of one tensor, whose other axes are those of
the values: [B, P, D] with ``dim=1`` for values [B, D], [P, D, B] with ``dim=0`` for values [D, B].
As everywhere, ``forward`` leads from data ``x`` to noise ``u``, and log slopes are natural
logarithms.
"""

from collections.abc import Callable

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
