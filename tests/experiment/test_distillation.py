"""A model trained on rows drawn from finished runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maf_runner.experiment.conditioning import Conditioning
from maf_runner.experiment.distillation import MARGIN, with_drawn_rows
from maf_runner.experiment.mixture import load_trained
from maf_runner.experiment.prepare import data_of
from maf_runner.records.folder import RunFolder
from maf_runner.system.errors import UsageError
from tests.helpers.runs import records, same, wait_for

SMALL = ("model.hidden=[16]", "trainer.max_epochs=2", "threads=1")
DISTILLED = ("trainer=distilled", "trainer.drawn_rows=3000")


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """Teachers, each a trained run."""
    folder = tmp_path_factory.mktemp("distillation")
    rng = np.random.default_rng(0)
    given = rng.uniform(0, 10, 400)
    value = 3 * given + rng.normal(size=400)
    frame = pd.DataFrame({"given": given, "value": value, "one": 1.0})
    frame.to_csv(folder / "line.csv", index=False)
    line = ("dataset=file", f"dataset.path={folder / 'line.csv'}")

    def run(*words):
        return Path(server("maf-run", *words, *SMALL[2:], cwd=folder, check=0).stdout.strip())

    digits = ("dataset=digits", "model=gaussian")
    return {
        "a": run("dataset=toy/moons", "model=made_mog", *SMALL),
        "b": run("dataset=toy/moons", "model=made_mog", "seed=1", *SMALL),
        "other": run("dataset=toy/banana", "model=gaussian"),
        "gaussian": run("dataset=toy/two_gaussians", "model=gaussian"),
        "class": run(*digits, "model.conditional=true"),
        "constant": run(*line, "dataset.columns=[value,one]", "model=made", *SMALL),
        "column": run(*line, "dataset.columns=[value]", "dataset.context=[given]", "model=made",
                      "trainer=tuned", "trainer.max_epochs=150", "trainer.batch_size=20"),
    }  # fmt: skip


def drawn(runs, *names, n=2000, seed=0):
    """The training rows of teachers, how many they are, and those with the drawn ones."""
    teacher = load_trained([runs[name] for name in names])
    splits = data_of(RunFolder(runs[names[0]]))
    folders = [str(runs[name]) for name in names]
    rows = with_drawn_rows(splits, teacher.conditioning, folders, n, seed)
    return splits, len(splits.train), rows


@pytest.fixture
def distil(server, tmp_path):
    """Runs maf-run with teachers; its record, or the line of an error."""

    def run(*words, teachers, check=0):
        words = (*DISTILLED, f"trainer.teachers=[{','.join(map(str, teachers))}]", *words)
        result = server("maf-run", *words, *SMALL, cwd=tmp_path, check=check)
        if check:
            return result.stderr.strip().splitlines()[-1]
        return json.loads((Path(result.stdout.strip()) / "record.json").read_text())

    return run


MOONS = ("dataset=toy/moons", "model=made_mog")


def test_the_run_is_named_by_its_teachers_and_not_by_where_they_lie(runs, distil, tmp_path):
    record = distil(*MOONS, teachers=[runs["a"], runs["b"]])
    ids = sorted(runs[name].name for name in "ab")
    assert record["settings"]["trainer"]["teachers"] == ids
    assert record["train_rows"] < 3000 < record["updates"] * 400 / 2
    assert record["departures"] == ["trainer.max_epochs=2", "trainer.drawn_rows=3000"]
    shutil.copytree(runs["a"], tmp_path / "moved" / "here")
    turned = [runs["b"], tmp_path / "moved" / "here"]
    moved = distil(*MOONS, "paths.results_dir=again", teachers=turned)
    assert moved["run_id"] == record["run_id"] and moved["test"] == record["test"]
    assert distil(*MOONS, teachers=[runs["a"]])["run_id"] != record["run_id"]


def test_a_finished_run_is_found_when_its_teachers_are_gone(runs, distil, tmp_path):
    gone = tmp_path / runs["a"].name
    shutil.copytree(runs["a"], gone)
    record = distil(*MOONS, teachers=[gone])
    shutil.rmtree(gone)
    assert distil(*MOONS, teachers=[gone]) == record
    said = distil(*MOONS, "seed=1", teachers=[gone], check=3)
    assert f"trainer.teachers: {gone} is not a run folder" in said
    assert len(records(tmp_path / "results")) == 1


def test_killed_and_resumed_equals_uninterrupted(runs, server, tmp_path):
    """The rows are drawn again, the same."""
    teachers = f"trainer.teachers=[{runs['a']},{runs['b']}]"
    words = ("maf-run", *MOONS, *DISTILLED, teachers, *SMALL, "trainer.max_epochs=60")
    server(*words, "paths.results_dir=whole", cwd=tmp_path, check=0)
    with server.begin(*words, cwd=tmp_path) as run:
        wait_for(tmp_path / "results", "last.pt")
        run.kill()
    assert records(tmp_path / "results") == []
    assert "goes on after" in server(*words, cwd=tmp_path, check=0).stderr
    assert same(*records(tmp_path / "whole"), *records(tmp_path / "results"))


def test_the_training_rows_come_first_and_the_drawn_ones_are_the_teacher_s(runs):
    splits, n, rows = drawn(runs, "gaussian", n=20_000)
    np.testing.assert_array_equal(rows.x[:n], splits.train.x)
    assert len(rows) - n > 19_900
    new = rows.x[n:].astype(float)
    spread = splits.train.x.std(axis=0)
    np.testing.assert_allclose(
        new.mean(axis=0), splits.train.x.mean(axis=0), atol=0.05 * spread.max()
    )
    np.testing.assert_allclose(np.cov(new.T), np.cov(splits.train.x.T), rtol=0.1, atol=0.05)
    low, high = splits.train.x.min(axis=0), splits.train.x.max(axis=0)
    assert (rows.x >= low - MARGIN * (high - low)).all()
    assert (rows.x <= high + MARGIN * (high - low)).all()
    again = drawn(runs, "gaussian", n=20_000)[2]
    np.testing.assert_array_equal(rows.x, again.x)
    assert not np.array_equal(
        rows.x[n:][:50], drawn(runs, "gaussian", n=20_000, seed=1)[2].x[n:][:50]
    )


def test_each_drawn_row_has_its_class(runs):
    splits, n, rows = drawn(runs, "class", n=5000)
    assert len(rows.labels) == len(rows.x)
    for label in range(10):
        of = splits.train.x[splits.train.labels == label].mean(axis=0)
        new = rows.x[n:][rows.labels[n:] == label].mean(axis=0)
        assert np.corrcoef(of, new)[0, 1] > 0.98


def test_each_drawn_row_has_the_columns_it_was_given(runs):
    splits, n, rows = drawn(runs, "column", n=5000)
    assert np.isin(rows.context[n:, 0], splits.train.context[:, 0]).all()
    assert np.corrcoef(rows.context[n:, 0], rows.x[n:, 0])[0, 1] > 0.9


def test_a_constant_column_leaves_no_row_out(runs):
    _, n, rows = drawn(runs, "constant", n=500)
    assert len(rows) - n > 400


def test_teachers_that_draw_no_rows_like_the_training_rows_are_refused(runs, monkeypatch):
    monkeypatch.setattr("maf_runner.experiment.distillation.MARGIN", -0.6)  # no row is inside
    with pytest.raises(UsageError, match="1,000 of 1,000 drawn rows lie far outside"):
        drawn(runs, "gaussian", n=1000)


def test_more_rows_than_the_memory_holds_are_refused(runs):
    with pytest.raises(UsageError, match=r"trainer.drawn_rows=.* draw fewer rows"):
        drawn(runs, "gaussian", n=10**15)


def test_a_copy_of_a_teacher_is_no_other_teacher(runs, distil, tmp_path):
    shutil.copytree(runs["a"], tmp_path / "copy")
    said = distil(*MOONS, teachers=[runs["a"], tmp_path / "copy"], check=2)
    assert "is named twice" in said


def test_a_teacher_whose_classes_have_other_probabilities_is_refused(runs):
    splits = data_of(RunFolder(runs["class"]))
    student = Conditioning(10, tuple([0.1] * 10))
    with pytest.raises(UsageError, match="class_prior"):
        with_drawn_rows(splits, student, [str(runs["class"])], 10, 0)


def test_a_teacher_of_other_data_is_refused(runs, distil):
    said = distil(*MOONS, teachers=[runs["other"]], check=2)
    assert "trained on other rows" in said and str(runs["other"]) in said


def test_a_teacher_that_is_given_something_else_is_refused(runs, distil):
    said = distil("dataset=digits", "model=made", teachers=[runs["class"]], check=2)
    assert "model.conditional" in said


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("[]", "trainer.teachers must list folders"),
        ("some", "trainer.teachers must list folders"),
        ("[3]", "trainer.teachers must be a folder"),
        ("[nowhere]", "trainer.teachers:"),
    ],
)
def test_what_is_no_list_of_runs_is_refused(server, tmp_path, words, part):
    command = ("maf-run", *MOONS, "trainer=distilled", f"trainer.teachers={words}")
    result = server(*command, cwd=tmp_path)
    assert result.returncode in (2, 3) and part in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_model_in_closed_form_has_no_teachers(server, runs, tmp_path):
    words = ("dataset=toy/moons", "model=gaussian", *DISTILLED, f"trainer.teachers=[{runs['a']}]")
    said = server("maf-run", *words, cwd=tmp_path, check=2).stderr
    assert "model=gaussian is found in closed form, and learns from no teachers" in said


def test_the_number_of_rows_is_checked(distil, runs):
    assert "drawn_rows" in distil(*MOONS, "trainer.drawn_rows=0", teachers=[runs["a"]], check=2)


def test_rows_with_weights_cannot_be_drawn(runs):
    splits = data_of(RunFolder(runs["a"]))
    weighted = replace(splits.train, weights=np.ones(len(splits.train)))
    with pytest.raises(UsageError, match="weights"):
        with_drawn_rows(replace(splits, train=weighted), Conditioning(), [str(runs["a"])], 10, 0)
