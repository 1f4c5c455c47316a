"""docs/your_own_table.md: every command works, and gives the figures that the page states."""

import json
import os
import re
import shlex
import subprocess
import sys

import benchmark_posteriors as posteriors
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from maf_runner.reporting.plots import calibration
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "your_own_table.md").read_text()
FILES = dict(
    re.findall(r"`(\w+\.(?:py|csv))`[^\n]*:?[^\n]*\n\n```\w+\n(.*?)```", PAGE, flags=re.S)
)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
            for line in block.splitlines()]  # fmt: skip


@pytest.fixture(scope="module")
def folder(server, raw_dir, tmp_path_factory):
    """Where the commands of the page leave their results, one after another."""
    folder = tmp_path_factory.mktemp("page")
    assert set(FILES) == {"make_table.py", "times.csv"}
    for name, content in FILES.items():
        (folder / name).write_text(content)
    run, env = "", {"MAF_RUNNER_RAW_DIR": str(raw_dir)}
    for line in COMMANDS:
        assigned = re.fullmatch(r"RUN=\$\((.*)\)", line)
        words = shlex.split(assigned[1] if assigned else line.replace("$RUN", run))
        if words[0] == "python":
            strict = [sys.executable, "-W", "error", *words[1:]]
            subprocess.run(strict, cwd=folder, env={**os.environ, **env}, check=True)
            continue
        threads = ["threads=1"] if words[0] == "maf-run" else []
        done = server(*words, *threads, cwd=folder, check=0)
        run = done.stdout.strip() if assigned else run
    return folder


def test_the_figures_are_as_the_page_says(folder):
    records = [json.loads(path.read_text()) for path in folder.rglob("record.json")]
    by_given = {record["conditional"]: record["test"]["log_likelihood"] for record in records}
    assert by_given[True] == pytest.approx(-2.20, abs=0.03)
    assert by_given[False] == pytest.approx(-2.47, abs=0.03)
    table = pd.read_csv(folder / "calibration.csv")
    inside = table[table.quantity == "coverage"].set_index("level").share
    assert inside[0.5] == pytest.approx(0.512, abs=0.03)
    assert inside[0.9] == pytest.approx(0.9115, abs=0.03)
    outside = table[(table.share < table.low) | (table.share > table.high)]
    assert len(outside) <= 6 and set(table.column.dropna()) == {"power", "voltage"}
    assert calibration.critical(2000) == pytest.approx(0.030, abs=5e-4)


def test_draws_and_scores(folder):
    draws, scores = (pd.read_csv(folder / name) for name in ("draws.csv", "scores.csv"))
    assert list(draws) == ["given_row", "hour", "day", "power", "voltage"]
    middle = draws.groupby("given_row").power.median()
    np.testing.assert_allclose(middle, [0.30, 1.63, 0.32, 1.75], rtol=0.15)
    assert draws.power.min() >= 0 and len(scores) == 20_000
    lowest = scores.log_prob_nats.argmin()
    assert pd.read_csv(folder / "household.csv").power[lowest] == pytest.approx(6.35)


def test_pictures_are_drawn_and_committed(folder):
    for name in ("household-density.png", "household-pairs.png", "household-calibration.png"):
        assert f"pictures/{name}" in PAGE and (folder / name).stat().st_size > 20_000
        assert 20_000 < (ROOT / "docs" / "pictures" / name).stat().st_size < 150_000


def test_the_table_of_posteriors_is_the_one_kept():
    """`python scripts/benchmark_posteriors.py --table` prints it."""
    assert posteriors.table(json.loads(posteriors.KEPT.read_text())) in PAGE


def log_prior(problem, theta):
    if problem.bounds:
        return np.full(len(theta), -np.log(4))
    return norm.logpdf(theta, scale=np.sqrt(0.1)).sum(axis=1)


@pytest.mark.parametrize("problem", [posteriors.gaussian_linear(3), posteriors.two_moons()])
def test_exact_posteriors_are_those_of_the_simulators(problem):
    """They integrate to one, and have the moments of theta where x is near the observation."""
    rng = np.random.default_rng(0)
    theta = problem.prior(rng, 2_000_000)
    ratio = np.exp(problem.log_prob(theta) - log_prior(problem, theta))
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    x = problem.simulate(rng, theta)
    reach = 0.02 if problem.bounds else 0.1
    near = theta[np.abs(x - problem.observation).max(axis=1) < reach]
    exact = problem.draw(rng, 20_000)
    assert len(near) > 100
    error = 4 * exact.std(axis=0) / np.sqrt(len(near)) + 0.01
    assert (np.abs(near.mean(axis=0) - exact.mean(axis=0)) < error).all()
    np.testing.assert_allclose(np.abs(near).std(axis=0), np.abs(exact).std(axis=0), rtol=0.15)
    assert np.isfinite(problem.log_prob(exact)).mean() > 0.995  # draws are spread over cells


def test_the_posterior_of_the_gaussian_is_learned(tmp_path, monkeypatch):
    """Within seconds: three parameters, 20,000 simulations. A posterior too wide is seen."""
    monkeypatch.setattr(posteriors, "TOLD_APART", 2000)
    problem = posteriors.gaussian_linear(3)
    words = ["model=maf", "model.layers=2", "model.hidden=[32]", "trainer=tuned",
             "trainer.batch_size=200"]  # fmt: skip
    run = posteriors.train(problem, 20_000, tmp_path, *words)
    found = posteriors.compared(problem, run)
    assert abs(found["kl"]) < 0.02 and 0.46 < found["c2st"] < 0.54
    rng = np.random.default_rng(0)
    exact, other = problem.draw(rng, 2000), problem.draw(rng, 2000)
    middle = problem.observation / 2
    assert posteriors.c2st(exact, middle + 1.5 * (other - middle)) > 0.6
