"""Your own table: ``dataset=file dataset.path=table.csv``.

Formats:

- ``.csv``, ``.tsv`` and ``.txt``, also compressed (``.gz``, ``.bz2``, ``.xz``), ``.parquet`` and
  ``.feather``: columns by name;
- ``.npy``: an array [N, D], whose columns are named 0, 1, 2, ..., or a structured one;
- ``.npz``, ``.h5`` and ``.hdf5``: one array, columns of one axis each, or arrays named ``train``,
  ``validation`` or ``val``, and ``test``. ``dataset.label=y`` takes the labels in the array of
  that name, ``dataset.label=label`` those in ``train_labels`` and so on, or ``labels``.

Steps:

1. Take the label column out.
2. Choose the numeric columns (true and false count as 1 and 0), or the columns named.
3. Refuse values that are missing or not finite, or drop their rows.
4. Shuffle and split the rows, unless the file, other files or a column say the splits.
5. Warn of constant, whole, rounded and dependent columns, of values that many rows share, and of
   duplicate rows: the likelihood of a density is unbounded on them.
6. Add uniform noise to the columns in ``dequantise``.
7. Standardise by mean and standard deviation of the training rows.
8. Refuse values that are too large for 32-bit numbers, and warn where these cannot tell apart
   the values of a column.

Weights of rows (``dataset.weight``) count in the loss, in the means over validation and test
rows, and in an empirical prior of the classes; not in the standardisation.

The log-likelihood of a run is that of the standardised values. ``maf-score`` and ``maf-sample``
use the units of the table (`TableSpace`); ``maf-score`` adds no noise to its rows.
`untrusted.tables` reads the file, and executes nothing in it.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maf_runner.datasets.base import SPLITS, Paths, Rows, Splits
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.untrusted.delimited import Dialect
from maf_runner.datasets.untrusted.tables import numbers, read_table
from maf_runner.datasets.user_table.columns import choose_columns, take_label
from maf_runner.datasets.user_table.degenerate import warn, warn_of_combinations
from maf_runner.datasets.user_table.float32 import check_scale, to_float32
from maf_runner.datasets.user_table.labels import encode, prior_of
from maf_runner.datasets.user_table.options import check, check_dialect, check_names, check_splits
from maf_runner.datasets.user_table.part import Part
from maf_runner.datasets.user_table.rows import mean_and_deviation, without_missing
from maf_runner.datasets.user_table.splits import divide, read_files, take_split
from maf_runner.datasets.user_table.steps import add_noise
from maf_runner.datasets.user_table.weights import take_weight, without_zero
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
    validation: str | None = None,
    test: str | None = None,
    split: str | None = None,
    shuffle: bool = True,
    weight: str | None = None,
    header: bool | None = None,
    separator: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    missing_markers: list[Any] | None = None,
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
        fractions: of the rows for training, validation and test; for splits that neither a file
            nor a column gives.
        seed: of the shuffle before the split, and of the noise of ``dequantise``.
        standardise: whether to scale the columns to mean 0 and standard deviation 1.
        missing: ``refuse`` values that are missing or not finite, or ``drop`` their rows.
        dequantise: names of columns of whole or rounded numbers that get uniform noise, as wide
            as the step between their values.
        validation: a file with the validation rows; None: they are drawn, or in ``path``.
        test: the same for the test rows.
        split: name of the column that says train, validation or test of each row.
        shuffle: before the split; false: the first rows train, the last rows test.
        weight: name of the column with the weights of the rows, for the loss and for the means
            over validation and test rows.
        header: how a table of text is written, as all that follows: see
            `untrusted.delimited.Dialect`. Whether the first line names the columns.
        separator: between fields.
        decimal: the sign before decimals.
        thousands: the sign between groups of digits.
        missing_markers: texts that stand for a missing number.

    Raises:
        DataError: the file is missing, damaged or not a table of numbers.
        ValueError: an invalid argument.
    """
    check(fractions, seed, missing, standardise, class_prior, label)
    check_names(columns, dequantise, label)
    check_splits(columns, label, split, validation, test, shuffle, weight)
    check_dialect(header, separator, decimal, thousands, missing_markers)
    markers = tuple(map(str, missing_markers or ()))
    named = None if label is None else str(label)
    dialect = Dialect(header, separator, decimal, thousands, markers, named)
    read = partial(read_table, dialect=dialect)
    tables, files = read_files(read, path, validation, test)
    file = next(iter(files.values()))
    parts: dict[str, Part] = {}
    for name, table in tables.items():
        taken = (
            take_label(table, label, files[name]),
            take_weight(table, weight, files[name]),
            take_split(table, split, files[name]),
        )
        if not parts:
            chosen = choose_columns(table, columns, file)
        lacking = [c for c in chosen if c not in table.columns]
        if lacking:
            raise DataError(f"{files[name]}: the split {name} has no column {lacking[0]!r}")
        x = numbers(table[chosen], files[name])
        place = "all" if "all" in tables else name
        part = Part(files[name], place, x, np.arange(len(x)), *taken)
        asides = [str(column) for column in (label, weight, split) if column is not None]
        parts[name] = without_zero(without_missing(part, [*chosen, *asides], missing), weight)
    parts = divide(parts, fractions, seed, shuffle=shuffle)
    for name in SPLITS:
        if len(parts[name]) == 0:
            raise DataError(f"{parts[name].file}: no row is left for the split {name}")
    warn(parts, chosen, dequantise)
    steps, origins = add_noise(parts, chosen, dequantise, seed)
    warn_of_combinations(parts["train"], chosen)
    values, codes = encode({name: part.labels for name, part in parts.items()}, file)
    prior = prior_of(codes["train"], values, class_prior, file, parts["train"].weights)
    mean, deviation = mean_and_deviation(parts["train"].x, standardise=standardise)
    check_scale(parts["train"], chosen, mean, deviation)
    space = TableSpace(tuple(chosen), mean, deviation, named, tuple(values), steps, origins)
    rows = to_float32(parts, space, standardise=standardise)
    train_rows, validation_rows, test_rows = (
        Rows(rows[name], codes[name], parts[name].weights) for name in SPLITS
    )
    return Splits(
        train_rows,
        validation_rows,
        test_rows,
        origin="own",
        classes=len(values),
        prior=prior,
        table=space,
        sources=_sources(files),
    )


def _sources(files: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of each file, by its name; a second file of one name has the split before it."""
    sources: dict[str, str] = {}
    for split, file in files.items():
        with file.open("rb") as raw:
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
        name = file.name
        if sources.get(name, digest) != digest:
            name = f"{split}: {name}"
        sources[name] = digest
    return sources
