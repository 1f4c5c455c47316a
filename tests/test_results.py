"""The tables of results/reports/ that scripts make from what is kept beside the records."""

import os
import subprocess
from functools import cache

import ablation
import numpy as np
import time_to_quality
import yaml

from maf_runner.experiment.groups import GROUPS
from maf_runner.records.entries import find
from maf_runner.records.identity import LATER_DEFAULTS
from maf_runner.records.record import Record
from tests.helpers import ROOT
from tests.helpers.settings import composed


def test_no_setting_of_today_renames_a_record():
    """A setting that a record lacks has by default the value that leaves run ids alone."""
    groups = ("dataset", "model", "trainer")
    records, _ = find(ROOT / "results")
    lacking = set()
    for record in records:
        names = tuple(record.settings[group]["name"] for group in groups)
        for group in groups:
            own = frozenset(record.settings[group])
            lacking.add((names, group, own | GROUPS[group].how))
    for names, group, known in lacking:
        today = settings_of(names)[group]
        for key in today.keys() - known:
            assert key in LATER_DEFAULTS[group], (names, key)
            assert today[key] == LATER_DEFAULTS[group][key], (names, key)


@cache
def settings_of(names):
    return composed(*map("{}={}".format, ("dataset", "model", "trainer"), names))


def test_the_ablation_is_made_from_its_records():
    """`python scripts/ablation.py` would change nothing, if all runs are there."""
    rows = ablation.complete()
    assert list(rows) == list(ablation.ROWS)
    assert ablation.REPORT.read_text("utf-8") == ablation.table(rows)


def test_each_record_of_the_ablation_is_of_its_row():
    for name, changes in ablation.ROWS.items():
        for seed in ablation.SEEDS:
            record = Record.read(ablation.record_file(name, seed))
            assert (record.dataset, record.seed) == ("miniboone", seed)
            given = dict(change.split("=") for change in (*ablation.TUNED, *changes))
            assert record.settings["trainer"]["name"] == given.pop("trainer")
            assert record.settings["model"]["name"] == given.pop("model")
            assert len(record.settings["model"]["hidden"]) == 1 + int(given.pop("model.size"))
            for setting, value in given.items():
                group, key = setting.removeprefix("+").split(".")
                settings = LATER_DEFAULTS[group] | record.settings[group]
                assert settings[key] == yaml.safe_load(value), setting


def test_time_to_quality_is_made_from_its_curves():
    """`python scripts/time_to_quality.py draw` would leave the table as it is."""
    curves = time_to_quality.curves()
    assert {"miniboone"} <= set(curves)
    for each in curves.values():
        for curve in each.values():
            assert (np.diff(curve[:, 0]) > 0).all() and (np.diff(curve[:, 1]) >= 0).all()
    assert time_to_quality.REPORT.read_text("utf-8") == time_to_quality.table(curves)


SPY = """#!/bin/sh
echo "$0 $*" | sed 's|.*/||' >> calls
for word in "$@"; do
    case $word in seed=*) echo "${word#seed=}" | tr , '\\n' | sed "s/^/$(wc -l < calls)-/" ;; esac
done
"""


def test_the_best_of_miniboone_is_distilled_from_thirteen_runs(tmp_path):
    """The script with programs that do nothing but name a folder for each seed."""
    for name in ("maf-run", "maf-table"):
        (tmp_path / name).write_text(SPY)
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    script = ROOT / "scripts" / "best_miniboone.sh"
    environment = {**os.environ, "PATH": path, "RESULTS": "here"}
    subprocess.run(["sh", script, "threads=1"], cwd=tmp_path, env=environment, check=True)
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    runs = [f"1-{seed}" for seed in range(5)] + [f"2-{seed}" for seed in range(8)]
    assert [call[0] for call in calls] == ["maf-run"] * 3 + ["maf-table"]
    assert f"trainer.teachers=[{','.join(runs)}]" in calls[2]
    assert calls[3][1:] == ["mixture", *runs, "--results", "here"]
    for call in calls[:3]:  # settings that there are
        words = [word for word in call[1:] if word != "-m"]
        assert {"threads=1", "paths.results_dir=here"} <= set(words)
        composed(*(word.split(",")[0] if word.startswith("seed=") else word for word in words))
