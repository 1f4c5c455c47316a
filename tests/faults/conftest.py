"""Faults made on purpose: `make test` makes a few of each kind, `make faults` all of them."""

import os
import random
import sys

import numpy as np
import pytest

from tests.helpers.runs import RUN, leftovers, record_of

ALL = bool(os.environ.get("MAF_RUNNER_ALL_FAULTS"))


@pytest.fixture
def amount():
    """How many cases to try: ``amount(few, all)``."""
    return lambda few, every: every if ALL else few


@pytest.fixture
def survived(record_property):
    """Tell the summary how many faults of a kind were made: ``survived("kills", 20)``."""
    return lambda kind, cases: record_property("survived", [kind, cases])


@pytest.fixture
def chance(request):
    """Random numbers, the same in every run of the tests."""
    return random.Random(request.node.nodeid)


@pytest.fixture(scope="session")
def start(server):
    """Carry out a command as the installed one would, with a fault: see `tests.helpers.server`."""
    if sys.platform != "linux":
        pytest.skip("children are forked and watched through /proc: faults are made on Linux only")

    def run(*words, cwd, **fault):
        return server(*words, cwd=cwd, small=True, fault=fault)

    return run


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """A folder with raw files of MINIBOONE, small as `tests.helpers.server` takes it."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "miniboone").mkdir()
    rows = np.random.default_rng(0).normal(size=(500, 43))
    np.save(
        folder / "miniboone" / "data.npy", rows @ np.random.default_rng(1).normal(size=(43, 43))
    )
    return folder


@pytest.fixture(scope="session")
def whole(start, raw, tmp_path_factory):
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    folder.mkdir()
    done = start(*RUN, f"paths.raw_dir={raw}", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert leftovers(folder) == []
    done.folder, done.record = folder, record_of(folder)
    return done
