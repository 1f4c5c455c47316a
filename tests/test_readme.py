"""Every command of the README, and of the pages for users, works as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from string import Template

import benchmark
import numpy as np
import pytest
import update_tables
import yaml

from maf_runner.experiment.settings import from_config
from maf_runner.records.identity import run_id
from tests.helpers import ROOT
from tests.helpers.commands import BIN
from tests.helpers.mirror import serving
from tests.helpers.settings import composed

README = (ROOT / "README.md").read_text()
PAGES = {
    "README": README,
    **{
        name: (ROOT / f"docs/{name}.md").read_text()
        for name in (
            "first_steps",
            "data",
            "reproduce",
            "reading_results",
            "sweeps",
            "trained_models",
        )
    },
}


def commands_of(page):
    """The lines of its shell blocks without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page, flags=re.S)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


LINES = list(dict.fromkeys(line for page in PAGES.values() for line in commands_of(page)))
MAKE = [line for line in LINES if line.startswith("make ")]
COMMANDS = [line for line in LINES if line not in MAKE]
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
    made = update_tables.contents(ROOT)
    assert ROOT / "README.md" in made and len(made) > 5
    assert "-1366.9 ± 1.4" in made[ROOT / "README.md"]
    stale = [p.name for p, text in made.items() if not p.is_file() or p.read_text() != text]
    assert not stale, "run python scripts/update_tables.py"


def test_the_commands_of_the_best_models_are_theirs():
    for identity, command in update_tables.COMMANDS.items():
        program, *settings = shlex.split(command)
        if program == "maf-run":
            assert run_id(from_config(composed(*settings))) == identity
        else:
            assert os.access(ROOT / program, os.X_OK)


def test_the_benchmark_shown_is_the_one_kept():
    """`python scripts/benchmark.py --table` would change nothing."""
    kept = json.loads((ROOT / "results/benchmarks/benchmark.json").read_text())
    assert benchmark.table(kept) in (ROOT / "docs/performance.md").read_text()


def in_a_shell(script, folder, **env):
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", SHORTER + script],
        cwd=folder,
        env={**os.environ, "PATH": path, **env},
        capture_output=True,
        text=True,
    )


def as_in_a_shell(line, folder, server, **env):
    """What needs no shell and no other processes is carried out in a child that starts at once."""
    words = shlex.split(line)
    if "launch=" in line:
        return in_a_shell(line, folder, **env)
    if words[0] == "maf-run":
        words.insert(2 if words[1:2] == ["-m"] else 1, "trainer.max_updates=1")
    return server(*words, cwd=folder, env=env)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, server):
    """Where the commands leave their runs; there is one already, for those that show some."""
    folder = tmp_path_factory.mktemp("readme")
    server("maf-run", "trainer.max_updates=1", cwd=folder, check=0)
    rows = np.random.default_rng(0).normal(size=(300, 3))
    np.savetxt(folder / "table.csv", rows, delimiter=",", header="a,b,c", comments="")
    return folder


@pytest.fixture(scope="module")
def mirror(raw_dir):
    """An address with the real files under it."""
    with serving(raw_dir) as address:
        yield address


@pytest.mark.parametrize("line", [c for c in COMMANDS if "RUN" not in c])
def test_command(line, folder, server, request):
    env = {}
    if "maf-data fetch" in line:
        env["MAF_RUNNER_MIRROR"] = request.getfixturevalue("mirror")
    elif "mnist" in line:
        env["MAF_RUNNER_RAW_DIR"] = str(request.getfixturevalue("raw_dir"))
    result = as_in_a_shell(line, folder, server, **env)
    assert result.returncode == 0, result.stderr
    name, *words = shlex.split(line)
    if "--cfg" in words:
        assert yaml.safe_load(result.stdout)["model"]["name"] == "made"
    elif name == "maf-run":
        runs_are_as_asked(words, [folder / path for path in result.stdout.splitlines()])
    elif name == "maf-data":
        assert "mnist" in result.stdout
    elif name == "maf-table":
        table = words[0] if words and not words[0].startswith("-") else "comparison"
        ending = "tex" if "latex" in words else "txt"
        written = folder / "results" / "tables" / f"{table}.{ending}"
        assert written.read_text() == result.stdout and "MAF (5)" in result.stdout
    else:
        (path,) = result.stdout.split()
        assert (folder / path).stat().st_size > 10_000


def runs_are_as_asked(words, folders):
    """Each has a record, finished, with the settings of the command line."""
    assert len(folders) > 1 if "-m" in words else len(folders) == 1
    for folder in folders:
        record = json.loads((folder / "record.json").read_text())
        assert record["status"] == "finished"
        for word in words:
            key, _, value = word.partition("=")
            group, _, option = key.partition(".")
            node = record["settings"].get(group)
            if node is None or key == "dataset.path":
                continue  # of the sweep or the launcher; a table is known by its content
            chosen = node if group == "seed" else node[option or "name"]
            assert str(chosen).lower() in value.split(",") or "(" in value


USE_RUNS = [name for name, page in PAGES.items() if any("RUN" in c for c in commands_of(page))]


@pytest.mark.parametrize("page", USE_RUNS)
def test_using_a_run(page, folder, server):
    """The shell commands that use a run; then the Python that does."""
    printed: dict[str, str] = {}  # by the variable that keeps it
    for line in (c for c in commands_of(PAGES[page]) if "RUN" in c):
        assigned = re.fullmatch(r"(\w+)=\$\((.*)\)", line)
        command = Template(assigned[2] if assigned else line).substitute(printed)
        piped = "|" in command
        done = in_a_shell(command, folder) if piped else as_in_a_shell(command, folder, server)
        assert done.returncode == 0, done.stderr
        if assigned:
            printed[assigned[1]] = done.stdout.strip()
    if page == "trained_models":
        python_works(printed["RUN"], folder)


def python_works(run, folder):
    (code,) = re.findall(r"```python\n(.*?)```", PAGES["trained_models"], flags=re.S)
    (named,) = re.findall(r'load_run\("(.*?)"\)', code)
    checks = "\nassert x.shape == (1000, 64) and nats.shape == (1000,)"
    code = code.replace(named, run) + checks
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
    # The folder it names is that of a plain maf-run.
    assert named == f"results/runs/digits/maf/{Path(named).name}"
    assert Path(named).name == run_id(from_config(composed()))


def test_fitting_in_python(folder):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    shorter = code.replace('context=["a"]', 'context=["a"], trainer={"max_updates": 1}')
    assert shorter != code
    checks = """
assert nats.shape == (300,) and list(draws) == ["given_row", "a", "b", "c"] and len(draws) == 100
"""
    subprocess.run([sys.executable, "-c", shorter + checks], check=True, cwd=folder)


def test_the_site_can_be_made(tmp_path):
    """Every link and heading that a page points to is there."""
    pytest.importorskip("mkdocs")
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(tmp_path / "s"),
    ]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path.parent.name for path in (tmp_path / "s").glob("*/index.html")}
    assert {"first_steps", "data", "api", "your_own_model", "reading_results"} <= pages


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
