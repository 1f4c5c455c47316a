"""Fixtures shared by the tests."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

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


@pytest.fixture
def command(tmp_path):
    """Run an installed console script in an empty folder, away from the checkout."""

    def run(*words, cwd=tmp_path, env=None, check=None, timeout=300):
        script, *arguments = map(str, words)
        result = subprocess.run(
            [Path(sys.executable).parent / script, *arguments],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check is not None:
            assert result.returncode == check, result.stdout + result.stderr
        return result

    return run
