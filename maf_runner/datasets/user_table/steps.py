"""The step of a column whose values were rounded, and noise as wide as the step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.user_table.part import Part
from maf_runner.system.errors import DataError, suggestion

SURE = 100  # a step is believed if it is so many times larger than what rounding errors explain


def is_whole(values: NDArray[np.float64]) -> bool:
    """Whether all ``values`` are whole numbers, of a size at which not every number is whole."""
    return bool((np.abs(values) < 2**53).all() and (values == np.round(values)).all())


def step_of(values: NDArray[np.float64]) -> float | None:
    """The largest step of which all differences of ``values`` [N] are multiples.

    None if there is none that rounding errors would not explain as well. ``values`` are sorted
    and different from each other. The step of a single whole number is 1.

    >>> step_of(np.array([0.1, 0.3, 0.4, 0.8])), step_of(np.array([273.15, 273.65]))
    (0.1, 0.5)
    >>> step_of(np.array([1.0, 1.5, 3.141592653589793])) is None
    True
    """
    if len(values) < 2:
        return 1.0 if is_whole(values) else None
    single = bool((values == values.astype(np.float32)).all())
    error = 4 * np.finfo(np.float32 if single else np.float64).eps * np.abs(values).max()
    if is_whole(values):
        error = 0.0
    gaps = np.diff(values)
    gaps = gaps[gaps > SURE * error]
    if len(gaps) < len(values) / 2:
        return None  # most values are no further apart than rounding errors
    step = gaps.min()
    while True:
        steps = np.round(gaps / step)
        rest = np.abs(gaps - steps * step)
        allowed = error * (1 + steps)
        telling = allowed < step / SURE
        if step < SURE * error or 2 * telling.sum() < len(gaps):
            return None
        over = rest[telling & (rest > allowed)]
        if len(over) == 0:
            break
        step = over.min()
    step = gaps[telling].sum() / steps[telling].sum()
    return float(f"{step:.9g}")  # 0.1, not 0.09999999999999964


def add_noise(
    parts: Mapping[str, Part], columns: list[str], dequantise: list[Any], seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Add uniform noise, as wide as the step, to the columns in ``dequantise``, in place.

    Returns:
        The step of each column, 0 where there is no noise, and its least value; empty without
        noise.

    Raises:
        ValueError: one of them is not among ``columns``.
        DataError: one of them has no step.
    """
    names = [str(column) for column in dequantise]
    steps, origins = [], np.zeros(len(columns))
    for column in names:
        if column not in columns:
            raise ValueError(f"dequantise names {column!r}{suggestion(column, columns)}")
        place = columns.index(column)
        values = np.unique(np.concatenate([part.x[:, place] for part in parts.values()]))
        step = step_of(values)
        if step is None:
            raise DataError(
                f"{parts['train'].file}: column {column!r} cannot be dequantised: its values are "
                "no multiples of a common step, so nothing says how wide the noise should be. "
                "Remove it from dataset.dequantise"
            )
        steps.append(step)
        origins[place] = values[0]
    rng = np.random.default_rng([seed, 1])
    for name in SPLITS:
        for column, step in zip(names, steps, strict=True):
            noise = rng.random(len(parts[name])) * step
            parts[name].x[:, columns.index(column)] += noise
    if not names:
        return (), ()
    wide = dict(zip(names, steps, strict=True))
    return tuple(wide.get(column, 0.0) for column in columns), tuple(origins.tolist())
