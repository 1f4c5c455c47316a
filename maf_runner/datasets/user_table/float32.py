"""What the cast to 32-bit numbers, in which models compute, does to a user's columns."""

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.untrusted.tables import some
from maf_runner.datasets.user_table.part import Part
from maf_runner.system.errors import DataError

log = logging.getLogger("maf_runner")
LARGEST = float(np.sqrt(np.finfo(np.float32).max))  # whose square is a 32-bit number: 1.8e19
OFFSET = (
    "They are large beside their differences: use dataset.standardise=true, or subtract an offset"
)
TINY = "They are too small for such numbers: use dataset.standardise=true, or another unit"
SMALLEST = float(np.finfo(np.float32).tiny)
FEW = 0.01  # share of the rows that may lie far from all others
LOST = 0.01  # share of the different values that may become equal


def check_scale(
    train: Part, columns: Sequence[str], mean: Sequence[float], deviation: Sequence[float]
) -> None:
    """Raise DataError for a column whose mean or standard deviation cannot be used."""
    for i, (name, centre, width) in enumerate(zip(columns, mean, deviation, strict=True)):
        if math.isfinite(centre) and math.isfinite(width) and width > 0:
            continue
        sizes = np.abs(train.x)
        farthest = sizes == sizes[:, i].max()
        farthest[:, :i] = farthest[:, i + 1 :] = False
        if sizes[:, i].max() > LARGEST:
            _refuse(train, farthest, columns)
        raise DataError(
            f"{train.file}: column {name!r} has mean {centre:g} and deviation {width:g}: its "
            "values differ by too little to be standardised. Rescale the column"
        )


def to_float32(
    parts: Mapping[str, Part], space: TableSpace, *, standardise: bool
) -> dict[str, NDArray[np.float32]]:
    """The rows of each split as models see them: in the units of ``space``, in 32-bit numbers.

    Columns in which many different values become equal are named in a warning; ``standardise``
    says whether the units are standard deviations, for the advice in it.

    Raises:
        DataError: a value whose square is no 32-bit number, or one so large that the other values
            of its column become equal.
    """
    with np.errstate(all="ignore"):
        scaled = {name: space.to_model(parts[name].x) for name in SPLITS}
        for name in SPLITS:
            _refuse(parts[name], ~(np.abs(scaled[name]) <= LARGEST), space.columns)
        rows = {name: scaled[name].astype(np.float32) for name in SPLITS}
    equal = {}
    for i, column in enumerate(space.columns):
        different, left = _different(parts["train"].x[:, i], rows["train"][:, i])
        # By chance, values that are close to each other become equal too.
        if different - left > LOST * different + different**2 / 2**25:
            equal[column] = f"{column!r} ({left:,} of {different:,} values are left)"
    for column in equal:
        i = space.columns.index(column)
        for name in SPLITS:
            huge = np.zeros(parts[name].x.shape, dtype=bool)
            huge[:, i] = np.abs(parts[name].x[:, i]) > LARGEST
            _refuse(parts[name], huge, space.columns)
    if equal:
        log.warning(
            "%s: different values become equal in 32-bit numbers, in which models compute: %s. %s",
            parts["train"].file,
            some(equal.values()),
            _way_out(parts["train"], next(iter(equal)), space, standardise=standardise),
        )
    return rows


def _way_out(train: Part, column: str, space: TableSpace, *, standardise: bool) -> str:
    """How to mend a column whose values become equal."""
    values = train.x[:, space.columns.index(column)]
    if not standardise:
        return TINY if np.abs(values).max() < SMALLEST else OFFSET
    distances = np.abs(values - np.median(values))
    far = int(distances.argmax())
    if (distances > distances[far] / 2).mean() > FEW:
        return (
            f"The values of {column!r} lie in groups far apart, between {values.min():.6g} and "
            f"{values.max():.6g}. Model the groups one by one, or take logarithms"
        )
    return (
        f"Values far from all others are the cause: the farthest of {column!r} is "
        f"{values[far]:.6g}, in row {train.numbers[far]} (from 0). Correct or remove such rows, "
        "or take logarithms"
    )


def _different(column: NDArray[np.float64], cast: NDArray[np.float32]) -> tuple[int, int]:
    """The number of different values of a column [N], before and after the cast."""
    return len(np.unique(column)), len(np.unique(cast))


def _refuse(part: Part, bad: NDArray[np.bool_], columns: Sequence[str]) -> None:
    """Refuse the values of a split that are ``bad`` [N, D], if any, by the first of them."""
    places = np.argwhere(bad)
    if len(places) == 0:
        return
    row, column = places[part.numbers[places[:, 0]].argmin()]
    others = f" ({len(places):,} such values)" if len(places) > 1 else ""
    raise DataError(
        f"{part.file}: column {columns[column]!r} has the value "
        f"{part.x[row, column]:.6g} in row {part.numbers[row]} (from 0){part.of_split}{others}, "
        "which is too large for 32-bit numbers, in which models compute. If it stands for a "
        "missing value, remove the row; otherwise rescale the column"
    )
