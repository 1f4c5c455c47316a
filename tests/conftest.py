"""Fixtures shared by the tests."""

import functools
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.helpers import commands

# Two threads on a busy machine wait for each other far longer than one works alone.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


def pytest_terminal_summary(terminalreporter):
    """How many faults of each kind the tests in faults/ have made."""
    counts = Counter()
    for report in terminalreporter.stats.get("passed", []):
        counts.update({kind: n for key, (kind, n) in report.user_properties if key == "survived"})
    if counts:
        terminalreporter.section("faults survived")
    for kind, cases in sorted(counts.items()):
        terminalreporter.write_line(f"{cases:6,}  {kind}")


def pytest_collection_modifyitems(items):
    """The files that take longest come first, or one process is left with them at the end."""
    longest = (
        "tests/test_readme",
        "tests/test_check_gpu",
        "tests/test_your",
        "tests/test_install",
    )
    items.sort(key=lambda item: not item.nodeid.startswith(longest))


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def raw_dir():
    """The folder with the real data sets; tests that need it are skipped without it."""
    folder = os.environ.get("MAF_RUNNER_RAW_DIR")
    if not folder:
        pytest.skip("MAF_RUNNER_RAW_DIR is not set: real data not tested")
    return Path(folder).absolute()


@pytest.fixture(scope="session")
def server():
    """Carries out commands; see `tests.helpers.commands`."""
    if sys.platform != "linux":  # its children are forked
        yield commands.installed
        return
    server = commands.Server()
    yield server
    server.close()


@pytest.fixture
def command(server, tmp_path):
    """Carry out a command in an empty folder; it is forked, and so starts at once."""
    return functools.partial(server, cwd=tmp_path)


@pytest.fixture
def begin(server, tmp_path):
    """Start a command as `command` does, and go on."""
    if sys.platform != "linux":
        pytest.skip("children are forked on Linux only: nothing is done to running commands")
    return functools.partial(server.begin, cwd=tmp_path)


@pytest.fixture
def installed(tmp_path):
    """Carry out a command in an empty folder by the installed script, in a process of its own."""
    return functools.partial(commands.installed, cwd=tmp_path)
