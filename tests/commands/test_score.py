"""A table of one's own, modelled standardised, scored and sampled in its own units."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from maf_runner.commands import columns, sample, score
from maf_runner.commands.carried import pieces_with
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.datasets.untrusted.dialect import Dialect
from maf_runner.experiment import trained
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows import Gaussian
from maf_runner.records.folder import RunFolder
from maf_runner.system.errors import DataError
from tests.helpers.records import made_up
from tests.helpers.tables import read, saved

COLUMNS = ["income, yearly", "height", "share"]


def people(n=400):
    rng = np.random.default_rng(0)
    u = rng.normal(size=(n, 3)) @ [[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]]
    frame = pd.DataFrame(u * [2e3, 8, 0.2] + [5e6, 170, 30], columns=COLUMNS)
    return frame.assign(kind=np.where(rng.random(n) < 0.25, "rare", "usual"))


def test_a_percentile_given_the_class_is_among_rows_of_the_class(runs, tmp_path):
    rows = people()
    rows[rows["kind"] == "rare"].to_csv(tmp_path / "rare.csv", index=False)
    words = [runs["by class"], tmp_path / "rare.csv", "--label", "rare", "--percentile"]
    assert score.main(list(map(str, [*words, "--out", tmp_path / "o.csv"]))) == 0
    places = pd.read_csv(tmp_path / "o.csv")["percentile"]
    assert places.min() < 5 and places.max() > 95 and places.mean() == pytest.approx(50, abs=10)


def test_words_of_the_context_are_words_where_all_look_like_numbers(command, tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.choice(["01", "1", "A"], 300)
    table = pd.DataFrame({"code": codes, "y": rng.normal(size=300) + 9 * (codes == "01")})
    table.to_csv(tmp_path / "all.csv", index=False)
    words = ["dataset=file", "dataset.path=all.csv", "dataset.context=[code]", "model=made"]
    words += ["trainer=tuned", "trainer.max_epochs=3", "model.hidden=[8]"]
    run = command("maf-run", *words, check=0).stdout.strip()
    some = table[table["code"] != "A"]
    some.to_csv(tmp_path / "some.csv", index=False)
    scores = {}
    for name in ("all", "some"):
        out = f"{name}.scores.csv"
        command("maf-score", run, f"{name}.csv", "--out", out, check=0)
        scores[name] = pd.read_csv(tmp_path / out)["log_prob_nats"].to_numpy()
    np.testing.assert_allclose(scores["some"], scores["all"][some.index], rtol=1e-6)
    draw = ["maf-sample", run, "--given", "some.csv", "--n", "1", "--out", "drawn.csv"]
    command(*draw, check=0)
    drawn = pd.read_csv(tmp_path / "drawn.csv", dtype={"code": str})
    assert drawn["code"].tolist() == some["code"].tolist()


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """Gaussians on the table: of all columns, and of two of them given the class."""
    folder = tmp_path_factory.mktemp("units")
    people().to_csv(folder / "people.csv", index=False)
    rows, kinds = people()[COLUMNS].to_numpy(), people()["kind"].to_numpy(dtype=str)
    np.save(folder / "people.npy", rows)
    np.savez(folder / "people.npz", x=rows, kind=kinds[:, None])

    def run(path, *words):
        words = ["model=gaussian", "dataset=file", f"dataset.path={path}", *words]
        done = server("maf-run", *words, "threads=1", cwd=folder, check=0)
        return Path(done.stdout.strip())

    two = ["dataset.columns=[share,height]", "dataset.label=kind", "model.conditional=true"]
    return {
        "all": run("people.csv"),
        "nameless": run("people.npy"),
        "turned": run("people.npy", "dataset.columns=[2,0,1]"),
        "archive": run("people.npz", "dataset.label=kind"),
        "by class": run("people.csv", *two),
        "by share": run("people.csv", *two, "dataset.class_prior=empirical"),
        "table": folder / "people.csv",
    }


def in_own_units(path, **changes):
    """The training rows as they stand in the file."""
    return read(path, standardise=False, **changes).train


def scores(folder, run, file, *words):
    """What maf-score writes; called here, which takes a hundredth of the time of a command."""
    out = folder / "scores.csv"
    assert score.main([str(run), str(folder / file), "--out", str(out), *words]) == 0
    return pd.read_csv(out)


def test_there_and_back():
    space = TableSpace(("a", "b"), mean=(5.0, -3.0), deviation=(10.0, 0.1))
    rows = np.array([[5.0, -3.0], [15.0, -2.9]])
    np.testing.assert_allclose(space.to_model(rows), [[0, 0], [1, 1]], atol=1e-12)
    np.testing.assert_allclose(space.to_table(space.to_model(rows)), rows)
    np.testing.assert_allclose(space.log_det(rows), 0, atol=1e-12)
    one = TableSpace(("a",), (0.0,), (2.0,))
    np.testing.assert_allclose(one.log_det(rows[:, :1]), -np.log(2))


def test_scores_are_those_of_a_gaussian_in_the_tables_units(runs, command, tmp_path):
    table = people()
    said = command("maf-score", runs["all"], runs["table"], check=0).stderr
    found = pd.read_csv(tmp_path / "scores.csv")
    assert f"mean {found['log_prob_nats'].mean():.3f} nats in the table's units" in said
    train = in_own_units(runs["table"]).x.astype(np.float64)
    train = table[COLUMNS].to_numpy()[_places(train, table)]
    normal = multivariate_normal(train.mean(axis=0), np.cov(train.T, ddof=0))
    np.testing.assert_allclose(
        found["log_prob_nats"], normal.logpdf(table[COLUMNS].to_numpy()), atol=1e-4
    )
    moved = found["log_prob_nats"] - found["log_prob_nats_standardised"]
    np.testing.assert_allclose(moved, -np.log(train.std(axis=0)).sum(), atol=1e-9)
    record = json.loads((runs["all"] / "record.json").read_text())
    nats = np.load(runs["all"] / "test_nats.npy")
    assert record["test"]["log_likelihood"] == pytest.approx(nats.mean())
    assert np.isclose(found["log_prob_nats_standardised"].to_numpy()[:, None], nats).any(0).all()


def _places(rows, table):
    """Which rows of ``table`` the float32 ``rows`` are."""
    every = table[COLUMNS].to_numpy().astype(np.float32)
    return [int(np.flatnonzero((every == row).all(axis=1))[0]) for row in rows.astype(np.float32)]


def test_a_run_is_named_by_its_id_too(runs, server):
    folder = runs["table"].parent
    for run, out in ((runs["all"], "a.csv"), (runs["all"].name[:8], "b.csv")):
        server("maf-score", run, runs["table"], "--out", out, cwd=folder, check=0)
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()
    clones = [runs["all"].parent / f"aaaa0{i}" for i in range(2)]
    for clone in clones:
        clone.mkdir()
    said = server("maf-score", "aaaa", runs["table"], cwd=folder, check=2).stderr
    assert "2 runs have ids that begin so" in said
    for clone in clones:
        clone.rmdir()
    said = server("maf-score", "bbbb", runs["table"], cwd=folder, check=2).stderr
    assert "no run has this id; maf-table runs lists them" in said


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy", ".npz", ".h5"])
def test_every_format_in_any_order_scores_the_same(runs, tmp_path, suffix):
    expected = scores(tmp_path, runs["all"], runs["table"])
    table, file = people(), tmp_path / f"rows{suffix}"
    shuffled = table[["kind", *COLUMNS[::-1]]].assign(other=1.0)
    numbers = table[COLUMNS].to_numpy()
    if suffix == ".csv":
        shuffled.to_csv(file, index=False)
    elif suffix == ".parquet":
        shuffled.to_parquet(file)
    elif suffix == ".npy":
        np.save(file, numbers)
    elif suffix == ".npz":
        parts = np.split(numbers, [300, 350])
        np.savez(file, **dict(zip(("train", "val", "test"), parts, strict=True)))
    else:
        with h5py.File(file, "w") as store:
            store["data"] = numbers
    pd.testing.assert_frame_equal(scores(tmp_path, runs["all"], file), expected)


def test_samples_are_in_the_tables_units(runs, command, tmp_path):
    out = ("--n", 20000, "--out", "s.csv", "--out", "s.npy")
    command("maf-sample", runs["all"], *out, check=0)
    samples, table = pd.read_csv(tmp_path / "s.csv"), people()[COLUMNS]
    assert list(samples.columns) == COLUMNS
    assert np.array_equal(samples.to_numpy(), np.load(tmp_path / "s.npy"))
    off = (samples.mean() - table.mean()) / table.std()
    assert off.abs().max() < 0.1
    np.testing.assert_allclose(samples.std() / table.std(), 1, atol=0.1)
    by_name = scores(tmp_path, runs["all"], "s.csv")
    in_order = scores(tmp_path, runs["all"], "s.npy")
    pd.testing.assert_frame_equal(by_name, in_order)


def test_an_array_without_names(runs, command, tmp_path, capsys):
    file = runs["table"].with_suffix(".npy")
    expected = scores(tmp_path, runs["all"], runs["table"])
    pd.testing.assert_frame_equal(scores(tmp_path, runs["nameless"], file), expected)
    command("maf-sample", runs["nameless"], "--out", "s.csv", "--out", "s.npy", check=0)
    by_name = scores(tmp_path, runs["nameless"], "s.csv")
    in_order = scores(tmp_path, runs["nameless"], "s.npy")
    pd.testing.assert_frame_equal(by_name, in_order)
    # An array of the same columns turned round: nobody can say which is which.
    assert score.main([str(runs["turned"]), str(file)]) == 3
    assert "give a CSV that names them" in capsys.readouterr().err


def test_an_array_of_labels_is_left_out(runs, tmp_path):
    """Of the archive that a run was trained on, and where the run knows its columns by names."""
    file = runs["table"].with_suffix(".npz")
    expected = scores(tmp_path, runs["all"], runs["table"])
    pd.testing.assert_frame_equal(scores(tmp_path, runs["archive"], file), expected)
    rows = people()[["share", "height"]].to_numpy()
    expected = scores(tmp_path, runs["by class"], runs["table"])
    for kinds in (np.zeros(len(rows)), np.zeros((len(rows), 1))):
        np.savez(tmp_path / "two.npz", x=rows, kind=kinds)
        found = scores(tmp_path, runs["by class"], "two.npz")
        pd.testing.assert_frame_equal(found, expected)


def test_given_the_class(runs, command, tmp_path):
    found = scores(tmp_path, runs["by class"], runs["table"])
    table = people()
    train = in_own_units(runs["table"], label="kind", columns=["share", "height"])
    rows = table[["share", "height"]].to_numpy()
    kinds = ("rare", "usual")
    for y, kind in enumerate(kinds):
        own = train.x[train.labels == y].astype(np.float64)
        normal = multivariate_normal(own.mean(axis=0), np.cov(own.T, ddof=0))
        expected = normal.logpdf(rows)
        np.testing.assert_allclose(found[f"log_prob_nats_class_{kind}"], expected, atol=1e-3)
    by_class = found[[f"log_prob_nats_class_{kind}" for kind in kinds]].to_numpy()
    assert (found["likeliest_class"] == np.array(kinds)[by_class.argmax(axis=1)]).all()
    marginal = np.logaddexp.reduce(by_class, axis=1) - np.log(2)
    np.testing.assert_allclose(found["log_prob_nats"], marginal, atol=1e-9)
    of_one = scores(tmp_path, runs["by class"], runs["table"], "--label", "usual")
    assert list(of_one) == ["log_prob_nats", "log_prob_nats_standardised"]
    np.testing.assert_allclose(of_one["log_prob_nats"], by_class[:, 1], atol=1e-9)
    command("maf-sample", runs["by class"], "--n", 4, "--out", "s.csv", check=0)
    samples = pd.read_csv(tmp_path / "s.csv")
    assert list(samples) == ["share", "height", "kind"]
    assert samples["kind"].tolist() == ["rare", "rare", "usual", "usual"]
    command("maf-sample", runs["by class"], "--n", 2, "--label=usual", "--out", "u.csv", check=0)
    assert pd.read_csv(tmp_path / "u.csv")["kind"].tolist() == ["usual", "usual"]
    refused = command("maf-sample", runs["by class"], "--label", "usul", check=2).stderr
    assert "--label must be a class of this run, got 'usul'; did you mean 'usual'?" in refused
    space = json.loads((runs["by class"] / "record.json").read_text())["data"]["table"]
    assert (space["label"], space["classes"]) == ("kind", ["rare", "usual"])


@pytest.mark.parametrize(
    ("classes", "label", "code"),
    [
        (["a", "7"], "7", 1),
        ([3, 7], "7", 1),
        ([0.5, 7.0], "7.0", 1),
        ([False, True], "True", 1),
        ([False, True], "true", 1),
        ([], "1", 1),
    ],
)
def test_a_class_is_named_as_the_table_has_it(classes, label, code):
    table = TableSpace(("x",), (0.0,), (1.0,), "kind" if classes else None, tuple(classes))
    folder = RunFolder(Path("nowhere"))
    run = TrainedRun(folder, made_up(), Gaussian(1, context=2), table=table)
    assert run.label_code(label) == code


def test_classes_by_their_shares(runs, command, tmp_path):
    prior = json.loads((runs["by share"] / "record.json").read_text())["data"]["class_prior"]
    train = in_own_units(runs["table"], label="kind")
    assert prior == pytest.approx(np.bincount(train.labels) / len(train))
    found = scores(tmp_path, runs["by share"], runs["table"])
    by_class = found[["log_prob_nats_class_rare", "log_prob_nats_class_usual"]].to_numpy()
    joint = by_class + np.log(prior)
    np.testing.assert_allclose(
        found["log_prob_nats"], np.logaddexp.reduce(joint, axis=1), atol=1e-9
    )
    likeliest = np.array(["rare", "usual"])[joint.argmax(axis=1)]
    assert (found["likeliest_class"] == likeliest).all()
    command("maf-sample", runs["by share"], "--n", 1000, "--out", "s.csv", check=0)
    counts = pd.read_csv(tmp_path / "s.csv")["kind"].value_counts().sort_index()
    np.testing.assert_allclose(counts, 1000 * np.array(prior), atol=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename(columns={"height": "heigth"}), "no column 'height' .*'heigth'"),
        (
            lambda t: t.assign(height=[np.nan, np.inf] + [1.0] * 398),
            "missing values, first in row 0",
        ),
        (lambda t: t.assign(height="tall"), "non-numeric columns: height .*'tall' in row 0"),
        (lambda t: t.iloc[:0], "has no rows"),
    ],
)
def test_unfit_files_are_refused(runs, command, tmp_path, change, message):
    change(people()).to_csv(tmp_path / "bad.csv", index=False)
    result = command("maf-score", runs["all"], "bad.csv", check=3)
    assert re.search(message, result.stderr) and "Traceback" not in result.stderr


def test_a_record_of_an_earlier_version_is_of_standardised_rows(runs, command, tmp_path):
    folder = tmp_path / "earlier"
    folder.mkdir()
    (folder / "best.pt").write_bytes((runs["all"] / "best.pt").read_bytes())
    record = json.loads((runs["all"] / "record.json").read_text())
    del record["data"]["table"]
    (folder / "record.json").write_text(json.dumps(record))
    command("maf-sample", folder, "--out", "s.csv", check=0)
    assert list(pd.read_csv(tmp_path / "s.csv")) == ["x1", "x2", "x3"]
    assert list(scores(tmp_path, folder, "s.csv")) == ["log_prob_nats"]


def test_a_record_without_the_names_of_the_classes_has_their_codes(runs, command, tmp_path):
    folder = tmp_path / "earlier"
    folder.mkdir()
    (folder / "best.pt").write_bytes((runs["by class"] / "best.pt").read_bytes())
    record = json.loads((runs["by class"] / "record.json").read_text())
    del record["data"]["table"]["label"], record["data"]["table"]["classes"]
    (folder / "record.json").write_text(json.dumps(record))
    command("maf-sample", folder, "--n", 2, "--out", "s.csv", check=0)
    assert pd.read_csv(tmp_path / "s.csv")["label"].tolist() == [0, 1]
    assert "log_prob_nats_class_1" in scores(tmp_path, folder, "s.csv")
    assert len(scores(tmp_path, folder, "s.csv", "--label", "1")) == 2
    assert (
        "class from 0 to 1, got usual"
        in command("maf-score", folder, "s.csv", "--label", "usual", check=2).stderr
    )


def test_maf_score_does_not_misread_a_csv_either(runs, tmp_path, capsys):
    (tmp_path / "x.csv").write_text("a,b\nx,1,2\ny,3,4\n")
    assert score.main([str(runs["all"]), str(tmp_path / "x.csv")]) == 3
    assert (
        "its first line has 2 names, and all others have a field more" in capsys.readouterr().err
    )


def test_every_row_has_a_line_in_its_order(runs, server, command, tmp_path):
    """Gaps, absurd values and rows far out; other columns carried along; a percentile."""
    gaps = people()
    gaps.loc[gaps.index % 50 == 3, "height"] = np.nan
    gaps.to_csv(tmp_path / "gaps.csv", index=False)
    words = ["model=gaussian", "dataset=file", "dataset.path=gaps.csv", "dataset.missing=drop"]
    folder = server("maf-run", *words, "threads=1", cwd=tmp_path, check=0).stdout.strip()
    gaps = gaps.assign(id=[f"r{i}" for i in range(len(gaps))])
    gaps.loc[7, "share"], gaps.loc[8, "share"] = 1e300, np.inf
    gaps.to_csv(tmp_path / "new.csv", index=False)
    out = ("--out", "s.csv", "--keep", "id,kind", "--percentile")
    said = command("maf-score", tmp_path / folder, "new.csv", *out, check=0).stderr
    assert "400 rows" in said and "8 lines are empty" in said and "2 are -inf" in said
    found = pd.read_csv(tmp_path / "s.csv")
    assert list(found["id"]) == list(gaps["id"]) and list(found["kind"]) == list(gaps["kind"])
    empty = gaps["height"].isna().to_numpy()
    for name in ("log_prob_nats", "log_prob_nats_standardised", "percentile"):
        assert (found[name].isna().to_numpy() == empty).all()
    assert (found["log_prob_nats"][[7, 8]] == -np.inf).all()
    rest = found[~empty & np.isfinite(found["log_prob_nats"])]
    assert found["percentile"][[7, 8]].tolist() == [0, 0]
    order = rest.sort_values("log_prob_nats")["percentile"]
    assert order.is_monotonic_increasing and 45 < order.median() < 55
    refused = command("maf-score", runs["all"], "new.csv", check=3).stderr
    assert "first in row 3" in refused and "--missing empty" in refused
    command("maf-score", runs["all"], "new.csv", "--missing", "empty", check=0)
    for form in ("parquet", "npy"):
        command("maf-score", runs["all"], "new.csv", "--missing", "empty", "--out", f"s.{form}",
                check=0)  # fmt: skip
    expected = pd.read_csv(tmp_path / "scores.csv")["log_prob_nats"]
    np.testing.assert_allclose(np.load(tmp_path / "s.npy"), expected)
    np.testing.assert_allclose(pd.read_parquet(tmp_path / "s.parquet")["log_prob_nats"], expected)


def test_a_file_in_pieces_is_scored_as_a_whole(runs, tmp_path, monkeypatch):
    for suffix in (".csv", ".parquet", ".npy"):
        file = tmp_path / f"rows{suffix}"
        if suffix == ".csv":
            people().to_csv(file, index=False)
        elif suffix == ".parquet":
            people().to_parquet(file)
        else:
            np.save(file, people()[COLUMNS].to_numpy())
        expected = scores(tmp_path, runs["all"], file)
        monkeypatch.setattr(score, "AT_ONCE", 37)
        pd.testing.assert_frame_equal(scores(tmp_path, runs["all"], file), expected)
        monkeypatch.undo()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy", ".npz"])
def test_rows_are_numbered_through_all_pieces(tmp_path, suffix):
    file, rows = tmp_path / f"rows{suffix}", np.arange(20.0).reshape(10, 2)
    table = pd.DataFrame(rows, index=pd.Index(range(10, 0, -1)), columns=["a", "b"])
    if suffix == ".npz":
        np.savez(file, train=rows[:4], validation=rows[4:7], test=rows[7:])
    else:
        file = saved(tmp_path, suffix, table)
    pieces = [piece for piece, _ in pieces_with([], file, 3, Dialect())]
    assert len(pieces) > 2
    assert [row for piece in pieces for row in piece.index] == list(range(10))


def test_a_word_is_in_a_row_of_the_file(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score, "AT_ONCE", 37)
    table = people().astype({"height": object})
    table.loc[104, "height"] = "bad"
    table.to_csv(tmp_path / "new.csv", index=False)
    assert score.main([str(runs["all"]), str(tmp_path / "new.csv")]) == 3
    assert "height ('bad' in row 104)" in capsys.readouterr().err


def test_samples_that_the_disk_cannot_hold_are_refused_first(runs, command):
    refused = command("maf-sample", runs["all"], "--n", 10**15, "--out", "s.npy", check=2).stderr
    assert "needs about" in refused and "draw fewer" in refused


def test_dequantised_columns_come_back_on_their_steps(server, command, tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "count": rng.poisson(4, 500), "degrees": np.round(rng.normal(20, 3, 500), 1),
        "free": rng.normal(size=500),
    })  # fmt: skip
    table.to_csv(tmp_path / "t.csv", index=False)
    words = ["model=gaussian", "dataset=file", "dataset.path=t.csv"]
    words += ["dataset.dequantise=[count,degrees]", "threads=1"]
    folder = server("maf-run", *words, cwd=tmp_path, check=0).stdout.strip()
    command("maf-sample", folder, "--n", 2000, check=0)  # a table is written as CSV
    drawn = pd.read_csv(tmp_path / "samples.csv")
    assert list(drawn) == ["count", "degrees", "free"]
    assert (drawn["count"] == drawn["count"].round()).all()
    np.testing.assert_allclose(drawn["degrees"], drawn["degrees"].round(1), atol=1e-9)
    text = pd.read_csv(tmp_path / "samples.csv", dtype=str)
    assert text["count"].str.fullmatch(r"-?\d+").all()
    assert text["degrees"].str.fullmatch(r"-?\d+\.\d").all()
    assert abs(drawn["count"].mean() - table["count"].mean()) < 0.3
    assert abs(drawn["degrees"].mean() - table["degrees"].mean()) < 0.3
    assert drawn["free"].nunique() > 1900


def test_categories_are_no_numbers_unless_they_are(server, command, tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
    table = table.assign(cat=rng.choice(["x", "y", "z"], 200), sick=rng.random(200) < 0.5)
    table.to_csv(tmp_path / "t.csv", index=False)
    words = ["model=gaussian", "dataset=file", "dataset.path=t.csv", "dataset.dequantise=[sick]"]
    done = server("maf-run", *words, "dataset.categorical=[cat]", cwd=tmp_path, check=0)
    refused = command("maf-sample", done.stdout.strip(), "--out", "x.npy", check=2).stderr
    assert "column 'cat' has texts" in refused and "write .csv or .parquet" in refused
    assert not (tmp_path / "x.npy").exists()
    folder = server("maf-run", *words, "dataset.columns=[a,b,sick]", cwd=tmp_path, check=0).stdout
    run = tmp_path / folder.strip()
    command("maf-sample", run, "--out", "x.npy", "--out", "x.csv", check=0)
    drawn = pd.read_csv(tmp_path / "x.csv")
    assert set(drawn["sick"]) == {False, True}
    assert np.array_equal(np.load(tmp_path / "x.npy"), drawn.to_numpy(dtype=float))
    expected = scores(tmp_path, run, "x.csv")
    pd.testing.assert_frame_equal(scores(tmp_path, run, "x.npy"), expected)


@pytest.mark.parametrize("codes", [["north", "south"], [1, 2], [False, True]])
def test_missing_categories_that_are_given(server, tmp_path, monkeypatch, codes):
    """Their column has one type, also where a piece has none of them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(100, 2)), columns=["x", "y"])
    table["site"] = pd.Series(np.array(codes, dtype=object)[rng.integers(0, 2, 100)])
    table.loc[::5, "site"] = None
    table.to_csv(tmp_path / "t.csv", index=False)
    words = ["dataset.context=[site,x]", "dataset.missing=indicator", "trainer.max_epochs=1"]
    words += ["model=maf", "dataset=file", "dataset.path=t.csv", "dataset.categorical=[site]"]
    run = tmp_path / server("maf-run", *words, cwd=tmp_path, check=0).stdout.strip()
    (tmp_path / "given.csv").write_text(f"site,x\n,2\n{codes[1]},1\n")
    monkeypatch.setattr(trained, "SAMPLED_AT_ONCE", 2)
    out = [word for end in ("parquet", "csv") for word in ("--out", f"{tmp_path}/drawn.{end}")]
    words = [str(run), "--given", str(tmp_path / "given.csv"), "--n", "2", *out]
    assert sample.main(words) == 0
    drawn = pd.read_parquet(tmp_path / "drawn.parquet")
    sites = [None if pd.isna(site) else site for site in drawn["site"]]
    assert sites == [None, None, codes[1], codes[1]]
    text = pd.read_csv(tmp_path / "drawn.csv", dtype=str, keep_default_na=False)
    assert text["site"].tolist() == ["", "", *[str(codes[1])] * 2]


def kept(folder, run, file, *names, out="kept.csv"):
    """The columns ``names``, as maf-score carries them along."""
    words = [str(folder / file), "--keep", ",".join(names), "--out", str(folder / out)]
    assert score.main([str(run), *words]) == 0
    if out.endswith(".parquet"):
        return pd.read_parquet(folder / out, dtype_backend="pyarrow")[list(names)]
    return pd.read_csv(folder / out, dtype=str, keep_default_na=False)[list(names)]


def test_kept_columns_of_a_table_of_text_are_its_text(runs, tmp_path, monkeypatch, capsys):
    """In pieces of which each alone would look like another type."""
    monkeypatch.setattr(score, "AT_ONCE", 37)
    size = len(people())
    columns = {
        "id": [f"{i:07d}" for i in range(size)],
        "price": ["1.50"] * size,
        "country": ["NA", "DE"] * (size // 2),
        "big": ["", *(str(2**53 + i) for i in range(1, size))],
        "n": ["" if i == 100 else "x" if i == 300 else str(i) for i in range(size)],
        "class": (["01", "1", "1.0", "True"] * size)[:size],
        "text": ['he said "a, b"', " blanks "] * (size // 2),
    }
    people().assign(**columns).to_csv(tmp_path / "new.csv", index=False)
    found = kept(tmp_path, runs["all"], "new.csv", *columns)
    assert found.to_dict("list") == columns
    found = kept(tmp_path, runs["all"], "new.csv", *columns, out="kept.parquet")
    missing = {name: [value or None for value in values] for name, values in columns.items()}
    assert {name: [None if v is pd.NA else v for v in found[name]] for name in found} == missing
    height = pd.read_csv(tmp_path / "new.csv", dtype=str)["height"]  # which the model takes too
    assert kept(tmp_path, runs["all"], "new.csv", "height")["height"].equals(height)
    people().assign(log_prob_nats=1.0).to_csv(tmp_path / "new.csv", index=False)
    words = [str(runs["all"]), str(tmp_path / "new.csv"), "--keep", "log_prob_nats"]
    assert score.main([*words, "--out", str(tmp_path / "no.csv")]) == 2
    assert "the scores have a column of this name" in capsys.readouterr().err
    assert not (tmp_path / "no.csv").exists()


def test_kept_columns_of_parquet_have_their_types(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(score, "AT_ONCE", 37)
    size = len(people())
    times = pd.Series(pd.date_range("2020-01-01", periods=size, freq="min", tz="UTC", unit="ns"))
    columns = {
        "big": pd.array([None, *range(2**53 + 1, 2**53 + size)], dtype="Int64"),
        "time": times.where(times.index != 200),
        "naive": times.dt.tz_localize(None),
        "span": pd.to_timedelta(np.arange(size), unit="s"),
        "word": pd.Series(["a", None] * (size // 2), dtype="category"),
        "single": np.full(size, 0.1, dtype=np.float32),
    }
    rows = pd.RangeIndex(0, 2 * size, 2, name="row")
    people().assign(**columns).set_axis(rows).to_parquet(tmp_path / "new.parquet")
    names = [*columns, "row"]
    found = kept(tmp_path, runs["all"], "new.parquet", *names, out="kept.parquet")
    expected = pd.read_parquet(tmp_path / "new.parquet", dtype_backend="pyarrow").reset_index()
    pd.testing.assert_frame_equal(found[[*columns]], expected[[*columns]])
    assert found["row"].tolist() == list(rows)
    text = kept(tmp_path, runs["all"], "new.parquet", *names)
    assert text.iloc[:2].to_dict("list") == {
        "big": ["", "9007199254740993"],
        "time": ["2020-01-01 00:00:00+00:00", "2020-01-01 00:01:00+00:00"],
        "naive": ["2020-01-01 00:00:00", "2020-01-01 00:01:00"],
        "span": ["0 days 00:00:00", "0 days 00:00:01"],
        "word": ["a", ""],
        "single": ["0.1", "0.1"],
        "row": ["0", "2"],
    }
    assert text["time"][200] == ""


def test_a_class_has_one_type_in_all_pieces(runs, tmp_path, monkeypatch):
    """The first piece has no class at all."""
    monkeypatch.setattr(score, "AT_ONCE", 37)
    table = people()
    table.loc[:50, "height"] = np.nan
    table.to_csv(tmp_path / "new.csv", index=False)
    words = [str(runs["by class"]), str(tmp_path / "new.csv"), "--missing", "empty"]
    assert score.main([*words, "--out", str(tmp_path / "s.parquet")]) == 0
    found = pd.read_parquet(tmp_path / "s.parquet")["likeliest_class"]
    assert found[:51].isna().all() and set(found[51:]) == {"rare", "usual"}


def test_the_cause_of_a_failure_is_told(tmp_path):
    with pytest.raises(DataError, match="a column cannot be written as Parquet") as told:  # noqa: SIM117
        with columns.Writer(tmp_path / "x.parquet") as writer:
            writer.write({"a": np.array([1, 2])})
            writer.write({"a": np.array(["x", "y"], dtype=object)})
    assert "int64" in str(told.value) and list(tmp_path.iterdir()) == []


def test_splits_of_different_types_are_kept_as_text(tmp_path):
    arrays = {"train": np.int64([[2**60 + 1, 2]]), "val": np.float32([[0.5, 1]])}
    np.savez(tmp_path / "x.npz", **arrays, test=arrays["val"])
    pieces = list(pieces_with(["0"], tmp_path / "x.npz", 10, Dialect()))
    values = [kept["0"].tolist() for _, kept in pieces]
    assert values == [["1152921504606846977"], ["0.5"], ["0.5"]]
    assert pieces[0][0]["1"].tolist() == [2]


def test_scores_never_replace_the_file_they_are_of(runs, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    people().to_csv(path, index=False)
    before = path.read_bytes()
    assert score.main([str(runs["all"]), str(path), "--out", str(path)]) == 2
    assert "is the file that is read" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "header", "line", "number"),
    [
        ("dataset.header=false", "", "{},{}", "{:.3f}"),
        ("dataset.separator=';' dataset.decimal=','", "a;b\n", "{};{}", "{:.0f},5"),
        ("dataset.separator=';' dataset.decimal=','", "a\n", "{}", "{:.0f},5"),
        ("dataset.thousands='.' dataset.decimal=','", "a,b\n", "{},{}", "{:_.0f}"),
        ("dataset.thousands=','", "a,b\n", '"{}","{}"', "{:,.2f}"),
        ("dataset.thousands=','", '"a","b"\n', '"{}","{}"', "{:,.2f}"),
    ],
)
def test_samples_are_scored_whatever_the_table_was_like(
    server, tmp_path, settings, header, line, number
):
    """maf-sample writes a plain CSV with a header; the table itself stays what it is."""
    rows = np.random.default_rng(0).normal(8000, 2000, size=(90, line.count("{}")))
    texts = [[number.format(x).replace("_", ".") for x in row] for row in rows]
    (tmp_path / "t.csv").write_text(header + "".join(line.format(*t) + "\n" for t in texts))
    words = ["dataset=file", "dataset.path=t.csv", "model=gaussian", *settings.split()]
    run = server("maf-run", *words, cwd=tmp_path, check=0).stdout.strip()
    out = ("--n", "5", "--out", "s.csv", "--out", "s.parquet")
    server("maf-sample", run, *out, cwd=tmp_path, check=0)
    space = TrainedRun.load(tmp_path / run).table
    assert np.allclose(space.mean, rows.mean(axis=0), rtol=0.1)
    pd.DataFrame(rows, columns=space.columns).to_parquet(tmp_path / "t.parquet")
    for name, count, close in (("s", 5, 1e-9), ("t", 90, 0.01)):
        expected = scores(tmp_path, tmp_path / run, f"{name}.parquet")
        found = scores(tmp_path, tmp_path / run, f"{name}.csv")
        assert len(found) == count
        np.testing.assert_allclose(found, expected, atol=close)


def test_samples_written_anew_are_read_by_their_separator(server, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a;b\n" + "1,5;2,5\n3,5;1,5\n2,5;0,5\n" * 20)
    words = ["dataset=file", "dataset.path=t.csv", "model=gaussian", "dataset.separator=';'"]
    run = server("maf-run", *words, "dataset.decimal=','", cwd=tmp_path, check=0).stdout.strip()
    (tmp_path / "s.csv").write_text("a,b\n1.5,2.5\n")
    expected = scores(tmp_path, tmp_path / run, "t.csv")[:1]
    assert capsys.readouterr().err.count("maf-sample writes it") == 0
    pd.testing.assert_frame_equal(scores(tmp_path, tmp_path / run, "s.csv"), expected)
    assert "s.csv is read as maf-sample writes it, with names" in capsys.readouterr().err
