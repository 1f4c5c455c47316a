"""Numbers at the ends of what there is: a run ends in finite figures, as diverged, or in words."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from maf_runner.commands import sample, score
from maf_runner.engine.rows import log_prob_of_rows, refresh_statistics
from maf_runner.records.entries import find
from maf_runner.records.record import Record
from maf_runner.reporting.page.report import render
from maf_runner.reporting.tables.table import build
from tests.helpers.models import MODELS

NAMES = {
    "gaussian": (),
    "made": ("model.hidden=[8]",),
    "made_mog": ("model.hidden=[8]", "model.components=3"),
    "realnvp": ("model.hidden=[8]", "model.layers=2"),
    "maf": ("model.hidden=[8]", "model.layers=2"),
    "maf_mog": ("model.hidden=[8]", "model.layers=2", "model.components=3"),
    "iaf": ("model.hidden=[8]", "model.layers=2"),
}
NAN = math.nan


def tables():
    """Tables by what is odd in them."""
    rows = np.random.default_rng(0).normal(size=(60, 3))

    def with_column(values):
        return np.column_stack([rows[:, :2], values])

    def with_value(value):
        table = rows.copy()
        table[7, 1] = value
        return table

    plane = np.column_stack([rows[:, :2], rows[:, 0] - 2 * rows[:, 1]])
    return {
        "NaN": with_value(NAN),
        "infinity": with_value(np.inf),
        "1e30": with_value(1e30),
        "1e308": with_value(1e308),
        "1e308 everywhere": with_column(np.full(60, 1e308)),
        "1e308 in turn": with_column(np.tile([1e308, -1e308], 30)),
        "1e30 and a little": with_column(1e30 + rows[:, 2]),
        "denormals": with_column(rows[:, 2] * 1e-310),
        "squares that vanish": with_column(rows[:, 2] * 1e-170),
        "a constant column": with_column(np.full(60, 0.1)),
        "nothing but a constant": np.full((60, 2), 3.5),
        "duplicate rows": np.tile(rows[:3], (20, 1)),
        "one row, many times": np.tile(rows[:1], (60, 1)),
        "a plane": plane,
        "whole numbers": np.round(rows),
        "one feature": rows[:, :1],
        "one feature, constant": np.full((60, 1), 1.0),
        "one row": rows[:1],
        "two rows": rows[:2],
        "three rows": rows[:3],
        "ten rows": rows[:10],
        "more features than rows": rows[:50].T @ rows[:50, :1] @ rows[:50, :1].T,
    }


def words_of(model, path, *more):
    return ("maf-run", f"model={model}", *NAMES[model], "dataset=file", f"dataset.path={path}",
            "dataset.name=odd", "trainer.max_epochs=3", "engine=eager", "threads=1",
            *more)  # fmt: skip


def ended(done, folder):
    """The record of a run that ended as it may, or None where words say why there is none."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 2, 3, 4), done.stderr
    found = list(folder.rglob("record.json"))
    if done.returncode in (2, 3):
        assert found == [] and len(done.stderr) < 3000
        return None
    (path,) = found
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    record = Record.read(path)
    assert (done.returncode == 4) == (record.status == "diverged")
    return record


def shown_nowhere(folder):
    """A diverged run is a word in each table and on the page, and no number."""
    found, _ = find(folder / "results")
    for name in ("comparison", "leaderboard"):
        table, _ = build(name, found)
        rows = json.loads(table.render("json"))["rows"]
        assert all(row.get("test_nats") is None for row in rows if "test_nats" in row)
        assert not any(row.get("by") == "ours" for row in rows)
    shown = build("comparison", found)[0].render("text")
    assert "diverged" in shown or "not finite" in shown
    page = re.sub("(?s)<script.*?</script>", "", render(found, [], {}))
    assert not re.search(r"\b(nan|inf|infinity)\b", page, re.IGNORECASE)


def cases_of(tried, amount, chance):
    return amount(chance.sample(tried, 2), tried)


def test_odd_tables(start, tmp_path, amount, chance, survived):
    told = 0
    every = [(name, model) for name in tables() for model in NAMES]
    for number, (name, model) in enumerate(cases_of(every, amount, chance)):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "odd.csv"
        pd.DataFrame(tables()[name]).add_prefix("c").to_csv(path, index=False)
        done = start(*words_of(model, path), cwd=folder)
        entry = ended(done, folder)
        if entry is None:
            told += 1
            assert "odd" in done.stderr, done.stderr
        elif entry.status == "diverged":
            shown_nowhere(folder)
        else:
            used(entry.file.parent, path)
    survived("odd tables", number + 1)


def used(folder, table):
    """A model of an odd table gives samples, and scores of its own table and of odder rows."""
    out = folder.parent / "samples.npy"
    assert sample.main([str(folder), "--n", "50", "--out", str(out)]) == 0
    assert score.main([str(folder), str(table), "--out", str(out.with_suffix(".csv"))]) == 0
    scores = pd.read_csv(out.with_suffix(".csv"))["log_prob_nats"]
    assert not scores.isna().any()


def test_odd_rows_are_scored_or_named(start, tmp_path, capsys, survived):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    pd.DataFrame(rows).add_prefix("c").to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "run").mkdir()
    done = start(*words_of("maf", tmp_path / "t.csv"), cwd=tmp_path / "run")
    entry = ended(done, tmp_path / "run")
    values = (NAN, np.inf, -np.inf, 1e20, 1e30, -1e38, 1e39, 1e308, 1e-310)
    for value in values:
        rows[5, 1] = value
        pd.DataFrame(rows).add_prefix("c").to_csv(tmp_path / "odd.csv", index=False)
        out = tmp_path / f"{value}.csv"
        words = [str(entry.file.parent), str(tmp_path / "odd.csv"), "--out", str(out)]
        if score.main(words):
            assert re.search(r"odd\.csv.*row 5", capsys.readouterr().err) and not out.exists()
        else:
            assert not pd.read_csv(out)["log_prob_nats"].isna().any()
    survived("odd rows scored", len(values))


def test_rates_that_diverge(start, tmp_path, amount, chance, survived):
    rows = np.random.default_rng(0).normal(size=(300, 3))
    path = tmp_path / "t.csv"
    pd.DataFrame(rows).add_prefix("c").to_csv(path, index=False)
    every = [(model, rate) for model in NAMES if model != "gaussian"
             for rate in ("1e3", "1e10", "1e30", "1e300")]  # fmt: skip
    diverged = 0
    for number, (model, rate) in enumerate(cases_of(every, amount, chance)):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = start(*words_of(model, path, f"trainer.learning_rate={rate}"), cwd=folder)
        entry = ended(done, folder)
        if entry is not None and entry.status == "diverged":
            diverged += 1
            shown_nowhere(folder)
            assert score.main([str(entry.file.parent), str(path)]) == 3
            assert sample.main([str(entry.file.parent)]) == 3
    assert diverged
    survived("learning rates too high", number + 1)


def test_components_that_collapse(start, tmp_path, amount, chance, survived):
    every = [(model, name, rate) for model in ("made_mog", "maf_mog")
             for name in ("duplicate rows", "one row, many times", "a plane", "whole numbers")
             for rate in ("0.01", "0.1", "1")]  # fmt: skip
    for number, (model, name, rate) in enumerate(cases_of(every, amount, chance)):
        folder = tmp_path / str(number)
        folder.mkdir()
        pd.DataFrame(tables()[name]).add_prefix("c").to_csv(folder / "odd.csv", index=False)
        more = (f"trainer.learning_rate={rate}", "trainer.max_epochs=60", "trainer.batch_size=20")
        entry = ended(start(*words_of(model, folder / "odd.csv", *more), cwd=folder), folder)
        assert entry is not None
    survived("mixtures that collapse", number + 1)


@pytest.mark.parametrize("name", MODELS)
def test_float32_and_float64_agree(name, survived):
    """Of a trained model, on 2,000 rows, in nats: the means by 4e-7 at most, a row by 7e-6."""
    rows = torch.randn(2000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[:, 3:] += rows[:, :3] ** 2
    model = MODELS[name].make(6)
    if model.closed_form:
        model.fit(rows.float())
    else:
        steps = torch.optim.Adam(model.parameters(), 1e-2)
        for start in range(0, 20000, 200):
            batch = rows[start % 2000 :][:200].float()
            steps.zero_grad()
            (-model(batch).mean()).backward()
            steps.step()
        model.eval()
        refresh_statistics(model, rows.float())
    single = log_prob_of_rows(model, rows.float())
    double = log_prob_of_rows(model.double(), rows.float().double())
    error = 2 * float(double.std()) / len(rows) ** 0.5
    apart = float((single.mean() - double.mean()).abs())
    of_a_row = float((single - double).abs().max())
    assert apart < 2e-6 < error / 1000 and of_a_row < 5e-5, (apart, of_a_row, error)
    survived("float32 beside float64", 1)
