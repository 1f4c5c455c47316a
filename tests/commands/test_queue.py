"""The jobs of a SLURM of two scripts: one that keeps accounts, and one that lists the queue."""

import os

import pytest

pytest.importorskip(
    "hydra_plugins.hydra_submitit_launcher",
    reason="hydra_submitit_launcher is not installed: queues not tested",
)
from submitit.slurm.slurm import SlurmJob

from maf_runner.commands import queue

NO_ACCOUNTS = "echo Slurm accounting storage is disabled >&2; exit 1"


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Make ``sacct`` and ``squeue`` do this."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def make(**commands):
        for name, text in commands.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)

    return make


def queued(*jobs):
    """A script that lists these jobs."""
    return "cat <<END\n" + "\n".join(jobs) + "\nEND"


@pytest.fixture
def watcher():
    """Of three jobs of one array."""
    watcher = queue.Watcher()
    for number in range(3):
        watcher.register_job(f"7_{number}")
    return watcher


def done(watcher):
    """Which of the jobs have ended, after another look."""
    watcher.update()
    return [watcher.is_done(f"7_{number}", mode="cache") for number in range(3)]


def test_with_accounts_they_are_asked(scripts, watcher, capfd):
    scripts(sacct=queued("JobID|State|NodeList", "7_0|COMPLETED|a", "7_1|RUNNING|a"), squeue="")
    assert done(watcher) == [True, False, False]
    assert capfd.readouterr() == ("", "")


def test_without_accounts_the_queue_is_asked_and_that_is_said_once(scripts, watcher, capfd):
    """A job waits, or is moved about, until it has ended or is forgotten."""
    scripts(sacct=NO_ACCOUNTS, squeue=queued("7_[1-2%32]|PENDING|", "7_0|CONFIGURING|a"))
    assert done(watcher) == [False, False, False]
    scripts(squeue=queued("7_1|CANCELLED|a", "7_2|PREEMPTED|a"))
    assert done(watcher) == [True, True, False]  # the first is forgotten
    scripts(squeue="exit 1")  # the controller does not answer
    assert done(watcher) == [True, True, False]
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "maf-run: sacct: Slurm accounting storage is disabled; squeue is asked for the jobs\n"
    )


def test_a_job_that_was_never_seen_is_waited_for(scripts, watcher):
    scripts(sacct=NO_ACCOUNTS, squeue="")
    assert done(watcher) == [False, False, False]


def test_submitit_looks_so(monkeypatch):
    monkeypatch.setattr(SlurmJob, "watcher", SlurmJob.watcher)
    queue.watch()
    assert isinstance(SlurmJob.watcher, queue.Watcher)
