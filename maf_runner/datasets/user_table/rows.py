"""The rows of a user's table: missing values, and the scale of the columns."""

import logging

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.user_table.context import missing_context
from maf_runner.datasets.user_table.part import Part
from maf_runner.system.errors import DataError

log = logging.getLogger("maf_runner")


def without_missing(part: Part, columns: list[str], missing: str) -> Part:
    """Refuse or drop rows in which a value is missing or not finite.

    Args:
        part: the rows.
        columns: names of the columns of values, then of the label, the weight and the split,
            where the rows have them, and of the context.
        missing: ``refuse`` or ``drop``; ``indicator`` refuses all but those of the context.

    Raises:
        DataError: such rows are refused.
    """
    good, own = [np.isfinite(part.x)], part.labels
    if own is not None:
        good.append(~(own.isna() | own.isin([np.inf, -np.inf])).to_numpy()[:, None])
    good += [np.isfinite(e)[:, None] for e in (part.weights, part.splits) if e is not None]
    if part.context is not None and missing != "indicator":
        good.append(~missing_context(part))
    whole = np.hstack(good)
    if whole.all():
        return part
    row, column = np.argwhere(~whole)[0]
    bad = int((~whole.all(axis=1)).sum())
    text = (
        f"{part.file}: {int((~whole).sum())} values{part.of_split} are missing or not finite, in "
        f"{bad} of {len(part)} rows; the first is in row {row} (from 0), column "
        f"{columns[column]!r}"
    )
    if missing != "drop":
        given = 0 if part.context is None else part.context.shape[1]
        flag = ""
        if missing == "refuse" and column >= len(columns) - given:
            flag = ", or give the model a flag for missing values: dataset.missing=indicator"
        raise DataError(
            f"{text}. Correct the file, or drop these rows with dataset.missing=drop{flag}"
        )
    log.warning("%s; these rows are dropped", text)
    return part.take(np.flatnonzero(whole.all(axis=1)))


def mean_and_deviation(
    train: NDArray[np.float64], *, standardise: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column; 0 and 1 without ``standardise``."""
    mean, deviation = np.zeros(train.shape[1]), np.ones(train.shape[1])
    if standardise:
        with np.errstate(over="ignore", invalid="ignore"):  # `check_scale` reports them
            mean, deviation = train.mean(axis=0), train.std(axis=0)
        # Not deviation == 0: by rounding, that of a constant column of 0.1 is 1e-16.
        deviation[np.ptp(train, axis=0) == 0] = 1.0
    return tuple(mean.tolist()), tuple(deviation.tolist())
