"""The rows of a user's table: missing values, the three splits, the scale, and warnings."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.untrusted.tables import some
from maf_runner.system.errors import DataError, suggestion

log = logging.getLogger("maf_runner")


def without_missing(
    arrays: dict[str, NDArray[np.float64]],
    labels: dict[str, pd.Series | None],
    columns: list[str],
    missing: str,
    file: Path,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, pd.Series | None]]:
    """Refuse or drop rows in which a value or the label (the last of ``columns``) is missing."""
    for name, array in arrays.items():
        good, own = np.isfinite(array), labels[name]
        if own is not None:
            good = np.column_stack([good, ~(own.isna() | own.isin([np.inf, -np.inf]))])
        if good.all():
            continue
        row, column = np.argwhere(~good)[0]
        bad = int((~good.all(axis=1)).sum())
        where = "" if name == "all" else f" of the split {name}"
        text = (
            f"{file}: {int((~good).sum())} values{where} are missing or not finite, in {bad} of "
            f"{len(array)} rows; the first is in row {row} (from 0), column {columns[column]!r}"
        )
        if missing == "refuse":
            raise DataError(
                f"{text}. Correct the file, or drop these rows with dataset.missing=drop"
            )
        log.warning("%s; these rows are dropped", text)
        keep = np.flatnonzero(good.all(axis=1))
        arrays[name] = array[keep]
        labels[name] = None if own is None else own.iloc[keep]
    return arrays, labels


def split(
    array: NDArray[np.float64], labels: pd.Series | None, fractions: list[float], seed: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, pd.Series | None]]:
    """Shuffle rows and labels by ``seed``, and split them by ``fractions``."""
    order = np.random.default_rng([seed, 0]).permutation(len(array))
    held_out = [round(f * len(array)) for f in fractions[1:]]
    first = len(array) - sum(held_out)
    parts = np.split(order, [first, first + held_out[0]])
    return (
        {name: array[part] for name, part in zip(SPLITS, parts, strict=True)},
        {
            name: None if labels is None else labels.iloc[part]
            for name, part in zip(SPLITS, parts, strict=True)
        },
    )


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


def check_scale(
    columns: list[str], mean: tuple[float, ...], deviation: tuple[float, ...], file: Path
) -> None:
    """Raise DataError for a column whose mean or standard deviation cannot be used."""
    for name, centre, width in zip(columns, mean, deviation, strict=True):
        if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
            raise DataError(
                f"{file}: column {name!r} has mean {centre:g} and deviation {width:g}: its values "
                "are too large, or differ by too little, to be standardised. Rescale the column"
            )


def add_noise(
    arrays: dict[str, NDArray[np.float64]], columns: list[str], dequantise: list[Any], seed: int
) -> None:
    """Add noise from [0, 1) to the columns in ``dequantise``, in place.

    Raises:
        ValueError: one of them is not among ``columns``.
    """
    for column in map(str, dequantise):
        if column not in columns:
            raise ValueError(f"dequantise names {column!r}{suggestion(column, columns)}")
    rng = np.random.default_rng([seed, 1])
    for name in SPLITS:
        for column in map(str, dequantise):
            arrays[name][:, columns.index(column)] += rng.random(len(arrays[name]))


def standardised(array: NDArray[np.float64], space: TableSpace, file: Path) -> NDArray[np.float32]:
    """Standardised rows in float32.

    Raises:
        DataError: a result is not finite.
    """
    with np.errstate(all="ignore"):
        rows = space.to_model(array).astype(np.float32)
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{file}: the values of column {space.columns[column]!r} are too large, or differ by "
            f"too little, for 32-bit numbers (such as {array[row, column]:.6g}). Rescale it"
        )
    return rows


def warn(
    arrays: dict[str, NDArray[np.float64]], columns: list[str], dequantise: list[Any], file: Path
) -> None:
    """Warn of columns and rows on which the likelihood is unbounded or misleading."""
    train = arrays["train"]
    flat = np.ptp(train, axis=0) == 0
    constant = dict.fromkeys(c for c, always in zip(columns, flat, strict=True) if always)
    if constant:
        log.warning("%s: columns that are constant in the training rows: %s", file, some(constant))
    noisy = {str(c) for c in dequantise}
    whole = [
        c
        for c, w in zip(columns, (train == np.round(train)).all(axis=0), strict=True)
        if w and c not in noisy and c not in constant
    ]
    if whole:
        log.warning(
            "%s: columns of whole numbers have no density. Add uniform noise to them: "
            "'dataset.dequantise=[%s]'",
            file,
            ",".join(whole),
        )
    rows = np.concatenate([arrays[name] for name in SPLITS])
    copies = int(pd.DataFrame(rows, copy=False).duplicated().sum())
    if copies:
        log.warning("%s: %d of %d rows are duplicate rows", file, copies, len(rows))
