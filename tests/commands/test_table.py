"""``maf-table`` as a person uses it: what is shown, in which width, which runs, two of them."""

import json
import os
import socket
from dataclasses import replace

import numpy as np
import pytest
import yaml

from tests.helpers.records import keep, made_up, run


@pytest.fixture
def table(command, tmp_path):
    def shown(*words, check=0):
        return command("maf-table", *words, "--results", tmp_path, check=check)

    return shown


def shipped(folder, record):
    path = folder / "records" / record.dataset / f"{record.run_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record.write(path)


def on(dataset, model="MADE", run_id="1", *, trainer="paper", **changes):
    settings = {
        "trainer": {"name": trainer},
        "model": {"name": model.partition(" ")[0].lower()},
        "dataset": {"name": dataset},
        "seed": changes.get("seed", 0),
    }
    return made_up(dataset=dataset, model=model, run_id=run_id, settings=settings, **changes)


def unfinished(folder, run_id, *, holder=None, epochs=3, **trainer):
    path = folder / "runs" / "digits" / "maf" / run_id
    path.mkdir(parents=True)
    settings = {
        "dataset": {"name": "digits"},
        "model": {"name": "maf", "hidden": [100, 100], "conditional": False},
        "trainer": {"name": "paper", "max_epochs": 40, **trainer},
        "seed": 4,
    }
    (path / "config.yaml").write_text(yaml.safe_dump(settings))
    lines = ["epoch,updates,train_nats,validation_nats,seconds"]
    lines += [f"{e},{10 * e},-3.0,{-5.0 + (e == 2)},{60.0 * e}" for e in range(1, epochs + 1)]
    (path / "history.csv").write_text("\n".join(lines) + "\n")
    if holder:
        (path / ".lock").touch()
        lock = {"lock": (path / ".lock").stat().st_ino}
        (path / ".holder").write_text(json.dumps(lock | holder))
    for file in path.iterdir():
        os.utime(file, (0, path.stat().st_mtime - 300))
    return path


def test_ones_own_runs_are_shown_and_the_shipped_ones_on_demand(table, tmp_path):
    shipped(tmp_path, on("power", run_id="theirs", test={"log_likelihood": -3.5, "error": 0.1}))
    result = table(check=3)
    assert "no runs of yours" in result.stderr
    assert "--shipped shows the 1 that come with the project" in result.stderr
    keep(tmp_path, on("digits", run_id="mine", test={"log_likelihood": -90.0, "error": 1.0}))
    text = table().stdout
    assert "-90.00 ± 1.00" in text and "power" not in text
    rows = [line for line in text.splitlines() if line.startswith("M")]
    assert rows[0].startswith("Mean test") and len(rows) == 2
    both = table("--shipped").stdout
    assert "-90.00 ± 1.00" in both and "-3.50 ± 0.10" in both


def test_what_is_wider_than_the_screen_is_cut_into_blocks(table, tmp_path):
    for i, name in enumerate(("power", "gas", "mnist", "digits")):
        keep(tmp_path, on(name, run_id=str(i)))
    for width in (60, 80):
        lines = table("--width", width).stdout.splitlines()
        assert max(map(len, lines)) <= width
        heads = [line.split()[1] for line in lines if line.startswith("model")]
        assert heads == ["digits", "gas", "mnist", "power"]
    (whole,) = [x for x in table("--width", 500).stdout.splitlines() if x.startswith("model")]
    assert whole.split() == [
        "model",
        "digits",
        *["gas", "paper", "Δ/σ", "mnist", "paper", "Δ/σ", "power", "paper", "Δ/σ"],
    ]
    # Of a block only the rows that have something there, if only a word.
    keep(tmp_path, on("digits", "Odd", "lost", status="diverged"))
    first, second = table("--width", 60).stdout.split("model")[1:3]
    assert "MADE" in first and "MAF (5)" not in first and "diverged" in first
    assert "Odd" not in second


def test_datasets_models_trainers_columns_and_order(table, tmp_path):
    keep(tmp_path, on("power", "MADE", "1", test={"log_likelihood": -3.0, "error": 0.1}))
    keep(tmp_path, on("power", "MAF", "2", test={"log_likelihood": 0.1, "error": 0.1}))
    keep(tmp_path, on("power", "MAF", "3", trainer="tuned",
                      test={"log_likelihood": 0.2, "error": 0.1}))  # fmt: skip
    keep(tmp_path, on("digits", "MAF", "4", test={"log_likelihood": -90.0, "error": 0.1}))
    text = table("--dataset", "power", "--model", "maf").stdout
    assert "0.10 ± 0.10" in text and "0.20 ± 0.10" in text
    assert "-3.00" not in text and "-90.0" not in text and "Gaussian" not in text
    text = table("--trainer", "tuned").stdout
    assert "0.20 ± 0.10" in text and "0.10 ± 0.10" not in text
    lines = table("--dataset", "power", "--model", "maf", "made", "--sort", "power",
                  "--columns", "power").stdout.splitlines()  # fmt: skip
    assert "paper" not in next(line for line in lines if line.startswith("model"))
    order = [line.split(" ")[0].rstrip(",") for line in lines if line.startswith("MA")]
    assert order == ["MAF", "MAF", "MADE"]
    assert "no run has that dataset" in table("--dataset", "gas", check=3).stderr
    assert "did you mean 'power'" in table("--columns", "powr", check=2).stderr
    assert "no column is called 'x'" in table("--sort", "x", check=2).stderr
    said = table("--dataset", "power", "digitz", "--model", "maf", "mode").stderr
    assert "no run has dataset digitz; did you mean 'digits'?" in said
    assert "no run has model mode" in said
    for words in (("--sort", "power"), ("--columns", "power")):
        assert "has all of the table" in table(*words, "--format", "csv", check=2).stderr
    for name in ("leaderboard", "runs"):
        assert "shows single runs" in table(name, "--seeds", "mean", check=2).stderr


def test_of_bits_the_fewest_are_best(table, tmp_path):
    for name, bits in (("MADE", 2.0), ("MAF (5)", 1.5)):
        test = {"log_likelihood": -1.0, "error": 0.1}
        test |= {"bits_per_pixel": bits, "bits_per_pixel_error": 0.1}
        keep(tmp_path, on("mnist", name, name[:3], test=test))
    for words, ours in (
        (("bits", "--sort", "mnist"), ""),
        (("leaderboard", "--sort", "MNIST bits"), "ours"),
    ):
        lines = [x for x in table(*words, "--width", 300).stdout.splitlines() if ours in x]
        rows = [line.split("  ")[0] for line in lines if line.startswith(("MADE ", "MAF (5)"))]
        assert rows[:2] == ["MAF (5)", "MADE"]


def test_the_mean_over_seeds(table, tmp_path):
    for seed, nats in enumerate((-10.0, -12.0, -14.0)):
        keep(tmp_path, on("power", run_id=f"s{seed}", seed=seed,
                          test={"log_likelihood": nats, "error": 0.1},
                          validation={"log_likelihood": -9.0 - seed}))  # fmt: skip
    keep(tmp_path, on("power", "MAF", "one", test={"log_likelihood": -8.0, "error": 0.1}))
    text = table("--seeds", "mean").stdout
    assert "-12.00 ± 2.00 (3)" in text and "-8.00 ± 0.10 (1)" in text
    assert "standard deviation" in text and "•" not in text and "‡" not in text
    runs = json.loads(table("runs", "--format", "json").stdout)["rows"]
    assert [r["seed"] for r in runs if r["model"] == "MADE"] == [0, 1, 2]


def test_runs_that_are_under_way_or_were_interrupted(table, tmp_path):
    here = {"pid": os.getpid(), "host": socket.gethostname()}
    unfinished(tmp_path, "a0", holder=here)
    unfinished(tmp_path, "b0", holder={"pid": 1, "host": "elsewhere"})
    unfinished(tmp_path, "c0", holder={**here, "pid": 2**22 + 5})  # no such process any more
    unfinished(tmp_path, "d0", epochs=0)
    unfinished(tmp_path, "f0", holder={**here, "lock": 1})  # a copy: its lock is another file
    unfinished(tmp_path, "g0", name="tuned", validate_every=7)
    unfinished(tmp_path, "h0", name="tuned", validate_every=7, patience=9)
    (tmp_path / "runs" / "digits" / "maf" / "e0").mkdir()
    (tmp_path / "runs" / "digits" / "maf" / "e0" / "config.yaml").write_text("{")
    keep(tmp_path, on("digits", run_id="done", test={"log_likelihood": -90.0, "error": 1.0}))
    lines = table("runs", "--width", 200).stdout.splitlines()
    by_run = {line.split()[1]: line for line in lines if " digits " in line}
    for run_id, patience in (("g0", "null"), ("h0", "9")):
        (by_run[run_id],) = (line for line in lines if f" {run_id} " in line)
        assert by_run[run_id].startswith(f"maf, tuned, trainer.patience={patience} ")
    assert set(by_run) >= {"done", "a0", "b0", "c0", "d0", "f0"}
    assert not any("e0" in line for line in lines)
    assert f"running on {socket.gethostname()}" in by_run["a0"] and "3 of 40" in by_run["a0"]
    assert "running on elsewhere, last written 5 min ago" in by_run["b0"]
    assert all("interrupted 5 min ago" in by_run[run] for run in ("c0", "d0", "f0"))
    assert "of 40" not in by_run["g0"]  # it counts validations
    rows = json.loads(table("runs", "--format", "json").stdout)["rows"]
    (one,) = [row for row in rows if row["run_id"] == "a0"]
    assert (one["epochs"], one["best_epoch"], one["seconds"]) == (3, 2, 180.0)
    assert one["status"] == "running"
    assert one["folder"] == str(tmp_path / "runs" / "digits" / "maf" / "a0")


def test_runs_fit_a_terminal(table, tmp_path):
    """What matters least goes first, and is named; what is asked for stays."""
    figures = {"log_likelihood": -111.25, "error": 1.0}
    entry = on(
        "digits",
        "MAF (5)",
        "0123456789ab",
        test=figures,
        epochs=3,
        seconds=60.0,
        departures=["trainer.learning_rate=0.1"],
    )
    keep(tmp_path, entry)
    for width in (70, 80, 120):
        lines = table("runs", "--width", width).stdout.splitlines()
        assert max(map(len, lines)) <= width
        heading = next(line.split() for line in lines if line.startswith("model"))
        assert heading[:3] == ["model", "run", "data"] and heading[-1] == "state"
        assert "-111.25 ± 1.00" in "\n".join(lines) and "paper" not in heading
        assert ("minutes" in heading) == (width == 120)
        assert any(line.startswith("no room for minutes, ") for line in lines) == (width < 120)
    # A wide one goes before those that matter less and are narrower.
    unfinished(tmp_path, "a" * 12, epochs=3, max_epochs=10**9)
    lines = table("runs", "--width", 100).stdout.splitlines()
    heading = next(line.split() for line in lines if line.startswith("model"))
    assert {"seed", "size"} < set(heading) and "epochs" not in heading
    whole = table("runs", "--width", 40, "--columns", "run", "minutes").stdout
    assert "1.00" in whole and "no room" not in whole


@pytest.mark.parametrize("name", ["comparison", "table1", "table2", "bits", "leaderboard"])
def test_tables_fit_a_terminal(table, tmp_path, name):
    for dataset in ("power", "mnist", "miniboone"):
        keep(tmp_path, on(dataset, "MAF (5)", dataset, test={"log_likelihood": -9.25, "error": 1.0,
                          "bits_per_pixel": 1.25, "bits_error": 0.1}))  # fmt: skip
    for width in (80, 120):
        lines = table(name, "--width", width).stdout.splitlines()
        assert max(map(len, lines)) <= width
    assert ("Δ/σ: ours minus" in "\n".join(lines)) == (name == "comparison")


def test_two_runs_beside_each_other(table, tmp_path):
    rng = np.random.default_rng(0)
    nats = rng.normal(-1300, 20, size=400)
    other = nats + rng.normal(0.5, 1.0, size=400)
    other[7] -= 30
    a = keep(tmp_path, run("aaa1", nats, -1290.0, hidden=[64]), nats)
    b = keep(tmp_path, run("bbb2", other, -1289.0, hidden=[128], seed=1), other)
    text = table("compare", "aaa1", b.parent).stdout
    difference = nats - other
    error = 2 * difference.std() / 20
    assert f"{difference.mean():.3f} ± {error:.3f}" in text
    assert "paired t-test over 400 test rows" in text
    assert "[64]" in text and "[128]" in text and "seed" in text
    assert f"{difference[7]:+.2f}" in next(x for x in text.splitlines() if "test row 7" in x)
    assert (
        "no such folder, and no run has this id" in table("compare", "x", "aaa1", check=2).stderr
    )
    keep(tmp_path, run("aaa2", nats, -1.0))
    assert "2 runs have ids that begin so" in table("compare", "aaa", "bbb2", check=2).stderr
    assert "compare needs two runs" in table("compare", check=2).stderr
    assert "runs are named for compare and mixture" in table("runs", "aaa1", check=2).stderr
    strange = run("ccc3", nats, -1.0)
    keep(tmp_path, replace(strange, data=replace(strange.data, fingerprint="other")), nats)
    assert "different data" in table("compare", "aaa1", "ccc3", check=3).stderr
    for name, fingerprint, rows in (("ddd4", None, nats), ("eee5", None, nats[:9])):
        kept = replace(strange, run_id=name, data=replace(strange.data, fingerprint=fingerprint))
        keep(tmp_path, kept, rows)
    short = run("fff6", nats[:9], -1.0)
    short = replace(short, data=replace(short.data, fingerprint="other"))
    keep(tmp_path, short, nats[:9])
    assert "one of the records is damaged" in table("compare", "ccc3", "fff6", check=3).stderr
    assert "neither record says" in table("compare", "ddd4", "eee5", check=3).stderr
    assert a.exists()


def test_a_narrow_comparison_keeps_every_row(table, tmp_path):
    nats = np.linspace(-1400, -1300, 100)
    conditional = {"log_likelihood": -9.0, "error": 0.1}
    marginal = {**conditional, "marginal_log_likelihood": -9.5, "marginal_error": 0.2}
    teachers = [f"{digit}" * 12 for digit in range(9)]
    for name, ids, figures in (("aaa1", teachers[:1], marginal), ("bbb2", teachers, conditional)):
        made = run(name, nats, 0.0, parameters=21440)
        settings = {**made.settings, "trainer": {"name": "distilled", "teachers": ids}}
        keep(tmp_path, replace(made, settings=settings, validation=figures), nats)
    for width in (50, 80, 120):
        text = table("compare", "aaa1", "bbb2", "--width", width).stdout
        assert all(len(line) <= width for line in text.splitlines())
        for part in ("test row 0", "21,440", "trainer.teachers", *teachers):
            assert part in text
    assert "-9.500 ± 0.200" in text and "-9.000 ± 0.100" in text
    rows = json.loads(table("compare", "aaa1", "bbb2", "--format", "json").stdout)["rows"]
    by_name = {row["what"]: row for row in rows}
    assert by_name["parameters"]["a"] == 21440
    assert (by_name["validation"]["a"], by_name["validation"]["a_error"]) == (-9.5, 0.2)
    assert by_name["test row 0"]["difference"] == 0


def test_rows_that_are_not_finite_or_damaged_are_compared_as_far_as_they_go(table, tmp_path):
    nats = np.linspace(-1400, -1300, 100)
    keep(tmp_path, run("aaa1", nats, 0.0), nats)
    odd = nats.copy()
    odd[7] = -np.inf
    figures = {
        "log_likelihood_of_others": float(odd[np.isfinite(odd)].mean()),
        "rows_not_finite": 1,
    }
    record = replace(run("bbb2", nats, 0.0), status="diverged", test=figures)
    path = keep(tmp_path, record, odd)
    rows = json.loads(table("compare", "aaa1", path.parent, "--format", "json").stdout)["rows"]
    by_name = {row["what"]: row for row in rows}
    assert by_name["test row 7"]["b"] == "-inf" and by_name["test"]["difference"] is None
    said = table("compare", "aaa1", path.parent).stdout
    assert "no paired test: 1 test rows have no finite" in said and "nan" not in said
    (path.parent / "test_nats.npy").write_text("damaged")
    said = table("compare", "aaa1", path.parent, check=3).stderr
    assert "test_nats.npy cannot be read" in said and "Traceback" not in said


def test_what_cannot_be_named_or_filtered(table, tmp_path):
    nats = np.linspace(-1400, -1300, 100)
    one, other = (keep(tmp_path, run(name, nats, 0.0), nats) for name in ("aaa1", "bbb2"))
    for words in (("--dataset", "power"), ("--seeds", "mean")):
        said = table("compare", "aaa1", "bbb2", *words, check=2).stderr
        assert "tables whose runs are not named" in said
    under_way = unfinished(tmp_path, "c0")
    assert "is not a run folder" in table("compare", tmp_path, one.parent, check=3).stderr
    (under_way / "last.pt").touch()
    assert "is not finished" in table("mixture", under_way, other.parent, check=3).stderr
    said = table("runs", "--dataset", "nosuch", check=3).stderr
    assert "no run has that dataset" in said and "digits, mnist" in said
    assert "--shipped is for its folder" in table("--shipped").stderr
    said = table("compare", "x", "y", "--shipped", check=2).stderr
    assert "--shipped is for tables whose runs are not named" in said


def test_what_cannot_matter_to_a_closed_form_is_no_part_of_its_name(table, tmp_path):
    gaussian = on("digits", "Gaussian", "1", stop_reason="closed_form", trainer="tuned")
    keep(tmp_path, replace(gaussian, departures=["trainer.learning_rate=0.001"]))
    keep(tmp_path, on("digits", "Gaussian", "2", stop_reason="closed_form", seed=1))
    names = {row["model"] for row in json.loads(table("--format", "json").stdout)["rows"]}
    assert names == {"Gaussian"}


def test_columns_set_apart_by_settings_are_numbered(table, tmp_path):
    for i, alpha in enumerate((0.01, 0.1)):
        settings = {
            "trainer": {"name": "paper"},
            "model": {},
            "dataset": {"name": "digits", "alpha": alpha},
        }
        keep(tmp_path, made_up(dataset="digits", run_id=str(i), settings=settings))
    text = table().stdout
    assert "digits #1" in text and "digits #2" in text
    assert "digits #2: digits (alpha=0.1)" in text


@pytest.mark.parametrize(
    ("file", "name"), [("wine.csv", "wine #1"), ("6ded8aea615c1cfc.npy", "table #1")]
)
def test_a_table_of_one_s_own_is_called_by_its_file(table, tmp_path, file, name):
    settings = {
        "trainer": {"name": "paper"},
        "model": {},
        "dataset": {"name": "file", "path": "h"},
    }
    data = {"fingerprint": "f", "recipe": "own", "sources": {file: "h"}}
    keep(tmp_path, made_up(dataset="file", settings=settings, data=data,
                           departures=["dataset.path=h"]))  # fmt: skip
    assert name in table().stdout
