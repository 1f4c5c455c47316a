"""What the commands share: default folders, errors in one line."""

import errno
import os
import shutil
import subprocess
import sys

import pytest
import torch

from maf_runner.commands import arguments, catalogue, data, report, sample, table
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows import Gaussian
from maf_runner.records.folder import RunFolder
from maf_runner.system.conf_path import CONF
from maf_runner.system.errors import BusyError, DataError, ShortageError, UsageError
from maf_runner.training import checkpoint
from tests.helpers.records import made_up

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x.h5")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Write settings of this machine, as conf/local/default.yaml has them."""

    def settings(text):
        conf = tmp_path / "conf"
        shutil.copytree(CONF, conf, ignore=shutil.ignore_patterns("local"))
        (conf / "local").mkdir()
        (conf / "local" / "default.yaml").write_text(f"# @package _global_\n{text}\n")
        monkeypatch.setattr(arguments, "CONF", conf)

    return settings


def test_folders_of_this_machine_hold_for_every_command(machine, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    machine("paths: {results_dir: /mine/results, raw_dir: '${oc.env:SCRATCH}/raw'}")
    paths = arguments.default_paths()
    assert paths["results_dir"] == "/mine/results"
    assert paths["raw_dir"] == f"{tmp_path}/scratch/raw"
    assert paths["prepared_dir"] == "./data/prepared"  # as it is for everybody
    for command in (table, report):
        assert command.main([]) == 3
        assert "under /mine/results." in capsys.readouterr().err
    assert data.main(["list"]) == 0
    assert f"{tmp_path}/scratch/raw" in capsys.readouterr().out
    assert table.main(["--results", str(tmp_path)]) == 3
    assert f"under {tmp_path}." in capsys.readouterr().err


def test_settings_of_this_machine_that_cannot_be_composed_are_told(machine, capsys):
    machine("defaults: [{override /paths: nowhere}]")
    assert table.main([]) == 2
    assert "cannot be composed" in capsys.readouterr().err


def test_without_them_hydra_is_not_asked(monkeypatch):
    monkeypatch.setenv("MAF_RUNNER_RAW_DIR", "/raw")
    code = (
        "import sys; from maf_runner.commands.arguments import default_paths\n"
        "print(default_paths()); assert not {'hydra', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'results_dir': './results', 'raw_dir': '/raw'" in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("--n is 0"), 2, "--n is 0"),
        (DataError("no file"), 3, "no file"),
        (BusyError("in use"), 1, "in use"),
        (ShortageError("no room"), 1, "no room"),
        (FULL, 1, "/data/x.h5: No space left on device"),
        (MemoryError(), 1, "there is not enough memory for this"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "not enough memory"),
    ],
)
def test_what_a_user_can_mend_is_one_line(capsys, error, code, text):
    def work():
        raise error

    assert arguments.guarded("maf-x", work) == code
    told = capsys.readouterr().err
    assert told.startswith("maf-x: ") and text in told and told.count("\n") == 1


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        arguments.guarded("maf-x", lambda: 1 // 0)


@pytest.mark.parametrize("action", ["fetch", "prepare", "verify"])
def test_maf_data_on_a_full_disk(monkeypatch, capsys, action):
    def full(*details, **more):
        raise FULL

    monkeypatch.setattr(catalogue, {"fetch": "get"}.get(action, action), full)
    assert data.main([action, "miniboone"]) == 1
    assert capsys.readouterr().err == "maf-data: /data/x.h5: No space left on device\n"


@pytest.fixture
def pictures(tmp_path):
    """A Gaussian on pictures of 2 x 2 pixels, as a run leaves it; gives the results folder."""
    image = {"shape": [2, 2], "levels": 256, "alpha": 0.05}
    settings = {"_target_": "maf_runner.flows.Gaussian", "name": "gaussian", "conditional": False}
    record = made_up(
        model="Gaussian",
        features=4,
        context=0,
        settings={"model": settings, "dataset": {}, "trainer": {}},
        data={"fingerprint": "f", "recipe": "authors", "image": image},
    )
    run = RunFolder(tmp_path / "results" / "runs" / "mnist" / "gaussian" / record.run_id)
    run.path.mkdir(parents=True)
    record.write(run.record)
    checkpoint.save(run.best, {"run_id": record.run_id, "model": Gaussian(4).state_dict()})
    return tmp_path / "results"


def test_maf_sample_without_memory(pictures, tmp_path, monkeypatch, capsys):
    def short(*details):
        raise torch.OutOfMemoryError("out of memory")

    (run,) = pictures.glob("runs/*/*/*")
    words = [str(run), "--out", str(tmp_path / "x.npy")]
    assert sample.main(words) == 0
    monkeypatch.setattr(Gaussian, "_sample", short)
    capsys.readouterr()
    assert sample.main(words) == 1
    assert capsys.readouterr().err == "maf-sample: there is not enough memory for this\n"


def test_a_model_that_cannot_draw_samples_is_named(pictures, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")

    def none(*details):
        raise NotImplementedError

    page = pictures / "report.html"
    assert report.main(["--results", str(pictures)]) == 0
    assert "Gaussian on mnist</figcaption>" in page.read_text()
    monkeypatch.setattr(Gaussian, "_sample", none)
    (run,) = pictures.glob("runs/*/*/*")
    with pytest.raises(UsageError, match="Gaussian cannot draw samples"):
        TrainedRun.load(run).draw_samples(3, seed=0)
    assert report.main(["--results", str(pictures)]) == 0
    assert "no samples: Gaussian cannot draw samples" in capsys.readouterr().err
    assert "Gaussian on mnist</figcaption>" not in page.read_text()
    assert sample.main([str(run), "--out", str(tmp_path / "x.npy")]) == 2
