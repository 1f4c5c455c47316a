"""What a user's function returns is checked, and converted where that changes nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from maf_runner.datasets import foreign
from maf_runner.datasets.base import Rows, Splits
from maf_runner.system.errors import DataError, Interrupted

X = np.arange(12, dtype=np.float32).reshape(6, 2)
LABELS = np.array([0, 1, 0, 1, 0, 1])


def splits(x=X, labels=None, *, classes=0, **others):
    """The same good rows three times, but for those of the validation."""
    good = Rows(X, LABELS if classes else None)
    return Splits(good, Rows(x, labels, **others), good, origin="own", classes=classes)


def changed(place, value):
    x = X.copy()
    x[place] = value
    return x


ODD = [
    (None, "it must return Splits of maf_runner.datasets.base, got NoneType"),
    (replace(splits(), test=X), "test must be Rows, got ndarray"),
    (splits(X.tolist()), "validation.x must be a NumPy array [N, D] without a mask, got list"),
    (splits(torch.from_numpy(X)), "got Tensor"),
    (splits(pd.DataFrame(X)), "got DataFrame"),
    (splits(np.ma.masked_less(X, 3)), "got MaskedArray"),
    (splits(X[:, 0]), "validation.x must be numbers [N, D], got [6] of float32"),
    (splits(X[:, :, None]), "got [6, 2, 1] of float32"),
    (splits(X.astype(str)), "validation.x must be numbers [N, D], got [6, 2] of <U"),
    (splits(X.astype(object)), "got [6, 2] of object"),
    (splits(X.astype(complex)), "got [6, 2] of complex128"),
    (splits(X[:, :1]), "the same columns, got 2 in train, 1 in validation, 2 in test"),
    (splits(X[:0]), "validation.x has no rows"),
    (splits(X[:, :0]), "validation.x has no columns"),
    (splits(changed((4, 1), np.nan)), "not finite as float32, in 1 rows, the first is 4"),
    (splits(changed(3, np.inf)), "not finite as float32, in 1 rows, the first is 3"),
    (splits(X.astype(float) * 1e300), "not finite as float32, in 6 rows"),
    (splits(classes=2), "validation has no labels, and classes=2"),
    (splits(X, LABELS.tolist(), classes=2), "labels must be a NumPy array [N] without a mask"),
    (splits(X, np.ma.masked_less(LABELS, 1), classes=2), "labels must be a NumPy array [N]"),
    (splits(X, LABELS[:, None], classes=2), "labels must be numbers [N], got [6, 1] of int64"),
    (splits(X, LABELS[:5], classes=2), "labels must be one for each of 6 rows, got 5"),
    (splits(X, LABELS + 1, classes=2), "and below classes=2, got 2 in row 1"),
    (splits(X, LABELS - 1, classes=2), "and below classes=2, got -1 in row 0"),
    (
        splits(X, LABELS / 2, classes=2),
        "must be whole numbers from 0 and below classes=2, got 0.5",
    ),
    (splits(X, LABELS), "and below classes=0, got 0 in row 0"),
    (
        replace(splits(X, LABELS, classes=2), prior=(5.0, 5.0)),
        "prior must be the share of each of 2 classes, 1 together",
    ),
    (
        replace(splits(X, LABELS, classes=2), prior=(1.0,)),
        "prior must be the share of each of 2 classes, 1 together",
    ),
    (splits(classes=1.5), "classes must be a whole number, 0 for no labels, got 1.5"),
    (splits(weights=LABELS), "validation.weights must be above 0, got 0"),
    (splits(context=X[1:]), "validation.context must be one for each of 6 rows, got 5"),
]


@pytest.mark.parametrize(("returned", "message"), ODD)
def test_what_is_wrong_is_named(returned, message):
    with pytest.raises(DataError) as refused:
        foreign.load("my_data.odd", lambda: returned)
    assert str(refused.value).startswith("my_data.odd: ") and message in str(refused.value)
    assert str(refused.value).isprintable()


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "x",
    [
        *(X.astype(kind) for kind in ("f8", "f2", "i8", "u1", ">f4")),
        X[::-1][::-1],
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        read_only(X),
        X.view(np.memmap),
    ],
)
def test_what_means_the_same_is_converted(x):
    for labels in (LABELS, LABELS.astype(float), LABELS.astype(bool), LABELS.astype("u1")):
        found = foreign.load("f", lambda labels=labels: splits(x, labels, classes=np.int64(2)))
        rows = found.validation
        assert type(rows.x) is np.ndarray and rows.x.dtype == np.float32 and (rows.x == X).all()
        assert rows.x.flags.c_contiguous and rows.x.flags.writeable and rows.x.dtype.isnative
        assert rows.labels.dtype == np.int64 and (rows.labels == LABELS).all()
        assert type(found.classes) is int and found.train.x is X


def raising(error):
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("one\ntwo\x1b[2J"), "ValueError: one two�[2J"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), "directory: 'x.csv'"),
        (SystemExit("away"), "SystemExit: away"),
    ],
)
def test_an_error_in_the_function_is_one_line(error, message):
    with pytest.raises(DataError, match=r"my_data\.odd raised \w+: ") as refused:
        foreign.load("my_data.odd", lambda: raising(error))
    assert message in str(refused.value)
    assert "test_foreign.py, line " in str(refused.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted(15)])
def test_a_signal_is_no_error_of_the_function(error):
    with pytest.raises(type(error)):
        foreign.load("f", lambda: raising(error))
