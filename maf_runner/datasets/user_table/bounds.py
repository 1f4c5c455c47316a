"""Columns of a user's table whose values have a lower or an upper end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maf_runner.datasets.spaces.bounds import Bound, unbounded
from maf_runner.datasets.spaces.lattice import Lattice
from maf_runner.datasets.user_table.part import Part
from maf_runner.system.errors import DataError, suggestion

WIDER = (
    "Give wider ends, leave these rows out, or, for values that were rounded to an end, add noise "
    "to the column (dataset.dequantise)"
)


def bounds_of(
    parts: Mapping[str, Part],
    columns: list[str],
    bounded: Mapping[Any, Any],
    steps: Sequence[float],
    origins: Sequence[float],
) -> tuple[Bound, ...]:
    """The ends of each column; empty if there are none.

    ``steps`` and ``origins`` are those of the noise in the columns; empty without noise.

    Raises:
        ValueError: a name that is not among ``columns``.
        DataError: a value at an end or outside, where the density has no finite logarithm.
    """
    given = {str(name): tuple(ends) for name, ends in bounded.items()}
    for name in given:
        if name not in columns:
            raise ValueError(f"bounded names {name!r}{suggestion(name, columns)}")
    for name, bound in given.items():
        place = columns.index(name)
        for part in parts.values():
            outside = np.flatnonzero(~np.isfinite(unbounded(part.x[:, place], bound)))
            if len(outside) == 0:
                continue
            low, high = ("-inf" if bound[0] is None else f"{bound[0]:g}",
                         "inf" if bound[1] is None else f"{bound[1]:g}")  # fmt: skip
            row = outside[0]
            value = part.x[row, place]
            way_out = WIDER
            if steps and steps[place] > 0:
                largest = max(each.x[:, place].max() for each in parts.values())
                lattice = Lattice.of(steps[place], origins[place])
                value, top = _without_noise(lattice, value, largest)
                way_out = (
                    "With the noise of dataset.dequantise its values lie between "
                    f"{origins[place]:.15g} and {top:.15g}: give such ends, or leave these rows "
                    "out"
                )
            raise DataError(
                f"{part.file}: column {name!r} has the value {value:g} in row "
                f"{part.numbers[row]} (from 0){part.of_split}, and dataset.bounded says it lies "
                f"between {low} and {high}, without the ends ({len(outside):,} such values). "
                f"{way_out}"
            )
    return tuple(given.get(name, (None, None)) for name in columns) if given else ()


def _without_noise(lattice: Lattice, value: float, largest: float) -> tuple[float, float]:
    """The table's value behind one with noise, and the upper end of the step of the largest."""
    step, last = lattice.steps_of(np.array([value, largest]))
    own, top = lattice.values(np.array([step, last + 1]))
    return float(own), float(top)
