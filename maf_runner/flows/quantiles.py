"""Normal quantiles that are precise in both tails."""

import torch
from torch import Tensor


def normal_quantile(below: Tensor, above: Tensor) -> Tensor:
    """The normal quantile of ``below``, taken from the smaller of both shares.

    Args:
        below: the distribution function at some values, float64.
        above: 1 - ``below``, computed on its own, since ``below`` rounds to 1 far out.

    Returns:
        Values from -37 to 37, where the smaller share rounds to 0.
    """
    tail = torch.minimum(below, above).clamp_min(torch.finfo(torch.float64).tiny)
    u = torch.special.ndtri(tail)
    return torch.where(below < above, u, -u)
