"""From a table in its own units to standardised rows, and back."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Exact = NDArray[np.float64]


@dataclass(frozen=True)
class TableSpace:
    """How the columns of a table became rows.

    Attributes:
        columns: names, in the order of the features.
        mean: of each column, in its units.
        deviation: standard deviation of each column, in its units.
        label: name of the column with the class labels; None without labels.
        classes: the values of the labels, in the order of their codes 0, 1, ...
        steps: of each column that was dequantised, the step between its values; 0 for the others.
            Empty if there is none.
        origins: of each such column, one of its values.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    label: str | None = None
    classes: tuple[str | int | float | bool, ...] = ()
    steps: tuple[float, ...] = ()
    origins: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names = (*self.columns, *(() if self.label is None else (self.label,)))
        scale = (*self.mean, *self.deviation, *self.steps, *self.origins)
        right = all(isinstance(name, str) for name in names)
        right &= len(self.mean) == len(self.deviation) == len(self.columns)
        right &= all(isinstance(value, (int, float)) and math.isfinite(value) for value in scale)
        right &= len(self.steps) == len(self.origins) and len(self.steps) in (0, len(self.columns))
        right &= all(isinstance(value, (str, int, float)) for value in self.classes)
        if not right or min(self.deviation, default=1) <= 0:
            raise ValueError("a table needs a name, a mean and a deviation above 0 of each column")

    @classmethod
    def from_json(cls, value: Any) -> "TableSpace":
        """The space that `to_json` described.

        Raises:
            ValueError: ``value`` describes no space.
        """
        try:
            fields: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
            }
            return cls(**fields)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"{value!r:.200} does not describe a table") from error

    def to_json(self) -> dict[str, Any]:
        """The space as a dict for JSON."""
        fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in fields.items() if v or k not in ("steps", "origins")}

    def to_model(self, rows: Array) -> Exact:
        """Map rows [N, D] from the table's units to standardised units, in float64."""
        return (np.asarray(rows, dtype=np.float64) - self.mean) / self.deviation

    def to_table(self, rows: Array) -> Exact:
        """Map standardised rows [N, D] to the table's units, in float64."""
        return np.asarray(rows, dtype=np.float64) * self.deviation + self.mean

    def without_noise(self, rows: Array) -> Exact:
        """Rows [N, D] in the table's units, dequantised columns back on their steps (floor)."""
        whole: Exact = np.array(rows, dtype=np.float64)
        for i, (step, origin) in enumerate(zip(self.steps, self.origins, strict=True)):
            if step > 0:
                whole[:, i] = np.floor((whole[:, i] - origin) / step) * step + origin
        return whole

    @property
    def log_det(self) -> float:
        """Log |det| of `to_model` in nats.

        The log density of a row in the table's units is that of its standardised row plus this.
        """
        return -float(np.log(self.deviation).sum())
