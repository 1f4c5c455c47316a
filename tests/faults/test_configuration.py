"""Overrides of every kind: a run, or exit 2 with a message that names the key; never ignored."""

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from maf_runner.commands import arguments
from maf_runner.commands import run as cli
from maf_runner.datasets.preparation import making
from maf_runner.experiment import run as runs
from maf_runner.system.conf_path import CONF
from maf_runner.system.errors import DataError

TOP = ("seed", "device", "threads", "force", "retry", "wait")
KEYS = sorted(
    {
        f"{group}.{key}"
        for group in ("dataset", "model", "trainer", "tracker", "paths")
        for path in (CONF / group).rglob("*.yaml")
        for key in OmegaConf.load(path)
        if key != "defaults"
    }
    | {*TOP, "dataset.options.noise", "model", "dataset", "trainer", "tracker", "launch", "debug"}
    | {"hydra.job.name", "hydra.run.dir", "hydra.sweep.dir"}
)
# What is valid by itself; an override is added to it.
BASES = [
    ("model=maf",),
    ("model=made_mog", "dataset=toy/moons"),
    ("model=realnvp", "trainer=tuned"),
    ("model=gaussian",),
    ("model=conditional_maf", "dataset=file", "dataset.path=table.csv", "dataset.label=y"),
    ("model=iaf", "dataset=toy/circles", "tracker=tensorboard"),
    ("model=made", "dataset=power"),  # its data are missing
]
VALUES = re.findall(
    r"\S+",
    r"""
    0 1 2 -1 -0 -0.0 0.5 1e-3 1e400 -1e400 nan inf -inf 1e308 1e-320 007 1_000 0x10 5.0 1e3 "1e-3"
    true false null True no off yes '' "" "a'b" 'true' 'null' [] {} [1] [8,8] [0.9,0.99] [1,x]
    ['8'] [[8]] [[8],[8,8]] [true] [null] [1e400] {a:1} {1:2} {noise:0.2} {noise:x} ??? a=b a,b ,
    ${seed} ${model} ${nowhere.x} ${oc.env:NOWHERE} ${oc.env:HOME} ${now:%Y} ${trainer.l2} ${ $ %
    = : \ ' " ( ) [ { choice(1,2) range(3) int(1.5) a.b a/b ../x ./x ~ "~nobody/x" ü 'üß' ...
    cpu auto cuda:99 auto:3 made maf paper tuned toy/moons gaussian one_batch joblib relu tanh
    random sequential full_context uniform empirical drop csv b y ftp://x http://x
    """,
)
VALUES += ["1" + n * "0" for n in (3, 9, 18, 19, 25, 400, 5000)]
VALUES += ["", "a b", "x" * 300, "x/" * 3000]
WRITING = ("paths.results_dir", "paths.prepared_dir", "hydra.")


def misspelt(key):
    places = st.integers(0, len(key) - 1)
    dropped = places.map(lambda i: key[:i] + key[i + 1 :])
    changed = st.tuples(places, st.sampled_from("x.é _@/")).map(
        lambda t: key[: t[0]] + t[1] + key[t[0] + 1 :]
    )
    return dropped | changed


def texts():
    characters = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
    return st.text(characters, max_size=12) | st.lists(
        st.integers() | st.floats() | st.booleans(), max_size=3
    ).map(str)


@st.composite
def override(draw):
    key = draw(st.sampled_from(KEYS))
    key = draw(st.just(key) | misspelt(key)) if draw(st.integers(0, 4)) == 0 else key
    prefix = draw(st.sampled_from(["", "", "", "", "", "+", "++", "~"]))
    value = draw(
        st.sampled_from(VALUES)
        | st.sampled_from(VALUES)
        | st.integers().map(str)
        | st.floats().map(str)
        | texts()
    )
    if key.startswith(WRITING) and (value.lstrip("'\"[").startswith("/") or ".." in value):
        value = "elsewhere"  # and not just anywhere on this machine
    if prefix == "~" and draw(st.booleans()):
        return f"~{key}"
    return f"{prefix}{key}={value}"


@st.composite
def commands(draw):
    return draw(st.sampled_from(BASES)), draw(st.lists(override(), min_size=1, max_size=2))


@pytest.fixture
def table(tmp_path):
    """The folder to work in, with a small table in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    rows = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    lines = [f"{a},{b},{c},{i % 2}" for i, (a, b, c) in enumerate(rows)]
    (folder / "table.csv").write_text("\n".join(["a,b,c,y", *lines]))
    return folder


@pytest.fixture
def maf_run(table, monkeypatch, capfd):
    """All of ``maf-run`` but training, in this process: exit code, what it said, the settings."""
    seen = []

    def taken(experiment, *others):
        seen.append(experiment.settings)
        diverged = replace(experiment.record, status="diverged")
        return runs.Result(diverged, experiment.folder)

    def no_fetch(*details, **more):
        raise DataError("nothing is fetched here")

    monkeypatch.setattr(runs, "_train_and_record", taken)
    monkeypatch.setattr(making, "fetch", no_fetch)
    monkeypatch.setattr(runs.torch, "set_num_threads", lambda threads: None)
    monkeypatch.chdir(table)

    def run(*words):
        GlobalHydra.instance().clear()
        cli._code, cli._sweep = arguments.DONE, None
        seen.clear()
        monkeypatch.setattr(sys, "argv", ["maf-run", *words])
        try:
            code = cli.main()
        except SystemExit as leaving:
            code = leaving.code
        os.chdir(table)
        return code, capfd.readouterr().err, seen[-1] if seen else None

    return run


def key_of(word):
    return word.lstrip("+~").partition("=")[0]


def names(message, word):
    """Whether a message names the setting of an override, or what it is called in use."""
    key = key_of(word).strip()
    called = {"model.paper_rate": "learning_rate", "model.size": "hidden", "": word}
    group, _, end = key.rpartition(".") if key in KEYS else ("", "", key.partition(".")[0])
    found = [end, called.get(key, key), *([group] if "." in group else [])]
    return any(name in message for name in found)


def arrived(word, found):
    """Whether an override that was accepted stands in the settings."""
    key, given = key_of(word), OverridesParser.create().parse_override(word)
    if "${" in word or key.startswith(("hydra", "launch", "debug")):
        return True
    group, _, rest = key.partition(".")
    parts = [group, *filter(None, rest.split("."))]
    for part in parts[:-1]:
        found = found[part]
    if given.is_delete():
        return parts[-1] not in found or key == "model.hidden"
    value = OmegaConf.create({"value": given.value()})
    value = OmegaConf.to_container(value, resolve=True)["value"]
    there = found[parts[-1]]
    if len(parts) == 1 and isinstance(there, dict):  # an option of a group
        return there["name"] == value or (value, there["name"]) == ("conditional_maf", "maf")
    if key in ("dataset.path", "paths.results_dir", "paths.raw_dir", "paths.prepared_dir"):
        value = os.path.abspath(value)  # noqa: PTH100
    if isinstance(value, dict):
        return value.items() <= there.items()
    if isinstance(value, float) and math.isnan(value):
        return isinstance(there, float) and math.isnan(there)
    return (there == value and type(there) is type(value)) or (
        key == "model.hidden" and value is None
    )


def judged(base, words, code, message, found):
    """What is wrong with the way a command ended; empty if nothing is."""
    if "Traceback" in message:
        return "\n".join(message.splitlines()[-4:])
    if code == arguments.USAGE:
        return "" if any(names(message, word) for word in words) else f"no key: {message}"
    if code == arguments.DATA:
        return "" if message.startswith("maf-run: ") or "power" in message else message
    if code != arguments.DIVERGED or found is None:
        return f"exit {code}: {message}"
    last = {key_of(word): word for word in words}
    ignored = [word for word in last.values() if not arrived(word, found)]
    return f"ignored: {ignored}" if ignored else ""


def tries(cases):
    """The same cases in every run of the tests."""
    return settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def test_overrides_end_in_settings_or_in_a_message(maf_run, amount, survived):
    wrong = []

    @tries(amount(25, 2000))
    @given(commands())
    def tried(command):
        base, words = command
        verdict = judged(base, words, *maf_run(*base, *words))
        if verdict:
            wrong.append(f"{' '.join((*base, *words))[:300]}\n    {verdict[-600:]}")

    tried()
    assert not wrong, "\n".join(wrong)
    survived("commands with random overrides", amount(25, 2000))


LIMITS = ("++trainer.max_updates=2", "engine=eager", "++dataset.held_out=50")


def test_overrides_carried_out(start, table, amount, survived):
    """What is accepted is trained for two updates, too: finished, or diverged."""
    wrong, folders = [], iter(range(10**6))

    @tries(amount(5, 50))
    @given(commands())
    def tried(command):
        base, words = command
        folder = table / str(next(folders))
        folder.mkdir()
        (folder / "table.csv").write_text((table / "table.csv").read_text())
        toy = any(word.startswith("dataset=toy") for word in base)
        small = ("model.hidden=[8]",) if "model=gaussian" not in base else ()
        limits = LIMITS if toy else LIMITS[:2]
        done = start("maf-run", *base, *small, *words, *limits, cwd=folder)
        codes = (arguments.DONE, arguments.USAGE, arguments.DATA, arguments.DIVERGED)
        told = done.returncode != arguments.USAGE or any(
            names(done.stderr, word) for word in words
        )
        if done.returncode not in codes or "Traceback" in done.stderr or not told:
            wrong.append(
                f"{' '.join((*base, *words))[:300]}\n    {done.returncode} {done.stderr[-600:]}"
            )

    tried()
    assert not wrong, "\n".join(wrong)
    survived("random overrides carried out", amount(5, 50))


ODD = (
    "a b", "ü ß 漢字", "it's", 'say "so"', "a=b", "a,b", "$HOME", "${seed}", "%s %d %%", "~me",
    "[ab]*?{c}", "x" * 200, "two\nlines", "back\\slash", "-m", "#", "a:b", ".hidden.", " ",
    "é" * 100,
)  # fmt: skip


def quoted(text):
    """Text as the value of an override, whatever is in it."""
    escaped = re.sub(r"(\\*)(\"|$)", lambda m: m[1] * 2 + "\\" * bool(m[2]) + m[2], text)
    return '"' + escaped.replace("${", "\\${") + '"'


@pytest.mark.parametrize("kind", ["here", "results", "raw", "prepared", "file"])
def test_odd_names(start, raw, table, amount, chance, survived, kind):
    tried = amount(chance.sample(ODD, 1), ODD)
    for name in tried:
        folder = table / kind / name / "x"
        folder.mkdir(parents=True)
        odd = folder.parent
        words, cwd = ["maf-run", "model=gaussian", "dataset=toy/moons", "dataset.rows=90"], table
        if kind == "here":
            cwd = folder
        elif kind == "results":
            words.append(f"paths.results_dir={quoted(str(odd))}")
        elif kind == "file":
            (odd / f"{name}.csv").write_text((table / "table.csv").read_text())
            words[2:] = ["dataset=file", f"dataset.path={quoted(str(odd / f'{name}.csv'))}"]
        else:
            words[2:] = ["dataset=miniboone", f"paths.raw_dir={quoted(str(raw))}"]
            words.append(f"paths.{kind}_dir={quoted(str(odd))}")
            if kind == "raw":
                (odd / "miniboone").symlink_to(raw / "miniboone")
        done = start(*words, "device=cpu", "force=true", cwd=cwd)
        assert done.returncode == 0, (name, done.stderr)
        (found,) = (cwd if kind == "here" else table).rglob("record.json")
        if kind in ("here", "results"):
            assert found.is_relative_to(odd)
        if kind == "prepared":
            assert (odd / "miniboone.h5").is_file()
        assert done.stdout == f"{found.parent}\n"
        assert start("maf-table", "--results", found.parents[4], cwd=cwd).returncode == 0
        for path in (found.parents[4] / "runs").rglob("record.json"):
            path.unlink()
    survived(f"odd names: {kind}", len(tried))


# All is read-only but one folder: package, cache, home, temporary and current directory.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"'
SHUT = [
    (("model=gaussian",), 2),
    (("-m", "model=gaussian", "seed=1,2"), 2),
    (("model=gaussian", "dataset=toy/moons", "paths.results_dir=$OPEN"), 0),
    (("model=made", "model.hidden=[8]", "trainer.max_epochs=2", "paths.results_dir=$OPEN"), 0),
    (("-m", "model=gaussian", "seed=1,2", "paths.results_dir=$OPEN"), 0),
]


def shut(folder, *words):
    """Carry out a command where only ``folder`` can be written to."""
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", folder, *words],
        cwd=folder.parent,
        env={k: v for k, v in os.environ.items() if k != "HOME"},
        capture_output=True,
        text=True,
    )


def test_where_only_results_can_be_written(tmp_path, amount, survived):
    folder = tmp_path / "open"
    folder.mkdir()
    try:
        able = shut(folder, "sh", "-c", "! touch x && touch open/x").returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("nothing can be mounted read-only here: a read-only install is not tested")
    cases = amount(SHUT[1:2], SHUT)
    for words, code in cases:
        words = [word.replace("$OPEN", str(folder)) for word in words]
        done = shut(folder, Path(sys.executable).with_name("maf-run"), *words)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
        assert code == 0 or "choose another folder with paths.results_dir=DIR" in done.stderr
    survived("commands where only results can be written", len(cases))
