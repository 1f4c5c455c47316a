"""HEPMASS: simulated particle collisions in which an exotic particle of mass 1000 decays.

Source: HEPMASS (Baldi et al. 2016, "Parameterized neural networks for high-energy physics", UCI
repository 347, CC BY 4.0): ``1000_train.csv`` and ``1000_test.csv``, packed or not, alike in the
authors' archive and in the repository; so the recipe is called ``authors`` for both.

Recipe of the authors: rows of class 1 (the signal) are kept and the class is dropped. Scaled by
mean and standard deviation (ddof 1) of the rows of the training file. Of 27 features those are
dropped whose smallest value occurs more than five times: 21 are left. The last tenth of the
training file validates; the test file tests: 315,123, 35,013 and 174,987 rows.

Oddities kept: the header of the test file names one column more than its rows have, so that the
last column is not a feature, whatever was read into it, and is dropped (``index_col=False`` keeps
the others in their place); the scaling sees the validation rows; the rule meant for values that
occur too often looks at the smallest value alone.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets import store
from maf_runner.datasets.base import Paths, Splits
from maf_runner.datasets.recipe import ARCHIVE, MB, Recipe, Variant
from maf_runner.datasets.sources import Files
from maf_runner.datasets.splitting import cut_tenth, ready_made, repeats_smallest, splits
from maf_runner.errors import DataError

ROWS = 315123, 35013, 174987
TRAIN, TEST = "1000_train.csv", "1000_test.csv"
FEATURES = 27  # in the files


def load(*, paths: Paths, download: bool) -> Splits:
    """Load HEPMASS; see `store.load`."""
    return store.load(RECIPE, paths, download=download)


def from_csv(files: Files) -> Splits:
    """From the two files of events."""
    seen = parse(files, TRAIN, 1 + FEATURES)
    test = parse(files, TEST, 1 + FEATURES + 1)[:, :-1]
    for pattern, features in ((TRAIN, seen), (TEST, test)):
        if not np.isfinite(features).all():
            raise DataError(f"{files.names(pattern)[0]} lacks values in its features")
    mean, deviation = seen.mean(axis=0), seen.std(axis=0, ddof=1)
    seen, test = (seen - mean) / deviation, (test - mean) / deviation
    kept = ~repeats_smallest(seen)
    train, validation = cut_tenth(seen[:, kept])
    return splits(train, validation, test[:, kept])


def parse(files: Files, pattern: str, columns: int) -> NDArray[np.float64]:
    """The features of the events of class 1, from a file whose header names ``columns``.

    Raises:
        DataError: another number of columns, or fields that are no numbers.
    """
    name = files.names(pattern)[0]
    try:
        with files.open(pattern) as file:
            table = pd.read_csv(file, index_col=False, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{name} is not a table of numbers: {error}") from error
    if table.shape[1] != columns:
        raise DataError(
            f"{name} should have {columns} columns by its header, and has {table.shape[1]}"
        )
    values = table.to_numpy()
    return values[values[:, 0] == 1, 1:]


RECIPE = Recipe(
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
