"""What a conditional model is given: the class of each row, one-hot, or columns of its table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maf_runner.datasets.base import Rows, Splits
from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.flows.base import Density


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The context [N, classes] of ``labels`` [N]."""
    # Not torch's one_hot: its 64-bit integers take two or three times the memory.
    rows = torch.zeros(len(labels), classes, dtype=dtype, device=labels.device)
    return rows.scatter_(1, labels[:, None], 1)


@dataclass(frozen=True)
class Conditioning:
    """What a model is given for each row: nothing, its class, or columns of the table.

    Given a class, a model has a density of rows without it too: the sum over the classes, by
    their prior. Given columns it has none.

    Attributes:
        classes: how many; 0 if the model is not given the class.
        prior: the probability of each class; None for equal ones.
        columns: that the model is given; None without.
    """

    classes: int = 0
    prior: tuple[float, ...] | None = None
    columns: ContextSpace | None = None

    @classmethod
    def of(cls, splits: Splits, *, conditional: bool) -> Self:
        """That of a model of these data."""
        if not conditional:
            return cls()
        if splits.context is not None:
            return cls(columns=splits.context)
        return cls(splits.classes, splits.prior)

    @property
    def width(self) -> int:
        """C, the numbers that the model is given for a row; 0: it is not conditional."""
        return self.columns.width if self.columns else self.classes

    def context_of(self, rows: Rows, model: Density) -> Tensor | None:
        """The context [N, C] of ``rows``, in the dtype and in the place of ``model``."""
        if self.columns is None:
            return context_of(model, rows.labels)
        return torch.from_numpy(rows.context).to(model.reference)


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
