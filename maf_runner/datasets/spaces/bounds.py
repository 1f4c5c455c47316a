"""Maps of a bounded interval, or of one with a single end, to all numbers, and back."""

import numpy as np
from numpy.typing import NDArray

Exact = NDArray[np.float64]
Bound = tuple[float | None, float | None]  # the lower and the upper end; None: there is none


def unbounded(x: Exact, bound: Bound) -> Exact:
    """Log (x - a) / (b - x) of values [N] between a and b; log x - a, or -log b - x, of one end.

    Not finite at the ends and outside.
    """
    low, high = bound
    with np.errstate(all="ignore"):
        z = np.zeros_like(x) if low is not None or high is not None else x
        if low is not None:
            z = z + np.log(x - low)
        if high is not None:
            z = z - np.log(high - x)
    return z


def bounded(z: Exact, bound: Bound) -> Exact:
    """The inverse of `unbounded`."""
    low, high = bound
    with np.errstate(over="ignore"):
        if low is not None and high is not None:
            small = np.exp(-np.abs(z))  # of both forms, the one that does not overflow
            return np.where(z < 0, low + (high - low) * small / (1 + small),
                            high - (high - low) * small / (1 + small))  # fmt: skip
        if low is not None:
            return low + np.exp(z)
        return high - np.exp(-z) if high is not None else z


def log_slope(x: Exact, bound: Bound) -> Exact:
    """The logarithm of the derivative of `unbounded` at ``x`` [N]."""
    low, high = bound
    with np.errstate(all="ignore"):
        slope = np.zeros_like(x)
        if low is not None:
            slope = slope - np.log(x - low)
        if high is not None:
            slope = slope - np.log(high - x)
        if low is not None and high is not None:
            slope = slope + np.log(high - low)
    return slope


def free_of_bounds(x: Exact, bounds: tuple[Bound, ...]) -> Exact:
    """Values [N, D] with the bounded columns mapped to all numbers."""
    free = np.array(x)
    for i, bound in enumerate(bounds):
        free[:, i] = unbounded(free[:, i], bound)
    return free
