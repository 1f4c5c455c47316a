"""Prepared datasets: kept once, read back, never half a file, and not in two processes' way."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from maf_runner.datasets.base import Paths
from maf_runner.datasets.preparation import prepared, store
from maf_runner.system.errors import DataError
from tests.helpers import ROOT
from tests.helpers.drawn import PREPARATION, load, paths_in


@pytest.fixture
def paths(tmp_path):
    return paths_in(tmp_path)


@pytest.fixture
def said(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(store.log, level, lambda form, *a: lines.append(form % a))
    return lines


def test_what_is_read_back_is_what_was_made(paths):
    made = load(paths)
    (paths.raw / "drawn" / "raw.txt").unlink()
    again = load(paths)
    assert again.fingerprint == made.fingerprint
    assert (again.origin, again.classes, again.image) == ("raw", 3, made.image)
    assert again.sources == made.sources and list(made.sources) == ["raw.txt"]
    assert again.train.x.dtype == np.float32 and again.train.labels.dtype == np.int64


def test_the_file_says_what_it_is(paths):
    made = load(paths)
    with h5py.File(paths.prepared / "drawn.h5") as file:
        about = json.loads(file.attrs["maf_runner"])
        assert file["train"].shape == (40, 4) and file["train"].dtype == np.float32
        assert file["train"].compression is None  # noise does not shrink
        assert file["train_labels"].compression == "gzip"
    assert about["version"] == 1 and about["options"] == {"alpha": 0.1}
    assert about["sources"] == made.sources and about["recipe"] == "raw"
    x = made.test.x.astype(float)
    expected = {"mean": x.mean(), "std": x.std(), "min": x.min(), "max": x.max()}
    assert about["statistics"]["test"] == pytest.approx(expected)


def test_another_version_of_the_preparation_is_made_anew(paths, said):
    load(paths)
    load(paths, replace(PREPARATION, version=2))
    assert any("another version of the preparation" in line for line in said)
    (paths.raw / "drawn" / "raw.txt").unlink()
    load(paths, replace(PREPARATION, version=2))


def test_other_options_leave_the_prepared_file_alone(paths, said):
    usual = load(paths)
    other = load(paths, alpha=0.2)
    assert other.fingerprint != usual.fingerprint
    assert any("{'alpha': 0.1}, not {'alpha': 0.2}" in line for line in said)
    (paths.raw / "drawn" / "raw.txt").unlink()
    assert load(paths).fingerprint == usual.fingerprint


def damages():
    def truncate(path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def flip(path):
        with h5py.File(path, "r+") as file:
            file["train"][3, 1] += 1

    def drop(path):
        with h5py.File(path, "r+") as file:
            del file["test"]

    def nonsense(path):
        path.write_bytes(b"nonsense")

    def no_attribute(path):
        with h5py.File(path, "r+") as file:
            del file.attrs["maf_runner"]

    def mixed_up(path):
        with h5py.File(path, "r+") as file:
            about = json.loads(file.attrs["maf_runner"])
            file.attrs["maf_runner"] = json.dumps({**about, "image": {"shape": 3}})

    return [truncate, flip, drop, nonsense, no_attribute, mixed_up]


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_file_is_made_anew(paths, said, damage):
    made = load(paths)
    damage(paths.prepared / "drawn.h5")
    again = load(paths)
    assert again.fingerprint == made.fingerprint
    assert any("damaged" in line for line in said)
    said.clear()
    load(paths)
    assert said == []  # mended


def test_what_cannot_be_made_leaves_nothing(paths):
    (paths.raw / "drawn" / "raw.txt").write_text("rubbish" * 100)
    with pytest.raises(DataError, match=r"drawn: .*raw.txt .* expected at most 100"):
        load(paths)
    with pytest.raises(DataError, match=r"not the whole dataset.*splits of 40 x 4"):
        (paths.raw / "drawn" / "raw.txt").write_text("1")
        load(paths, replace(PREPARATION, rows=(41, 5, 6)))
    assert not list(paths.prepared.glob("*.h5*"))


def test_a_folder_that_cannot_be_written_to_does_not_stop_the_run(paths, said, monkeypatch):
    def no(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepared.atomic, "write", no)
    assert len(load(paths).train) == 40
    assert any("is not saved" in line and "No space left" in line for line in said)
    blocked = Paths(paths.raw, paths.raw / "drawn" / "raw.txt" / "prepared")
    assert len(load(blocked).train) == 40
    assert any("cannot be written" in line for line in said)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits there")
def test_a_disk_that_fills_while_h5py_writes(paths):
    """A real limit on the size of a file: h5py raises other errors than an OSError."""
    code = WORKER.format(root=str(ROOT), raw=str(paths.raw), prepared=str(paths.prepared), pause=0)
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; exec '{sys.executable}' -c \"$0\"", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "is not saved" in done.stderr and len(done.stdout.split()[-1]) == 64
    assert not list(paths.prepared.glob("*.h5*")) and not list(paths.prepared.glob(".*.tmp"))


def test_flipped_bytes_never_end_in_anything_but_the_right_arrays(paths, said):
    made = load(paths)
    path = paths.prepared / "drawn.h5"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        assert load(paths).fingerprint == made.fingerprint
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file.attrs["maf_runner"] = json.dumps({"format": 1})
    assert load(paths).fingerprint == made.fingerprint


WORKER = """
import logging, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.helpers import drawn
from maf_runner.datasets.preparation import prepared, store
from maf_runner.datasets.base import Paths
logging.basicConfig(level=logging.INFO, format="%(message)s")
made, write = store.make, store.write
def slow(*a, **k):
    time.sleep({pause}); print("made"); return made(*a, **k)
def half(path, content):
    real(path, lambda temporary: (content(temporary), Path({raw!r}, "half").touch(),
                                  time.sleep({pause})))
real, prepared.atomic.write = prepared.atomic.write, half
store.make = slow
paths = Paths(Path({raw!r}), Path({prepared!r}))
print(drawn.load(paths).fingerprint)
"""


def worker(paths, pause):
    code = WORKER.format(
        root=str(ROOT),
        raw=str(paths.raw),
        prepared=str(paths.prepared),
        pause=pause,
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_at_once_make_one_good_file(paths):
    workers = [worker(paths, 0.7) for _ in range(2)]
    texts = [w.communicate(timeout=60) for w in workers]
    lines = "".join(out for out, _ in texts).split()
    assert lines.count("made") == 1, texts
    assert len({line for line in lines if len(line) == 64}) == 1
    assert "another process is preparing drawn" in "".join(err for _, err in texts)
    assert load(paths).fingerprint in lines


def test_a_process_killed_while_it_writes_leaves_nothing_in_the_way(paths):
    victim = worker(paths, 5)
    deadline = time.monotonic() + 60
    while not (paths.raw / "half").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.kill()
    victim.wait()
    left = [p.name for p in paths.prepared.iterdir()]
    assert any(name.endswith(".tmp") for name in left) and "drawn.h5" not in left
    assert len(load(paths).train) == 40
    assert [p.name for p in paths.prepared.glob("*.h5*")] == ["drawn.h5"]
    assert not list(paths.prepared.glob(".*.tmp"))
