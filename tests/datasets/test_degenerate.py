"""A user's columns that have no density, or that 32-bit numbers cannot hold."""

import logging
import re

import numpy as np
import pandas as pd
import pytest

from maf_runner.datasets.user_table.degenerate import combinations
from maf_runner.datasets.user_table.steps import step_of
from maf_runner.system.errors import DataError
from tests.helpers.tables import read, saved

N = 400


@pytest.fixture
def said(caplog):
    """What is logged about a table: its lines, none of them long."""
    caplog.set_level(logging.INFO, logger="maf_runner")

    def lines():
        text = [record.getMessage() for record in caplog.records]
        caplog.clear()
        assert all(len(line) < 1500 for line in text)
        return "\n".join(text)

    return lines


def frame(**columns):
    rng = np.random.default_rng(3)
    return pd.DataFrame({"a": rng.normal(size=N), "b": rng.normal(size=N), **columns})


@pytest.fixture
def load(tmp_path):
    def load(table, suffix=".csv", **options):
        return read(saved(tmp_path, suffix, table), **options)

    return load


def test_plain_columns_are_not_reported(load, said):
    rng = np.random.default_rng(0)
    outliers = frame(c=rng.standard_cauchy(N), e=np.exp(3 * rng.normal(size=N)))
    load(outliers.assign(t=1.7e9 + rng.uniform(0, 3e7, N), kg=2e30 * np.exp(outliers["a"])))
    load(frame().astype(np.float32), ".parquet")
    load(frame(d=rng.normal(size=N).round(6)))
    assert said() == ""


def test_values_that_become_equal_are_counted_and_the_cause_is_named(load, said):
    rates = frame(rate=np.random.default_rng(0).uniform(1e-3, 3e-3, N))
    rates.loc[17, "rate"] = 3e9
    load(rates)
    text = said()
    assert "'rate' (2 of 320 values are left)" in text and "'a'" not in text
    assert "the farthest of 'rate' is 3e+09, in row 17 (from 0)" in text
    load(rates, standardise=False)
    assert said() == ""
    times = frame(t=1.7e9 + np.random.default_rng(0).uniform(0, 3e4, N))
    load(times)
    assert said() == ""
    load(times, standardise=False)
    text = said()
    assert "'t' (" in text and "use dataset.standardise=true, or subtract an offset" in text


@pytest.mark.parametrize("value", [-np.finfo(np.float32).max, 1e25, 1e300])
@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.filterwarnings("error")
def test_values_too_large_are_refused_by_place_in_every_split(load, value, standardise):
    places = set()
    for row in range(0, N, 37):  # some in each split
        table = frame()
        table.loc[row, "b"] = value
        message = f"column 'b' has the value {value:.6g} in row {row} (from 0), which is too large"
        with pytest.raises(DataError, match=re.escape(message)):
            load(table, standardise=standardise)
        places.add(row)
    assert len(places) > 10


@pytest.mark.filterwarnings("error")
def test_values_beyond_a_deviation_are_refused_by_place(load):
    table = frame()
    table.loc[[3, 8], "a"] = 1e308, -1.7e308
    with pytest.raises(DataError, match=r"'a' has the value -1\.7e\+308 in row 8 \(from 0\)"):
        load(table)


def test_columns_that_others_determine_are_named(load, said):
    a, b = frame()["a"], frame()["b"]
    load(frame(f=32 + 1.8 * a, total=a + b, copy=b))
    assert "f (from a), total (from a, b), copy (from b). Leave them out" in said()
    c = 15 + 8 * a
    load(pd.DataFrame({"c": c.round(2), "f": (32 + 1.8 * c).round(2), "b": b}))
    assert "f (from c)" in said()
    shares = np.random.default_rng(0).dirichlet([2, 3, 4], N)
    load(pd.DataFrame(shares, columns=["x", "y", "z"]))
    assert "z (from x, y)" in said()
    assert combinations(np.eye(3), ["x", "y", "z"]) == []  # no more rows than columns


def test_values_that_many_rows_share_are_reported(load, said):
    rng = np.random.default_rng(0)
    rain = np.where(np.arange(N) % 3 == 0, 0, rng.exponential(size=N))
    capped = np.minimum(frame()["a"], 1.2)
    load(frame(rain=rain, capped=capped, level=np.exp(np.arange(N) % 30 / 10)))
    text = said()
    assert "many rows share a value have no density there: rain (0 in 3" in text
    assert "capped (1.2 in 1" in text and "level (30 values in 320 rows)" in text


def test_rounded_columns_are_reported_with_their_steps(load, said):
    rng = np.random.default_rng(0)
    tenths = rng.integers(0, 300, N)
    table = frame(
        temp=tenths / 10,
        kelvin=273.15 + tenths[::-1] / 10,
        quarter=rng.integers(0, 99, N) / 4,
        third=rng.integers(0, 99, N) / 3,
    )
    load(table)
    text = said()
    assert "temp (0.1), kelvin (0.1), quarter (0.25), third (0.333333)" in text
    assert "'dataset.dequantise=[temp,kelvin,quarter,third]'" in text
    load(table, dequantise=["temp", "kelvin", "quarter", "third"])
    assert said() == ""
    load(table[["a", "temp"]].astype(np.float32), ".parquet")
    assert "temp (0.1)" in said()


def test_noise_is_as_wide_as_the_step(load):
    rng = np.random.default_rng(0)
    tenths = rng.integers(0, 300, N)
    table = frame(temp=tenths / 10, count=tenths, grade=5 * (tenths % 9), rain=rng.random(N))
    options = {"columns": ["temp", "count", "grade"], "standardise": False}
    filled = load(table, dequantise=["temp", "count", "grade"], **options).train.x.astype(float)
    rounded = load(table, **options).train.x.astype(float)
    noise = filled - rounded
    steps = [0.1, 1, 5]
    np.testing.assert_allclose(noise.min(axis=0) / steps, 0, atol=0.02)
    np.testing.assert_allclose(noise.max(axis=0) / steps, 1, atol=0.02)
    alone = load(table, columns=["count"], dequantise=["count"], standardise=False).train.x
    drawn = np.random.default_rng([0, 1]).random(320)  # as ever for whole numbers
    np.testing.assert_allclose(alone[:, 0] - rounded[:, 1], drawn, atol=1e-4)
    with pytest.raises(DataError, match="'rain' cannot be dequantised: its values are no mult"):
        load(table, dequantise=["rain"])


def test_the_step_of_values():
    rng = np.random.default_rng(0)
    steps = np.unique(rng.integers(-500, 500, 300))
    for width in (1.0, 5.0, 0.1, 0.25, 1e-6, 1 / 3, 1e5):
        assert step_of(steps * width) == pytest.approx(width, rel=1e-8)
        assert step_of(np.unique((steps * width).astype(np.float32)).astype(float)) == (
            pytest.approx(width, rel=1e-5)
        )
    for values in (rng.random(300), np.exp(steps / 50), rng.standard_cauchy(300), np.array([0.3])):
        assert step_of(np.unique(values)) is None


def test_a_label_that_is_a_measurement_is_refused_in_a_line(load, said):
    for label in (
        np.random.default_rng(0).normal(size=N),
        np.arange(N),
        [f"id{i}" for i in range(N)],
    ):
        with pytest.raises(DataError, match="has 400 different values in 400 rows") as error:
            load(frame(z=label), label="z")
        assert len(str(error.value)) < 500 and "\n" not in str(error.value)
    assert load(frame(z=np.arange(N) // 4), label="z").classes == 100
    load(frame(z=np.random.default_rng(0).integers(0, 200, N)), label="z")
    assert "no training row has the class" in said()


def test_warnings_of_many_columns_are_short(load, said):
    counts = np.random.default_rng(0).integers(0, 9, (N, 1000))
    load(pd.DataFrame(counts, columns=[f"{'column' * 30}{i}" for i in range(1000)]))
    assert "no density" in said()
