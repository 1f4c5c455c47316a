"""`maf_runner.fit` and `maf_runner.load`: DataFrames and arrays in, nats and DataFrames out."""

import doctest
import os
import signal
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import maf_runner
from maf_runner import DataError, UsageError
from maf_runner.commands import sample, score
from maf_runner.tracking.progress import Reporter
from tests.helpers import ROOT
from tests.helpers.runs import records
from tests.helpers.simulators import linear

GIVEN = ["rpm", "load", "site"]
SMALL = {
    "model": {"name": "maf", "layers": 2, "hidden": [16]},
    "trainer": {"max_epochs": 2, "learning_rate": 0.01},
    "threads": 1,
}


def frame(n=300, seed=0):
    """Rows with measured values, a context, a class, and columns that nobody models."""
    rows = linear(n, seed)
    rows["kind"] = np.where(rows.y2 > 0, "high", "low")
    rows["when"] = pd.Timestamp("2020-01-01")
    return rows.set_index(np.arange(n) + 1000)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def given(results):
    return maf_runner.fit(
        frame(), context=GIVEN, dataset={"columns": ["y1", "y2"]}, results_dir=results, **SMALL
    )


@pytest.fixture(scope="module")
def by_class(results):
    options = {"columns": ["y1", "y2", "load"], "class_prior": "empirical"}
    return maf_runner.fit(frame(), label="kind", dataset=options, results_dir=results, **SMALL)


def scored(run, rows, folder):
    """What maf-score writes for rows in a CSV."""
    rows.to_csv(folder / "rows.csv", index=False)
    words = [run.folder, folder / "rows.csv", "--out", folder / "scores.csv", "--missing", "empty"]
    assert score.main(list(map(str, words))) == 0
    return pd.read_csv(folder / "scores.csv")


def test_columns_are_given(given, tmp_path):
    assert given.columns == ["y1", "y2"] and given.context == GIVEN and given.classes == []
    assert given.record.title == "MAF (2) given rpm, load, site on file"
    assert f"{given!r}" == f"<FittedDensity {given.record.title}: {given.folder}>"
    rows = frame(50, seed=1)
    rows.iloc[3, 0], rows.iloc[4, 0], rows.iloc[5, 3] = np.nan, 1e300, np.nan
    with pytest.warns(UserWarning, match="outside of the training rows: rpm = 2500 in row 6"):
        rows.iloc[6, 2] = 2500
        nats = given.score_samples(rows)
    assert nats.dtype == np.float64 and nats.shape == (50,)
    assert np.isnan(nats[[3, 5]]).all() and nats[4] == -np.inf
    expected = scored(given, rows, tmp_path).log_prob_nats.to_numpy()
    finite = np.isfinite(expected)
    assert finite.sum() == 47
    np.testing.assert_allclose(nats[finite], expected[finite], rtol=1e-12)
    with pytest.warns(UserWarning):
        shuffled = rows[list(rows)[::-1]].astype({"site": "category", "y2": object})
        np.testing.assert_array_equal(given.score_samples(shuffled), nats)
        array = rows[[*given.columns, *given.context]].to_numpy()
        np.testing.assert_array_equal(given.score_samples(array), nats)
    again = maf_runner.load(str(given.folder))
    np.testing.assert_array_equal(again.score_samples(rows[:3]), nats[:3])


@pytest.mark.filterwarnings("ignore:outside of the training rows")
def test_an_array_is_scored_in_the_order_in_which_it_was_fitted(results):
    rows = frame()[["rpm", "y1", "load", "y2"]].to_numpy()
    with_set = maf_runner.fit(rows, context={"x2", "x0"}, results_dir=results, quiet=True, **SMALL)
    assert with_set.context == ["x0", "x2"]  # a set has no order of its own
    run = maf_runner.fit(rows, context=["x2", "x0"], results_dir=results, quiet=True, **SMALL)
    assert run.columns == ["x1", "x3"] and run.context == ["x2", "x0"]
    named = pd.DataFrame(rows, columns=["x0", "x1", "x2", "x3"])
    np.testing.assert_array_equal(run.score_samples(rows), run.score_samples(named))


@pytest.mark.filterwarnings("ignore:outside of the training rows")
def test_an_array_for_a_table_with_names_has_the_order_of_the_run(results):
    rows = frame()[["rpm", "y1", "load"]]
    some = {"dataset": {"columns": ["x2", "x0"]}, "model": "gaussian"}
    for run in (
        maf_runner.fit(rows.set_axis(["x1", "x2", "x3"], axis=1), context="x1",
                       results_dir=results, quiet=True, **SMALL),
        maf_runner.fit(rows.to_numpy(), results_dir=results, quiet=True, **some),
    ):  # fmt: skip
        named = rows.set_axis(
            ["x0", "x1", "x2"] if not run.context else ["x1", "x2", "x3"], axis=1
        )
        array = named[run.columns + run.context].to_numpy()
        np.testing.assert_array_equal(run.score_samples(array), run.score_samples(named))


def test_an_array_file_is_scored_as_it_stands(results, server, tmp_path):
    rows = frame()[["rpm", "y1", "load"]].to_numpy()
    np.save(tmp_path / "rows.npy", rows)
    words = ["dataset=file", "dataset.path=rows.npy", "dataset.context=[0]", "model=made"]
    words += ["model.hidden=[8]", "trainer.max_epochs=1"]
    folder = server("maf-run", *words, cwd=tmp_path, check=0).stdout.strip()
    run = maf_runner.load(tmp_path / folder)
    assert run.columns == ["1", "2"] and run.context == ["0"]
    named = pd.DataFrame(rows, columns=["0", "1", "2"])
    np.testing.assert_array_equal(run.score_samples(rows), run.score_samples(named))
    turned = named.set_axis(["x2", "x0", "x1"], axis=1)  # its array has the order of its columns
    run = maf_runner.fit(turned, "gaussian", results_dir=results, quiet=True)
    np.testing.assert_array_equal(run.score_samples(rows), run.score_samples(turned))


def test_marked_values_are_missing_where_rows_are_scored(results, tmp_path):
    rows = frame()[["y1", "load"]].reset_index(drop=True)
    rows.loc[3, "load"] = -999
    options = {"missing_markers": [-999], "missing": "drop"}
    own = {"dataset": options, "results_dir": results, "quiet": True}
    run = maf_runner.fit(rows, "gaussian", **own)
    nats = run.score_samples(rows)
    assert np.flatnonzero(np.isnan(nats)).tolist() == [3] and rows.loc[3, "load"] == -999
    np.testing.assert_allclose(scored(run, rows, tmp_path).log_prob_nats, nats)
    run = maf_runner.fit(rows, context="load", **own, **SMALL)
    with pytest.raises(UsageError, match="load is missing or not finite in row 3"):
        run.sample(1, given=rows)


def test_a_label_need_not_be_given_to_the_model(results):
    model = {"name": "gaussian", "conditional": False}
    run = maf_runner.fit(frame(), model, label="kind", results_dir=results, quiet=True)
    assert run.classes == []
    odd = frame(5).assign(kind=["high", None, "else", "low", "low"])
    assert np.isfinite(run.score_samples(odd)).all()
    with pytest.raises(UsageError, match="given: this model is given nothing"):
        run.sample(2, given={"kind": "low"})


def test_columns_may_be_named_by_numbers(results):
    numbers = frame()[["y1", "y2", "kind"]].set_axis([1, 2, 0], axis=1)
    run = maf_runner.fit(numbers, "gaussian", label=0, results_dir=results, quiet=True)
    assert run.classes == ["high", "low"] and run.columns == ["1", "2"]
    run = maf_runner.fit(numbers[[1, 2]], context=1, results_dir=results, quiet=True, **SMALL)
    assert run.columns == ["2"] and run.context == ["1"]


def test_calls_in_several_threads_train_one_after_the_other(results):
    model = {"name": "nsf", "layers": 1, "hidden": [8], "dropout": 0.5}
    settings = {**SMALL, "model": model, "quiet": True, "dataset": {"columns": ["y1", "y2"]}}
    stderr = sys.stderr
    with ThreadPoolExecutor(2) as pool:
        fits = [
            pool.submit(maf_runner.fit, frame(), results_dir=results / "t", seed=s, **settings)
            for s in range(2)
        ]
        found = [one.result().record.test for one in fits]
    assert sys.stderr is stderr
    alone = [
        maf_runner.fit(frame(), results_dir=results / "a", seed=s, **settings) for s in (0, 1)
    ]
    assert found == [run.record.test for run in alone]


def test_samples_given_columns(given, tmp_path):
    point = {"rpm": 1500, "load": 0.5, "site": "NA"}
    drawn = given.sample(20, given=point, seed=3)
    assert list(drawn) == ["given_row", *GIVEN, "y1", "y2"] and len(drawn) == 20
    words = ["--given", "rpm=1500,load=0.5,site=NA", "--n", "20", "--seed", "3"]
    out = tmp_path / "drawn.csv"
    assert sample.main([str(given.folder), *words, "--out", str(out)]) == 0
    command = pd.read_csv(out, keep_default_na=False)
    pd.testing.assert_frame_equal(drawn, command, check_dtype=False, rtol=1e-12)
    conditions = frame(3, seed=2)
    several = given.sample(np.int64(5), given=conditions)
    assert several.given_row.tolist() == np.repeat([0, 1, 2], 5).tolist()
    assert several.site.tolist() == np.repeat(conditions.site, 5).tolist()
    assert not several.equals(given.sample(5, given=conditions))  # another seed every time


def test_a_condition_may_have_the_name_of_the_row_number(results):
    named = frame()[["rpm", "y1"]].rename(columns={"rpm": "given_row"})
    run = maf_runner.fit(named, context="given_row", results_dir=results, quiet=True, **SMALL)
    drawn = run.sample(2, given=named[:2])
    assert drawn.given_row_.tolist() == [0, 0, 1, 1]
    assert drawn.given_row.tolist() == np.repeat(named.given_row[:2], 2).tolist()


def test_the_class_is_given(by_class, tmp_path):
    assert by_class.classes == ["high", "low"] and by_class.context == []
    rows = frame(50, seed=1)
    expected = scored(by_class, rows, tmp_path)
    marginal = by_class.score_samples(rows.drop(columns="kind"))
    np.testing.assert_allclose(marginal, expected.log_prob_nats, rtol=1e-12)
    rows.iloc[0, rows.columns.get_loc("kind")] = None
    own = by_class.score_samples(rows)
    each = expected[["log_prob_nats_class_high", "log_prob_nats_class_low"]].to_numpy()
    chosen = each[np.arange(50), (rows.kind == "low").to_numpy().astype(int)]
    np.testing.assert_allclose(own[1:], chosen[1:], rtol=1e-12)
    assert np.isnan(own[0])
    low = by_class.sample(7, given={"kind": "low"}, seed=0)
    assert list(low) == ["given_row", "kind", *by_class.columns] and set(low.kind) == {"low"}
    share = (frame().kind == "high").mean()
    drawn = by_class.sample(100, seed=0)
    assert list(drawn)[-1] == "kind" and abs((drawn.kind == "high").mean() - share) < 0.1
    with pytest.raises(DataError, match=r"given: column 'kind' has 'hig' in row 0 .* 'high'"):
        by_class.sample(1, given={"kind": "hig"})


def test_other_data_than_tables(results):
    """Columns go by their order, or by the names that maf-sample writes."""
    config = ["dataset=toy/moons", "dataset.rows=200", f"paths.results_dir={results}"]
    from maf_runner.experiment import known, presets

    small = ["model.layers=1", "model.hidden=[8]", "trainer.max_epochs=1", "threads=1"]
    _, folder, _ = known.run_unless_finished(presets.composed("config", [*config, *small]))
    run = maf_runner.load(folder.path)
    drawn = run.sample(10, seed=0)
    assert list(drawn) == run.columns == ["x1", "x2"]
    nats = run.score_samples(drawn)
    np.testing.assert_array_equal(run.score_samples(drawn.to_numpy()), nats)
    np.testing.assert_array_equal(run.score_samples(drawn[["x2", "x1"]]), nats)
    np.testing.assert_array_equal(run.score_samples(drawn.set_axis(["a", "b"], axis=1)), nats)


def test_the_same_call_again_is_the_same_run(results, given, capsys):
    count = len(records(results))
    same = {"context": GIVEN, "dataset": {"columns": ["y1", "y2"]}, "results_dir": results}
    reordered = frame()[list(frame())].reset_index(drop=True)
    again = maf_runner.fit(reordered, **same, **SMALL)
    assert again.folder == given.folder and "already there" in capsys.readouterr().err
    dotted = {"trainer.max_epochs": 2, "trainer.learning_rate": 0.01, "model.layers": np.int64(2)}
    again = maf_runner.fit(
        frame(), "maf", trainer="paper", **same, **dotted, **{"model.hidden": (16,)}, quiet=True
    )
    assert again.folder == given.folder and capsys.readouterr() == ("", "")
    assert len(records(results)) == count
    tuned = {**SMALL, "trainer": {"name": "tuned", "max_epochs": 1}}
    other = maf_runner.fit(frame(), **same, **tuned, quiet=True)
    assert "tuned" in other.record.title and other.folder != given.folder


def test_interrupted_and_taken_up(results, monkeypatch):
    """Ctrl-C is KeyboardInterrupt, as elsewhere in Python; the same call goes on."""
    shown = Reporter.validated

    def interrupt(*arguments):
        shown(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Reporter, "validated", interrupt)
    rows, options = np.random.default_rng(0).normal(size=(200, 2)), {"results_dir": results}
    with pytest.raises(KeyboardInterrupt):
        maf_runner.fit(rows, **SMALL, **options)
    monkeypatch.undo()
    run = maf_runner.fit(rows, **SMALL, **options)
    assert run.record.resumed and run.columns == ["x0", "x1"]


def test_numbers_are_kept_to_the_last_digit(results):
    """Also those that a text with 17 digits may not give back, in wide tables, beside gaps."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 3)) * 10.0 ** rng.integers(-30, 30, (40, 3))
    table = pd.DataFrame(values, columns=["a", "b c", "größe"])
    table["whole"] = rng.integers(2**53, 2**60, 40)
    table["word"] = rng.choice(["x", "y, z", "ü"], 40)
    from maf_runner.datasets.untrusted.tables import read_table
    from maf_runner.experiment.frames import FRAME, table_of, write

    for name, suffix in (("narrow", ".npy"), ("gap", ".parquet"), ("wide", ".parquet")):
        if name == "gap":
            table.loc[3, "word"] = None
        elif name == "wide":
            table = pd.DataFrame(rng.normal(size=(5, 1000))).add_prefix("column")
        file = write(table_of(table), results / "kept", FRAME)
        assert file.suffix == suffix
        (read,) = read_table(file, "").values()
        pd.testing.assert_frame_equal(read, table, check_exact=True, check_dtype=name != "gap")
        assert write(table_of(table), results / "kept", FRAME) == file


DATA = {
    "empty": (lambda f: f[:0], "the DataFrame has no rows"),
    "twice": (lambda f: f.set_axis(["y1", "y1", *list(f)[2:]], axis=1),
              "the DataFrame: several columns have the name 'y1'"),
    "objects": (lambda f: f.assign(site=[1, "north"] * 150),
                "column 'site' holds mixed-integer values, such as '1' and 'north': give numbers"),
    "dates": (lambda f: f.assign(site=f.when), "column 'site' holds datetime64 values, such as"),
    "gap": (lambda f: f.assign(y1=f.y1.where(f.y1 != f.y1.iloc[7])),
            "the DataFrame: 1 values are missing or not finite, in 1 of 300 rows; the first is in "
            "row 7 (from 0), column 'y1'"),
    "words": (lambda f: f.assign(y1=f.y1.astype(str).where(f.y1 > 14, "?")),
              "values of column 'y1' are numbers, but it is read as text"),
    "list": (lambda f: [[1.0]], "expected a pandas DataFrame or a NumPy array, got list"),
    "flat": (lambda f: np.zeros(3), "expected an array of N rows and D columns, got shape [3]"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_fitted(results, name):
    change, message = DATA[name]
    with pytest.raises((DataError, UsageError)) as error:
        maf_runner.fit(change(frame()), context=GIVEN, results_dir=results, quiet=True, **SMALL)
    assert message in str(error.value)


SETTINGS = [
    ({"model": "mfa"}, "there is no model=mfa; did you mean 'maf'?"),
    ({"trainer": {"max_epoch": 1}}, "there is no setting trainer.max_epoch here; did you mean"),
    ({"lr": 1}, "there is no setting lr here; did you mean trainer.learning_rate?"),
    (
        {"trainer": 3},
        "there is no trainer=3; there are: distilled, large_table, nsf, paper, small_table, "
        "tuned, tuned_table",
    ),
    ({"sweep": "quick"}, "sweep is for maf-run: fit carries out one run"),
    ({"dataset": "power"}, "the dataset is what is fitted"),
    ({"dataset": {"path": "a.csv"}}, "dataset.path: the rows are those that are fitted"),
    ({"dataset": {"context": ["rpm"]}, "context": ["load"]}, "dataset.context is given twice"),
    ({"trainer.name": "x"}, "trainer.name cannot be changed: choose an option by trainer=..."),
    ({"model": {"layers": "x"}}, "model.layers must be a whole number, got 'x'"),
    ({"model": {"layers": object}}, "model.layers cannot be <class 'object'>"),
    ({"context": 3}, "the DataFrame has no column '3' (dataset.context)"),
    ({"context": 1.5}, "context must be names of columns, got 1.5"),
    ({"results_dir": 3}, "results_dir must be a folder, got 3"),
    ({"model": None}, "model must be one of the models, or a dict of its settings, got None"),
    (
        {"dataset": {"categorical": ["site"], "bounded": {"site": [0, 1]}}},
        "is in both bounded and",
    ),
    ({"seed": -1}, "seed must be a whole number from 0"),
    ({"context": ["rmp"]}, "the DataFrame has no column 'rmp' (dataset.context); did you mean"),
    ({"dataset": {"columns": []}}, "columns is an empty list; columns=null takes all numeric"),
    ({"results_dir": __file__}, "frames cannot be written (Not a directory): choose another"),
    ({"plugins": ["not_there"]}, "the plugin not_there cannot be imported"),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS, ids=lambda v: str(v)[:30])
def test_settings_that_cannot_be(results, settings, message):
    with pytest.raises((DataError, UsageError)) as error:
        maf_runner.fit(frame(), **{"results_dir": results, "quiet": True, **settings})
    assert message in str(error.value)
    shown = "".join(traceback.format_exception(error.value)).lower()
    assert "hydra" not in shown and "omegaconf" not in shown


def test_rows_that_cannot_be_scored(given):
    rows = frame(5)
    for change, message in (
        (rows.drop(columns="y2"), "the DataFrame has no column 'y2' (a column of this run)"),
        (rows.drop(columns="load"), "no column 'load', which this run is conditioned on"),
        (rows.assign(y1="a"), "the DataFrame: non-numeric columns: y1 ('a' in row 0)"),
        (rows.assign(site="nort"), "has 'nort' in row 0 (from 0), which no training row has; did"),
        (rows[:0], "the DataFrame has no rows"),
        (np.zeros((2, 3)), "N rows and 5 columns (y1, y2, rpm, load, site), got shape [2, 3]"),
    ):
        with pytest.raises((DataError, UsageError)) as error:
            given.score_samples(change)
        assert message in str(error.value)
    for n, conditions, message in (
        (1, None, "conditioned on rpm, load, site: give their values, as given={'rpm': ..., "),
        (1, {"rpm": 1}, "given lacks load, site"),
        (1, {"rmp": 1}, "given: no such column 'rmp'; did you mean 'rpm'?"),
        (1, {"rpm": "x", "load": 1, "site": "NA"}, "'rpm' must hold numbers"),
        (1, rows[["rpm", "load", "site"]].assign(load=np.nan), "load is missing or not finite"),
        (0, {"rpm": 1}, "n must be a whole number of at least 1, got 0"),
        (1.5, {"rpm": 1}, "n must be a whole number of at least 1, got 1.5"),
    ):
        with pytest.raises((DataError, UsageError)) as error:
            given.sample(n, given=conditions)
        assert message in str(error.value)
    with pytest.raises(DataError, match="is not a run folder"):
        maf_runner.load(given.folder.parent)
    with pytest.raises(UsageError, match="load needs a run folder, or a list of them"):
        maf_runner.load([given, given])


def test_under_another_hydra_app_and_after_a_quick_import(tmp_path):
    """`import maf_runner` brings in nothing; the names are complete; Hydra may run already."""
    (tmp_path / "app.py").write_text(
        "import sys\nimport maf_runner\n"
        "assert not {'torch', 'pandas', 'hydra'} & set(sys.modules)\n"
        "assert dir(maf_runner) == sorted(maf_runner.__all__)\n"
        "assert all(hasattr(maf_runner, name) for name in maf_runner.__all__)\n"
        "import hydra, numpy, torch\ntorch.set_num_threads(2)\n"
        "@hydra.main(version_base='1.3', config_path=None)\n"
        "def main(config):\n"
        "    rows = numpy.random.default_rng(0).normal(size=(100, 2))\n"
        "    state = torch.get_rng_state()\n"
        "    run = maf_runner.fit(rows, 'gaussian', results_dir='results', quiet=True)\n"
        "    assert torch.get_num_threads() == 2 and torch.equal(state, torch.get_rng_state())\n"
        "    print(run.score_samples(rows[:2]).shape)\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2,)\n", "")


def test_the_page_on_python(tmp_path, monkeypatch):
    """docs/api.md runs as it stands, and shows every public name."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "api.md"
    failed, tried = doctest.testfile(
        str(page), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8"
    )
    assert failed == 0 and tried > 15
    text = page.read_text()
    assert all(f"`{name}" in text for name in maf_runner.__all__ if not name.startswith("_"))


def test_a_column_may_have_any_name(tmp_path):
    """Also one that a configuration would take for a reference to another setting."""
    rows = np.random.default_rng(0).normal(size=(90, 3))
    frame = pd.DataFrame(rows, columns=["${oc.env:HOME}", "b", "a=1,2"])
    run = maf_runner.fit(frame, "gaussian", context=[], results_dir=tmp_path, quiet=True)
    assert run.columns == list(frame) and np.isfinite(run.score_samples(frame)).all()
    chosen = ["${oc.env:HOME}", "b"]
    run = maf_runner.fit(
        frame, "gaussian", results_dir=tmp_path, quiet=True, dataset={"columns": chosen}
    )
    assert run.columns == chosen
    run = maf_runner.fit(frame, context=chosen, results_dir=tmp_path, quiet=True, **SMALL)
    assert run.context == chosen
    words = frame.assign(**{"${x}": np.where(frame.b > 0, "up", "down")})
    run = maf_runner.fit(words, context=["${x}"], results_dir=tmp_path, quiet=True, **SMALL)
    assert run.context == ["${x}"]
