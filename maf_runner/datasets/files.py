"""Your own table: ``dataset=file dataset.path=table.csv``.

Formats: ``.csv`` and ``.parquet`` (columns by name), ``.npy`` (an array [N, D]; columns are named
0, 1, 2, ...), ``.npz`` and ``.h5``/``.hdf5`` (one array, or arrays named ``train``, ``validation``
or ``val``, and ``test``; ``dataset.label=label`` takes the labels in ``train_labels`` and so on,
or ``labels``).

Steps:

1. Take the label column out.
2. Choose the numeric columns (true and false count as 1 and 0), or the columns named.
3. Refuse values that are missing or not finite, or drop their rows.
4. Shuffle and split the rows, unless the file has splits of its own.
5. Warn of constant columns, duplicate rows and columns of whole numbers: the likelihood of a
   density is unbounded on them.
6. Add uniform noise to the columns in ``dequantise``.
7. Standardise by mean and standard deviation of the training rows.

The log-likelihood of a run is that of the standardised values. ``maf-score`` and ``maf-sample``
use the units of the table (`TableSpace`); ``maf-score`` adds no noise to its rows.
`untrusted.tables` reads the file, and executes nothing in it.
"""

import hashlib
from pathlib import Path
from typing import Any

from maf_runner.datasets.base import SPLITS, Paths, Rows, Splits
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.untrusted.tables import numbers, read_table
from maf_runner.datasets.user_table.columns import choose_columns, take_label
from maf_runner.datasets.user_table.labels import encode, prior_of
from maf_runner.datasets.user_table.options import check, check_names
from maf_runner.datasets.user_table.rows import (
    add_noise,
    check_scale,
    mean_and_deviation,
    split,
    standardised,
    warn,
    without_missing,
)
from maf_runner.system.errors import DataError


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
        columns: names of the columns to model; None for all numeric columns except a saved
            index.
        label: name of the column with the class labels, for conditional models; or None.
        class_prior: probabilities of the classes in p(x): ``uniform``, or ``empirical`` for their
            frequencies in the training rows.
        fractions: of the rows for training, validation and test; not used if the file has splits.
        seed: of the shuffle before the split, and of the noise of ``dequantise``.
        standardise: whether to scale the columns to mean 0 and standard deviation 1.
        missing: ``refuse`` values that are missing or not finite, or ``drop`` their rows.
        dequantise: names of columns of whole numbers that get noise from [0, 1).

    Raises:
        DataError: the file is missing, damaged or not a table of numbers.
        ValueError: an invalid argument.
    """
    check(fractions, seed, missing, standardise, class_prior, label)
    check_names(columns, dequantise, label)
    file = Path(path).expanduser()
    tables = read_table(file, "dataset.path", with_labels=label is not None)
    labels = {name: take_label(table, label, file) for name, table in tables.items()}
    chosen = choose_columns(next(iter(tables.values())), columns, file)
    for name, table in tables.items():
        lacking = [c for c in chosen if c not in table.columns]
        if lacking:
            raise DataError(f"{file}: the split {name} has no column {lacking[0]!r}")
    arrays = {name: numbers(table[chosen], file) for name, table in tables.items()}
    arrays, labels = without_missing(arrays, labels, [*chosen, str(label)], missing, file)
    if set(arrays) != set(SPLITS):
        arrays, labels = split(arrays["all"], labels["all"], fractions, seed)
    for name in SPLITS:
        if len(arrays[name]) == 0:
            raise DataError(f"{file}: no row is left for the split {name}")
    warn(arrays, chosen, dequantise, file)
    add_noise(arrays, chosen, dequantise, seed)
    values, codes = encode(labels, file)
    prior = prior_of(codes["train"], values, class_prior, file)
    mean, deviation = mean_and_deviation(arrays["train"], standardise=standardise)
    named = None if label is None else str(label)
    check_scale(chosen, mean, deviation, file)
    space = TableSpace(tuple(chosen), mean, deviation, named, tuple(values))
    scaled = {name: standardised(arrays[name], space, file) for name in SPLITS}
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
