"""Columns that are conditioned on, categories and bounded columns of one's own table."""

import numpy as np
import pandas as pd
import pytest

from maf_runner.datasets.spaces.categories import codes_of
from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.system.errors import DataError
from tests.helpers.tables import read


def engines(n=300):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "power": rng.normal(50, 5, n),
            "heat": rng.normal(300, 20, n),
            "rpm": rng.uniform(1000, 3000, n),
            "site": rng.choice(["north", "south", "NA"], n),
            "code": rng.choice([1, 2, 30], n),
        }
    )


@pytest.fixture
def path(tmp_path):
    engines().to_csv(tmp_path / "engines.csv", index=False)
    return tmp_path / "engines.csv"


def test_numbers_are_standardised_and_categories_are_one_hot(path):
    splits = read(path, context=["rpm", "site", "code"], categorical=["site", "code"])
    assert splits.table.columns == ("power", "heat") and splits.features == 2
    space, train = splits.context, splits.train
    assert space.names == ("rpm", "site", "code") and space.width == train.context.shape[1] == 7
    assert space.columns[1].categories == ("NA", "north", "south")
    assert space.columns[2].categories == (1, 2, 30)
    assert abs(train.context[:, 0].mean()) < 1e-5 and abs(train.context[:, 0].std() - 1) < 1e-5
    for places in (slice(1, 4), slice(4, 7)):
        assert (train.context[:, places].sum(axis=1) == 1).all()
    again = ContextSpace.from_json(space.to_json())
    assert again == space
    frame = engines()
    rows = np.vstack([part.context for part in (splits.train, splits.validation, splits.test)])
    encoded = again.encode(frame, "here").astype(np.float32)
    assert (np.sort(rows, axis=0) == np.sort(encoded, axis=0)).all()
    # Values are found by their text as well: a CSV read in pieces has no other.
    as_text = frame.assign(code=frame.code.astype(str))
    assert (again.encode(as_text, "here").astype(np.float32) == encoded).all()


def test_a_label_is_a_context_column_beside_others(path):
    splits = read(path, context=["rpm"], label="site")
    assert splits.context.names == ("site", "rpm") and splits.classes == 0
    assert splits.context.columns[0].categories == ("NA", "north", "south")
    assert splits.train.labels is None and splits.table.label is None


def test_the_fingerprint_is_of_the_context_too(path):
    one, other = (read(path, columns=["power"], context=[name]) for name in ("rpm", "heat"))
    assert one.fingerprint != other.fingerprint


def test_a_flag_says_where_a_value_is_missing(tmp_path):
    frame = engines()
    frame.loc[::5, "rpm"] = np.nan
    frame.loc[::7, "site"] = np.nan
    frame.to_csv(tmp_path / "x.csv", index=False)
    given = {"context": ["rpm", "site"], "columns": ["power"], "categorical": ["site"]}
    with pytest.raises(DataError, match=r"values are missing.*'rpm'.*dataset.missing=indicator"):
        read(tmp_path / "x.csv", **given)
    assert len(read(tmp_path / "x.csv", **given, missing="drop").train) < 200
    space = read(tmp_path / "x.csv", **given, missing="indicator").context
    assert space.width == 2 + 4 and [c.flagged for c in space.columns] == [True, True]
    context = space.encode(frame, "here")
    assert (context[::5, :2] == [0, 1]).all() and (context[::7, 2:] == [0, 0, 0, 1]).all()
    assert (context[1::5, 1] == 0).all()
    frame.loc[3, "power"] = np.nan
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(DataError, match=r"column 'power'. Correct"):
        read(tmp_path / "x.csv", **given, missing="indicator")


def test_arrays_beside_each_other(tmp_path):
    rng = np.random.default_rng(0)
    theta, x = rng.normal(size=(100, 2)), rng.normal(size=(100, 3))
    np.savez(tmp_path / "s.npz", theta=theta, x=x)
    splits = read(tmp_path / "s.npz", context=["x"])
    assert splits.table.columns == ("theta_0", "theta_1")
    assert splits.context.names == ("x_0", "x_1", "x_2")
    np.savez(tmp_path / "s.npz", theta=theta, x=x[:, 0])
    assert read(tmp_path / "s.npz", context=["x"]).context.names == ("x",)
    np.savez(tmp_path / "s.npz", theta=theta, x=x[:50])
    with pytest.raises(DataError, match="not of as many rows as each other"):
        read(tmp_path / "s.npz", context=["x"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"context": ["rpm"], "columns": ["rpm"]}, ValueError, "either modelled or conditioned"),
        ({"context": ["rmp"]}, DataError, "no column 'rmp' .dataset.context.; did you mean 'rpm'"),
        ({"context": ["rpm", "rpm"]}, ValueError, "names 'rpm' more than once"),
        ({"context": ["rpm"], "weight": "rpm"}, ValueError, "in both weight and context"),
        ({"context": "rpm"}, ValueError, "must be a list of names"),
        ({"missing": "indicator"}, ValueError, "is for context columns"),
        ({"context": ["rpm"], "label": "site", "class_prior": "empirical"}, ValueError, "none"),
        ({"context": ["one"]}, DataError, "'one' has one value in all training rows .'7'., so"),
        ({"context": ["id"]}, DataError, "240 different values in .* no classes"),
        ({"context": ["day"]}, DataError, "different values|dates"),
        ({"context": ["rare"]}, DataError, "'rare' has 'b' in row .*which no training row has"),
        ({"bounded": {"power": [60, None]}}, DataError, "'power' has the value .*60 and inf"),
        ({"bounded": {"site": [0, 1]}}, ValueError, "bounded names 'site'"),
        ({"bounded": {"power": [1, 1]}}, ValueError, "lower and an upper end"),
        ({"categorical": ["sites"]}, DataError, "no column 'sites' .dataset.categorical."),
    ],
)  # fmt: skip
def test_what_cannot_be_conditioned_on(tmp_path, changes, error, message):
    frame = engines().assign(one=7, id=[f"engine {i}" for i in range(300)])
    frame["day"] = pd.date_range("2020-01-01", periods=300)
    frame["rare"] = ["a"] * 150 + ["c"] * 149 + ["b"]
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(error, match=message):
        read(tmp_path / "x.csv", shuffle=False, **changes)


def test_what_scoring_cannot_encode(path):
    space = read(path, context=["rpm", "site"], categorical=["site"]).context
    frame = engines()
    with pytest.raises(DataError, match=r"new\.csv has no column 'rpm', which this run is cond"):
        space.encode(frame.drop(columns="rpm"), "new.csv")
    frame.loc[5, "site"] = "nort"
    with pytest.raises(DataError, match=r"'site' has 'nort' in row 5 .from 0., which no .*'n"):
        space.encode(frame, "new.csv")  # fmt: skip
    frame = engines()
    frame["rpm"] = "fast"
    with pytest.raises(DataError, match=r"new\.csv: column 'rpm' must hold numbers"):
        space.encode(frame, "new.csv")
    frame["rpm"] = 2000.0
    assert space.beyond(frame) == []
    frame.loc[[3, 8], "rpm"] = [9000.0, 0.0]
    (text,) = space.beyond(frame)
    assert text.startswith("rpm = 9000 in row 3 (from 0) and 1 others; in training it lay between")


def test_modelled_categories_are_whole_numbers_with_noise_and_come_back(path, caplog):
    caplog.set_level("INFO", logger="maf_runner")
    splits = read(path, columns=["power", "site"], categorical=["site"])
    assert "3 categories of 'site'" in caplog.text and "1.58 bits" in caplog.text
    space = splits.table
    assert space.categories == ((), ("NA", "north", "south")) and space.steps == (0, 1)
    assert TableSpace.from_json(space.to_json()) == space
    values = space.values_of(splits.train.x)
    assert set(values["site"]) == {"NA", "north", "south"}
    rows = space.to_table(splits.train.x)
    assert rows[:, 1].min() >= 0 and rows[:, 1].max() < 3
    middles = space.numbers_of(engines())["site"]
    assert set(middles) == {0.5, 1.5, 2.5}
    codes = np.array([0.5, 1.5, 2.5])[pd.Categorical(engines().site).codes]
    assert (middles == codes).all()


def test_bounded_columns(tmp_path):
    """The round trip, the values in their bounds, and the Jacobian by differences."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"free": rng.normal(size=400), "share": rng.beta(2, 5, 400), "price": rng.gamma(2, 3, 400),
         "debt": -rng.gamma(2, 3, 400)}
    )  # fmt: skip
    frame.to_csv(tmp_path / "x.csv", index=False)
    ends = {"share": [0, 1], "price": [0, None], "debt": [None, 0]}
    space = read(tmp_path / "x.csv", bounded=ends).table
    assert TableSpace.from_json(space.to_json()) == space
    x = frame.to_numpy()
    z = space.to_model(x)
    np.testing.assert_allclose(space.to_table(z), x, rtol=1e-9, atol=1e-12)
    step = 1e-6 * np.abs(x)
    slopes = (space.to_model(x + step) - space.to_model(x - step)) / (2 * step)
    np.testing.assert_allclose(space.log_det(x), np.log(slopes).sum(axis=1), rtol=1e-6, atol=1e-6)
    far = space.to_table(rng.normal(scale=100, size=(1000, 4)))
    assert (far[:, 1] >= 0).all() and (far[:, 1] <= 1).all()
    assert (far[:, 2] >= 0).all() and (far[:, 3] <= 0).all()
    outside = space.to_model(np.array([[0.0, 1.5, 2.0, -1.0]]))
    assert not np.isfinite(outside).all()


def test_ends_of_a_column_with_noise_must_hold_the_noise(tmp_path):
    frame = engines()[["power"]].assign(k=np.arange(300) % 11)
    frame.to_csv(tmp_path / "x.csv", index=False)
    message = r"'k' has the value 10 in row .* between 0 and 11: give such ends, or leave these"
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.csv", dequantise=["k"], bounded={"k": [0, 10]})
    assert read(tmp_path / "x.csv", dequantise=["k"], bounded={"k": [0, 11]}).features == 2


def test_whole_numbers_beside_a_gap_are_the_same_categories_at_scoring():
    """pandas writes them as 5.0; a file is scored with its categories as text."""
    values = pd.Series(["5.0", "1.0", None, "2"], name="k")
    assert codes_of(values, [1, 2, 5]).tolist() == [2, 0, -1, 1]
    with pytest.raises(DataError, match="'01'"):
        codes_of(pd.Series(["01"], name="k"), [1, 2, 5])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pd.to_datetime(["2020-01-01", "2020-02-01"]), {"2020-01-01", "2020-02-01"}),
        (pd.to_datetime([0, 90], unit="m"), {"1970-01-01", "1970-01-01 01:30:00"}),
        (pd.to_timedelta([1, 2], unit="D"), {"1 days", "2 days"}),
        ([b"a", b"b\xff"], {"a", "b\\xff"}),
    ],
)
def test_modelled_categories_of_dates_and_bytes_are_texts(tmp_path, values, texts):
    frame = engines()[["power"]].assign(kind=list(values) * 150)
    frame.to_parquet(tmp_path / "x.parquet")
    splits = read(tmp_path / "x.parquet", columns=["power", "kind"], categorical=["kind"])
    assert set(splits.table.values_of(splits.train.x)["kind"]) == texts
    assert codes_of(frame["kind"].iloc[:2], splits.table.categories[1]).tolist() == [0, 1]


def test_a_list_in_a_cell_is_no_category():
    with pytest.raises(DataError, match=r"'site' has \['a', 'b'\] in row 1 .*one category"):
        codes_of(pd.Series(["a", ["a", "b"]], name="site"), ["a", "b"])
