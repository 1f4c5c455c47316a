"""From the context columns of a table to what a conditional model is given, [N, C]."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.spaces.categories import Category, codes_of
from maf_runner.system.errors import DataError, suggestion

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ContextColumn:
    """One column that a model is conditioned on.

    Numbers are standardised; categories become one-hot, a place for each.

    Attributes:
        name: of the column.
        mean: of the training rows, in the column's units; for numbers.
        deviation: standard deviation of the training rows.
        lowest: least value of the training rows.
        highest: largest value of the training rows.
        categories: the values of the training rows in sorted order; empty for numbers.
        flagged: whether a further place says that the value is missing; it is 0 in the others.
    """

    name: str
    mean: float = 0.0
    deviation: float = 1.0
    lowest: float = -math.inf
    highest: float = math.inf
    categories: tuple[Category, ...] = ()
    flagged: bool = False

    def __post_init__(self) -> None:
        right = isinstance(self.name, str) and isinstance(self.flagged, bool)
        scale = self.mean, self.deviation, self.lowest, self.highest
        right &= all(isinstance(value, (int, float)) for value in scale)
        right &= all(isinstance(value, (str, int, float)) for value in self.categories)
        if not right or not (math.isfinite(self.mean) and 0 < self.deviation < math.inf):
            raise ValueError("a context column needs a name, and a mean and a deviation above 0")

    @property
    def width(self) -> int:
        """Places in the context."""
        return (len(self.categories) or 1) + self.flagged

    @property
    def places(self) -> list[str]:
        """What stands in each place, as ``rpm``, ``site=north`` or ``rpm is missing``."""
        own = [f"{self.name}={value}" for value in self.categories] or [self.name]
        return [*own, f"{self.name} is missing"] if self.flagged else own

    def encode(self, values: "pd.Series") -> NDArray[np.float64]:
        """The context [N, width] of ``values``; NaN where one is missing and there is no flag.

        Raises:
            DataError: a category that no training row has, or a text where numbers are expected.
        """
        missing = values.isna().to_numpy(copy=True)
        if self.categories:
            places = np.zeros((len(values), len(self.categories)))
            codes = codes_of(values, self.categories)
            present = np.flatnonzero(~missing)
            places[present, codes[present]] = 1
        else:
            places = (_floats(self.name, values)[:, None] - self.mean) / self.deviation
            missing |= ~np.isfinite(places[:, 0])
        places[missing] = 0.0 if self.flagged else np.nan
        return np.column_stack([places, missing]) if self.flagged else places

    def beyond(self, values: "pd.Series") -> str:
        """In words, how many ``values`` lie outside the range of training; empty if none."""
        if self.categories:
            return ""
        numbers = _floats(self.name, values)
        outside = np.flatnonzero((numbers < self.lowest) | (numbers > self.highest))
        if len(outside) == 0:
            return ""
        more = f" and {len(outside) - 1:,} others" if len(outside) > 1 else ""
        return (
            f"{self.name} = {numbers[outside[0]]:g} in row {values.index[outside[0]]} (from 0)"
            f"{more}; in training it lay between {self.lowest:g} and {self.highest:g}"
        )


@dataclass(frozen=True)
class ContextSpace:
    """The columns that a model is conditioned on, in the order of their places in the context."""

    columns: tuple[ContextColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def width(self) -> int:
        """C, the numbers a model is given for a row."""
        return sum(column.width for column in self.columns)

    def encode(self, table: "pd.DataFrame", source: str) -> NDArray[np.float64]:
        """The context [N, C] of the rows of ``table``, which has all the columns.

        A row with a missing value that has no flag is NaN.

        Raises:
            DataError: a column lacks, or a value cannot be encoded; ``source`` names the table.
        """
        for name in self.names:
            if name not in table.columns:
                near = suggestion(name, list(table.columns))
                raise DataError(
                    f"{source} has no column {name!r}, which this run is conditioned on{near}"
                )
        try:
            return np.hstack([c.encode(table[c.name]) for c in self.columns])
        except DataError as error:
            raise DataError(f"{source}: {error}") from error

    def beyond(self, table: "pd.DataFrame") -> list[str]:
        """What of ``table`` lies outside the range of training, in words."""
        return [text for c in self.columns if (text := c.beyond(table[c.name]))]

    @classmethod
    def from_json(cls, value: Any) -> "ContextSpace":
        """The space that `to_json` described.

        Raises:
            ValueError: ``value`` describes no space.
        """
        try:
            return cls(tuple(_column(fields) for fields in value["columns"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{value!r:.200} does not describe context columns") from error

    def to_json(self) -> dict[str, Any]:
        """The space as a dict for JSON."""
        columns = []
        for column in self.columns:
            fields = asdict(column)
            numeric = ("mean", "deviation", "lowest", "highest")
            unused = numeric if column.categories else ("categories",)
            columns.append({k: v for k, v in fields.items() if k not in unused})
        return {"columns": columns}


def _column(fields: Mapping[str, Any]) -> ContextColumn:
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return ContextColumn(**given)


def _floats(name: str, values: "pd.Series") -> NDArray[np.float64]:
    """Values [N] as numbers, true and false as 1 and 0, missing ones as NaN.

    Raises:
        DataError: a value is no number.
    """
    try:
        if values.dtype.kind in "cmM":
            raise TypeError("complex numbers, dates or times")
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"column {name!r} must hold numbers ({error!s:.100})") from error
