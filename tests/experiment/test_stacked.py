"""Experiments trained as one stack: records, what fails, and what is left to the job itself."""

import json
import signal

import pytest

from maf_runner.experiment import known, stacked
from maf_runner.experiment.run import run
from maf_runner.experiment.stacks import train_stacks
from tests.helpers.runs import leftovers, records, wait_for
from tests.helpers.settings import composed

SMALL = ("dataset=digits", "model=made", "model.hidden=[8]", "threads=1")
OWN = (
    ("seed=0", "trainer.learning_rate=1e-3", "trainer.max_epochs=3"),
    ("seed=1", "trainer.learning_rate=1e-3", "trainer.max_epochs=3"),
    ("seed=0", "trainer.learning_rate=1e-2", "trainer.max_epochs=5", "trainer.l2=1e-3"),
)


def configs(root, *words):
    return [composed(*SMALL, *own, f"paths.results_dir={root}", *words) for own in OWN]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(known, "just_trained", {})


def test_every_run_has_the_record_that_it_would_have_alone(tmp_path):
    train_stacks(configs(tmp_path / "stacked"), most=16)
    assert not leftovers(tmp_path)
    jobs = [known.run_unless_finished(config) for config in configs(tmp_path / "stacked")]
    assert [outcome for *_, outcome in jobs] == ["done"] * 3
    for (record, folder, _), config in zip(jobs, configs(tmp_path / "alone"), strict=True):
        other = run(config)
        assert folder.path.name == other.folder.path.name
        assert {p.name for p in folder.path.iterdir()} == {
            p.name for p in other.folder.path.iterdir()
        }
        for key in ("epochs", "updates", "best_epoch", "stop_reason", "settings", "status"):
            assert getattr(record, key) == getattr(other.record, key)
        assert record.score == pytest.approx(other.record.score, rel=1e-5)
        lines = (folder.history.read_text(), other.folder.history.read_text())
        assert lines[0].count("\n") == lines[1].count("\n") == record.epochs + 1
        assert record.environment["engine"] == "stacked"
        said = (folder.path / "run.log").read_text()
        assert said.count("INFO training MADE") == 1 and f"({folder.path.name})" in said
        assert said.count(record.describe()) == said.count(" nats") == 1
    jobs = [known.run_unless_finished(config) for config in configs(tmp_path / "stacked")]
    assert [outcome for *_, outcome in jobs] == ["skipped"] * 3


def test_a_finished_run_is_not_loaded_for_a_stack(tmp_path, monkeypatch):
    train_stacks(configs(tmp_path), most=16)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}
    trained = []
    monkeypatch.setattr(stacked, "train", trained.append)
    train_stacks(configs(tmp_path), most=16)
    assert not trained
    train_stacks(configs(tmp_path, "force=true"), most=2)  # the third would be alone
    assert [len(part) for part in trained] == [2]
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.json")}


def test_trained_anew_once_with_force(tmp_path):
    train_stacks(configs(tmp_path), most=16)
    known.just_trained.clear()
    anew = configs(tmp_path, "force=true")
    train_stacks(anew, most=16)
    jobs = [known.run_unless_finished(config) for config in anew]
    assert [outcome for *_, outcome in jobs] == ["done"] * 3
    assert {record.environment["engine"] for record, *_ in jobs} == {"stacked"}


def test_only_what_shares_its_shapes_is_stacked(tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(stacked, "train", trained.append)
    train_stacks(
        [
            *configs(tmp_path),
            *configs(tmp_path, "model.hidden=[9]")[:2],
            *configs(tmp_path, "trainer.batch_size=50")[:1],
            *configs(tmp_path, "dataset=toy/circles")[:1],
            *configs(tmp_path, "engine=native"),
        ],
        most=16,
    )
    assert [len(part) for part in trained] == [3, 2]
    said = capsys.readouterr().err
    assert said.count("alone") == said.count("maf-run: jobs with engine=native train alone") == 1


def test_a_run_that_fails_is_left_to_its_job(tmp_path, monkeypatch):
    """The others go on; the job takes its checkpoint up."""
    evaluate = stacked.evaluate

    def failing(experiment, outcome):
        if experiment.settings["seed"] == 1:
            raise RuntimeError("no such luck")
        return evaluate(experiment, outcome)

    monkeypatch.setattr(stacked, "evaluate", failing)
    train_stacks(configs(tmp_path), most=16)
    assert len(records(tmp_path)) == 2
    jobs = [known.run_unless_finished(config) for config in configs(tmp_path)]
    assert [outcome for *_, outcome in jobs] == ["done", "resumed", "done"]


def test_a_stack_that_fails_costs_a_warning_and_nothing_else(tmp_path, monkeypatch):
    said = []

    def failing(*arguments, **named):
        raise RuntimeError("out of luck\nand more")

    monkeypatch.setattr(stacked, "fit_stacked", failing)
    monkeypatch.setattr(stacked.log, "warning", lambda form, *a: said.append(form % a))
    train_stacks(configs(tmp_path), most=16)
    assert said == ["the stack has failed (out of luck): its jobs go on alone"]
    jobs = [known.run_unless_finished(config) for config in configs(tmp_path)]
    assert [outcome for *_, outcome in jobs] == ["done"] * 3


def test_models_without_updates_are_left_to_their_jobs(tmp_path):
    words = ("dataset=toy/moons", "model=gaussian", f"paths.results_dir={tmp_path}")
    train_stacks([composed(*words), composed(*words, "wait=true")], most=16)
    assert not records(tmp_path) and not list(tmp_path.rglob(".holder"))


def test_a_sweep_that_was_stopped_goes_on_alone_and_stacked(tmp_path, begin, command):
    words = [*SMALL, "trainer.max_epochs=60", "trainer.patience=1000", "engine=eager"]
    sweep = ["maf-run", "-m", "launch=stacked", *words, "seed=0,1,2"]
    with begin(*sweep) as started:
        wait_for(tmp_path, "previous-last.pt", count=3)
        started.send_signal(signal.SIGTERM)
        done = started.wait()
    assert done.returncode == 143 and "goes on from here" in done.stderr
    assert not records(tmp_path)
    command("maf-run", *words, "seed=0", check=0)
    (alone,) = records(tmp_path)
    assert alone["resumed"] == 1 and alone["environment"]["engine"] == "eager"
    done = command(*sweep, check=0)
    assert "3 jobs: 1 skipped, 2 resumed" in done.stderr
    stacks = [r["environment"]["engine"] for r in records(tmp_path) if r["seed"] != 0]
    assert stacks == ["stacked"] * 2
    jobs = [json.loads(p.read_text()) for p in tmp_path.glob("results/sweeps/*/jobs/*.json")]
    assert (
        sorted(job["outcome"] for job in jobs)
        == ["resumed"] * 2 + ["skipped"] + ["unfinished"] * 3
    )
    refused = command(*sweep, "hydra.launcher.most=0", check=2)
    assert "hydra.launcher.most must be a whole number from 1, got 0" in refused.stderr
