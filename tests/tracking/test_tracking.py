"""What follows a training run: what a person sees, history.csv always, TensorBoard on demand."""

import csv
import io
import json
import logging
import math
import os
import pty
import re
import select
import sys
import termios
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from maf_runner.system import logs
from maf_runner.tracking.progress import Reporter
from maf_runner.tracking.tensorboard import TensorBoard
from maf_runner.training import TrainerSettings
from maf_runner.training.schedule import Schedule
from maf_runner.training.state import State
from tests.helpers.records import made_up
from tests.helpers.settings import TRAINER

SHORT = ("maf-run", "model=made", "trainer.max_epochs=3", "tracker=tensorboard")


def curve(folder, name="validation_nats"):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    return [(e.step, e.value) for e in events.Scalars(name)]


def run_folder(root):
    (record,) = root.glob("results/runs/*/*/*/record.json")
    return record.parent


def test_tensorboard_shows_what_history_says(tmp_path, command):
    command(*SHORT, check=0)
    folder = run_folder(tmp_path)
    with (folder / "history.csv").open() as file:
        lines = list(csv.DictReader(file))
    for name in ("train_nats", "validation_nats"):
        assert curve(folder, name) == [
            (int(line["epoch"]), pytest.approx(float(line[name]))) for line in lines
        ]
    command(*SHORT, "force=true", check=0)
    assert [step for step, _ in curve(folder)] == [1, 2, 3]
    assert len(curve(folder, "test_nats")) == 1


def test_tensorboard_has_settings_and_result(tmp_path, command):
    command(*SHORT, "dataset=toy/moons", check=0)
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = run_folder(tmp_path)
    events = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    record = json.loads((folder / "record.json").read_text())
    (test,) = events.Scalars("test_nats")
    assert test.value == pytest.approx(record["test"]["log_likelihood"])
    assert events.Tags()["images"] == ["density"]
    row = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"trainer.learning_rate" in row and b"model.name" in row


def mlflow_runs(uri):
    tracking = pytest.importorskip("mlflow.tracking")
    client = tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name("maf_runner")
    return client, client.search_runs([experiment.experiment_id])


def test_mlflow_has_curve_settings_result_and_picture(tmp_path, command, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command(*SHORT[:-1], "tracker=mlflow", "dataset=toy/moons", check=0)
    folder = run_folder(tmp_path)
    client, (run,) = mlflow_runs(f"sqlite:///{tmp_path / 'results/mlflow/mlflow.db'}")
    assert run.info.run_name == "/".join(folder.parts[-3:]) and run.info.status == "FINISHED"
    assert run.data.params["dataset.name"] == "toy/moons" and run.data.params["seed"] == "0"
    record = json.loads((folder / "record.json").read_text())
    assert run.data.metrics["test_nats"] == pytest.approx(record["test"]["log_likelihood"])
    with (folder / "history.csv").open() as file:
        lines = list(csv.DictReader(file))
    for name in ("validation_nats", "learning_rate"):
        points = client.get_metric_history(run.info.run_id, name)
        assert [(p.step, p.value) for p in points] == [
            (int(line["epoch"]), pytest.approx(float(line[name]))) for line in lines
        ]
    kept = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert kept == {"record.json", "density.png"}


def test_a_resumed_run_goes_on_in_mlflow_and_in_wandb(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    from maf_runner.tracking.mlflow import MLflow
    from maf_runner.tracking.wandb import WandB

    folder = tmp_path / "runs" / "d" / "m" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    for epochs in (range(1, 3), range(3, 5)):
        for tracker in (MLflow(folder, uri, "maf_runner"), WandB(folder, "p", None, "offline")):
            for epoch in epochs:
                line = {"epoch": epoch, "train_nats": math.nan, "validation_nats": -epoch}
                tracker.validated(SimpleNamespace(epoch=epoch, history=[line]))
            tracker.close()
            assert tracker._works
    client, (run,) = mlflow_runs(uri)
    points = client.get_metric_history(run.info.run_id, "validation_nats")
    assert [(p.step, p.value) for p in points] == [(e, -e) for e in range(1, 5)]
    assert run.info.status == "KILLED"
    sessions = list((folder / "wandb").glob("offline-run-*"))
    # Two that begin in the same second get different endings after the id.
    assert len(sessions) == 2 and all("-abc" in path.name for path in sessions)
    last = MLflow(folder, uri, "maf_runner")  # stopped after the last validation, and gone on
    last.recorded(made_up(epochs=4))
    last.close()
    client, (run,) = mlflow_runs(uri)
    assert run.info.status == "FINISHED" and run.data.metrics["test_nats"] == -1380.0


def test_wandb_sends_nothing_unless_told(tmp_path, command):
    pytest.importorskip("wandb")
    command(*SHORT[:-1], "tracker=wandb", check=0)
    (session,) = (run_folder(tmp_path) / "wandb").glob("offline-run-*")
    assert list(session.glob("run-*.wandb"))
    assert (
        "offline, online or disabled"
        in command(*SHORT[:-1], "tracker=wandb", "tracker.mode=on", "force=true", check=2).stderr
    )


def test_a_service_that_fails_ends_no_run(tmp_path, command):
    pytest.importorskip("mlflow")
    uri = "tracker.uri=nosuch://server"
    result = command(*SHORT[:-1], "tracker=mlflow", uri, check=0)
    assert result.stderr.count("MLflow is told no more of this run") == 1
    assert run_folder(tmp_path)


def test_a_tracker_makes_no_other_run(tmp_path, command):
    command(*SHORT, check=0)
    assert "already there" in command(*SHORT[:-1], check=0).stderr


def test_a_resumed_run_goes_on_in_its_curve(tmp_path):
    def state(epoch):
        line = {"epoch": epoch, "train_nats": 0.0, "validation_nats": -epoch, "seconds": 1.0}
        return SimpleNamespace(epoch=epoch, history=[line])

    for epochs in (range(1, 5), range(3, 7)):  # killed after 4, the checkpoint of 2 is there
        tracker = TensorBoard(tmp_path)
        for epoch in epochs:
            tracker.validated(state(epoch))
        tracker.close()
    assert curve(tmp_path) == [(epoch, -epoch) for epoch in range(1, 7)]


def test_without_tensorboard_it_says_what_to_install(tmp_path, command):
    code = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from maf_runner.commands.run import main\n"
        f"sys.argv = {list(SHORT)!r}; sys.exit(main())\n"
    )
    result = command("python", "-c", code, check=2)
    assert "pip install '.[tensorboard]'" in result.stderr
    assert not list(tmp_path.rglob("config.yaml"))


def test_a_terminal_without_size_gets_lines_and_no_bar(monkeypatch):
    """As some containers have; the bar would be of width 0."""
    outer, inner = pty.openpty()
    with os.fdopen(outer), os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        sizes = {(0, 0): False, (24, 80): True}
        for size, expected in sizes.items():
            termios.tcsetwinsize(inner, size)
            assert logs.has_terminal() is expected
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not logs.has_terminal()


@contextmanager
def terminal_of_80_columns(monkeypatch):
    """A function that gives what is shown, piece by piece as it is drawn."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    os.set_blocking(outer, False)
    with os.fdopen(outer, "rb", buffering=0) as screen, os.fdopen(inner, "w") as terminal:
        # Not in a fixture: pytest sets sys.stderr anew before it calls the test.
        monkeypatch.setattr(sys, "stderr", terminal)

        def pieces():
            terminal.flush()
            text = ""
            while select.select([screen], [], [], 0.5)[0]:  # the kernel passes it on in its time
                text += (screen.read(1 << 16) or b"").decode()
            return [piece.strip() for piece in text.split("\r") if piece.strip()]

        yield pieces


def followed(settings, epochs, per_epoch=100):
    """A reporter that was told of some epochs, each of 2 s and 1 nat worse than the last."""
    reporter, state = Reporter("MAF (5) on mnist"), State()
    schedule = Schedule(replace(TrainerSettings(**TRAINER), **settings), per_epoch)
    reporter.start(state, schedule, "eager")
    for _ in range(epochs):
        for _ in range(per_epoch):
            state.update += 1
            reporter.update()
        state.epoch += 1
        state.seconds += 2.0
        nats = -1299.5 - state.epoch
        if nats > state.best_validation:
            state.best_validation, state.best_epoch = nats, state.epoch
        state.history.append({"validation_nats": nats, "updates": state.update})
        reporter.validated(state)
    return reporter


def test_the_bar_is_over_the_whole_run_and_fits_80_columns(monkeypatch):
    with terminal_of_80_columns(monkeypatch) as shown:
        reporter = followed({"max_epochs": 200, "patience": 30}, 13)
        reporter.bar.refresh()
        pieces = shown()
        assert reporter.bar.n == 1300 and reporter.bar.total == 20_000
        reporter.close()
    assert pieces[-1].startswith("epoch 13/200: -1312.50 nats, best -1300.50, patience 12/30 |")
    assert re.search(r"\| \d\d:\d\d left$", pieces[-1])
    assert all(len(piece) <= 80 for piece in pieces)


def test_without_an_end_the_bar_says_when_patience_ends_it(monkeypatch):
    with terminal_of_80_columns(monkeypatch) as shown:
        reporter = followed({"max_epochs": None, "patience": 30}, 13)
        reporter.bar.update(43)
        reporter.bar.refresh()
        pieces = shown()
        reporter.close()
    expected = "epoch 13: -1312.50 nats, best -1300.50, patience 12/30, ends in >00:36 | 43 %"
    assert expected in pieces and len(expected) <= 80


def test_a_file_gets_lines_that_say_the_same(caplog, monkeypatch):
    monkeypatch.setattr("maf_runner.tracking.progress.QUIET_SECONDS", -1)
    monkeypatch.setattr(logging.getLogger("maf_runner"), "propagate", True)
    with caplog.at_level(logging.INFO, "maf_runner"):
        followed({"max_epochs": None, "patience": 30}, 2)
        followed({"max_epochs": 4, "patience": 30}, 2)
    said = [record.getMessage() for record in caplog.records]
    lines = list(dict.fromkeys(text for text in said if "patience" in text))
    start = "MAF (5) on mnist: epoch"
    tail = "-1301.50 nats, best -1300.50, patience 1/30, 00:04, at"
    assert lines[1] == f"{start} 2: {tail} least 00:58 left"
    assert lines[3] == f"{start} 2/4: {tail} most 00:04 left"


def test_jobs_that_share_a_terminal_draw_no_bars(monkeypatch):
    worker = SimpleNamespace(name="LokyProcess-1")
    monkeypatch.setattr("multiprocessing.current_process", lambda: worker)
    assert not logs.has_terminal()
