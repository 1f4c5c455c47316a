"""Every command of the README works as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT
from tests.helpers.mirror import serving
from tests.helpers.settings import composed

pytestmark = pytest.mark.xdist_group("readme")  # one after another: they share a folder
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
MAKE = [line for line in LINES if line.startswith("make ")]
COMMANDS = [line for line in LINES if line and line not in MAKE]
# Trainings are cut to one update; nothing else is changed.
SHORTER = """maf-run() {
    if [ "${1-}" = -m ]; then shift; command maf-run -m trainer.max_updates=1 "$@"
    else command maf-run trainer.max_updates=1 "$@"; fi
}
"""


def test_there_are_commands():
    assert len(MAKE) == 2 and len(COMMANDS) > 10


@pytest.mark.parametrize("line", MAKE)
def test_make_targets_exist(line):
    """Printed, not carried out: the tests themselves run inside one of them."""
    words = [*shlex.split(line), "--dry-run"]
    subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)


def test_tables_are_those_of_the_records():
    """`python scripts/update_tables.py` would change nothing."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from update_tables import contents
    finally:
        sys.path.pop(0)
    made = contents(ROOT)
    assert ROOT / "README.md" in made and len(made) > 5
    assert "-1366.9 ± 1.4" in made[ROOT / "README.md"]
    stale = [p.name for p, text in made.items() if not p.is_file() or p.read_text() != text]
    assert not stale, "run python scripts/update_tables.py"


def test_the_benchmark_shown_is_the_one_kept(monkeypatch):
    """`python scripts/benchmark.py --table` would change nothing."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import benchmark

    kept = json.loads((ROOT / "results/benchmarks/benchmark.json").read_text())
    assert benchmark.table(kept) in (ROOT / "docs/performance.md").read_text()


def in_a_shell(script, folder, **env):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", SHORTER + script],
        cwd=folder,
        env={**os.environ, "PATH": path, **env},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands leave their runs, one after another as in the README."""
    folder = tmp_path_factory.mktemp("readme")
    rows = np.random.default_rng(0).normal(size=(300, 3))
    np.savetxt(folder / "table.csv", rows, delimiter=",", header="a,b,c", comments="")
    return folder


@pytest.fixture(scope="module")
def mirror(raw_dir):
    """An address with the real files under it."""
    with serving(raw_dir) as address:
        yield address


@pytest.mark.parametrize("line", [c for c in COMMANDS if "RUN" not in c])
def test_command(line, folder, request):
    env = {}
    if "maf-data fetch" in line:
        env["MAF_RUNNER_MIRROR"] = request.getfixturevalue("mirror")
    elif "mnist" in line:
        env["MAF_RUNNER_RAW_DIR"] = str(request.getfixturevalue("raw_dir"))
    result = in_a_shell(line, folder, **env)
    assert result.returncode == 0, result.stderr
    if line.startswith("maf-table"):
        assert "MAF (5)" in result.stdout


def test_using_a_trained_model(folder):
    """The shell commands that use a run, then the Python that does."""
    script = "\n".join(c for c in COMMANDS if "RUN" in c)
    result = in_a_shell(script + '\necho "RUN=$RUN"', folder)
    assert result.returncode == 0, result.stderr
    run = result.stdout.rpartition("RUN=")[2].strip()
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    (named,) = re.findall(r'load_run\("(.*?)"\)', code)
    checks = "\nassert x.shape == (1000, 64) and nats.shape == (1000,)"
    code = code.replace(named, run) + checks
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
    # The folder it names is that of a plain maf-run.
    assert named == f"results/runs/digits/maf/{Path(named).name}"
    from maf_runner.experiment.settings import from_config
    from maf_runner.records.identity import run_id

    assert Path(named).name == run_id(from_config(composed()))
