"""Your own table: ``dataset=file dataset.path=table.csv``.

Formats:

- ``.csv``, ``.tsv`` and ``.txt``, also compressed (``.gz``, ``.bz2``, ``.xz``), ``.parquet`` and
  ``.feather``: columns by name;
- ``.npy``: an array [N, D], whose columns are named 0, 1, 2, ..., or a structured one;
- ``.npz``, ``.h5`` and ``.hdf5``: one array, columns of one axis each, or arrays named ``train``,
  ``validation`` or ``val``, and ``test``. ``dataset.label=y`` takes the labels in the array of
  that name, ``dataset.label=label`` those in ``train_labels`` and so on, or ``labels``.
  ``dataset.context=[x]`` conditions on the array ``x``; the others are modelled.

Steps:

1. Take the columns of the label, the weights, the split and the context out.
2. Choose the numeric columns (true and false count as 1 and 0), or the columns named. The values
   of columns in ``categorical`` become whole numbers, in sorted order.
3. Refuse values that are missing or not finite, or drop their rows.
4. Shuffle and split the rows, unless the file, other files or a column say the splits.
5. Warn of constant, whole, rounded and dependent columns, of values that many rows share, and of
   duplicate rows: the likelihood of a density is unbounded on them.
6. Add uniform noise to the columns in ``dequantise`` and ``categorical``.
7. Map the columns in ``bounded`` to all numbers, by a logit or a logarithm.
8. Standardise by mean and standard deviation of the training rows.
9. Refuse values that are too large for 32-bit numbers, and warn where these cannot tell apart
   the values of a column.

Weights of rows (``dataset.weight``) count in the loss, in the means over validation and test
rows, and in an empirical prior of the classes; not in the standardisation.

Columns in ``context`` are not modelled: the model is given them, numbers standardised, words and
those in ``categorical`` one-hot. A label is one of them then, and nothing is summed over classes.

The log-likelihood of a run is that of the standardised values. ``maf-score`` and ``maf-sample``
use the units of the table (`TableSpace`); ``maf-score`` adds no noise to its rows, and takes a
category in the middle of its step.
`untrusted.tables` reads the file, and executes nothing in it.
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maf_runner.datasets.base import SPLITS, Paths, Rows, Splits
from maf_runner.datasets.spaces.bounds import free_of_bounds
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.untrusted.dialect import TEXT, Dialect, bare_suffix
from maf_runner.datasets.untrusted.tables import numbers, read_table
from maf_runner.datasets.user_table.bounds import bounds_of
from maf_runner.datasets.user_table.categories import holds_truth, say_bits, to_codes
from maf_runner.datasets.user_table.columns import choose_columns, refuse_lost, take_label
from maf_runner.datasets.user_table.context import (
    context_space,
    encoded,
    given_columns,
    take_context,
)
from maf_runner.datasets.user_table.degenerate import warn, warn_of_combinations
from maf_runner.datasets.user_table.float32 import check_scale, to_float32
from maf_runner.datasets.user_table.labels import encode, prior_of, settle_texts
from maf_runner.datasets.user_table.options import (
    check,
    check_bounded,
    check_context,
    check_dialect,
    check_names,
    check_splits,
)
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
    context: list[Any] | None = None,
    categorical: list[Any] | None = None,
    bounded: dict[Any, Any] | None = None,
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
        missing: ``refuse`` values that are missing or not finite, or ``drop`` their rows;
            ``indicator``: of the context columns, give the model 0 and a flag for them.
        dequantise: names of columns of whole or rounded numbers that get uniform noise, as wide
            as the step between their values.
        validation: a file with the validation rows; None: they are drawn, or in ``path``.
        test: the same for the test rows.
        split: name of the column that says train, validation or test of each row.
        shuffle: before the split; false: the first rows train, the last rows test.
        weight: name of the column with the weights of the rows, for the loss and for the means
            over validation and test rows.
        header: how a table of text is written, as all that follows: see
            `untrusted.dialect.Dialect`. Whether the first line names the columns.
        separator: between fields.
        decimal: the sign before decimals.
        thousands: the sign between groups of digits.
        missing_markers: texts that stand for a missing number.
        context: names of the columns that the model is conditioned on.
        categorical: names of the columns, of the context or modelled, that hold categories.
        bounded: ends of the values of a column, by its name, as ``{share: [0, 1]}``; null where
            there is no end.

    Raises:
        DataError: the file is missing, damaged or not a table of numbers.
        ValueError: an invalid argument.
    """
    check(fractions, seed, missing, standardise, class_prior, label)
    check_names(columns, dequantise, label)
    check_splits(columns, label, split, validation, test, shuffle, weight)
    check_dialect(header, separator, decimal, thousands, missing_markers)
    context, categorical = context or [], categorical or []
    taken_by = {"columns": columns, "dequantise": dequantise, "weight": weight, "split": split}
    check_context(context, categorical, {**taken_by, "label": label}, missing, class_prior)
    check_bounded(bounded or {}, categorical)
    markers = tuple(map(str, missing_markers or ()))
    named = None if label is None else str(label)
    kinds = tuple(map(str, categorical)), tuple(map(str, context))
    asides = tuple(str(name) for name in (weight, split) if name is not None)
    dialect = Dialect(header, separator, decimal, thousands, markers, named, *kinds, asides)
    read = partial(read_table, dialect=dialect)
    tables, files = read_files(read, path, validation, test)
    file = next(iter(files.values()))
    texts = {name: t for name, t in tables.items() if bare_suffix(files[name]) in TEXT}
    if dialect.of_text and not texts:
        raise ValueError(f"{dialect.of_text[0]} is for tables of text, and {file} is none")
    settle_texts(texts, dialect.texts)
    given = given_columns(next(iter(tables.values())), context, named)
    categories_of = [str(name) for name in categorical] + ([named] if given and named else [])
    if given:
        label = named = None
    modelled = [name for name in categories_of if name not in given]
    modelled += [name for name in map(str, dequantise) if holds_truth(tables, name)]
    dequantise = [name for name in dequantise if str(name) not in modelled]
    coded = to_codes(tables, modelled, files)
    parts: dict[str, Part] = {}
    for name, table in tables.items():
        taken = (
            take_label(table, label, files[name]),
            take_weight(table, weight, files[name]),
            take_split(table, split, files[name]),
            take_context(table, given, files[name]),
        )
        if not parts:
            chosen = choose_columns(table, columns, file, dialect)
        lacking = [c for c in chosen if c not in table.columns]
        if lacking:
            raise DataError(f"{files[name]}: the split {name} has no column {lacking[0]!r}")
        x = numbers(table[chosen], files[name])
        refuse_lost(table[chosen], x, files[name])
        place = "all" if "all" in tables else name
        part = Part(files[name], place, x, np.arange(len(x)), *taken)
        taken_out = [str(c) for c in (label, weight, split) if c is not None] + given
        parts[name] = without_zero(without_missing(part, [*chosen, *taken_out], missing), weight)
    parts = divide(parts, fractions, seed, shuffle=shuffle)
    for name in SPLITS:
        if len(parts[name]) == 0:
            count = sum(map(len, parts.values()))
            raise DataError(
                f"{parts[name].file}: no row is left for the split {name}: there are {count} rows"
            )
    dequantise = [*dequantise, *(name for name in chosen if name in coded)]
    warn(parts, chosen, dequantise)
    steps, origins = add_noise(parts, chosen, dequantise, seed)
    say_bits(coded, chosen, file)
    bounds = bounds_of(parts, chosen, bounded or {}, steps, origins)
    warn_of_combinations(parts["train"], chosen)
    values, codes = encode({name: part.labels for name, part in parts.items()}, file)
    prior = prior_of(codes["train"], values, class_prior, file, parts["train"].weights)
    free = free_of_bounds(parts["train"].x, bounds)
    mean, deviation = mean_and_deviation(free, standardise=standardise)
    check_scale(parts["train"], chosen, mean, deviation)
    known = tuple(tuple(coded.get(name, ())) for name in chosen) if coded else ()
    space = TableSpace(
        tuple(chosen), mean, deviation, named, tuple(values), steps, origins, bounds, known
    )
    rows = to_float32(parts, space, standardise=standardise)
    conditions = context_space(parts, categories_of)
    train_rows, validation_rows, test_rows = (
        Rows(rows[n], codes[n], parts[n].weights, encoded(parts[n], n, conditions)) for n in SPLITS
    )
    return Splits(
        train_rows,
        validation_rows,
        test_rows,
        origin="own",
        classes=len(values),
        prior=prior,
        table=space,
        context=conditions,
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
