"""Every command of the README works as it stands."""

import os
import re
import shlex
import subprocess

import pytest
from conftest import ROOT

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line for line in LINES if line]


def test_there_are_commands():
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(line):
    """Printed, not carried out: the tests themselves run inside one of them."""
    result = subprocess.run(
        [*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Where the commands leave their runs, for the table commands that come after."""
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize("line", [c for c in COMMANDS if not c.startswith("make ")])
def test_command(line, results, command, request):
    """Trainings are cut to one batch; nothing else is changed."""
    words = shlex.split(line)
    if "dataset=mnist" in words:
        request.getfixturevalue("raw_dir")
    short = words[0] == "maf-run" and "debug=one_batch" not in words
    if short:
        words.insert(1, "trainer.max_updates=1")
    raw_dir = os.environ.get("MAF_RUNNER_RAW_DIR", "data/raw")
    env = {"MAF_RUNNER_RAW_DIR": os.path.abspath(raw_dir)}  # noqa: PTH100
    result = command(*words, cwd=results, env=env, check=0)
    if words[0] == "maf-table":
        assert "MAF (5)" in result.stdout
