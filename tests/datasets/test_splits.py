"""Which rows of a user's table train, validate and test; and their weights."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from maf_runner.engine.driver import EAGER, Driver, choose
from maf_runner.experiment.evaluation import evaluate
from maf_runner.flows import Gaussian
from maf_runner.records.statistics import mean_and_error, not_finite, outlier
from maf_runner.system.errors import DataError, UsageError
from maf_runner.training import TrainerSettings
from tests.helpers.models import build
from tests.helpers.settings import TRAINER
from tests.helpers.tables import read


def rows(start, n):
    """Rows that are known by their first value."""
    noise = np.random.default_rng(start).normal(size=n)
    return pd.DataFrame({"x": start + np.arange(n) + 0.25, "y": noise})


def write(folder, name, frame):
    frame.to_csv(folder / name, index=False)
    return str(folder / name)


def numbers_of(splits):
    """The numbers of the rows of each split."""
    parts = (splits.train, splits.validation, splits.test)
    return [(part.x[:, 0] - 0.25).round().astype(int).tolist() for part in parts]


def test_splits_in_files_of_their_own(tmp_path):
    main = write(tmp_path, "train.csv", rows(0, 90))
    validation = write(tmp_path, "val.csv", rows(1000, 7))
    test = write(tmp_path, "test.csv", rows(2000, 5))
    own, held, tested = numbers_of(read(main, validation=validation, test=test, standardise=False))
    assert own == list(range(90)) and held == list(range(1000, 1007))
    assert tested == list(range(2000, 2005))
    # What no file gives is drawn from the other rows, in the ratio of the fractions.
    splits = read(main, test=test, standardise=False)
    own, held, tested = numbers_of(splits)
    assert len(own) == 80 and len(held) == 10 and sorted(own + held) == list(range(90))
    assert tested == list(range(2000, 2005)) and own != sorted(own)
    assert set(splits.sources) == {"train.csv", "test.csv"}
    own, held, tested = numbers_of(read(main, validation=validation, standardise=False))
    assert len(own) == 80 and held == list(range(1000, 1007)) and len(tested) == 10
    (tmp_path / "more").mkdir()
    again = write(tmp_path, "more/train.csv", rows(2000, 5))
    assert set(read(main, test=again).sources) == {"train.csv", "test: train.csv"}


def test_places_are_those_of_the_file(tmp_path):
    main = write(tmp_path, "train.csv", rows(0, 90))
    bad = rows(2000, 5)
    bad.loc[3, "y"] = np.nan
    test = write(tmp_path, "test.csv", bad)
    with pytest.raises(DataError, match=r"test\.csv: 1 values are missing .*row 3 .*'y'"):
        read(main, test=test)
    assert len(read(main, test=test, missing="drop").test) == 4
    bad.loc[3, "y"] = 1e25
    with pytest.raises(DataError, match=r"test\.csv: column 'y' has the value 1e\+25 in row 3 "):
        read(main, test=write(tmp_path, "test.csv", bad))
    with pytest.raises(DataError, match=r"other\.csv: the split test has no column 'y'"):
        read(main, test=write(tmp_path, "other.csv", rows(0, 5).drop(columns="y")))
    with pytest.raises(DataError, match=r"none\.csv not found \(dataset\.test\)"):
        read(main, test=str(tmp_path / "none.csv"))
    np.savez(tmp_path / "s.npz", **{n: np.eye(3) for n in ("train", "val", "test")})
    for path, other in ((main, tmp_path / "s.npz"), (tmp_path / "s.npz", main)):
        with pytest.raises(DataError, match=r"s\.npz holds splits of its own .* dataset\.test "):
            read(path, test=str(other))


def test_a_split_by_a_column(tmp_path):
    words = np.array(["train", "Training", "val", "TEST ", "train"])[np.arange(50) % 5]
    frame = rows(0, 50).assign(part=words)
    splits = read(write(tmp_path, "x.csv", frame), split="part", standardise=False)
    expected = [[i for i in range(50) if i % 5 in own] for own in ((0, 1, 4), (2,), (3,))]
    assert splits.features == 2 and numbers_of(splits) == expected
    frame["part"] = np.where(np.arange(50) < 45, "train", "test")
    own, held, tested = numbers_of(
        read(write(tmp_path, "x.csv", frame), split="part", standardise=False)
    )
    assert len(held) == 5 and sorted(own + held) == list(range(45))
    assert tested == list(range(45, 50))
    frame.loc[3, "part"] = None
    with pytest.raises(DataError, match=r"row 3 \(from 0\), column 'part'"):
        read(write(tmp_path, "x.csv", frame), split="part")
    frame["part"] = np.arange(50) % 3
    with pytest.raises(DataError, match=r"must say train, validation or test .* has 0, 1, 2"):
        read(write(tmp_path, "x.csv", frame), split="part")
    with pytest.raises(DataError, match=r"no column 'parts' \(dataset\.split\).*mean 'part'"):
        read(write(tmp_path, "x.csv", frame), split="parts")


def test_a_split_by_order(tmp_path):
    path = write(tmp_path, "x.csv", rows(0, 50))
    assert numbers_of(read(path, shuffle=False, standardise=False)) == [
        list(range(40)), list(range(40, 45)), list(range(45, 50)),
    ]  # fmt: skip
    test = write(tmp_path, "test.csv", rows(2000, 5))
    own, held, _ = numbers_of(read(path, test=test, shuffle=False, standardise=False))
    assert own == list(range(44)) and held == list(range(44, 50))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shuffle": 1}, "shuffle must be true or false"),
        ({"split": "x", "columns": ["x"]}, "'x' is both in columns and the split"),
        ({"split": "y", "label": "y"}, "'y' is both the label and the split"),
        ({"split": "y", "weight": "y"}, "'y' is both the split and the weight"),
        ({"split": "y", "test": "b.csv"}, "leave out validation and test"),
        ({"weight": ["y"]}, "weight must be the name of a column"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path, "x.csv", rows(0, 50)), **options)


def test_weights_go_with_their_rows(tmp_path):
    frame = rows(0, 50).assign(w=np.arange(50) % 4, kind=np.arange(50) % 2)
    path = write(tmp_path, "x.csv", frame)
    splits = read(path, weight="w", label="kind", class_prior="empirical", standardise=False)
    parts = (splits.train, splits.validation, splits.test)
    assert splits.features == 2 and sum(map(len, parts)) == 37  # those of weight 0 are left out
    for part, own in zip(parts, numbers_of(splits), strict=True):
        assert part.weights.tolist() == [i % 4 for i in own]
    odd = splits.train.weights[splits.train.labels == 1].sum() / splits.train.weights.sum()
    assert splits.prior == pytest.approx((1 - odd, odd))
    plain = read(path, columns=["x", "y"])
    assert plain.train.weights is None
    ones = read(write(tmp_path, "1.csv", frame.assign(w=1)), weight="w", columns=["x", "y"])
    assert (ones.train.x == plain.train.x).all() and ones.fingerprint != plain.fingerprint
    for value, message in (
        (-2, r"column 'w' \(dataset.weight\) has the value -2 in row 7 \(from 0\)"),
        (None, r"row 7 \(from 0\), column 'w'"),
        ("much", "non-numeric columns: w"),
    ):
        bad = frame.astype({"w": object})
        bad.loc[7, "w"] = value
        with pytest.raises(DataError, match=message):
            read(write(tmp_path, "bad.csv", bad), weight="w")
    for value in (0, 1e308):
        with pytest.raises(DataError, match=r"column 'w' \(dataset.weight\) add up to "):
            read(write(tmp_path, "bad.csv", frame.assign(w=value)), weight="w")


def repeated(values, weights):
    return np.repeat(values, weights, axis=0)


def test_a_weight_of_two_is_a_row_twice():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(60, 3)), rng.integers(1, 4, 60)
    twice = torch.from_numpy(repeated(x, weights))
    x, given = torch.from_numpy(x), weights.astype(float)
    one, two = Gaussian(3), Gaussian(3)
    one.fit(x, None, torch.from_numpy(given / given.mean()))
    two.fit(twice)
    torch.testing.assert_close(one.mean, two.mean)
    torch.testing.assert_close(one.cholesky, two.cholesky)
    figures, nats = evaluate(one, x, weights=given)
    assert figures["log_likelihood"] == pytest.approx(evaluate(two, twice)[0]["log_likelihood"])
    share = given / given.sum()
    error = 2 * np.sqrt((share**2 * (nats.numpy() - figures["log_likelihood"]) ** 2).sum())
    assert figures["error"] == pytest.approx(error)
    steps = []
    for rows_, of_rows in ((x, torch.from_numpy(given / given.mean())), (twice, None)):
        torch.manual_seed(0)
        driver = Driver(build("made", 3), TrainerSettings(**TRAINER).adam, EAGER)
        loss = driver.step(rows_, None, 0.01, of_rows)
        held = driver.evaluate((rows_, None), (rows_, None), of_rows)
        steps.append((float(loss), driver.engine.parameters.clone(), held))
    assert steps[0][0] == pytest.approx(steps[1][0]) and steps[0][2] == pytest.approx(steps[1][2])
    torch.testing.assert_close(steps[0][1], steps[1][1], rtol=1e-6, atol=1e-8)


def test_equal_weights_are_none():
    nats = np.random.default_rng(0).normal(size=100)
    assert mean_and_error(nats, np.full(100, 3.0)) == pytest.approx(mean_and_error(nats))
    nats[7] = -900
    for weights in (None, np.ones(100)):
        assert outlier(nats, weights).row == 7
    assert outlier(nats, np.where(np.arange(100) == 7, 1e-9, 1)) is None
    nats[7] = -np.inf
    assert not_finite(nats, np.ones(100)).mean == pytest.approx(not_finite(nats).mean)


def test_weighted_rows_are_trained_by_the_eager_engine():
    assert choose(build("maf"), "auto", 1, weighted=True) == EAGER
    with pytest.raises(UsageError, match="engine=native cannot weight rows"):
        choose(build("maf"), "native", 1, weighted=True)


def test_runs_with_other_files_and_weights(command, tmp_path):
    main = write(tmp_path, "train.csv", rows(0, 90).assign(w=1 + np.arange(90) % 3))
    write(tmp_path, "b.csv", rows(10, 30).assign(w=2.0))
    words = ["maf-run", "dataset=file", f"dataset.path={main}", "dataset.weight=w"]
    words += ["trainer.max_epochs=2", "model.hidden=[8]"]

    def run(*more):
        done = command(*words, *more, cwd=tmp_path, check=0)
        folder = tmp_path / done.stdout.strip().splitlines()[-1]
        return json.loads((folder / "record.json").read_text())

    plain = run("model=made")
    other = run("model=made", "dataset.test=b.csv")
    assert plain["run_id"] != other["run_id"] and other["test_rows"] == 30
    assert other["settings"]["dataset"]["test"].startswith("sha256:")
    assert other["settings"]["dataset"]["weight"] == "w"
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    words.remove("model.hidden=[8]")
    moved = run("model=gaussian", "dataset.test=c.csv")
    assert moved["status"] == "finished"
    shown = command("maf-table", "--results", tmp_path / "results", check=0).stdout
    assert "test=c.csv" in shown
    refused = command(*words, "model=made", "engine=native", cwd=tmp_path, check=2)
    assert "engine=native cannot weight rows (dataset.weight)" in refused.stderr
