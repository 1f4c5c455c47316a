"""From a table in its own units to standardised rows, and back."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.spaces.bounds import Bound, Exact, bounded, free_of_bounds, log_slope
from maf_runner.datasets.spaces.categories import Category, codes_of
from maf_runner.datasets.spaces.lattice import Lattice

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.floating]
LogProb = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class TableSpace:
    """How the columns of a table became rows.

    Attributes:
        columns: names, in the order of the features.
        mean: of each column, in its units; of a bounded one, of what `bounds.unbounded` makes.
        deviation: standard deviation of each column, likewise.
        label: name of the column with the class labels; None without labels.
        classes: the values of the labels, in the order of their codes 0, 1, ...
        steps: of each column that was dequantised, the step between its values; 0 for the others.
            Empty if there is none.
        origins: of each such column, one of its values.
        bounds: of each column; (None, None) for one without. Empty if there is none.
        categories: of each column of categories, their values in the order of their codes, which
            are modelled as dequantised whole numbers; empty for other columns. Empty if there is
            no such column.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    label: str | None = None
    classes: tuple[str | int | float | bool, ...] = ()
    steps: tuple[float, ...] = ()
    origins: tuple[float, ...] = ()
    bounds: tuple[Bound, ...] = ()
    categories: tuple[tuple[Category, ...], ...] = ()

    def __post_init__(self) -> None:
        names = (*self.columns, *(() if self.label is None else (self.label,)))
        scale = (*self.mean, *self.deviation, *self.steps, *self.origins)
        right = all(isinstance(name, str) for name in names)
        right &= len(self.mean) == len(self.deviation) == len(self.columns)
        right &= all(isinstance(value, (int, float)) and math.isfinite(value) for value in scale)
        right &= len(self.steps) == len(self.origins) and len(self.steps) in (0, len(self.columns))
        ends = [end for bound in self.bounds for end in bound if end is not None]
        right &= all(isinstance(end, (int, float)) and math.isfinite(end) for end in ends)
        right &= all(len(bound) == 2 for bound in self.bounds)
        right &= all(len(own) in (0, len(self.columns)) for own in (self.bounds, self.categories))
        values = [*self.classes, *(value for own in self.categories for value in own)]
        right &= all(isinstance(value, (str, int, float)) for value in values)
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
                k: _tuples(v) if isinstance(v, list) else v for k, v in value.items()
            }
            return cls(**fields)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"{value!r:.200} does not describe a table") from error

    def to_json(self) -> dict[str, Any]:
        """The space as a dict for JSON."""
        fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        later = ("steps", "origins", "bounds", "categories")
        return {k: v for k, v in fields.items() if v or k not in later}

    def to_model(self, rows: Array) -> Exact:
        """Map rows [N, D] from the table's units to standardised units, in float64.

        Values outside their bounds become NaN or infinite.
        """
        free = free_of_bounds(np.asarray(rows, dtype=np.float64), self.bounds)
        return (free - self.mean) / self.deviation

    def to_table(self, rows: Array) -> Exact:
        """Map standardised rows [N, D] to the table's units, in float64."""
        x: Exact = np.asarray(rows, dtype=np.float64) * self.deviation + self.mean
        for i, bound in enumerate(self.bounds):
            x[:, i] = bounded(x[:, i], bound)
        return x

    def numbers_of(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """The columns of the space, categories as the middles of the steps of their codes.

        A missing category is NaN. ``table`` has all the columns.

        Raises:
            DataError: a category that no training row has.
        """
        chosen = table[list(self.columns)].copy(deep=False)
        for column, known in zip(self.columns, self.categories, strict=False):
            if known:
                codes = codes_of(chosen[column], known)
                chosen[column] = np.where(codes < 0, np.nan, codes + 0.5)
        return chosen

    def values_of(self, rows: Array) -> dict[str, NDArray[Any]]:
        """The columns of standardised ``rows`` [N, D] as a user knows them.

        In the table's units; dequantised columns on their steps, categories as their values.
        """
        whole = self.without_noise(self.to_table(rows))
        found: dict[str, NDArray[Any]] = dict(zip(self.columns, whole.T, strict=True))
        for column, known in zip(self.columns, self.categories, strict=False):
            if known:
                codes = np.nan_to_num(found[column]).clip(0, len(known) - 1).astype(np.int64)
                found[column] = np.array(known, dtype=object)[codes]
        return found

    def without_noise(self, rows: Array) -> Exact:
        """Rows [N, D] in the table's units, dequantised columns back on their steps (floor).

        Their values are those that the table has, to the last digit; see `lattice`.
        """
        whole: Exact = np.array(rows, dtype=np.float64)
        for i, (step, origin) in enumerate(zip(self.steps, self.origins, strict=True)):
            if step > 0:
                k = np.floor((whole[:, i] - origin) / step)
                whole[:, i] = Lattice.of(step, origin).values(k)
        return whole

    def in_the_middle(self, rows: Array) -> Exact:
        """Rows [N, D] in the table's units, dequantised columns in the middle of their steps.

        The table has the beginning of each step, where the density of what was filled with noise
        ends; a column of counts with a bound at 0 has none there.
        """
        middle: Exact = np.array(rows, dtype=np.float64)
        for i, (step, origin) in enumerate(zip(self.steps, self.origins, strict=True)):
            if step > 0:
                lattice = Lattice.of(step, origin)
                middle[:, i] = lattice.values(lattice.steps_of(middle[:, i])) + step / 2
        return middle

    @property
    def whole_numbers(self) -> frozenset[str]:
        """The dequantised columns whose values are whole numbers; none of categories."""
        found = zip(self.columns, self.steps, self.origins, strict=False)
        own = zip(self.columns, self.categories, strict=False)
        named = {name for name, known in own if known}
        return frozenset(
            name
            for name, step, origin in found
            if step > 0 and name not in named and Lattice.of(step, origin).is_whole
        )

    def in_units(self, log_prob: LogProb) -> LogProb:
        """A log density in nats of rows [N, D] in the table's units, from that of a model's rows.

        It is -inf outside of bounds.
        """

        def own(rows: NDArray[Any]) -> NDArray[Any]:
            with np.errstate(all="ignore"):  # outside of bounds
                nats = log_prob(self.to_model(rows))
                return np.where(np.isfinite(nats), nats + self.log_det(rows), -np.inf)

        return own

    def log_det(self, rows: Array) -> Exact:
        """Log |det| of `to_model` in nats at rows [N, D] in the table's units: [N].

        The log density of a row in the table's units is that of its standardised row plus this.
        """
        x = np.asarray(rows, dtype=np.float64)
        log_det: Exact = np.full(len(x), -np.log(self.deviation).sum())
        for i, bound in enumerate(self.bounds):
            log_det += log_slope(x[:, i], bound)
        return log_det


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
