"""Mixtures of seeds in the tables, from made-up test rows."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp

from maf_runner.records.folder import RunFolder
from tests.helpers.records import keep, run

ROWS = 40
NAME = "MAF (5), 2 seeds mixed"


@pytest.fixture
def table(command, tmp_path):
    def shown(*words, check=0):
        own = ["maf-table", "--mixtures", "--width", 500, "--results", tmp_path]
        return command(*own, *words, check=check)

    return shown


@pytest.fixture
def mixed(command, tmp_path):
    def shown(*runs, check=0):
        return command("maf-table", "mixture", "--results", tmp_path, *runs, check=check)

    return shown


def seeds(folder, rows, validations, *, first=0, **changes):
    """A run for each seed of one setting, with these test rows; keeps them."""
    made = []
    for seed, (nats, validation) in enumerate(zip(rows, validations, strict=True)):
        more = {"dataset": "miniboone", "model": "MAF (5)", "features": 4, **changes}
        record = run(f"{first + seed:012x}", nats, validation, seed=seed, test_rows=len(nats),
                     validation_rows=3, **more)  # fmt: skip
        keep(folder, record, nats)
        made.append(record)
    return made


def draws(count, **changes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=ROWS, **changes) for _ in range(count)]


def data(result, name=NAME, **where):
    """The row of the mixture in JSON, and the notes."""
    content = json.loads(result.stdout)
    found = [r for r in content["rows"] if r["model"] == name]
    found = [r for r in found if all(r[k] == v for k, v in where.items())]
    assert len(found) <= 1
    return (found or [None])[0], content["notes"]


def test_a_mixture_known_by_hand(table, tmp_path):
    """Densities 1/2 and 1/10, 1/4 and 0, e^(-10^9) and 1/5: means 3/10, 1/8 and 1/10."""
    one = np.array([math.log(0.5), math.log(0.25), -1e9])
    other = np.array([math.log(0.1), -1e30, math.log(0.2)])
    seeds(tmp_path, [one, other], [-1.0, -2.0])
    mixture, notes = data(table("--format", "json"))
    nats = np.log([0.3, 0.125, 0.1])
    assert mixture["test_nats"] == pytest.approx(nats.mean(), abs=1e-6)
    assert mixture["test_error"] == pytest.approx(2 * nats.std() / math.sqrt(3), abs=1e-6)
    assert mixture["seeds"] == 2 and mixture["run_id"] == f"{0:012x} {1:012x}"
    assert mixture["published_nats"] is None and mixture["validation_nats"] is None
    assert sum("which the validation split has chosen" in note for note in notes) == 1


def test_runs_that_are_named_are_mixed(mixed, tmp_path):
    rows = draws(3)
    made = seeds(tmp_path, rows[:2], [-2.0, -1.0])
    made += seeds(tmp_path, rows[2:], [-3.0], first=2, model="NSF (10)")
    names = [one.run_id for one in made]
    content = json.loads(mixed(*names, "--format", "json").stdout)
    *singles, mixture = content["rows"]
    nats = logsumexp(rows, axis=0) - math.log(3)
    assert [row["run_id"] for row in singles] == names and mixture["model"] == "3 runs mixed"
    assert singles[0]["test_nats"] == pytest.approx(rows[0].mean(), abs=1e-6)
    assert singles[2]["validation_nats"] == -3.0
    assert mixture["test_nats"] == pytest.approx(nats.mean(), abs=1e-6)
    assert mixture["test_error"] == pytest.approx(2 * nats.std() / math.sqrt(ROWS), abs=1e-6)
    assert mixture["validation_nats"] is None  # the rows were not kept
    gain = nats - rows[1]
    figure = f"{gain.mean():+.3f} ± {2 * gain.std() / math.sqrt(ROWS):.3f}"
    assert f"3 runs mixed: {figure} nats against run {names[1]}" in content["notes"][0]
    folders = sorted((tmp_path / "runs").glob("*/*/*"))
    text = mixed(*folders).stdout
    assert "NSF (10)" in text and "3 runs mixed" in text
    (folders[0] / "validation_nats.npy").write_text("damaged")
    assert "validation_nats.npy cannot be read" in mixed(*folders, check=3).stderr


def test_what_cannot_be_mixed_is_said(mixed, tmp_path):
    rows = draws(2)
    (one,) = seeds(tmp_path, rows[:1], [-2.0])
    (other,) = seeds(
        tmp_path, rows[1:], [-2.0], first=1, data={"fingerprint": "other", "recipe": "authors"}
    )
    (bare,) = seeds(tmp_path, [rows[0] + 1], [-2.0], first=2)
    for file in tmp_path.rglob(f"{bare.run_id}/*nats*"):
        file.unlink()
    said = mixed(one.run_id, other.run_id, check=3).stderr
    assert "cannot be mixed: tested on other rows" in said
    said = mixed(one.run_id, bare.run_id, check=3).stderr
    assert "its test rows were not kept" in said
    failed = replace(one, run_id="f" * 12, status="diverged", test={})
    keep(tmp_path, failed)
    assert "its status is diverged" in mixed(one.run_id, failed.run_id, check=3).stderr
    assert "named twice" in mixed(one.run_id, one.run_id, check=2).stderr
    assert "two runs or more" in mixed(one.run_id, check=2).stderr


def test_every_form_shows_it_below_the_single_model(table, tmp_path):
    rows = draws(2)
    seeds(tmp_path, rows, [-1.0, -2.0])
    nats = logsumexp(rows, axis=0) - math.log(2)
    figure = f"{nats.mean():.2f} ± {2 * nats.std() / math.sqrt(ROWS):.2f}"
    gain = nats - rows[0]
    lines = table().stdout.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(NAME))
    assert lines[place - 1].startswith("MAF (5) ") and figure in lines[place]
    assert (f"{NAME} on miniboone: {gain.mean():+.2f} ± {2 * gain.std() / math.sqrt(ROWS):.2f} "
            "nats against the run") in "\n".join(lines)  # fmt: skip
    latex = table("--format", "latex").stdout
    assert f"{NAME} & " in latex and figure.replace("±", r"\pm") in latex
    assert f"| {NAME} " in table("--format", "markdown").stdout
    (row,) = [r for r in csv.DictReader(table("--format", "csv").stdout.splitlines())
              if r["model"] == NAME]  # fmt: skip
    assert float(row["test_nats"]) == pytest.approx(nats.mean(), abs=1e-6)
    board, _ = data(table("leaderboard", "--format", "json"))
    assert board["value"] == pytest.approx(nats.mean(), abs=1e-6) and board["by"] == "ours"
    paper = table("table1").stdout
    assert figure in next(line for line in paper.splitlines() if line.startswith(NAME))
    for words in (("runs",), ("compare", "0", "1")):
        assert "--mixtures is for tables of models" in table(*words, check=2).stderr


def test_the_setting_is_chosen_by_validation_and_all_its_seeds_are_mixed(table, tmp_path):
    """The other size is better on test; the worst seed of the chosen size is not left out."""
    good, bad = draws(2, loc=5.0), draws(3, loc=-5.0)
    seeds(tmp_path, good, [-3.0, -3.0], first=10, hidden=[8])
    seeds(tmp_path, [*bad[:2], bad[2] - 50], [-1.0, -2.0, -60.0], hidden=[4, 4])
    mixture, _ = data(table("--format", "json"), "MAF (5), 3 seeds mixed")
    expected = logsumexp([*bad[:2], bad[2] - 50], axis=0) - math.log(3)
    assert mixture["test_nats"] == pytest.approx(expected.mean(), abs=1e-5)
    assert mixture["chosen"] == mixture["size"] == "2×4" and "‡" in mixture["marks"]


def test_a_run_whose_test_rows_alone_are_not_finite_is_one_of_the_seeds(table, tmp_path):
    one, other = draws(2)
    seeds(tmp_path, [one], [-1.0])
    lost = other.copy()
    lost[[3, 7]] = -np.inf, np.nan
    rest = np.delete(other, [3, 7])
    (record,) = seeds(tmp_path / "aside", [rest], [-2.0])
    figures = {
        "rows_not_finite": 2,
        "first_not_finite": 3,
        "log_likelihood_of_others": rest.mean(),
    }
    changes = {"run_id": "b" * 12, "seed": 1, "status": "diverged", "test": figures,
               "test_rows": ROWS}  # fmt: skip
    keep(tmp_path, type(record)(**{**vars(record), **changes}), lost)
    mixture, _ = data(table("--format", "json"))
    densities = np.exp([one, np.where(np.isfinite(lost), lost, -np.inf)])
    assert mixture["test_nats"] == pytest.approx(np.log(densities.mean(axis=0)).mean(), abs=1e-6)


def test_what_cannot_be_mixed_is_named(table, tmp_path):
    rows = draws(4)
    seeds(tmp_path, rows[:2], [-1.0, -2.0])
    more = {"dataset": "miniboone", "model": "MAF (5)", "test_rows": ROWS}
    keep(tmp_path, run("d" * 12, rows[3], -3.0, seed=3, **more))
    damaged = keep(tmp_path, run("e" * 12, rows[3], -3.0, seed=4, **more), rows[3] + 1)
    mixture, notes = data(table("--format", "json"))
    nats = logsumexp(rows[:2], axis=0) - math.log(2)
    assert mixture["test_nats"] == pytest.approx(nats.mean(), abs=1e-6)
    where = "MAF (5) on miniboone: not mixed, seed"
    assert f"{where} 3: its test rows were not kept" in notes
    assert any(n.startswith(f"{where} 4: {damaged.parent}") for n in notes)


def test_one_seed_or_no_rows_make_no_mixture(table, tmp_path):
    record = run("0" * 12, np.zeros(ROWS), -1.0, dataset="power", model="MADE")
    keep(tmp_path, record, np.zeros(ROWS))
    for seed in (0, 1):
        more = {"seed": seed, "dataset": "miniboone", "model": "MAF (5)", "test_rows": ROWS}
        keep(tmp_path, run(f"{9 + seed:012x}", np.zeros(ROWS), -1.0, **more))
    text = table().stdout
    assert "seeds mixed " not in text
    assert "MAF (5) on miniboone: not mixed, seeds 0, 1: its test rows were not kept" in text


def test_given_the_class_and_in_bits(table, tmp_path):
    """Bits: the same figure of nats through the dimension, without the ± that is not known."""
    rows = draws(2)
    seeds(tmp_path, rows, [-1.0, -2.0], dataset="mnist", conditional=True)
    seeds(tmp_path, [10 * r for r in rows], [-1.0, -2.0], dataset="mnist", first=5)
    given, _ = data(table("table2", "--format", "json"), dataset="mnist", conditioning="class")
    nats = logsumexp(rows, axis=0) - math.log(2)
    assert given["test_nats"] == pytest.approx(nats.mean(), abs=1e-6)
    bits, _ = data(table("bits", "--format", "json"), dataset="mnist", conditioning="class")
    single = 2 - rows[0].mean() / 1000  # as the made-up record has it
    gain = (nats.mean() - rows[0].mean()) / (4 * math.log(2))
    assert bits["test_bits_per_pixel"] == pytest.approx(single - gain, abs=1e-6)
    assert bits["test_error"] is None


def test_the_validation_figure_where_the_rows_were_kept(table, tmp_path):
    rows = draws(2)
    seen = [np.array([-1.0, -2.0, -3.0]), np.array([-4.0, -1.0, -2.0])]
    made = seeds(tmp_path, rows, [nats.mean() for nats in seen])
    for record, nats in zip(made, seen, strict=True):
        folder = RunFolder(tmp_path / "runs/miniboone/model" / record.run_id)
        np.save(folder.validation_nats, nats.astype(np.float32))
    mixture, _ = data(table("--format", "json"))
    expected = (logsumexp(seen, axis=0) - math.log(2)).mean()
    assert mixture["validation_nats"] == pytest.approx(expected, abs=1e-6)
    script = Path(__file__).parents[2] / "scripts" / "keep_records.py"
    words = [sys.executable, script, tmp_path, "--to", tmp_path / "x" / "records", "--rows"]
    damaged = tmp_path / "runs/miniboone/another/0/record.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert f"left out: {damaged} is not JSON" in done.stderr
    kept = table("--shipped", "--results", tmp_path / "x", "--format", "json")
    assert data(kept)[0]["validation_nats"] == mixture["validation_nats"]
    folder.validation_nats.unlink()
    assert data(table("--format", "json"))[0]["validation_nats"] is None
