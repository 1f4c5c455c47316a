"""GAS: sixteen gas sensors in a changing mixture of ethylene and carbon monoxide.

Source: "Gas sensor array under dynamic gas mixtures" (Fonollosa et al. 2015, UCI repository 322,
CC BY 4.0), as ``ethylene_CO.pickle`` of the authors' archive, a pandas frame of 2017 with a random
quarter of the rows; or as ``ethylene_CO.txt``, 4,208,261 rows of 19 columns.

Preparation by the authors: the columns Meth, Eth and Time are dropped; as long as any two columns
have a correlation above 0.98, the first column that is in such a pair is dropped: 8 features are
left. All rows are scaled to mean 0 and standard deviation 1 (ddof 1). The last tenth of the rows
tests, the last tenth of the rest validates: 852,174, 94,685 and 105,206 rows.

Oddities kept: the scaling sees the validation and test rows; correlations count with their sign,
so columns that mirror each other stay; nothing is shuffled.

Made from the text, the origin is ``redrawn``: which quarter the authors drew is not known. Here
it is the first quarter of a permutation by RandomState(42), in that order.
"""

import numpy as np
import pandas as pd

from maf_runner.datasets.base import Paths, Splits
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.npy import ready_made
from maf_runner.datasets.preparation.preparation import ARCHIVE, MB, Preparation, Variant
from maf_runner.datasets.preparation.splitting import cut, splits
from maf_runner.datasets.untrusted import pickles
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError

ROWS = 852174, 94685, 105206
PICKLE, TEXT = "ethylene_CO.pickle", "ethylene_CO.txt"
SENSORS = [f"R{i}" for i in range(1, 17)]
DROPPED = ["Meth", "Eth", "Time"]  # so the authors named them, also in the file with CO


def load(*, paths: Paths, download: bool) -> Splits:
    """Load GAS; see `store.load`."""
    return store.load(PREPARATION, paths, download=download)


def from_pickle(files: Files) -> Splits:
    """From the authors' frame."""
    name = files.names(PICKLE)[0]
    return authors_steps(pickles.load_frame(files.read(PICKLE), name), name)


def from_text(files: Files) -> Splits:
    """From the text of the UCI repository: a quarter of its rows, drawn here."""
    name = files.names(TEXT)[0]
    with files.open(TEXT) as file:
        table = parse(file, name)
    order = np.random.RandomState(42).permutation(len(table))
    return authors_steps(table.iloc[order[: len(table) // 4]], name)


def parse(file: object, name: str) -> pd.DataFrame:
    """The text as a frame; its header is a sentence and is not read.

    Raises:
        DataError: not 19 columns of numbers.
    """
    columns = ["Time", "Meth", "Eth", *SENSORS]
    try:
        table = pd.read_csv(file, sep=r"\s+", header=None, skiprows=1, dtype=np.float64)
        if table.shape[1] != len(columns) or table.isna().to_numpy().any():
            raise ValueError(f"expected rows of {len(columns)} numbers")
    except ValueError as error:
        raise DataError(f"{name} is not GAS's text: {error}") from error
    table.columns = columns
    return table


def authors_steps(table: pd.DataFrame, name: str) -> Splits:
    """The authors' steps on a frame with the columns of `DROPPED` and the sensors."""
    for column in DROPPED:
        if column not in table.columns:
            raise DataError(f"{name} has no column {column!r}; it has {list(table.columns)}")
    table = table.drop(columns=DROPPED)
    values = table.to_numpy(dtype=np.float64)
    correlated = np.corrcoef(values, rowvar=False) > 0.98
    selected = list(range(values.shape[1]))
    while (in_pair := correlated[np.ix_(selected, selected)].sum(axis=1) > 1).any():
        del selected[int(np.argmax(in_pair))]
    values = values[:, selected]
    return splits(*cut((values - values.mean(axis=0)) / values.std(axis=0, ddof=1)))


PREPARATION = Preparation(
    name="gas",
    version=1,
    features=8,
    rows=ROWS,
    variants=(
        Variant("authors", {PICKLE: 400 * MB}, from_pickle),
        ready_made(8, ROWS),
        Variant("redrawn", {TEXT: 1024 * MB}, from_text),
    ),
    downloads=(ARCHIVE,),
    manual="ethylene_CO.txt (or its zip) from https://archive.ics.uci.edu/dataset/322",
    licence="CC BY 4.0",
    cite="Fonollosa et al. (2015), Gas sensor array under dynamic gas mixtures, UCI",
)
