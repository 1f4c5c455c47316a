"""From a table in its own units to standardised rows and back."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Exact = NDArray[np.float64]


@dataclass(frozen=True)
class TableSpace:
    """How the columns of a table became rows.

    Attributes:
        columns: their names, in the order of the rows.
        mean: of each column, in its units; subtracted.
        deviation: of each column, in its units; divided by.
        label: name of the column with the class; None without one.
        classes: the values there, in the order of their codes 0, 1, ...
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    label: str | None = None
    classes: tuple[str | int | float | bool, ...] = ()

    def __post_init__(self) -> None:
        names = (*self.columns, *(() if self.label is None else (self.label,)))
        scale = (*self.mean, *self.deviation)
        right = all(isinstance(name, str) for name in names)
        right &= len(self.mean) == len(self.deviation) == len(self.columns)
        right &= all(isinstance(value, (int, float)) and math.isfinite(value) for value in scale)
        right &= all(isinstance(value, (str, int, float)) for value in self.classes)
        if not right or min(self.deviation, default=1) <= 0:
            raise ValueError("a table needs a name, a mean and a deviation above 0 of each column")

    def to_model(self, rows: Array) -> Exact:
        """Rows [N, D] in the table's units to standardised ones, in float64."""
        return (np.asarray(rows, dtype=np.float64) - self.mean) / self.deviation

    def to_table(self, rows: Array) -> Exact:
        """Standardised rows [N, D] to the table's units, in float64."""
        return np.asarray(rows, dtype=np.float64) * self.deviation + self.mean

    @property
    def log_det(self) -> float:
        """Log |det| of `to_model` in nats.

        Log densities of standardised rows plus this are those of the rows in the table's units.
        """
        return -float(np.log(self.deviation).sum())
