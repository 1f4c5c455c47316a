"""The installed ``maf-run``, as a user meets it."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from maf_runner.commands import run as run_command
from maf_runner.experiment.overrides import check_flags
from maf_runner.training import checkpoint
from tests.helpers.commands import BIN
from tests.helpers.records import made_up
from tests.helpers.runs import SMALL, only_folder, records, same, wait_for


def test_gaussian_on_digits(tmp_path, installed):
    result = installed("maf-run", "model=gaussian", check=0)
    assert "Gaussian on digits: test -92.64 ± 1.06 nats, 2.278 ± 0.030 bits/pixel" in result.stderr
    (entry,) = records(tmp_path)
    assert entry["schema"] == 1 and entry["status"] == "finished"
    assert entry["test"]["log_likelihood"] == pytest.approx(-92.641, abs=1e-3)
    assert entry["stop_reason"] == "closed_form" and entry["parameters"] == 64 + 64 * 65 // 2
    assert Path(result.stdout.strip()) == only_folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_gaussian_for_each_class(tmp_path, command):
    command("maf-run", "model=gaussian", "model.conditional=true", check=0)
    test = records(tmp_path)[0]["test"]
    assert test["log_likelihood"] == pytest.approx(-99.306, abs=1e-3)
    assert test["bits_per_pixel"] == pytest.approx(2.4282, abs=1e-4)
    assert test["accuracy"] == pytest.approx(0.96648, abs=1e-5)
    assert test["accuracy_error"] > 0 and test["conditional_error"] > 0


def test_folder_holds_what_it_should(tmp_path, command):
    command("maf-run", *SMALL, check=0)
    folder = only_folder(tmp_path)
    assert folder.parent == tmp_path / "results" / "runs" / "digits" / "maf"
    names = {"config.yaml", "record.json", "history.csv", "best.pt", "run.log"}
    names |= {"test_nats.npy", "validation_nats.npy"}
    assert {p.name for p in folder.iterdir()} - {".lock"} == names
    header, *lines = (folder / "history.csv").read_text().splitlines()
    assert header == "epoch,updates,train_nats,validation_nats,learning_rate,seconds"
    (entry,) = records(tmp_path)
    assert len(lines) == entry["epochs"] == entry["best_epoch"] + 5
    assert entry["run_id"] == folder.name
    for split in ("test", "validation"):
        nats = np.load(folder / f"{split}_nats.npy")
        assert nats.dtype == np.float32 and len(nats) == entry[f"{split}_rows"]
        mean = entry[split]["log_likelihood"]
        assert nats.mean(dtype=np.float64) == pytest.approx(mean, rel=1e-6)
    best = torch.load(folder / "best.pt", weights_only=True)
    assert best["run_id"] == folder.name
    assert entry["validation"]["log_likelihood"] == max(float(x.split(",")[3]) for x in lines)


def test_the_same_command_again_trains_nothing(tmp_path, command):
    command("maf-run", *SMALL, check=0)
    before = {
        p: p.stat().st_mtime_ns for p in only_folder(tmp_path).glob("*.*") if p.name != "run.log"
    }
    again = command("maf-run", *SMALL, "device=cpu", check=0)
    assert "already there: MAF (2) on digits: test" in again.stderr
    assert before == {p: p.stat().st_mtime_ns for p in before}
    one = records(tmp_path)
    anew = command("maf-run", *SMALL, "force=true", check=0)
    assert "already there" not in anew.stderr and "training MAF (2)" in anew.stderr
    assert same(one[0], records(tmp_path)[0])


def test_a_finished_run_is_reported_without_torch(tmp_path, command, installed):
    np.save(tmp_path / "table.npy", np.random.default_rng(0).normal(size=(200, 2)))
    told = (
        "import sys; from maf_runner.commands.run import main; main()\n"
        "print('torch' in sys.modules, 'pandas' in sys.modules)"
    )
    closed, own = ["model=gaussian"], ["dataset=file", "dataset.path=table.npy", *SMALL[1:]]
    for words in (closed, [*closed, *own[:2]], own):
        command("maf-run", *words, check=0)
        again = installed("python", "-c", told, *words, check=0)
        assert "already there" in again.stderr and "loading" not in again.stderr
        assert again.stdout.splitlines()[-1] == "False False"


def test_killed_and_resumed_equals_uninterrupted(tmp_path, command):
    """At one moment, by the installed command; see `faults` for every other and other signals."""
    words = ("maf-run", *SMALL, "trainer.patience=1000", "trainer.max_epochs=40")
    command(*words, "paths.results_dir=whole", check=0)
    process = subprocess.Popen([BIN / words[0], *words[1:]], cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for(tmp_path / "results", "last.pt")
    time.sleep(0.1)
    process.kill()
    process.communicate(timeout=60)
    assert records(tmp_path / "results") == []
    result = command(*words, check=0)
    assert "goes on after" in result.stderr
    one, other = records(tmp_path / "whole") + records(tmp_path / "results")
    assert same(one, other) and other["resumed"] == 1
    assert not list(only_folder(tmp_path / "results").glob("*last.pt"))
    histories = [
        [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]
        for path in tmp_path.rglob("history.csv")
    ]
    assert histories[0] == histories[1]


def test_sigusr1_saves_and_goes_on(tmp_path, command, begin):
    """In the middle of an epoch, where nothing else writes a checkpoint."""
    words = ("maf-run", "model=made", "model.hidden=[16]", "trainer.batch_size=1")
    words += ("trainer.max_epochs=1",)
    with begin(*words) as run:
        (log,) = wait_for(tmp_path, "run.log")
        while "training MADE" not in log.read_text():
            time.sleep(0.01)
        run.send_signal(signal.SIGUSR1)
        (path,) = wait_for(tmp_path, "last.pt")
        state = checkpoint.load(path, {})["state"]
        assert run.wait().returncode == 0
    (entry,) = records(tmp_path)
    assert state["epoch"] == 0 < state["update"] < entry["updates"]
    command(*words, "paths.results_dir=whole", check=0)
    assert same(entry, records(tmp_path / "whole")[0]) and entry["resumed"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=mfa"], "there is no model=mfa; did you mean 'maf'?"),
        (["modle=maf"], "there is no setting modle here; did you mean 'model'?"),
        (["trainer.lr=1"], "no setting trainer.lr here; did you mean trainer.learning_rate?"),
        (["lr=1"], "no setting lr here; did you mean trainer.learning_rate?"),
        (["layers=3"], "no setting layers here; did you mean model.layers?"),
        (["epochs=3"], "no setting epochs here; did you mean trainer.max_epochs?"),
        (["model.learning_rate=3"], "did you mean trainer.learning_rate?"),
        (["seeds=1,2"], "seed=1,2 lists several values: maf-run -m seed=1,2 runs each of them\n"),
        (["trainer.lr=1,2"], "maf-run -m trainer.learning_rate=1,2 runs each of them\n"),
        (["model.hidden=8,8"], "model.hidden=[8,8] is one list"),
        (["model=gaussian", "layers=3"], "no setting model.layers here; these have it: model="),
        (["model=gaussian", "model.a=3"], "there are: model.conditional, model.paper_rate\n"),
        (["model=zuko/nsf", "model.settings.foo=1"], "is added: +model.settings.foo=1"),
        (["model.settings.foo=1"], "no setting model.settings.foo here\n"),
        (["+lr=1"], "no setting lr here; did you mean trainer.learning_rate, without +?"),
        (["++trainer.lr=1"], "setting trainer.lr here; did you mean trainer.learning_rate, with"),
        (["~trainer.lr"], "no setting trainer.lr here; did you mean trainer.learning_rate?"),
        (["--lr=1"], "settings are written KEY=VALUE, without dashes: trainer.learning_rate=1\n"),
        (["--seed", "3"], "settings are written KEY=VALUE, without dashes: seed=3\n"),
        (["cuda"], "cuda cannot be read as KEY=VALUE"),
        (["+experiment=plane"], "experiment is chosen without +: experiment=plane"),
        (["dataset=a/t.csv"], "a table of yours: dataset=file dataset.path=a/t.csv"),
        (["dataset=toy/mons"], "there is no dataset=toy/mons; did you mean 'toy/moons'?"),
        (["trainer.compile=true"], "trainer.compile is now engine=auto, compiled or eager"),
        (["engine=nativ"], "there is no engine=nativ; did you mean 'native'?"),
        (["~seed"], "the setting seed is missing"),
        (["~paths.raw_dir"], "the setting paths.raw_dir is missing"),
        (["dataset.alpha=0.7"], "alpha must be a number between 0 and 0.5"),
        (["dataset.name=power"], "dataset.name belongs to dataset=digits and cannot be changed"),
        (["dataset=file", "dataset.path=x", "dataset.name=../up"], "must be a plain name"),
        (
            ["model=[made,maf]"],
            "model must name one option; there are: binned_made, conditional_maf",
        ),
        (["sweep=quick"], "a sweep is added: +sweep=NAME; there are: models, quick"),
        (
            ["model=gaussian", "model.mask=paper"],
            "there is no setting model.mask here; these have it: model=",
        ),
        (["seed=99999999999999999999"], "seed must be a whole number from 0 to"),
        (["model.hidden=100"], "hidden must list at least one width, as in [100,100], got 100"),
        (["model=realnvp", "model.hidden=[0]"], "each width of hidden must be a whole number"),
        (["model=made", "model.hiden=[8]"], "did you mean 'model.hidden'?"),
        (["trainer.patiance=3"], "did you mean 'trainer.patience'?"),
        (["+model.layer=3"], "no setting model.layer; did you mean 'layers'?"),
        (["model.layers=0"], "layers must be a whole number of at least 1, got 0"),
        (["model.layers=two"], "layers must be a whole number"),
        (["model.activation=gelu"], "activation must be one of relu, tanh, got 'gelu'"),
        (["model.hidden=[]"], "hidden must list at least one width"),
        (["trainer.batch_size=-1"], "batch_size must be a whole number"),
        (["trainer.learning_rate=null"], "trainer.learning_rate must be a number"),
        (["device=tpu"], "device must be auto, auto:N, cpu, cuda or cuda:N"),
        (["device=cuda:9"], "device=auto uses one if it can"),
        (["model="], "there is no model="),
        (["seed=1", "=="], "=="),
    ],
)
def test_usage_errors(tmp_path, command, words, message):
    result = command("maf-run", *words, check=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.*"))


def test_results_folder_that_cannot_be_written(tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    result = command("maf-run", "model=gaussian", "paths.results_dir=file", check=2)
    assert "choose another folder with paths.results_dir=DIR" in result.stderr
    assert "Traceback" not in result.stderr


def test_odd_paths(tmp_path, command):
    folder = tmp_path / "with space" / "und ümläut" / ("x" * 100)
    folder.mkdir(parents=True)
    result = command("maf-run", "model=gaussian", cwd=folder, check=0)
    assert Path(result.stdout.strip()) == only_folder(folder)


def test_missing_data_is_named_with_the_way_out(tmp_path, command):
    result = command(
        "maf-run",
        "dataset=mnist",
        "model=gaussian",
        env={"MAF_RUNNER_RAW_DIR": "nowhere"},
        check=3,
    )
    assert f"searched for in {tmp_path / 'nowhere' / 'mnist'}" in result.stderr
    assert "train-images-idx3-ubyte.gz" in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.*"))


def test_divergence_has_a_status_and_an_exit_code(tmp_path, command):
    words = ("maf-run", *SMALL, "trainer.learning_rate=1e18")
    result = command(*words, check=4)
    assert "diverged at update" in result.stderr and "Traceback" not in result.stderr
    (entry,) = records(tmp_path)
    assert entry["status"] == "diverged" and "test" not in entry
    assert entry["divergence"]["update"] >= 1 and "last_finite_loss" in entry["divergence"]
    again = command(*words, check=4)
    assert "already there" in again.stderr
    assert "already there" not in command(*words, "retry=true", check=4).stderr


def test_a_lower_rate_is_advised_only_where_it_may_help():

    def told(**divergence):
        found = {"of": "loss", "update": 7, "last_finite_loss": 2.0, "falling": False}
        return made_up(status="diverged", epochs=30, divergence=found | divergence).describe()

    assert "at update 7, last finite loss 2.000 nats (a lower trainer.learning_rate" in told()
    assert "look for values that repeat" in told(falling=True)
    assert "none of 30 validations was finite" in told(of="validation")
    assert "learning_rate" not in told(falling=True) + told(of="validation")


def test_sweep_goes_on_past_a_bad_job(tmp_path, command):
    words = ("maf-run", "-m", "model=made", "model.hidden=[8]", "trainer.max_epochs=1")
    rates = "trainer.learning_rate=1e30,1e-3"
    result = command(*words, rates, check=4)
    assert sorted(r["status"] for r in records(tmp_path)) == ["diverged", "finished"]
    result = command(*words, "model.activation=relu,gelu", check=1)
    assert "activation must be one of" in result.stderr
    assert len(records(tmp_path)) == 2  # relu is the default: the same run as before


def test_failed_job_leaves_its_traceback_and_a_record(tmp_path, command):
    """A bug, made by taking a file away underneath: status failed, exit 1, retry mends it."""
    code = (
        "import sys, maf_runner.experiment.run as run\n"
        "def broken(*a, **k): raise RuntimeError('a bug')\n"
        "run.evaluate_splits = broken\n"
        "from maf_runner.commands.run import main\n"
        "sys.argv = ['maf-run', 'model=gaussian']\n"
        "sys.exit(main())\n"
    )
    result = command("python", "-c", code, check=1)
    assert "RuntimeError: a bug" in result.stderr
    (entry,) = records(tmp_path)
    assert entry["status"] == "failed" and entry["error"] == "RuntimeError: a bug"
    assert "Traceback" in (only_folder(tmp_path) / "run.log").read_text()
    again = command("maf-run", "model=gaussian", check=1)
    assert "retry=true tries again" in again.stderr
    command("maf-run", "model=gaussian", "retry=true", check=0)
    assert records(tmp_path)[0]["status"] == "finished"


@pytest.mark.parametrize("asked", ["auto", "cpu"])
@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        ("run", "evaluate_splits", "torch.OutOfMemoryError('CUDA out of memory')"),
        ("run", "fit", "RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED')"),
        ("torch.nn.Module", "to", "RuntimeError('CUDA error: out of memory')"),
    ],
)
def test_a_gpu_without_enough_memory(tmp_path, command, asked, place, name, error):
    """Whoever left the device open gets the CPU, whoever named it a way out."""
    code = (
        "import sys, torch, maf_runner.experiment.run as run\n"
        f"before = {place}.{name}\n"
        "def full(*a, **k):\n"
        f"    {place}.{name} = before\n"
        f"    raise {error}\n"
        f"{place}.{name} = full\n"
        "from maf_runner.commands.run import main\n"
        f"sys.argv = ['maf-run', 'model=gaussian', 'device={asked}']\n"
        "sys.exit(main())\n"
    )
    result = command("python", "-c", code, check=0 if asked == "auto" else 2)
    assert "the GPU has not enough memory" in result.stderr and "Traceback" not in result.stderr
    assert [r["status"] for r in records(tmp_path)] == ["finished"] * (asked == "auto")
    assert asked == "auto" or not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize("damage", ["other data", "other run", "cut", "no data"])
def test_a_record_that_is_not_of_this_run_is_put_aside(tmp_path, command, damage):
    command("maf-run", "model=gaussian", check=0)
    path = only_folder(tmp_path) / "record.json"
    good = path.read_text()
    entry = json.loads(good)
    if damage == "other data":
        entry["data"]["fingerprint"] = "0" * 64
    elif damage == "other run":
        entry["run_id"] = "0" * 12
    elif damage == "no data":
        entry["data"] = None
    bad = good[:200] if damage == "cut" else json.dumps(entry)
    path.write_text(bad)
    result = command("maf-run", "model=gaussian", check=0)
    assert "training anew" in result.stderr
    (aside,) = path.parent.glob("record-put-aside-*.json")
    assert aside.read_text() == bad
    assert same(json.loads(path.read_text()), json.loads(good))


def test_forced_run_resumes_too(tmp_path, command, begin):
    """force=true gives up a finished run, not one that is under way."""
    words = ("maf-run", *SMALL, "trainer.patience=1000", "trainer.max_epochs=40", "force=true")
    command(*words, check=0)
    before = records(tmp_path)[0]
    with begin(*words):
        wait_for(tmp_path, "last.pt")
    assert records(tmp_path) == []
    assert "goes on after" in command(*words, check=0).stderr
    assert same(records(tmp_path)[0], before)


def test_a_test_row_that_alone_decides_the_mean_is_named(tmp_path, command):
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(100, 3)) for name in ("train", "validation", "test")}
    rows["test"][41] = 500.0
    np.savez(tmp_path / "table.npz", **rows)
    words = ["model=gaussian", "dataset=file", f"dataset.path={tmp_path / 'table.npz'}"]
    result = command("maf-run", *words, f"paths.results_dir={tmp_path}", check=0)
    (entry,) = records(tmp_path)
    rest = np.delete(np.load(only_folder(tmp_path) / "test_nats.npy"), 41).mean()
    assert entry["test"]["log_likelihood"] < -1000 < rest
    said = f"without it the mean is {rest:.2f} ± "
    assert "test row 41 alone has -" in result.stderr and said in result.stderr
    assert said in (only_folder(tmp_path) / "run.log").read_text()


def test_test_rows_without_a_finite_density_are_named(tmp_path, command):
    """No figure, then, and exit 4; but the model is kept, and the mean of the other rows."""
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(100, 3)) for name in ("train", "validation", "test")}
    rows["test"][[41, 60]] = 1.7e19  # their squares alone are 32-bit numbers, their sum is none
    np.savez(tmp_path / "table.npz", **rows)
    words = ["model=gaussian", "dataset=file", f"dataset.path={tmp_path / 'table.npz'}"]
    result = command("maf-run", *words, f"paths.results_dir={tmp_path}", check=4)
    (entry,) = records(tmp_path)
    test = entry["test"]
    assert entry["status"] == "diverged" and test["log_likelihood"] is test["error"] is None
    assert (test["rows_not_finite"], test["first_not_finite"]) == (2, 41)
    folder = only_folder(tmp_path)
    rest = np.delete(np.load(folder / "test_nats.npy"), [41, 60]).mean()
    assert test["log_likelihood_of_others"] == pytest.approx(rest)
    told = f"2 test rows is not finite (the first is row 41); the mean of the others is {rest:.2f}"
    assert told in result.stderr and "learning_rate" not in result.stderr
    table = command("maf-table", "--width", 500, "--results", tmp_path, check=0).stdout
    assert told in table and "diverged" not in table
    np.save(tmp_path / "good.npy", rows["train"])
    command("maf-score", folder, tmp_path / "good.npy", check=0)


def test_a_picture_that_fails_costs_nothing(tmp_path, command):
    code = (
        "import sys, maf_runner.reporting.plots.pictures as pictures\n"
        "def broken(*a, **k): raise RuntimeError('no ink')\n"
        "pictures.densities = broken\n"
        "from maf_runner.commands.run import main\n"
        "sys.argv = ['maf-run', 'model=gaussian', 'dataset=toy/moons']\n"
        "sys.exit(main())\n"
    )
    result = command("python", "-c", code, check=0)
    assert "no picture of the density: no ink" in result.stderr
    assert records(tmp_path)[0]["status"] == "finished"


def test_two_processes_do_not_share_a_run(tmp_path, command, begin):
    words = ("maf-run", *SMALL, "trainer.patience=100000", "engine=eager")
    with begin(*words) as run:
        wait_for(tmp_path, "last.pt")
        assert f"is in use by process {run.pid} on" in command(*words, check=1).stderr


def test_one_batch_is_a_matter_of_seconds_and_kept_apart(tmp_path, command):
    command("maf-run", "debug=one_batch", check=0)
    assert [p.parts[-6:-4] for p in tmp_path.rglob("record.json")] == [("debug", "runs")]
    (entry,) = records(tmp_path)
    assert entry["updates"] == 1 and entry["stop_reason"] == "max_updates"


def test_figures_of_the_paper_on_mnist(raw_dir, command, tmp_path):
    words = ("maf-run", "-m", "dataset=mnist", "model=gaussian", "model.conditional=true,false")
    command(*words, env={"MAF_RUNNER_RAW_DIR": str(raw_dir)}, check=0)
    by_kind = {r["conditional"]: r["test"] for r in records(tmp_path)}
    assert by_kind[False]["log_likelihood"] == pytest.approx(-1366.903, abs=1e-3)
    assert by_kind[False]["error"] == pytest.approx(1.437, abs=1e-3)
    assert by_kind[False]["bits_per_pixel"] == pytest.approx(2.013113, abs=1e-6)
    assert by_kind[False]["bits_per_pixel_error"] == pytest.approx(0.005679, abs=1e-6)
    assert by_kind[True]["log_likelihood"] == pytest.approx(-1344.661, abs=1e-3)
    assert by_kind[True]["accuracy"] == pytest.approx(0.9361)
    table = command("maf-table", "--width", 200, check=0).stdout
    line = next(x for x in table.splitlines() if x.startswith("Gaussian"))
    assert "-1366.9 ± 1.4" in line and "-1344.7 ± 1.8" in line


@pytest.mark.parametrize(
    ("dataset", "nats", "error"), [("power", -7.74, 0.02), ("miniboone", -37.24, 1.07)]
)
def test_the_gaussian_of_the_paper_on_real_tables(
    raw_dir, command, tmp_path, dataset, nats, error
):
    words = ("maf-run", f"dataset={dataset}", "model=gaussian")
    command(*words, env={"MAF_RUNNER_RAW_DIR": str(raw_dir)}, check=0)
    (entry,) = records(tmp_path)
    assert round(entry["test"]["log_likelihood"], 2) == nats
    assert round(entry["test"]["error"], 2) == error


def test_a_command_without_words():
    check_flags([])
    assert run_command._config_dirs([]) == []
    assert run_command._config_dirs(["--config-dir"]) == [Path().absolute()]
