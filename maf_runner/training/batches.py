"""The order of the training rows."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


class Batches:
    """Draws rows without replacement, from one endless sequence of permutations.

    The e-th permutation is a function of (seed, e), and a batch may span two of them, so every
    batch has the same size, each row is seen once before any is seen twice, and the place in
    the sequence is just the number of the update.

    >>> batches = Batches(rows=5, size=3, seed=0)
    >>> sorted(torch.cat([batches.at(0), batches.at(1)])[:5].tolist())
    [0, 1, 2, 3, 4]

    Args:
        rows: N.
        size: rows in a batch.
        seed: of the run.
        device: where the indices are wanted.
    """

    def __init__(
        self, *, rows: int, size: int, seed: int, device: torch.device | str = "cpu"
    ) -> None:
        self.rows = rows
        self.size = size

        @lru_cache(maxsize=2)
        def permutation(number: int) -> Tensor:
            order = np.random.default_rng([seed, number]).permutation(rows)
            return torch.from_numpy(order).to(device)

        self._permutation = permutation

    def at(self, update: int) -> Tensor:
        """Indices [size] of the batch of update 0, 1, 2, ..."""
        number, start = divmod(update * self.size, self.rows)
        batch = self._permutation(number)[start : start + self.size]
        while len(batch) < self.size:
            number += 1
            batch = torch.cat([batch, self._permutation(number)[: self.size - len(batch)]])
        return batch
