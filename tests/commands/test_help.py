"""The help of every command: plain English in 80 columns, with examples, at once."""

import subprocess

import pytest

from maf_runner import __version__

COMMANDS = ("run", "table", "plot", "report", "sample", "score", "export", "data")
ACTIONS = ("list", "fetch", "prepare", "verify")


@pytest.mark.parametrize(
    "words", [*((f"maf-{c}",) for c in COMMANDS), *(("maf-data", a) for a in ACTIONS)]
)
def test_help(command, words):
    text = command(*words, "--help", env={"COLUMNS": "80"}, check=0).stdout
    long = [line for line in text.splitlines() if len(line) > 80]
    assert not long and "``" not in text and "__" not in text
    if len(words) == 1:
        assert text.count(f"  {words[0]} ") >= 2  # examples


@pytest.mark.parametrize("name", COMMANDS)
def test_version(command, name):
    said = command(f"maf-{name}", "--version", check=0).stdout
    assert said.startswith(f"maf-{name} {__version__}")


@pytest.mark.parametrize("name", [c for c in COMMANDS if c != "run"])
def test_completion_is_a_script_of_the_shell(command, name):
    pytest.importorskip("shtab")
    script = command(f"maf-{name}", "--print-completion", "bash", check=0).stdout
    assert "--version" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
