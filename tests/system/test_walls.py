"""Files that cannot be read now, that are none, or that come from strangers."""

import builtins
import csv
import errno
import io
import json
import os
import signal
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from maf_runner.commands import score
from maf_runner.experiment.run import run
from maf_runner.reporting.tables.table import build
from maf_runner.system import reading
from maf_runner.system.errors import ShortageError, UsageError
from tests.helpers.records import keep, made_up
from tests.helpers.runs import wait_for
from tests.helpers.settings import composed

SMALL = ("model=made", "model.hidden=[8]", "trainer.max_epochs=2", "threads=1")


def small(tmp_path, *words):
    return composed(*SMALL, f"paths.results_dir={tmp_path}/results", *words)


def files(folder):
    """The content of every file of a run but its log."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix not in (".log", "")}


def out_of_reach(monkeypatch, name, number):
    """Reading files of a name fails as the system would have it."""

    def failing(real):
        def opened(path, *rest, **named):
            if not isinstance(path, int) and Path(os.fspath(path)).name == name:
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *rest, **named)

        return opened

    monkeypatch.setattr(os, "open", failing(os.open))
    monkeypatch.setattr(builtins, "open", failing(open))


NUMBERS = [
    errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.ENOTCONN,
    errno.ETIMEDOUT, errno.EHOSTDOWN,
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_record_that_cannot_be_read_now_is_left_alone(tmp_path, monkeypatch, number):
    folder = run(small(tmp_path)).folder
    before = files(folder.path)
    out_of_reach(monkeypatch, "record.json", number)
    with pytest.raises(ShortageError):
        run(small(tmp_path))
    assert files(folder.path) == before
    monkeypatch.undo()
    assert run(small(tmp_path)).known


def test_a_checkpoint_that_cannot_be_read_now_is_left_alone(tmp_path, begin, monkeypatch):
    words = ("trainer.max_epochs=400", "trainer.patience=1000")
    with begin("maf-run", *SMALL, *words) as started:
        wait_for(tmp_path, "previous-last.pt")
        # As when a terminal is closed; nohup has commands ignore that, and those they start.
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        sent = signal.SIGTERM if ignored else signal.SIGHUP
        started.send_signal(sent)
        done = started.wait()
    assert done.returncode == 128 + sent and "goes on from here" in done.stderr
    (last,) = tmp_path.rglob("last.pt")
    before = files(last.parent)
    for number in NUMBERS:
        out_of_reach(monkeypatch, "last.pt", number)
        with pytest.raises(ShortageError):
            run(small(tmp_path, *words))
        after = files(last.parent)
        assert after["last.pt"] == before["last.pt"] and "record.json" not in after
        assert after["previous-last.pt"] == before["previous-last.pt"]
        monkeypatch.undo()
    assert run(small(tmp_path, *words)).outcome == "resumed"


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_file_of_ones_own_that_cannot_be_read_now_is_not_damaged(tmp_path, monkeypatch, number):
    """Of a run, of a trained model and of rows to be scored: exit code 1, and no other."""
    rows = np.random.default_rng(0).normal(size=(200, 2))
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(tmp_path / "own.csv", index=False)
    words = ["model=gaussian", "dataset=file", f"dataset.path={tmp_path}/own.csv"]
    words += [f"paths.results_dir={tmp_path}", "threads=1"]
    folder = run(composed(*words)).folder
    for name, arguments in (("best.pt", ["own.csv"]), ("own.csv", ["own.csv"])):
        out_of_reach(monkeypatch, name, number)
        code = score.main([str(folder.path), *(str(tmp_path / a) for a in arguments), "--out",
                           str(tmp_path / "s.csv")])  # fmt: skip
        assert code == 1 and not (tmp_path / "s.csv").exists()
        monkeypatch.undo()
    out_of_reach(monkeypatch, "own.csv", number)
    with pytest.raises(ShortageError, match=os.strerror(number)):
        run(composed(*words, "seed=1"))


def test_what_is_no_file_cannot_be_ones_own_table(tmp_path, command):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        words = ["model=gaussian", "dataset=file", f"dataset.path={path}"]
        assert f"{path} is no regular file" in command("maf-run", *words, check=3).stderr


def test_what_is_no_file_is_named_at_once(tmp_path, command):
    keep(tmp_path, made_up(run_id="good"))
    pipe = keep(tmp_path, made_up(run_id="pipe"))
    pipe.unlink()
    os.mkfifo(pipe)
    giant = keep(tmp_path, made_up(run_id="giant"))
    os.truncate(giant, 10**12)
    folder = keep(tmp_path, made_up(run_id="folder"))
    folder.unlink()
    folder.mkdir()
    done = command("maf-table", "--results", tmp_path, check=0)
    assert "-1380.0 ± 4.0" in done.stdout
    assert f"{pipe} is a pipe, and no regular file" in done.stderr
    assert f"{giant} has 1,000,000,000,000 bytes" in done.stderr
    assert f"left out: {folder}" in done.stderr
    assert command("maf-report", "--results", tmp_path, check=0).stdout
    good = tmp_path / "runs" / "mnist" / "model" / "good"
    os.mkfifo(good / "best.pt")
    assert "a pipe" in command("maf-sample", good, check=3).stderr
    os.mkfifo(good / "history.csv")
    os.mkfifo(good / "test_nats.npy")
    command("maf-table", "--results", tmp_path, check=0)
    with pytest.raises(reading.OddFileError, match="a device"):
        reading.opened(Path("/dev/null"))


def test_force_removes_the_runs_own_files_only(tmp_path):
    folder = run(small(tmp_path)).folder.path
    for name in ("notes.csv", "mine.json", "figure.png", "weights.npy"):
        (folder / name).write_text("mine")
    assert not run(small(tmp_path, "force=true")).known
    assert (folder / "notes.csv").read_text() == "mine"
    assert {p.name for p in folder.iterdir()} >= {"mine.json", "figure.png", "weights.npy"}


def test_a_lock_that_was_removed_is_noticed(tmp_path, begin):
    words = ("trainer.max_epochs=100000", "trainer.patience=100000")
    with begin("maf-run", *SMALL, *words) as started:
        (last,) = wait_for(tmp_path, "last.pt")
        (last.parent / ".lock").unlink()
        done = started.wait()
    assert done.returncode == 1
    assert ".lock was removed" in done.stderr and "Traceback" not in done.stderr
    assert not (last.parent / "record.json").exists()


def test_a_strangers_run_writes_nothing_here(tmp_path, command, begin):
    """Its settings name folders of this machine; looking at it must not fill them."""
    folder = run(small(tmp_path, "dataset=toy/moons")).folder.path
    (folder / "run.log").unlink()
    (folder / "run.log").symlink_to(tmp_path / "victim")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["dataset"] = {
        "name": "miniboone", "_target_": "maf_runner.datasets.miniboone.load", "download": True
    }  # fmt: skip
    raw, prepared = tmp_path / "raw", tmp_path / "prepared"
    (raw / "miniboone").mkdir(parents=True)
    settings["paths"] |= {"raw_dir": str(raw), "prepared_dir": str(prepared)}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    command("maf-plot", "noise", folder)
    assert not prepared.exists()
    run(small(tmp_path, "dataset=toy/moons", "force=true"))
    assert not (tmp_path / "victim").exists()


def test_a_small_file_that_claims_a_large_model(tmp_path, command):
    folder = run(small(tmp_path, "dataset=toy/moons")).folder.path
    record = json.loads((folder / "record.json").read_text())
    record["settings"]["model"]["hidden"] = [300, 300]
    (folder / "record.json").write_text(json.dumps(record))
    refused = command("maf-sample", folder, check=3).stderr
    assert "describe a model of" in refused and "the file holds" in refused
    with zipfile.ZipFile(folder / "best.pt") as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(folder / "best.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in entries.items():
            new.writestr(name, content)
    assert "entries are compressed" in command("maf-sample", folder, check=3).stderr


def test_a_password_in_an_address_is_refused_and_not_shown(tmp_path):
    with pytest.raises(UsageError, match="netrc") as refused:
        run(small(tmp_path, "paths.mirror='https://me:secret@example.org/data'"))
    assert "secret" not in str(refused.value)


def test_texts_of_strangers_are_harmless(tmp_path, command):
    keep(tmp_path, made_up(run_id="1", model="=cmd|' /C calc'!A0"))
    keep(tmp_path, made_up(run_id="2", model="[1ex] x\x1b[2J\u202e\x9b", dataset="digits"))
    text = command("maf-table", "--results", tmp_path, "--format", "csv", check=0).stdout
    names = {row["model"] for row in csv.DictReader(io.StringIO(text))}
    assert "'=cmd|' /C calc'!A0" in names and not any(name.startswith("=") for name in names)
    latex = command("maf-table", "--results", tmp_path, "--format", "latex", check=0).stdout
    assert any(line.startswith("{}[1ex]") for line in latex.splitlines())
    shown = command("maf-table", "--results", tmp_path, check=0).stdout + text + latex
    assert not {"\x1b", "\u202e", "\x9b"} & set(shown)


def test_names_of_folders_need_not_be_utf8(tmp_path, command):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    odd.mkdir()
    record = made_up(run_id="1")
    keep(odd, record)
    for form in ("json", "csv", "text"):
        command("maf-table", "runs", "--results", odd, "--format", form, check=0)
    command("maf-report", "--results", odd, check=0)
    assert build("runs", [record])[0].rows
