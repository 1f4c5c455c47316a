"""Sweeps in the queue of a real SLURM: jobs are preempted, out of time, and cancelled.

Debian has it in the packages slurm-wlm and munge; only `make faults` starts it, as root.
"""

import os
import subprocess
import sys

import pytest

from tests.faults.conftest import ALL
from tests.helpers import ROOT, slurm
from tests.helpers.runs import SMALL, records, same, wait_for

# Long enough to be preempted on any machine.
LONG = (*SMALL, "trainer.patience=1000000", "trainer.max_epochs=150", "engine=eager")
QUEUED = (
    "-m",
    "launch=slurm",
    "hydra.launcher.partition=low",
    f"hydra.launcher.cpus_per_task={slurm.CPUS}",
    "hydra.launcher.gpus_per_node=null",
    "hydra.launcher.mem_gb=1",
)


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """A SLURM for the tests of this file."""
    if not ALL:
        pytest.skip("MAF_RUNNER_ALL_FAULTS is not set: no SLURM is started")
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher",
        reason="hydra_submitit_launcher is not installed: SLURM not tested",
    )
    if lacking := slurm.missing():
        pytest.skip(f"no SLURM can be started here ({lacking}): queues not tested")
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made
    assert not made.processes()


@pytest.fixture
def sweep(queue, tmp_path):
    """Start ``maf-run`` in an empty folder, with this SLURM."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

    def begin(*words):
        return subprocess.Popen(
            [sys.executable, "-m", "maf_runner", *words],
            cwd=tmp_path,
            env={**os.environ, **queue.env, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def ended(process, seconds=300):
    """The exit code of a process, and what it has said."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def unfinished(folder):
    """The runs under ``folder`` that have a checkpoint and no record."""
    saved = {path.parent for path in folder.rglob("last.pt")}
    return saved - {path.parent for path in folder.rglob("record.json")}


def preempted(queue, job):
    """Hand in a job that the other has to make room for, and wait until it is done."""
    words = ["--parsable", "-p", "high", f"-c{slurm.CPUS}", "-o", os.devnull, "--wrap", "sleep 1"]
    urgent = queue("sbatch", *words)
    queue.wait(lambda: queue.states().get(urgent) == "COMPLETED")


def warned(queue, job):
    """Send the signal that SLURM sends some time before a job's time is over."""
    queue("scancel", "--signal=USR2", job)
    queue.wait(lambda: queue.states()[job] != "RUNNING")


@pytest.mark.parametrize("stopped", [preempted, warned])
def test_a_job_that_is_stopped_goes_on_from_its_checkpoint(
    queue, sweep, tmp_path, survived, stopped
):
    code, _, err = ended(sweep(*LONG, "seed=1", "paths.results_dir=alone"))
    assert code == 0, err
    process = sweep(*QUEUED, *LONG, "seed=0,1")
    try:
        wait_for(tmp_path / "results", "record.json", seconds=300)  # of the first job
        queue.wait(lambda: unfinished(tmp_path / "results"))
        (job,) = [name for name, state in queue.states().items() if state == "RUNNING"]
        stopped(queue, job)
        queue.wait(lambda: queue.states()[job] == "PENDING")
        assert len(records(tmp_path / "results")) == 1
        # SLURM lets a job wait for two minutes before it begins again.
        queue("scontrol", "update", f"jobid={job}", "starttime=now")
    finally:
        code, out, err = ended(process)
    assert code == 0, err
    assert "2 jobs: 1 done, 1 resumed" in err and len(out.splitlines()) == 2
    assert err.count("sacct") == 1 and "squeue is asked for the jobs" in err
    (alone,) = records(tmp_path / "alone")
    first, taken_up = sorted(records(tmp_path / "results"), key=lambda record: record["seed"])
    assert same(taken_up, alone)
    assert (first["resumed"], taken_up["resumed"]) == (0, 1)
    survived("jobs stopped in the queue of a SLURM", 1)


def test_a_cancelled_job_is_not_waited_for(queue, sweep, tmp_path):
    """Without accounts nobody else says that it is gone."""
    process = sweep(*QUEUED, *LONG, "seed=2", "trainer.max_epochs=100000")
    try:
        wait_for(tmp_path / "results", "last.pt")
        (job,) = [name for name, state in queue.states().items() if state == "RUNNING"]
        queue("scancel", job)
    finally:
        code, _, err = ended(process, seconds=120)
    assert code == 1 and "1 job: 1 unfinished" in err, err
    assert records(tmp_path / "results") == []
