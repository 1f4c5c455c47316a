"""MINIBOONE: neutrino events of the MiniBooNE experiment.

Source: "MiniBooNE particle identification" (Roe et al. 2005, UCI repository 199, CC BY 4.0), as
``data.npy`` of the authors' archive [36488, 43], or as ``MiniBooNE_PID.txt``: a line with the
numbers of signal and background events, then 50 numbers a line, the signal first.

Preparation by the authors: signal events only; eleven outliers at -1000 are dropped (first column
below -100); columns whose smallest value occurs more than five times are dropped, 43 are left.
The last tenth of the rows tests, the last tenth of the rest validates: 29,556, 3,284 and 3,648
rows. Scaled by mean and standard deviation of training and validation rows.

Oddities kept: nothing is shuffled; the rule meant for values that occur too often looks at the
smallest value alone, and at all rows, the test rows too.

Made from the text, the origin is ``authors`` if the means of the splits are those of the
authors' arrays, else ``raw``.
"""

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import Paths, Splits
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.npy import load_array, ready_made
from maf_runner.datasets.preparation.preparation import ARCHIVE, MB, Preparation, Variant
from maf_runner.datasets.preparation.splitting import (
    cut,
    repeats_smallest,
    standardised,
)
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError

ROWS = 29556, 3284, 3648
TEXT = "MiniBooNE_PID.txt"
SIGNAL, COLUMNS = 36499, 50


def load(*, paths: Paths, download: bool) -> Splits:
    """Load MINIBOONE; see `store.load`."""
    return store.load(PREPARATION, paths, download=download)


def from_array(files: Files) -> Splits:
    """From the authors' array."""
    with files.open("data.npy") as file:
        return standardised(*cut(load_array(file, files.names("data.npy")[0], (None, 43))))


def from_text(files: Files) -> Splits:
    """From the text of the UCI repository."""
    name = files.names(TEXT)[0]
    signal = clean(parse(files.read(TEXT), name))
    return standardised(*cut(signal))


def parse(content: bytes, name: str) -> NDArray[np.float64]:
    """The signal events [36499, 50].

    Raises:
        DataError: another first line, fewer events, or a line of other than 50 numbers.
    """
    first, _, rest = content.partition(b"\n")
    if first.split()[:1] != [str(SIGNAL).encode()]:
        raise DataError(
            f"{name} should begin with the number of signal events, {SIGNAL}, and begins with "
            f"{first[:40].decode(errors='replace')!r}"
        )
    lines = rest.split(b"\n", SIGNAL)[:SIGNAL]
    try:
        return np.array([_event(line) for line in lines])
    except ValueError as error:
        raise DataError(f"{name}: a line is not {COLUMNS} numbers ({error})") from error


def _event(line: bytes) -> list[float]:
    numbers = [float(number) for number in line.split()]
    if len(numbers) != COLUMNS:
        raise ValueError(f"one has {len(numbers)}")
    return numbers


def clean(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop the outliers, then the columns that repeat their smallest value."""
    selected = signal[signal[:, 0] >= -100]
    return selected[:, ~repeats_smallest(selected)]


PREPARATION = Preparation(
    name="miniboone",
    version=1,
    features=43,
    rows=ROWS,
    variants=(
        Variant("authors", {"data.npy": 16 * MB}, from_array),
        ready_made(43, ROWS),
        Variant("raw", {TEXT: 128 * MB}, from_text),
    ),
    downloads=(ARCHIVE,),
    manual="MiniBooNE_PID.txt (or its zip) from https://archive.ics.uci.edu/dataset/199",
    licence="CC BY 4.0",
    cite="Roe et al. (2005), MiniBooNE particle identification, UCI",
    means={"authors": (-0.000343080, 0.003087708, -0.002955230)},
)
