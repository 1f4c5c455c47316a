"""Sweeps as a user meets them: jobs in one process and in several, stopped, and taken up again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, RunMode

from maf_runner.commands.run import (
    job as task,  # its import registers what the configuration needs
)
from maf_runner.engine import devices
from maf_runner.records import jobs as sweep
from tests.helpers import ROOT
from tests.helpers.commands import BIN
from tests.helpers.runs import SMALL, records, same, wait_for

TINY = ("model=made", "model.hidden=[8]", "trainer.max_epochs=2")


def jobs_of(*words):
    """The jobs of ``maf-run -m`` with these words, by Hydra's own steps; none is carried out."""
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
        from hydra_plugins.maf_runner_search import Search  # not before Hydra has looked for it

        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", list(words), run_mode=RunMode.MULTIRUN)
        search = Search(config.hydra.sweeper.params, config.hydra.sweeper.grids)
        search.config = config
        search.hydra_context = HydraContext(config_loader=loader, callbacks=Callbacks())
        parameters = [*search._parse_config(), *config.hydra.overrides.task]
        parser = OverridesParser.create(loader)  # with which patterns find options
        (batch,) = search.split_arguments(parser.parse_overrides(parameters), 1)
    return batch


@pytest.mark.parametrize(
    ("table", "dataset", "trained", "gaussians"),
    [
        ("table1", "power", 14, 1),
        ("table1", "gas", 14, 1),
        ("table1", "hepmass", 14, 1),
        ("table1", "miniboone", 14, 1),
        ("table1", "bsds300", 28, 1),
        ("table2", "mnist", 14, 2),
        ("table2", "cifar10", 56, 2),
    ],
)
def test_searches_are_the_papers(tmp_path, monkeypatch, table, dataset, trained, gaussians):
    """154 trained models in all, 84 of them for Table 1; each in a run folder of its own."""
    monkeypatch.chdir(tmp_path)
    jobs = jobs_of(f"+sweep={table}", f"dataset={dataset}")
    baselines = [job for job in jobs if "model=gaussian" in job]
    assert (len(jobs) - len(baselines), len(baselines)) == (trained, gaussians)
    if dataset == "bsds300":
        assert {w for job in jobs for w in job if "size" in w} == {
            f"model.size={size}" for size in range(4)
        }


def test_a_table_needs_no_dataset_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(jobs_of("+sweep=table1", "model=gaussian")) == 5


def test_command_line_narrows_a_search_and_adds_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    narrowed = jobs_of("+sweep=models", "model=maf,made", "model.size=0", "seed=0,1")
    assert {" ".join(sorted(job)) for job in narrowed} == {
        f"+sweep=models {model} seed={seed}"
        for model in (
            "model.size=0 model=made",
            "model.layers=10 model.size=0 model=maf",
            "model.layers=5 model.size=0 model=maf",
        )
        for seed in (0, 1)
    }
    assert len(jobs_of("+sweep=seeds")) == 5
    assert [job[-1] for job in jobs_of("model=glob(made*)")] == ["model=made", "model=made_mog"]
    assert len(jobs_of("model=maf,conditional_maf", "model.conditional=true")) == 1  # one run id


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=interval(0,3)"], "an interval is searched with launch=optuna"),
        (["model=made,mfa"], "there is no model=mfa; did you mean 'maf'?"),
        (["model=made,gaussian", "model.mask=paper"], "there is no setting model.mask here"),
        (["model=made", "+model.layer=3,4"], "model=made has no setting model.layer"),
        (["model=made", "seed=0,-1"], "model=made seed=-1: seed must be a whole number"),
        (["+sweep=models", "model=iaf"], "this sweep has no job"),
        (["+sweep=models", "model.size=7"], "this sweep has no job"),
        (["launch=nowhere"], "there is no launch=nowhere"),
        (
            ["model=glob(mad)"],
            "model=glob(mad) fits no option (it does not look into folders); there are",
        ),
    ],
)
def test_what_cannot_be_is_said_before_the_first_job(tmp_path, command, words, message):
    result = command("maf-run", "-m", TINY[2], *words, check=2)
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("runs"))


def closing(result):
    """The closing list: how often each outcome stands in it."""
    lines = result.stderr.splitlines()
    words = [line.split()[0] for line in lines if line.startswith(sweep.OUTCOMES)]
    return {word: words.count(word) for word in words}


def test_data_without_classes_get_no_models_given_the_class(tmp_path, command):
    """And what is to be said of a table is said once."""
    rows = np.random.default_rng(0).normal(size=(200, 2)).round(1)
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", header="a,b", comments="")
    words = ["maf-run", "-m", "+sweep=quick", "model=gaussian,made", "trainer.max_updates=1"]
    tables = f"dataset.path={tmp_path / 't.csv'}"  # which the points in the plane do not have
    result = command(*words, "dataset=file,toy/moons,toy/banana", tables, check=0)
    assert "4 jobs with model.conditional=true left out" in result.stderr
    assert result.stderr.count("columns that were rounded have no density") == 1
    assert len(records(tmp_path)) == 8
    assert "dataset.pth" in command(*words, "dataset=file", "dataset.pth=a", check=2).stderr
    said = command("maf-run", "-m", "model=made", "model.hidden=[8],[0]", check=2).stderr
    assert "each width of hidden must be a whole number" in said


def test_seeds_of_a_fit_in_closed_form_are_one_run(tmp_path, command):
    words = ("maf-run", "-m", "model=gaussian", "seed=0,1", "trainer=paper,tuned")
    said = command(*words, check=0).stderr
    assert "3 jobs left out: the same run as another (a fit in closed form" in said
    said = command(*words[:3], "seed=0,0", check=0).stderr
    assert "1 job left out: the same run as another\n" in said
    (record,) = records(tmp_path)
    assert record["settings"]["seed"] == 0 and record["settings"]["trainer"]["name"] == "paper"


def test_what_was_done_skipped_resumed_failed_diverged(tmp_path, command, begin):
    words = ("maf-run", "-m", *SMALL, "trainer.patience=1000", "trainer.max_epochs=40")
    with begin(*words):
        wait_for(tmp_path, "last.pt")
    gaussian = ("model=gaussian", "seed=0")
    command("maf-run", *gaussian, check=0)
    resumed = command(*words, "seed=0,1", check=0)
    assert closing(resumed) == {"resumed": 1, "done": 1}
    assert "2 jobs: 1 done, 1 resumed" in resumed.stderr
    folders = [Path(line) for line in resumed.stdout.splitlines()]
    assert [json.loads((f / "record.json").read_text())["seed"] for f in folders] == [0, 1]
    skipped = command(*words, "seed=0,1", check=0)
    assert closing(skipped) == {"skipped": 2} and skipped.stdout == resumed.stdout

    # One of each that ends badly; a record says failed until it is retried.
    bad = ("maf-run", "-m", *TINY, "model.activation=relu,gelu", "trainer.learning_rate=1e-3,1e30")
    assert closing(command(*bad, check=1)) == {"done": 1, "diverged": 1, "failed": 2}
    (path,) = [p for p in tmp_path.rglob("record.json") if '"diverged"' in p.read_text()]
    path.write_text(path.read_text().replace('"diverged"', '"failed"', 1))
    again = ("maf-run", "-m", *TINY, "trainer.learning_rate=1e-3,1e30")
    assert closing(command(*again, check=1)) == {"skipped": 1, "failed": 1}
    assert closing(command(*again, "retry=true", check=4)) == {"skipped": 1, "diverged": 1}


def test_killed_again_and_again_gives_the_same(tmp_path, command, begin):
    """The short form of scripts/kill_sweep.py."""
    words = ("maf-run", "-m", *SMALL, "seed=0,1", "trainer.patience=1000", "trainer.max_epochs=40")
    whole = tmp_path / "whole"
    command(*words, f"paths.results_dir={whole}", check=0)
    moments = random.Random(0)
    for started in (1, 1, 2):  # runs, so that a slow machine gets as far
        with begin(*words):
            wait_for(tmp_path / "results", "run.log", count=started)
            time.sleep(moments.random())
    command(*words, check=0)
    pairs = list(zip(records(whole), records(tmp_path / "results"), strict=True))
    assert len(pairs) == 2 and all(same(one, other) for one, other in pairs)


def test_second_process_waits_if_told_to(tmp_path, begin):
    """The first is halted until the second has met it."""
    words = ("maf-run", *SMALL, "trainer.patience=1000", "trainer.max_epochs=40", "wait=true")
    with begin(*words) as first:
        wait_for(tmp_path, ".holder")
        first.send_signal(signal.SIGSTOP)
        second = subprocess.Popen(
            [BIN / words[0], *words[1:]], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        met = second.stderr.readline() + second.stderr.readline()
        first.send_signal(signal.SIGCONT)
        _, rest = second.communicate()
        assert first.wait().returncode == second.returncode == 0
    assert f"is in use by process {first.pid} on" in met and "waiting" in met
    assert "already there" in rest


def test_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(devices.choose(f"auto:{n}")) for n in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert str(devices.choose("auto:1")) == "cpu"


LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "slurm": ("hydra_submitit_launcher", "submitit"),
    "submitit_local": ("hydra_submitit_launcher", "submitit"),
    "ray": ("hydra_ray_launcher", "ray"),
    "optuna": ("hydra_optuna_sweeper", "optuna"),
}
WITHOUT_EXTRAS = """
import sys
from hydra.core.global_hydra import GlobalHydra
sys.modules |= dict.fromkeys({packages!r})
from maf_runner.commands.run import main
for launch in {launchers!r}:
    GlobalHydra.instance().clear()
    sys.argv = ["maf-run", "-m", "launch=" + launch]
    print(launch, main(), file=sys.stderr)
"""


def test_a_launcher_without_its_extra_says_how_to_get_it(tmp_path, installed):
    """All of them in one process, in which none is to be had."""
    packages = [f"hydra_plugins.{package}" for package, _ in LAUNCHERS.values()]
    code = WITHOUT_EXTRAS.format(packages=packages, launchers=list(LAUNCHERS))
    told = installed("python", "-c", code, check=0).stderr
    assert "Traceback" not in told and not list(tmp_path.iterdir())
    for launch, (_, extra) in LAUNCHERS.items():
        about, told = told.split(f"{launch} 2\n", 1)
        assert f"pip install '.[{extra}]'" in about


def needs(package):
    return pytest.importorskip(
        f"hydra_plugins.{package}", reason=f"{package} is not installed: its launcher not tested"
    )


def test_joblib(tmp_path):
    """Two at once; the one with a bad setting fails alone; threads are cores / jobs."""
    needs("hydra_joblib_launcher")
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    words = ["-m", "launch=joblib", "hydra.launcher.n_jobs=2", "debug=one_batch"]
    result = subprocess.run(
        [
            BIN / "maf-run",
            *words,
            "model=made",
            "model.hidden=[600]",
            "model.activation=relu,gelu,tanh",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    assert closing(result) == {"done": 2, "failed": 1}
    assert "failed      model.activation=gelu: " in result.stderr
    assert len(result.stdout.splitlines()) == 2
    threads = max(1, joblib.cpu_count() // 2)
    assert [entry["environment"]["threads"] for entry in records(tmp_path)] == [threads] * 2


def test_a_job_whose_process_is_killed_is_unfinished(tmp_path):
    needs("hydra_joblib_launcher")
    words = ["-m", *SMALL, "launch=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"]
    words += ["trainer.patience=100000", "engine=eager"]
    with subprocess.Popen(
        [BIN / "maf-run", *words], cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        holders = wait_for(tmp_path, ".holder", count=2)
        os.kill(json.loads(holders[0].read_text())["pid"], signal.SIGKILL)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 1
    assert b"2 jobs: 2 unfinished" in stderr


def test_submitit_takes_a_preempted_job_up_again(tmp_path, command):
    needs("hydra_submitit_launcher")
    words = [*SMALL, "trainer.patience=1000", "trainer.max_epochs=40"]
    command("maf-run", *words, "paths.results_dir=whole", check=0)
    queued = ["-m", "launch=submitit_local", *words]
    with subprocess.Popen(
        [BIN / "maf-run", *queued], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(tmp_path / "results", "last.pt")
        (holder,) = tmp_path.glob("results/runs/*/*/*/.holder")
        os.kill(json.loads(holder.read_text())["pid"], signal.SIGUSR2)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert "1 job: 1 resumed" in stderr
    one, other = records(tmp_path / "whole") + records(tmp_path / "results")
    assert same(one, other) and other["resumed"] == 1


def test_slurm_gets_what_the_preset_says(tmp_path, command):
    """A SLURM of two scripts: one keeps what is handed in, one is there to be found."""
    needs("hydra_submitit_launcher")
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/submitted\nexit 1\n')
    for name in ("srun", "sbatch"):
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = ("maf-run", "-m", "launch=slurm", *TINY, "seed=0,1", "hydra.launcher.partition=gpu")
    result = command(*words, env={"PATH": path}, check=1)
    assert "2 jobs: 2 unfinished" in result.stderr
    asked = (tmp_path / "submitted").read_text()
    for line in ("partition=gpu", "gpus-per-node=1", "time=720", "signal=USR2@120", "requeue"):
        assert f"#SBATCH --{line}\n" in asked, asked


def test_optuna_finds_the_best_past_diverged_trials(tmp_path, command):
    needs("hydra_optuna_sweeper")
    words = ("maf-run", "-m", "launch=optuna", *TINY, "trainer.learning_rate=choice(1e30,1e-3)")
    result = command(*words, "seed=choice(0,1,2)", "hydra.sweeper.n_trials=12", check=4)
    assert {"done", "diverged"} <= set(closing(result))
    (path,) = tmp_path.rglob("optimization_results.yaml")
    best = max(r["validation"]["log_likelihood"] for r in records(tmp_path) if "validation" in r)
    assert f"best_value: {best}" in path.read_text()


def test_optuna_takes_no_unknown_option(tmp_path, command):
    needs("hydra_optuna_sweeper")
    result = command("maf-run", "-m", "launch=optuna", "model=choice(gaussian,mfa)", check=2)
    assert "there is no model=mfa" in result.stderr and not list(tmp_path.rglob("runs"))


def test_ray(tmp_path, command):
    needs("hydra_ray_launcher")
    words = ("maf-run", "-m", "launch=ray", *TINY, "model.activation=relu,gelu,tanh")
    result = command(*words, check=1)
    assert closing(result) == {"done": 2, "failed": 1}


def test_ray_begins_a_killed_job_again(tmp_path, command):
    """On another worker, from its checkpoint."""
    needs("hydra_ray_launcher")
    words = [*SMALL, "trainer.patience=1000000", "trainer.max_epochs=150", "engine=eager"]
    command("maf-run", *words, "paths.results_dir=whole", check=0)
    queued = [sys.executable, "-m", "maf_runner", "-m", "launch=ray", *words]
    with subprocess.Popen(
        queued, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        (saved,) = wait_for(tmp_path / "results", "last.pt")
        holder = saved.with_name(".holder")
        os.kill(json.loads(holder.read_text())["pid"], signal.SIGKILL)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert "1 job: 1 resumed" in stderr
    one, other = records(tmp_path / "whole") + records(tmp_path / "results")
    assert same(one, other) and other["resumed"] == 1


def test_task_can_be_found_by_other_processes():
    import pickle

    assert pickle.loads(pickle.dumps(task)) is task
