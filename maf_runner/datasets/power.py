"""POWER: electric power consumption of one household, minute by minute, over 47 months.

Source: "Individual Household Electric Power Consumption" (Hebrail & Berard 2012, UCI repository
235, CC BY 4.0), as ``data.npy`` of the authors' archive [2049280, 8], or as
``household_power_consumption.txt``, 2,075,259 minutes of which 25,979 were not measured (``?``).

Columns of the authors' array: active power, reactive power, voltage, intensity, three sub-meters,
time. Preparation by the authors, with one RandomState(42): the rows are shuffled; intensity and
reactive power are dropped; uniform noise fills the steps of the meters: [0, 0.01) on the voltage,
[0, 0.001) on the active power, [0, 1) on the sub-meters, drawn in this order. The last tenth of
the rows tests, the last tenth of the rest validates: 1,659,917, 184,435 and 204,928 rows of 6
features. Scaled by mean and standard deviation of training and validation rows.

Oddities kept: the rows are shuffled although they are a time series; the noise on voltage is
drawn before that on active power, which is an earlier column; no noise is put on the time.

Made from the text, the origin is ``raw``: how the authors turned the time of day into a number is
not known. Here it is the minute of the day plus uniform noise of its own, since the paper speaks
of noise on the time as well.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import Paths, Splits
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.npy import load_array, ready_made
from maf_runner.datasets.preparation.preparation import ARCHIVE, MB, Preparation, Variant
from maf_runner.datasets.preparation.splitting import cut, standardised
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError

ROWS = 1659917, 184435, 204928
TEXT = "household_power_consumption.txt"
HEADER = [
    "Date",
    "Time",
    "Global_active_power",
    "Global_reactive_power",
    "Voltage",
    "Global_intensity",
    "Sub_metering_1",
    "Sub_metering_2",
    "Sub_metering_3",
]


def load(*, paths: Paths, download: bool) -> Splits:
    """Load POWER; see `store.load`."""
    return store.load(PREPARATION, paths, download=download)


def from_array(files: Files) -> Splits:
    """From the authors' array."""
    with files.open("data.npy") as file:
        return authors_steps(load_array(file, files.names("data.npy")[0], (None, 8)))


def from_text(files: Files) -> Splits:
    """From the text of the UCI repository."""
    name = files.names(TEXT)[0]
    with files.open(TEXT) as file:
        minutes = parse(file, name)
    minutes[:, 7] += np.random.RandomState(43).rand(len(minutes))
    return authors_steps(minutes)


def parse(file: object, name: str) -> NDArray[np.float64]:
    """The minutes that were measured [N, 8], the columns as the authors'; time as minute of day.

    Raises:
        DataError: another header, or a field that is no number or time.
    """
    try:
        table = pd.read_csv(file, sep=";", na_values="?", dtype={"Date": str, "Time": str})
        if list(table.columns) != HEADER:
            raise ValueError(f"its header is {list(table.columns)}, expected {HEADER}")
        table = table.dropna()
        hours, minutes = table["Time"].str[:2], table["Time"].str[3:5]
        table["minute"] = hours.astype(int) * 60 + minutes.astype(int)
        return table[[*HEADER[2:], "minute"]].to_numpy(dtype=np.float64)
    except (ValueError, KeyError) as error:
        raise DataError(f"{name} is not POWER's text: {error}") from error


def authors_steps(table: NDArray[np.float64]) -> Splits:
    """The authors' steps on an array [N, 8]; it is shuffled in place."""
    rng = np.random.RandomState(42)
    rng.shuffle(table)
    n = len(table)
    active, _, voltage, _, meters, time = np.split(table, [1, 2, 3, 4, 7], axis=1)
    voltage = voltage + 0.01 * rng.rand(n, 1)
    active = active + 0.001 * rng.rand(n, 1)
    meters = meters + rng.rand(n, 3)
    return standardised(*cut(np.hstack([active, voltage, meters, time])))


PREPARATION = Preparation(
    name="power",
    version=1,
    features=6,
    rows=ROWS,
    variants=(
        Variant("authors", {"data.npy": 140 * MB}, from_array),
        ready_made(6, ROWS),
        Variant("raw", {TEXT: 200 * MB}, from_text),
    ),
    downloads=(ARCHIVE,),
    manual=f"{TEXT} (or its zip) from https://archive.ics.uci.edu/dataset/235",
    licence="CC BY 4.0",
    cite="Hebrail & Berard (2012), Individual Household Electric Power Consumption, UCI",
)
