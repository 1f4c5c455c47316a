"""What follows a training run: what a person sees, history.csv always, TensorBoard on demand."""

import csv
import io
import os
import pty
import sys
import termios
from types import SimpleNamespace

import pytest

from maf_runner.system import logs
from maf_runner.tracking.tensorboard import TensorBoard

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
