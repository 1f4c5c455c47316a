"""HEPMASS: simulated particle collisions in which an exotic particle of mass 1000 decays.

Source: HEPMASS (Baldi et al. 2016, "Parameterized neural networks for high-energy physics", UCI
repository 347, CC BY 4.0): ``1000_train.csv`` and ``1000_test.csv``, packed or not, alike in the
authors' archive and in the repository; so their origin is ``authors`` for both.

Preparation by the authors: rows of class 1 (the signal) are kept and the class is dropped. Scaled
by mean and standard deviation (ddof 1) of the rows of the training file. Of 26 features those are
dropped whose smallest value occurs more than five times: 21 are left. The last tenth of the
training file validates; the test file tests: 315,123, 35,013 and 174,987 rows.

Oddities kept: each row has 28 values, the class and 27 more, but the header of the training file
names 27 columns, so that the authors' ``read_csv(index_col=False)`` loses the last value of every
row without a word; of the test file, whose header has one name more, they drop it by hand. So 26
values are features, by their position. The scaling sees the validation rows. The rule meant for
values that occur too often looks at the smallest value alone.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import Paths, Splits
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.npy import ready_made
from maf_runner.datasets.preparation.preparation import ARCHIVE, MB, Preparation, Variant
from maf_runner.datasets.preparation.splitting import (
    cut_tenth,
    repeats_smallest,
    splits,
)
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError

ROWS = 315123, 35013, 174987
TRAIN, TEST = "1000_train.csv", "1000_test.csv"
FEATURES = 26  # that are read of each row, after the class
VALUES = (1 + FEATURES, 2 + FEATURES)  # in a row; copies without the last one read alike
NAMES = (1 + FEATURES, 2 + FEATURES, 3 + FEATURES)  # in a header


def load(*, paths: Paths, download: bool) -> Splits:
    """Load HEPMASS; see `store.load`."""
    return store.load(PREPARATION, paths, download=download)


def from_csv(files: Files) -> Splits:
    """From the two files of events.

    Raises:
        DataError: their headers name other columns.
    """
    (names, seen), (test_names, test) = (parse(files, pattern) for pattern in (TRAIN, TEST))
    for number, (name, other) in enumerate(zip(names, test_names, strict=False), 1):
        if name != other:
            raise DataError(
                f"{files.names(TEST)[0]} names column {number} {other!r}, where "
                f"{files.names(TRAIN)[0]} has {name!r}"
            )
    mean, deviation = seen.mean(axis=0), seen.std(axis=0, ddof=1)
    seen, test = (seen - mean) / deviation, (test - mean) / deviation
    selected = ~repeats_smallest(seen)
    train, validation = cut_tenth(seen[:, selected])
    return splits(train, validation, test[:, selected])


def parse(files: Files, pattern: str) -> tuple[list[str], NDArray[np.float64]]:
    """The names in the header, and the features [N, 26] of the events of class 1.

    Raises:
        DataError: another number of columns, fields that are no numbers, or values missing.
    """
    name = files.names(pattern)[0]
    try:
        with files.open(pattern) as file:
            header = file.readline(MB).decode("utf-8-sig")
            names = [name.strip() for name in header.split(",")]
            table = pd.read_csv(file, header=None, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{name} is not a table of numbers: {error}") from error
    if len(names) not in NAMES or table.shape[1] not in VALUES:
        raise DataError(
            f"{name} should have {_either(NAMES)} names in its header and {_either(VALUES)} "
            f"values in each row, and has {len(names)} and {table.shape[1]}"
        )
    values = table.to_numpy()
    if not np.isfinite(values).all():
        raise DataError(f"{name} lacks values")
    return names, values[values[:, 0] == 1, 1 : 1 + FEATURES]


def _either(counts: tuple[int, ...]) -> str:
    return " or ".join(map(str, counts))


PREPARATION = Preparation(
    name="hepmass",
    version=1,
    features=21,
    rows=ROWS,
    variants=(
        Variant("authors", {TRAIN: 800 * MB, TEST: 400 * MB}, from_csv),
        ready_made(21, ROWS),
    ),
    downloads=(ARCHIVE,),
    manual="1000_train.csv.gz and 1000_test.csv.gz from https://archive.ics.uci.edu/dataset/347",
    licence="CC BY 4.0",
    cite="Baldi et al. (2016), HEPMASS, UCI",
)
