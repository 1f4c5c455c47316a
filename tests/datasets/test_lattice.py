"""The values of rounded columns come back to the last digit."""

import numpy as np
import pytest

from maf_runner.datasets.spaces.lattice import Lattice
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.user_table.steps import step_of

RNG = np.random.default_rng(0)
COLUMNS = {
    "tenths": np.round(RNG.normal(20, 3, 400), 1),
    "hundredths around 0": np.round(RNG.normal(0, 1, 400), 2),
    "small": np.array([float(f"{x:.5f}") for x in RNG.normal(0.01, 0.001, 400)]),
    "smaller": np.array([float(f"{x:.9f}") for x in RNG.normal(1e-6, 1e-7, 400)]),
    "thirds": RNG.integers(-500, 500, 400) / 3,
    "sixtieths": RNG.integers(0, 300, 400) / 60,
    "twentieths": np.round(0.05 * RNG.integers(0, 100, 400), 2),
    "halves beside an offset": 273.15 + 0.5 * RNG.integers(0, 100, 400),
    "large": RNG.integers(2**40, 2**41, 400).astype(np.float64),
    "thousands": 1000.0 * RNG.integers(-9, 9, 400),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_values_are_those_of_the_table(name, dtype):
    expected = np.unique(COLUMNS[name])
    stored = np.unique(COLUMNS[name].astype(dtype)).astype(np.float64)
    if len(stored) < len(expected) or name == "large":
        expected = stored
    step = step_of(stored)
    k = np.round((stored - stored[0]) / step)
    found = Lattice.of(step, stored[0]).values(k)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("step", "origin", "seventh"),
    [
        (2.0, 5_000_001.0, 5_000_015.0),
        (1000.0, 5_000_001.0, 5_007_001.0),
        (0.03, 100_000.0, 100_000.21),
        (0.03, 1_234_567.25, 1_234_567.46),
    ],
)
def test_an_origin_that_is_exact_in_32_bit_numbers_is_kept(step, origin, seventh):
    assert Lattice.of(step, origin).values(np.array([0.0, 7.0])).tolist() == [origin, seventh]


def test_values_too_large_to_be_exact_are_there_all_the_same():
    found = Lattice.of(0.1, 18.3).values(np.array([5, 1e300, np.inf, np.nan]))
    np.testing.assert_allclose(found, [18.8, 1e299, np.inf, np.nan])
    assert found[0] == 18.8


def test_columns_of_whole_numbers():
    space = TableSpace(
        tuple("abcd"),
        (0.0,) * 4,
        (1.0,) * 4,
        steps=(2.0, 0.5, 0.0, 1.0),
        origins=(1.0, 0.0, 0.0, 0.0),
        categories=((), (), (), ("x", "y")),
    )
    assert space.whole_numbers == {"a"}
    assert space.without_noise(np.array([[4.9, 4.9, 4.9, 1.9]])).tolist() == [[3, 4.5, 4.9, 1]]
    middle = space.in_the_middle(space.without_noise(np.array([[4.9, 4.9, 4.9, 1.9]])))
    steps = np.array(space.steps)
    np.testing.assert_allclose(middle, np.array([[3, 4.5, 4.9, 1]]) + steps / 2, rtol=1e-12)
    np.testing.assert_allclose(space.in_the_middle(middle), middle, rtol=1e-12)
