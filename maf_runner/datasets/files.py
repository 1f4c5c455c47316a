"""Your own table: ``dataset=file dataset.path=table.csv``.

Formats: ``.csv`` and ``.parquet`` (columns by name), ``.npy`` (an array [N, D]; columns are named
0, 1, 2, ...), ``.npz`` and ``.h5``/``.hdf5`` (one array, or arrays named ``train``, ``validation``
or ``val``, and ``test``; ``dataset.label=label`` takes the labels in ``train_labels`` and so on,
or ``labels``).

Steps: take the label column out; take the numeric columns (true and false count as 1 and 0), or
those named; refuse values that are missing or not finite, or drop their rows; split, in a seeded
shuffle, unless the file has splits of its own; fill the steps of the columns in ``dequantise``
with uniform noise of their own seed; standardise by mean and standard deviation of the training
rows. Constant columns, duplicate rows and columns of whole numbers are reported: a density is
infinite on them.

Log-likelihoods are those of the standardised values; ``maf-score`` and ``maf-sample`` speak the
table's own units (`TableSpace`), in which ``maf-score`` takes values as they stand: it adds no
noise. `untrusted.tables` reads the file, and executes nothing in it.
"""

import hashlib
import logging
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS, Paths, Rows, Splits
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.untrusted.tables import (
    as_text,
    first_word,
    is_numeric,
    need,
    numbers,
    read_table,
    some,
)
from maf_runner.system.errors import DataError, suggestion

log = logging.getLogger("maf_runner")
NAMELESS = re.compile(r"Unnamed: \d+")  # the name pandas gives


def load(
    *,
    paths: Paths,
    path: str,
    columns: list[Any] | None,
    label: Any,
    class_prior: str,
    fractions: list[float],
    seed: int,
    standardise: bool,
    missing: str,
    dequantise: list[Any],
) -> Splits:
    """Load a table of your own.

    Args:
        paths: not used.
        path: the file.
        columns: names of the columns that are modelled; None for every one of numbers, but for
            what looks like a saved index.
        label: name of the column with the class, for conditional models; None for none.
        class_prior: weights of the classes in p(x): ``uniform``, or ``empirical`` for their
            shares in the training rows.
        fractions: of the rows that train, validate and test; not used if the file has splits.
        seed: of the shuffle before the split, and of the noise of ``dequantise``.
        standardise: to mean 0 and standard deviation 1 of the training rows.
        missing: ``refuse`` values that are missing or not finite, or ``drop`` their rows.
        dequantise: names of columns of whole numbers that get noise from [0, 1).

    Raises:
        DataError: the file is missing, damaged or not a table of numbers.
        ValueError: an argument that cannot be.
    """
    _check(fractions, seed, missing, standardise, class_prior, label)
    _check_names(columns, dequantise, label)
    file = Path(path).expanduser()
    tables = read_table(file, "dataset.path", with_labels=label is not None)
    labels = {name: _take_label(table, label, file) for name, table in tables.items()}
    chosen = _columns(next(iter(tables.values())), columns, file)
    for name, table in tables.items():
        lacking = [c for c in chosen if c not in table.columns]
        if lacking:
            raise DataError(f"{file}: the split {name} has no column {lacking[0]!r}")
    arrays = {name: numbers(table[chosen], file) for name, table in tables.items()}
    arrays, labels = _finite(arrays, labels, [*chosen, str(label)], missing, file)
    if set(arrays) != set(SPLITS):
        arrays, labels = _split(arrays["all"], labels["all"], fractions, seed)
    for name in SPLITS:
        if len(arrays[name]) == 0:
            raise DataError(f"{file}: no row is left for the split {name}")
    _report(arrays, chosen, dequantise, file)
    for column in map(str, dequantise):
        if column not in chosen:
            raise ValueError(f"dequantise names {column!r}{suggestion(column, chosen)}")
    rng = np.random.default_rng([seed, 1])
    for name in SPLITS:
        for column in map(str, dequantise):
            arrays[name][:, chosen.index(column)] += rng.random(len(arrays[name]))
    values, codes = _codes(labels, file)
    prior = _prior(codes["train"], values, class_prior, file)
    mean, deviation = _scale(arrays["train"], standardise=standardise)
    named = None if label is None else str(label)
    scale = dict(zip(chosen, zip(mean, deviation, strict=True), strict=True))
    for name, (centre, width) in scale.items():
        if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
            raise DataError(
                f"{file}: column {name!r} has mean {centre:g} and deviation {width:g}: its values "
                "are too large, or differ by too little, to be standardised; scale it"
            )
    space = TableSpace(tuple(chosen), mean, deviation, named, tuple(values))
    scaled = {name: _scaled(arrays[name], space, file) for name in SPLITS}
    train, validation, test = (Rows(scaled[name], codes[name]) for name in SPLITS)
    with file.open("rb") as raw:
        sources = {file.name: hashlib.file_digest(raw, "sha256").hexdigest()}
    return Splits(
        train,
        validation,
        test,
        origin="own",
        classes=len(values),
        prior=prior,
        table=space,
        sources=sources,
    )


def _check(
    fractions: Any, seed: Any, missing: Any, standardise: Any, class_prior: Any, label: Any
) -> None:
    ok = isinstance(fractions, list) and len(fractions) == 3
    if not ok or not all(isinstance(f, (int, float)) and 0 < f < 1 for f in fractions):
        raise ValueError(f"fractions must be three numbers between 0 and 1, got {fractions!r}")
    if abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must sum to 1, got {fractions!r}")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    if missing not in ("refuse", "drop"):
        raise ValueError(f"missing must be refuse or drop, got {missing!r}")
    if not isinstance(standardise, bool):
        raise ValueError(f"standardise must be true or false, got {standardise!r}")
    if class_prior not in ("uniform", "empirical"):
        raise ValueError(f"class_prior must be uniform or empirical, got {class_prior!r}")
    if class_prior == "empirical" and label is None:
        raise ValueError("class_prior=empirical needs classes: name their column, label=COLUMN")


def _check_names(columns: Any, dequantise: Any, label: Any) -> None:
    for setting, names in (("columns", columns), ("dequantise", dequantise)):
        if setting == "columns" and names is None:
            continue
        if not isinstance(names, list):
            raise ValueError(f"{setting} must be a list of names, as [a,b], got {names!r}")
        twice = [name for name, count in Counter(map(str, names)).items() if count > 1]
        if twice:
            raise ValueError(f"{setting} names {twice[0]!r} more than once")
    if columns == []:
        raise ValueError("columns names none; null takes every column of numbers")
    if label is not None and str(label) in map(str, columns or []):
        raise ValueError(f"{str(label)!r} is among columns and is the label: take it out of one")


def _take_label(table: pd.DataFrame, label: Any, file: Path) -> pd.Series | None:
    if label is None:
        return None
    need(str(label), table, "dataset.label", file)
    return table.pop(str(label))


def _columns(table: pd.DataFrame, columns: list[Any] | None, file: Path) -> list[str]:
    if columns is not None:
        for column in columns:
            need(str(column), table, "dataset.columns", file)
        return [str(c) for c in columns]
    plain = {c for c, dtype in table.dtypes.items() if dtype.kind in "biuf"}
    left_out = dict.fromkeys(c for c in table if c not in plain and not is_numeric(table[c]))
    for column in left_out:
        _refuse_nearly_numeric(table[column], file)
    if left_out:
        words = some(f"{c}{first_word(table[c])}" for c in left_out)
        log.info("%s: columns that are no numbers are left out: %s", file, words)
    saved = [c for c in table if NAMELESS.fullmatch(c) and _is_saved_index(table[c])]
    if saved:
        log.info("%s: left out as it looks like a saved index: %s", file, some(saved))
    chosen = [c for c in table if c not in left_out and c not in saved]
    if not chosen:
        raise DataError(f"{file} has no column of numbers")
    return chosen


def _refuse_nearly_numeric(column: pd.Series, file: Path) -> None:
    """Refuse a column of numbers that a few words have made text: it would go unnoticed."""
    values = column.dropna()
    if not pd.api.types.infer_dtype(values).startswith(("string", "mixed")):
        return
    good = int(pd.to_numeric(values.astype(str), errors="coerce").notna().sum())
    if 2 * good >= len(values):
        raise DataError(
            f"{file}: {good} of {len(values)} values of column {column.name!r} are numbers, but "
            f"it is read as text{first_word(column)}. Mend it, or name the columns that are "
            "wanted: dataset.columns=[...]"
        )


def _is_saved_index(column: pd.Series) -> bool:
    """Whether it numbers the rows."""
    return column.dtype.kind in "iu" and column.is_unique


def _finite(
    arrays: dict[str, NDArray[np.float64]],
    labels: dict[str, pd.Series | None],
    columns: list[str],
    missing: str,
    file: Path,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, pd.Series | None]]:
    """Refuse, or drop, rows that lack a value, or the label (the last of ``columns``)."""
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
                f"{text}. Mend the file, or dataset.missing=drop leaves these rows out"
            )
        log.warning("%s; these rows are left out", text)
        keep = np.flatnonzero(good.all(axis=1))
        arrays[name] = array[keep]
        labels[name] = None if own is None else own.iloc[keep]
    return arrays, labels


def _split(
    array: NDArray[np.float64], labels: pd.Series | None, fractions: list[float], seed: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, pd.Series | None]]:
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


def _scale(
    train: NDArray[np.float64], *, standardise: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each column; 0 and 1 without ``standardise``."""
    mean, deviation = np.zeros(train.shape[1]), np.ones(train.shape[1])
    if standardise:
        with np.errstate(over="ignore", invalid="ignore"):  # of which `load` tells
            mean, deviation = train.mean(axis=0), train.std(axis=0)
        # Not deviation == 0: rounding gives a constant column of 0.1 one of 1e-16.
        deviation[np.ptp(train, axis=0) == 0] = 1.0
    return tuple(mean.tolist()), tuple(deviation.tolist())


def _scaled(array: NDArray[np.float64], space: TableSpace, file: Path) -> NDArray[np.float32]:
    """Rows as models see them.

    Raises:
        DataError: they are too large for that, or differ by too little.
    """
    with np.errstate(all="ignore"):
        rows = space.to_model(array).astype(np.float32)
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{file}: the values of column {space.columns[column]!r} are too large, or differ by "
            f"too little, for numbers of 32 bits (such as {array[row, column]:.6g}): scale it"
        )
    return rows


def _report(
    arrays: dict[str, NDArray[np.float64]], columns: list[str], dequantise: list[Any], file: Path
) -> None:
    """Say what makes a density infinite or flatters a likelihood."""
    train = arrays["train"]
    flat = np.ptp(train, axis=0) == 0
    constant = dict.fromkeys(c for c, always in zip(columns, flat, strict=True) if always)
    if constant:
        log.warning("%s: constant in the training rows: %s", file, some(constant))
    noisy = {str(c) for c in dequantise}
    whole = [
        c
        for c, w in zip(columns, (train == np.round(train)).all(axis=0), strict=True)
        if w and c not in noisy and c not in constant
    ]
    if whole:
        log.warning(
            "%s: columns of whole numbers have no density; fill their steps with noise by "
            "'dataset.dequantise=[%s]'",
            file,
            ",".join(whole),
        )
    rows = np.concatenate([arrays[name] for name in SPLITS])
    copies = int(pd.DataFrame(rows, copy=False).duplicated().sum())
    if copies:
        log.warning("%s: %d of %d rows are copies of others", file, copies, len(rows))


def _codes(
    labels: dict[str, pd.Series | None], file: Path
) -> tuple[list[Any], dict[str, NDArray[np.int64] | None]]:
    """The classes there are in sorted order, and the labels as places 0, 1, ... in it.

    Classes are numbers, truth values or words; anything else (dates, say) becomes words.
    """
    if labels["train"] is None:
        return [], dict.fromkeys(SPLITS)
    parts = [own for name in SPLITS if (own := labels[name]) is not None]
    every = pd.concat([own.astype(object) for own in parts])
    kind = pd.api.types.infer_dtype(every)
    if kind in ("mixed", "mixed-integer"):
        kinds = {type(value).__name__: value for value in every}
        raise DataError(
            f"{file}: labels of different kinds, {' and '.join(map(repr, kinds.values()))}; "
            "expected numbers in all rows, or words in all"
        )
    if kind in ("integer", "floating", "mixed-integer-float"):
        # Whole numbers again, where pandas made them 1.0, 2.0 beside a missing one.
        every = pd.to_numeric(every, downcast="integer")
    elif kind not in ("boolean", "string"):
        every = as_text(every.infer_objects())
    codes, values = pd.factorize(every, sort=True)
    ends = np.cumsum([len(own) for own in parts])[:-1]
    split = np.split(codes.astype(np.int64), ends)
    return values.tolist(), dict(zip(SPLITS, split, strict=True))


def _prior(
    codes: NDArray[np.int64] | None, values: list[Any], kind: str, file: Path
) -> tuple[float, ...] | None:
    """The share of each class in the training rows if ``kind`` is empirical; None for uniform."""
    if codes is None:
        return None
    counts = np.bincount(codes, minlength=len(values))
    absent = [str(value) for value, count in zip(values, counts, strict=True) if count == 0]
    if absent:
        fate = "get the prior 0" if kind == "empirical" else "weigh as much as those it learns"
        log.warning("%s: classes that no training row has %s: %s", file, fate, ", ".join(absent))
    return tuple((counts / len(codes)).tolist()) if kind == "empirical" else None
