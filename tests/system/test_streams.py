"""Standard streams that are closed, full or broken, and results that go to what is no file."""

import json
import os
import stat
import subprocess
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maf_runner.system import output
from maf_runner.system.errors import DataError, UsageError
from tests.helpers.commands import BIN

RUN = "model=gaussian threads=1"


def shell(script, cwd):
    """A script of bash; the commands of this package are on its path."""
    path = f"{BIN}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_a_run_does_not_need_standard_error(tmp_path, stderr):
    done = shell(f"maf-run {RUN} {stderr}; echo $?", tmp_path)
    folder, code = done.stdout.split()
    assert code == "0"
    assert json.loads((Path(folder) / "record.json").read_text())["status"] == "finished"
    names = {path.name for path in Path(folder).iterdir()}
    assert {"record.json", "best.pt", "config.yaml"} <= names


def test_a_reader_that_goes_away_ends_a_command_in_silence(tmp_path):
    done = shell(f"maf-run {RUN} 2>/dev/null | true; echo ${{PIPESTATUS[0]}}", tmp_path)
    assert done.stdout.split() == ["141"] and not done.stderr
    (record,) = tmp_path.glob("results/runs/*/*/*/record.json")
    assert json.loads(record.read_text())["status"] == "finished"
    done = shell("maf-table | head -1; echo ${PIPESTATUS[0]}", tmp_path)
    assert done.stdout.split()[-1] in ("0", "141") and not done.stderr  # it may have been faster
    done = shell("maf-table >/dev/full; echo $?; maf-table 2>&- >/dev/full; echo $?", tmp_path)
    assert done.stdout.split() == ["1", "1"]
    assert "No space left on device" in done.stderr


@pytest.fixture(scope="module")
def plane(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plane")
    words = ["model=gaussian", "dataset=toy/moons", "threads=1"]
    return Path(server("maf-run", *words, cwd=folder, check=0).stdout.strip()).absolute()


def test_samples_and_scores_through_pipes(plane, tmp_path):
    script = f"maf-sample {plane} --n 300 --out - | maf-score {plane} - --out - --keep x1 | cat"
    done = shell(script, tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == "x1,log_prob_nats" and len(lines) == 301
    assert "300 rows, mean" in done.stderr and "300 rows" not in done.stdout
    packed = shell(f"printf 'x1,x2\\n1,2\\n' | gzip | maf-score {plane} - --out -", tmp_path)
    assert len(packed.stdout.splitlines()) == 2
    bad = shell(f"printf 'x1,x2\\n1,word\\n' | maf-score {plane} -; echo $?", tmp_path)
    assert bad.stdout.split() == ["3"]
    assert bad.stderr.startswith("maf-score: standard input: non-numeric columns: x2")
    done = shell(
        f"maf-sample {plane} --n 200000 --out - | head -2; echo ${{PIPESTATUS[0]}}", tmp_path
    )
    assert done.stdout.splitlines()[0] == '"x1","x2"' and done.stdout.split()[-1] == "141"
    assert not done.stderr
    done = shell(f"maf-sample {plane} --out /dev/stdout --n 3 | wc -l", tmp_path)
    assert done.stdout.strip() == "4"
    assert list(tmp_path.iterdir()) == []


def test_a_closed_standard_output_is_an_error_in_one_line(plane, tmp_path):
    results = f"--results {plane.parents[3]}"
    script = f"maf-sample {plane} --n 5 --out - >&-; echo $?; maf-table {results} >&-; echo $?"
    done = shell(script, tmp_path)
    assert done.stdout.split() == ["1", "1"]
    reason = "standard output cannot be written (Bad file descriptor)"
    assert done.stderr.splitlines() == [f"maf-sample: {reason}", f"maf-table: {reason}"]
    done = shell(f"maf-sample {plane} --n 5 --out - >/dev/full; echo $?", tmp_path)
    assert done.stdout.split() == ["1"] and len(done.stderr.splitlines()) == 1
    assert "standard output cannot be written (No space left on device)" in done.stderr
    done = shell(f"maf-score {plane} - <&-; echo $?", tmp_path)  # nothing can be read from it
    assert done.stdout.split() == ["3"] and len(done.stderr.splitlines()) == 1
    assert "standard input" in done.stderr and "it is empty" in done.stderr


def test_standard_output_may_be_a_file(plane, tmp_path):
    """As ``/dev/stdout`` or ``/dev/fd/3``; what the file held before stays in front."""
    shell(f"maf-sample {plane} --n 3 --out /dev/stdout >file", tmp_path)
    samples = (tmp_path / "file").read_text()
    assert samples.startswith('"x1","x2"') and len(samples.splitlines()) == 4
    (tmp_path / "file.csv").write_text(samples)
    done = shell(f"maf-score {plane} file.csv --out /dev/stdout >>file", tmp_path)
    assert "/dev/stdout: 3 rows" in done.stderr
    shell(f"maf-sample {plane} --n 3 --out /dev/fd/3 3>>file", tmp_path)
    lines = (tmp_path / "file").read_text().splitlines()
    assert lines[4] == "log_prob_nats" and lines[8:] == samples.splitlines() and len(lines) == 12


def test_what_is_no_regular_file_is_written_to(plane, command, tmp_path):
    command("maf-sample", plane, "--out", "/dev/null", check=0)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    command("maf-sample", plane, "--out", pipe, "--n", 5, check=0)
    reader.join(20)
    assert read[0].startswith(b'"x1","x2"') and stat.S_ISFIFO(pipe.stat().st_mode)
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    command("maf-sample", plane, "--out", link, "--n", 5, check=0)
    assert link.is_symlink() and len(pd.read_csv(target)) == 5
    (tmp_path / "folder.csv").mkdir()
    refused = command("maf-sample", plane, "--out", "folder.csv", check=2).stderr
    assert "folder.csv is a folder: name a file in it" in refused
    refused = command("maf-plot", "density", plane, "--out", "nowhere/x.png", check=3).stderr
    assert "nowhere/x.png cannot be written" in refused


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), output.opened(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    output.write(path, b"after")
    assert path.read_text() == "after"
    with pytest.raises(UsageError, match="is a folder"):
        output.write(tmp_path, b"")
    with pytest.raises(DataError, match="cannot be written"):
        output.write(tmp_path / "no" / "where", b"")


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_many_rows_take_little_memory(plane, tmp_path, suffix):
    """A million rows, 16 MB as numbers: drawn and scored in a process with 250 MB more than it
    has after importing everything."""
    code = f"""
import resource, sys, threading
import torch, pandas, pyarrow.parquet
from maf_runner.commands import sample, score
torch.set_num_threads(1)
assert sample.main([{str(plane)!r}, "--n", "20", "--out", "warm{suffix}"]) == 0
assert score.main([{str(plane)!r}, "warm{suffix}", "--out", "s{suffix}"]) == 0
kilobytes = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = kilobytes()
assert sample.main([{str(plane)!r}, "--n", "1000000", "--out", "x{suffix}"]) == 0
assert score.main([{str(plane)!r}, "x{suffix}", "--out", "s{suffix}"]) == 0
print(kilobytes() - before, file=sys.stderr)
"""
    done = subprocess.run(
        [BIN / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if suffix == ".parquet" and done.returncode:
        assert "must end in .npy or .csv" in done.stderr  # a run without a table
        return
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) < 250_000
    if suffix == ".npy":
        assert np.load(tmp_path / "x.npy").shape == (10**6, 2)
        assert np.load(tmp_path / "s.npy").shape == (10**6,)
