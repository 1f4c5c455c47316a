"""Rows of a user's table on their way to a split, with their places in the file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a table, in the table's units.

    Attributes:
        file: where they were read.
        table: name of their table in the file: ``all``, or a split.
        x: values [N, D].
        numbers: of the rows in their table, from 0: [N].
        labels: classes [N]; None without.
        weights: [N]; None if all rows count alike.
        splits: index of the split of each row in `SPLITS` [N], NaN where it is missing; None if
            no column says it.
        context: the columns that are conditioned on; None without. The index numbers the rows of
            the file.
    """

    file: Path
    table: str
    x: NDArray[np.float64]
    numbers: NDArray[np.int64]
    labels: pd.Series | None = None
    weights: NDArray[np.float64] | None = None
    splits: NDArray[np.float64] | None = None
    context: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def of_split(self) -> str:
        """For messages: which table of the file the rows are in."""
        return "" if self.table == "all" else f" of the split {self.table}"

    def take(self, places: NDArray[np.int64]) -> "Part":
        """The rows at ``places``."""
        return Part(
            self.file,
            self.table,
            self.x[places],
            self.numbers[places],
            None if self.labels is None else self.labels.iloc[places],
            None if self.weights is None else self.weights[places],
            None if self.splits is None else self.splits[places],
            None if self.context is None else self.context.iloc[places],
        )
