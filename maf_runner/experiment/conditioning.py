"""What a conditional model is given: the class of each row, as one-hot context."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maf_runner.flows.base import Density


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The context [N, classes] of ``labels`` [N]."""
    # Not torch's one_hot: its 64-bit integers take two or three times the memory.
    rows = torch.zeros(len(labels), classes, dtype=dtype, device=labels.device)
    return rows.scatter_(1, labels[:, None], 1)


def context_of(model: Density, labels: NDArray[np.int64] | Tensor | None) -> Tensor | None:
    """The context [N, C] that ``model`` is given for rows of these ``labels`` [N].

    It has the dtype of the model and is where the model is. For an unconditional model, None.

    Raises:
        ValueError: the model is conditional and there are no labels.
    """
    if not model.context:
        return None
    if labels is None:
        raise ValueError("labels are needed for a conditional model")
    return one_hot(torch.as_tensor(labels), model.context, model.reference.dtype).to(
        model.reference
    )


def labels_by_share(n: int, classes: int, prior: Sequence[float] | None) -> Tensor:
    """Labels [n] in ascending order, each class by its share of ``prior``, up to rounding.

    >>> labels_by_share(4, 2, None), labels_by_share(4, 2, [0.25, 0.75])
    (tensor([0, 0, 1, 1]), tensor([0, 1, 1, 1]))
    """
    if prior is None:
        return torch.arange(n) * classes // n
    shares = torch.tensor(prior, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(shares, (torch.arange(n, dtype=torch.float64) + 0.5) / n, right=True)
