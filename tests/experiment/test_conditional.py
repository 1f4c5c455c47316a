"""p(y | x): models given columns of a table, against a simulator whose densities are known."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from maf_runner.commands import sample, score
from maf_runner.commands.given import given_rows
from maf_runner.datasets.spaces.context import ContextColumn, ContextSpace
from maf_runner.experiment.trained import TrainedRun
from maf_runner.system.errors import DataError
from tests.helpers.simulators import NOISE, linear, linear_log_prob, linear_mean

GIVEN = ["dataset.context=[rpm,load,site]", "dataset.categorical=[site]"]
MODELS = {
    "maf": ["model=maf", "model.layers=2"],
    "realnvp": ["model=realnvp", "model.layers=4"],
    "made_mog": ["model=made_mog", "model.components=2"],
    "nsf": ["model=nsf", "model.layers=2", "model.hidden=[32]", "trainer.max_epochs=15"],
}


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """Each model, trained on the linear simulator."""
    folder = tmp_path_factory.mktemp("conditional")
    linear(20_000).to_csv(folder / "engines.csv", index=False)
    linear(5_000, seed=1).to_csv(folder / "new.csv", index=False)

    def run(*words):
        shared = ["dataset=file", "dataset.path=engines.csv", "dataset.name=engines", *GIVEN,
                  "model.hidden=[32]", "trainer=tuned", "trainer.max_epochs=20", "threads=1",
                  "trainer.batch_size=200"]  # fmt: skip
        done = server("maf-run", *shared, *words, cwd=folder, check=0)
        return Path(done.stdout.strip())

    return {"folder": folder, **{name: run(*words) for name, words in MODELS.items()},
            "not given": run("model=maf", "model.conditional=false")}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_close_to_the_truth(runs, name):
    out = runs["folder"] / "scores.csv"
    assert score.main([str(runs[name]), str(runs["folder"] / "new.csv"), "--out", str(out)]) == 0
    truth = linear_log_prob(pd.read_csv(runs["folder"] / "new.csv", keep_default_na=False))
    divergence = (truth - pd.read_csv(out).log_prob_nats).mean()
    assert -0.01 < divergence < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_samples_given_a_row_are_of_its_distribution(runs, name, tmp_path):
    """The rank of the truth among samples is uniform where p(y | x) means what it says."""
    new = pd.read_csv(runs["folder"] / "new.csv", keep_default_na=False)[:200]
    new.drop(columns=["y1", "y2"]).to_csv(tmp_path / "given.csv", index=False)
    words = [
        "--given",
        str(tmp_path / "given.csv"),
        "--n",
        "500",
        "--out",
        str(tmp_path / "s.csv"),
    ]
    assert sample.main([str(runs[name]), *words]) == 0
    drawn = pd.read_csv(tmp_path / "s.csv", keep_default_na=False)
    assert list(drawn) == ["given_row", "rpm", "load", "site", "y1", "y2"]
    assert drawn.given_row.tolist() == np.repeat(np.arange(200), 500).tolist()
    assert (drawn.site.to_numpy() == np.repeat(new.site.to_numpy(), 500)).all()
    mean = drawn.groupby("given_row")[["y1", "y2"]].mean().to_numpy()
    deviation = np.sqrt(np.square(NOISE).sum(axis=1))
    error = (mean - linear_mean(new)) / deviation
    assert np.abs(error).mean() < 0.12  # 0.036 if only the 500 draws had an error
    inside = np.abs(drawn[["y1", "y2"]].to_numpy().reshape(200, 500, 2) - mean[:, None])
    share = (inside < norm.ppf(0.95) * deviation).mean()
    assert 0.88 < share < 0.92
    low, high = binom.interval(0.999, 200, 0.5)
    below = (drawn.y1.to_numpy().reshape(200, 500) < new.y1.to_numpy()[:, None]).mean(axis=1)
    assert low <= (below < 0.5).sum() <= high


def test_the_record_says_what_was_measured(runs, server):
    given, without = (TrainedRun.load(runs[name]) for name in ("maf", "not given"))
    content = json.loads(given.folder.record.read_text())
    assert content["quantity"] == "log p(y1, y2 | rpm, load, site)"
    assert "accuracy" not in content["test"] and content["conditional"] is True
    assert given.record.title == "MAF (2), tuned, given rpm, load, site on engines"
    assert "quantity" not in json.loads(without.folder.record.read_text())
    # What the columns tell: the mean of y varies with them.
    gain = given.record.test["log_likelihood"] - without.record.test["log_likelihood"]
    assert gain > 1
    table = server("maf-table", "--results", "results", cwd=runs["folder"], check=0).stdout
    assert "given rpm, load, site" in table


def test_by_values_on_the_command_line(runs, capsys):
    run = str(runs["maf"])
    assert (
        sample.main([run, "--given", "rpm=1500,load=0.5,site=NA", "--n", "4", "--out", "-"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '"given_row","rpm","load","site","y1","y2"' and len(lines) == 5
    assert lines[1].startswith('0,1500.0,0.5,"NA",1')


def test_a_quoted_category_and_a_flag_among_the_values():
    columns = ContextColumn("city", categories=("Paris", "Paris, TX")), ContextColumn("on")
    record = SimpleNamespace(settings={"dataset": {"missing_markers": [-999]}})
    run = SimpleNamespace(context=ContextSpace(columns), record=record)
    rows = given_rows('city="Paris, TX", on=True', run)
    assert rows.to_dict("records") == [{"city": "Paris, TX", "on": 1.0}]
    assert given_rows("city=-999,on=-999", run).isna().all(axis=None)  # marks of missing values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "conditioned on rpm, load, site: give their values, as --given rpm=..."),
        ("rpm=1,load=1", "--given lacks site, on which this model is conditioned"),
        ("rpm=fast,load=1,site=NA", "--given: rpm must be a number, got 'fast'"),
        ("rmp=1", "--given: no context column 'rmp'; did you mean 'rpm'?"),
        ("rpm=1,rpm=2,load=1,site=NA", "--given: rpm has two values"),
        ("rpm=1,load=1,site=nort", "has 'nort' in row 0 (from 0), which no training row has; did"),
        ("rpm=,load=1,site=NA", "--given: rpm is missing or not finite in row 0"),
        ("lost.csv", "lost.csv not found (--given)"),
        ("header.csv", "--given has no rows"),
        ('rpm=1,load=1,site="NA', "--given: a quotation mark is not closed"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_given(runs, given, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("header.csv").write_text("rpm,load,site\n")
    words = [] if given is None else ["--given", given]
    assert sample.main([str(runs["maf"]), *words, "--out", "-"]) in (2, 3)
    assert message in capsys.readouterr().err


def test_beyond_the_training_rows_is_said(runs, tmp_path, capsys):
    frame = pd.read_csv(runs["folder"] / "new.csv", keep_default_na=False)[:5]
    frame.loc[3, "rpm"] = 90_000.0
    frame.to_csv(tmp_path / "x.csv", index=False)
    words = [str(runs["maf"]), str(tmp_path / "x.csv"), "--out", str(tmp_path / "s.csv")]
    assert score.main(words) == 0
    said = capsys.readouterr().err
    assert "outside of the training rows: rpm = 90000 in row 3 (from 0); in training it" in said
    frame.drop(columns="load").to_csv(tmp_path / "x.csv", index=False)
    assert score.main(words) == 3
    assert "no column 'load', which this run is conditioned on" in capsys.readouterr().err
    assert score.main([*words, "--label", "NA"]) == 2
    assert "conditioned on columns: rpm, load, site" in capsys.readouterr().err
    assert sample.main([str(runs["not given"]), "--given", "rpm=1"]) == 2
    assert "this model is given nothing" in capsys.readouterr().err


def test_a_gaussian_is_given_no_columns(runs, server):
    words = ["model=gaussian", "dataset=file", "dataset.path=engines.csv", *GIVEN]
    done = server("maf-run", *words, cwd=runs["folder"], check=2)
    assert "cannot be given columns" in done.stderr
    server("maf-run", *words, "model.conditional=false", cwd=runs["folder"], check=0)


def test_a_damaged_record_is_refused(runs, tmp_path):
    import shutil

    shutil.copytree(runs["maf"], tmp_path / "run")
    record = tmp_path / "run" / "record.json"
    content = json.loads(record.read_text())
    for broken in ({"columns": [{"name": 3}]}, {"columns": 1}, {"columns": [{"name": "rpm"}]}, {}):
        content["data"]["context"] = broken
        record.write_text(json.dumps(content))
        with pytest.raises(DataError):
            TrainedRun.load(tmp_path / "run")
