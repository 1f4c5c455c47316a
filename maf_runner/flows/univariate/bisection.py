"""The inverse of increasing maps that have no formula for it."""

from collections.abc import Callable

import torch
from torch import Tensor

TOLERANCE = 1e-6  # of the bisection, relative above 1; the steps after it square the error
MOST_DOUBLINGS = 128


def invert(forward: Callable[[Tensor], tuple[Tensor, Tensor]], u: Tensor) -> tuple[Tensor, Tensor]:
    """Find x with f(x) = u by bisection and two steps of Newton, with gradients.

    The error is about that of rounding: the bisection ends when every bracket is shorter than
    1e-6 (1 + |x|), and a step of Newton squares this. Through the second step, x has the
    derivatives of the inverse function, by u and by the parameters of f.

    Args:
        forward: f, increasing and onto; returns f(x) and log f'(x) for ``x`` of the shape of u.
        u: the values.

    Returns:
        x and log dx/du, each of the shape of ``u``.
    """
    with torch.no_grad():
        low, high = _bracket(forward, u)
        while bool((high - low > TOLERANCE * (1 + torch.maximum(low.abs(), high.abs()))).any()):
            middle = 0.5 * (low + high)
            below = forward(middle)[0] < u
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        middle = _newton(forward, u, 0.5 * (low + high))
        middle = torch.minimum(torch.maximum(middle, low), high)
    x = _newton(forward, u, middle)
    x = torch.where((x >= low) & (x <= high), x, middle)  # not where rounding spoils the slope
    return x, -forward(x)[1]


def _newton(forward: Callable[[Tensor], tuple[Tensor, Tensor]], u: Tensor, x: Tensor) -> Tensor:
    there, log_slope = forward(x)
    return x + (u - there) * (-log_slope).exp()


def _bracket(
    forward: Callable[[Tensor], tuple[Tensor, Tensor]], u: Tensor
) -> tuple[Tensor, Tensor]:
    """Ends of brackets around the solutions, found by doubling."""
    low, high = torch.full_like(u, -4.0), torch.full_like(u, 4.0)
    for _ in range(MOST_DOUBLINGS):
        above, below = forward(low)[0] > u, forward(high)[0] < u
        if not bool((above | below).any()):
            break
        low, high = (
            torch.where(above, 2 * low, torch.where(below, high, low)),
            torch.where(below, 2 * high, torch.where(above, low, high)),
        )
    return low, high
