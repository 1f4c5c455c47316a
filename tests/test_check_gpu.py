"""scripts/check_gpu.py: carried out in miniature on the CPU, and what it does with bad figures."""

import json
import os
import signal
import subprocess
import sys
import time

import check_gpu
import pytest
import torch
from gpu import agreement
from gpu.section import Place, Report

from maf_runner.engine.compiled import has_compiler
from maf_runner.records.record import Record
from tests.helpers import ROOT

SCRIPT = ROOT / "scripts" / "check_gpu.py"
MINIATURE = ("--device", "cpu", "--small")


def check(*words, folder):
    """Carry out the script in an empty folder."""
    return subprocess.run(
        [sys.executable, SCRIPT, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )


def sections(folder):
    """What the script has written of each section."""
    return json.loads((folder / "gpu.json").read_text())["sections"]


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")
def test_every_section_in_miniature(tmp_path):
    done = check(*MINIATURE, "--out", "out", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = sections(tmp_path / "out")
    assert list(found) == list(check_gpu.SECTIONS)
    assert not any(section["wrong"] for section in found.values())
    statuses = {name: section["status"] for name, section in found.items()}
    assert statuses.pop("faults") == "good as far as it came"  # there is no GPU to fill
    assert set(statuses.values()) == {"good"}
    assert found["agreement"]["found"]["maf-mog, given a class"]["updates"] == 0
    assert found["moves"]["found"]["moved"]["resumed"] == 2
    assert {"eager", "compiled", "zuko", "nflows"} == set(found["times"]["found"]["D=6, 16 wide"])
    records = {p.stem: Record.read(p) for p in (tmp_path / "out" / "records").glob("*.json")}
    assert {name: record.epochs for name, record in records.items()} == {
        "moved": 30, "power": 3, "mnist": 3,
    }  # fmt: skip
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert summary.count("\n## ") == len(check_gpu.SECTIONS) and summary in done.stdout + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so(tmp_path):
    done = check(folder=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "torch sees no CUDA GPU" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sections", "moves,mnits"], "there is no section 'mnits'"),
        (["--minutes", "0"], "must be a number of minutes above 0"),
        (["--device", "cpu"], "add --small"),
        (["--raw", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_impossible_options(capsys, words, message):
    with pytest.raises(SystemExit) as ended:
        check_gpu.main(words)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_every_section_gets_its_share():
    """Of eight minutes, also where each takes all that it may; and of one minute the first."""
    full = check_gpu.parsed(["--minutes", "8"])
    left, shares = 8 * 60.0, {}
    for name in check_gpu.SECTIONS:
        shares[name] = check_gpu.share(name, left, full)
        left -= shares[name]
    assert left == 0 and shares["agreement"] == 80
    assert all(shares[name] >= section.least for name, section in check_gpu.SECTIONS.items())
    one = check_gpu.parsed(["--minutes", "1"])
    assert check_gpu.share("agreement", 60, one) == 15 and check_gpu.share("mnist", 20, one) == 0
    assert check_gpu.share("mnist", 450, check_gpu.parsed(["--sections", "mnist"])) == 450


def test_a_section_out_of_time_is_stopped_and_the_next_left_out(tmp_path):
    words = ["--sections", "power,mnist", "--minutes", "0.1", "--out", "out"]
    done = check(*MINIATURE, *words, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = sections(tmp_path / "out")
    assert found["power"]["status"] == found["mnist"]["status"] == "skipped"
    assert found["mnist"]["left out"] == ["no time left"] and found["power"]["left out"]


def test_terminated_it_keeps_what_was_found(tmp_path):
    """As a queue would do at the end of its time; no process is left."""
    words = [*MINIATURE, "--sections", "agreement,moves", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, SCRIPT, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "gpu.json").exists() or "moves" not in sections(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert sections(tmp_path)["agreement"]["status"] == "good"
    alive = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True)
    assert not alive.stdout


def test_figures_that_differ_are_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(agreement, "EXACT", -1.0)
    report = Report(tmp_path / "report.json")
    agreement.main(Place("cpu", True, tmp_path, tmp_path, time.monotonic() + 100), report)
    assert "made: gradient apart by 0.0e+00" in report.wrong
    assert Report.read(report.path) == report
    assert check_gpu.status({"wrong": report.wrong, "left out": []}, done=True) == "wrong"


def test_a_section_whose_process_fails_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(check_gpu, "__file__", str(tmp_path / "missing.py"))
    kept = {"sections": {"tests": {}}, "machine": {}}
    options = check_gpu.parsed([*MINIATURE, "--out", str(tmp_path)])
    check_gpu.watch("tests", 60, options, tmp_path, kept)
    section = kept["sections"]["tests"]
    assert section["status"] == "wrong" and "its process ended with 2" in section["wrong"]
