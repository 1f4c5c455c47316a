"""A trained model used: load_run, maf-sample, maf-score."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import maf_runner
from maf_runner.system.errors import DataError


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """Two quick runs: a conditional one on images, and one on points in the plane."""
    folder = tmp_path_factory.mktemp("runs")
    short = [
        "model.hidden=[32]",
        "trainer.max_epochs=15",
        "trainer.learning_rate=0.003",
        "threads=1",
    ]

    def run(*words):
        done = server("maf-run", *words, *short, cwd=folder, check=0)
        return Path(done.stdout.strip())

    return {
        "digits": run("model=conditional_maf", "model.layers=2"),
        "plane": run("model=maf_mog", "model.layers=2", "dataset=toy/two_gaussians"),
    }


def test_load_run_gives_the_recorded_model(runs):
    model = maf_runner.load_run(runs["plane"])
    assert not model.training and model.title == "MAF MoG (2)"
    from maf_runner.datasets.toy import load

    options = json.loads((runs["plane"] / "record.json").read_text())["settings"]["dataset"]
    options = {k: v for k, v in options.items() if k not in ("name", "_target_")}
    test = load(paths=None, **options).test
    nats = model.log_prob(torch.from_numpy(test.x)).detach().double().numpy()
    np.testing.assert_allclose(nats, np.load(runs["plane"] / "test_nats.npy"), atol=1e-5)


def test_density_in_the_plane_is_drawn(runs, command, tmp_path):
    """By the run itself, as ``maf-plot density`` draws it of the model that the run has kept."""
    command("maf-plot", "density", runs["plane"], "--out", "again.png", check=0)
    with Image.open(runs["plane"] / "density.png") as one, Image.open(tmp_path / "again.png") as b:
        assert one.size == b.size and one.size[0] > 500
        apart = np.asarray(one.convert("RGB"), float) - np.asarray(b.convert("RGB"), float)
        assert np.abs(apart).mean() < 4 and np.asarray(one).std() > 20
    assert not (runs["digits"] / "density.png").exists()


def test_samples_and_their_scores(runs, command, tmp_path):
    result = command("maf-sample", runs["plane"], "--n", 500, check=0)
    assert result.stdout.split() == ["samples.npy", "samples.png"]
    x = np.load(tmp_path / "samples.npy")
    assert x.shape == (500, 2) and np.isfinite(x).all()
    assert abs(abs(x[:, 0]).mean() - 2) < 0.5  # two Gaussians at ±2
    command("maf-score", runs["plane"], "samples.npy", check=0)
    scores = pd.read_csv(tmp_path / "scores.csv")
    model = maf_runner.load_run(runs["plane"])
    expected = model.log_prob(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(scores["log_prob_nats"], expected, atol=1e-5)
    command("maf-sample", runs["plane"], "--n", 500, "--out", "again.npy", check=0)
    assert np.array_equal(np.load(tmp_path / "again.npy"), x)
    command("maf-sample", runs["plane"], "--n", 500, "--out", "x.npy", "--seed", 1, check=0)
    assert not np.array_equal(np.load(tmp_path / "x.npy"), x)


def test_images_by_class(runs, command, tmp_path):
    out = ("--out", "s.csv", "--out", "s.png", "--out", "s.npy")
    command("maf-sample", runs["digits"], "--n", 20, *out, "--pixels", check=0)
    table = pd.read_csv(tmp_path / "s.csv")
    assert table["label"].tolist() == [y for y in range(10) for _ in range(2)]
    pixels = np.load(tmp_path / "s.npy")
    assert pixels.min() == 0 and pixels.max() == 1
    np.testing.assert_allclose(table.drop(columns="label"), pixels, rtol=1e-6)
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    command("maf-sample", runs["digits"], "--n", 3, "--label", 7, "--out", "7.csv", check=0)
    assert pd.read_csv(tmp_path / "7.csv")["label"].tolist() == [7, 7, 7]
    command("maf-score", runs["digits"], "7.csv", check=0)
    scores = pd.read_csv(tmp_path / "scores.csv")
    by_class = scores[[f"log_prob_nats_class_{y}" for y in range(10)]].to_numpy()
    np.testing.assert_allclose(
        scores["log_prob_nats"], np.logaddexp.reduce(by_class, axis=1) - np.log(10), atol=1e-6
    )
    assert (scores["likeliest_class"] == by_class.argmax(axis=1)).all()
    command("maf-score", runs["digits"], "7.csv", "--label", 7, "--out", "of7.csv", check=0)
    of_seven = pd.read_csv(tmp_path / "of7.csv")["log_prob_nats"]
    np.testing.assert_allclose(of_seven, by_class[:, 7], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["maf-sample", "digits", "--label", "10"], 2, "must be a class from 0 to 9, got 10"),
        (["maf-sample", "digits", "--label", "-1"], 2, "must be a class from 0 to 9"),
        (["maf-sample", "plane", "--label", "0"], 2, "this model is not conditional"),
        (["maf-sample", "plane", "--n", "0"], 2, "--n must be at least 1"),
        (["maf-sample", "plane", "--pixels"], 2, "this run's data are no images"),
        (["maf-sample", "plane", "--out", "x.doc"], 2, "must end in .csv, .parquet, .npy or .png"),
        (["maf-sample", "plane", "--out", "no/where.npy"], 3, "cannot be written"),
        (["maf-sample", "nowhere"], 3, "is not a run folder"),
        (["maf-score", "plane", "nothing.npy"], 3, "nothing.npy not found"),
        (["maf-score", "plane", "wide.npy"], 3, "must have 2 columns"),
        (["maf-score", "plane", "nan.npy"], 3, "has missing values, first in row 1"),
        (["maf-score", "plane", "words.csv"], 3, "non-numeric columns: a ('x' in row 0)"),
        (["maf-score", "plane", "pickle.npy"], 3, "cannot be read as a table"),
        (["maf-score", "plane", "empty.npy"], 3, "cannot be read as a table"),
        (["maf-score", "plane", "none.csv"], 3, "has no rows"),
        (["maf-score", "plane", "headless.csv"], 3, "its first line holds numbers"),
        (["maf-sample", "plane", "--seed", "-1"], 2, "--seed must be"),
        (["maf-score", "plane", "rows.txt"], 2, "must end in .npy or .csv"),
    ],
)
def test_bad_input(runs, command, tmp_path, words, code, message):
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    np.save(tmp_path / "nan.npy", [[0, 0], [np.nan, 0], [0, 0]])
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "none.csv").write_text("a,b\n")
    (tmp_path / "headless.csv").write_text("1.5,2\n3,4\n")
    (tmp_path / "words.csv").write_text("a,b\nx,y\n")
    before = set(os.listdir(tmp_path))  # noqa: PTH208
    program, run, *rest = words
    result = command(program, runs.get(run, run), *rest, check=code)
    assert message in result.stderr and "Traceback" not in result.stderr
    assert set(os.listdir(tmp_path)) == before  # noqa: PTH208


def copied(runs, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("record.json", "best.pt"):
        (folder / name).write_bytes((runs["plane"] / name).read_bytes())
    return folder


def test_damaged_run_folders(runs, tmp_path, command):
    folder = copied(runs, tmp_path)
    assert maf_runner.load_run(folder)
    record = json.loads((folder / "record.json").read_text())
    best = (folder / "best.pt").read_bytes()

    def refused(message):
        with pytest.raises(DataError, match=message):
            maf_runner.load_run(folder)
        assert command("maf-sample", folder).returncode == 3

    (folder / "best.pt").write_bytes(best[: len(best) // 2])
    refused("cannot be read")
    (folder / "best.pt").unlink()
    refused("cannot be read")
    (folder / "best.pt").write_bytes(best)
    (folder / "record.json").write_text(json.dumps({**record, "run_id": "other"}))
    refused("belongs to another run")
    (folder / "record.json").write_text(json.dumps({**record, "status": "diverged"}))
    refused("has no trained model")
    (folder / "record.json").unlink()
    (folder / "last.pt").write_bytes(best)
    refused("is not finished")


def test_a_foreign_target_is_not_imported(runs, tmp_path):
    folder = copied(runs, tmp_path)
    record = json.loads((folder / "record.json").read_text())
    record["settings"]["model"]["_target_"] = "os.system"
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(
        DataError, match=r"must name something in maf_runner\.flows, .*got 'os\.system'"
    ):
        maf_runner.load_run(folder)


def test_four_layers_find_the_ring_that_one_misses(tmp_path, command):
    words = ["maf-run", "-m", "dataset=toy/circles", "model.layers=1,4", "threads=1"]
    words += ["trainer.learning_rate=3e-3", "trainer.patience=100", "trainer.max_epochs=50"]
    command(*words, check=0)
    nats, errors = {}, {}
    for path in tmp_path.rglob("record.json"):
        found = json.loads(path.read_text())
        layers = found["settings"]["model"]["layers"]
        nats[layers], errors[layers] = (found["test"][k] for k in ("log_likelihood", "error"))
        assert nats[layers] < -found["data"]["entropy"] + 1.5 * errors[layers]
    assert nats[4] - nats[1] > 0.7
