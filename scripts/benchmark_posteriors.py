"""Posteriors learned from simulations against exact ones: two problems of Lueckmann et al. 2021.

``python scripts/benchmark_posteriors.py [--simulations N] [--out FILE.json]`` trains for each
problem a density p(theta | x) on N simulations (theta, x) with ``maf-run``, and compares it with
the exact posterior at one observation:

- KL: from the exact posterior to the learned one, in nats; 0 if they are the same. On a grid for
  two moons, over draws of the exact posterior for the Gaussian.
- C2ST: accuracy of a network that tells 5,000 draws of each apart, 5-fold; 0.5 if it cannot.

``--table`` prints what is kept.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.experiment.trained import TrainedRun

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "results" / "benchmarks" / "posteriors.json"
DRAWS = 10_000
TOLD_APART = 5_000
START = np.array([0.25, 0.0])  # of the crescent of two moons, where theta is 0
CELLS = 800  # of the grid, along each side
Array = NDArray[np.float64]


class Problem(NamedTuple):
    """A prior, a simulator and its exact posterior.

    Attributes:
        name: of the problem.
        prior: draws theta [n, D].
        simulate: draws x [n, C] given theta [n, D].
        observation: x [C] at which posteriors are compared.
        log_prob: the exact log posterior [n] at theta [n, D], given the observation.
        draw: draws of it [n, D].
        bounds: of every theta, or None.
    """

    name: str
    prior: Callable[[np.random.Generator, int], Array]
    simulate: Callable[[np.random.Generator, Array], Array]
    observation: Array
    log_prob: Callable[[Array], Array]
    draw: Callable[[np.random.Generator, int], Array]
    bounds: tuple[float, float] | None = None


def two_moons() -> Problem:
    """Uniform prior on [-1, 1]²; x lies on a crescent whose place depends on theta."""

    def shift(theta: Array) -> Array:
        total, difference = theta[:, 0] + theta[:, 1], theta[:, 1] - theta[:, 0]
        return np.column_stack([-np.abs(total), difference]) / math.sqrt(2)

    def simulate(rng: np.random.Generator, theta: Array) -> Array:
        angle = rng.uniform(-math.pi / 2, math.pi / 2, len(theta))
        radius = rng.normal(0.1, 0.01, len(theta))
        crescent = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        return crescent + START + shift(theta)

    def likelihood(theta: Array) -> Array:
        place = observation - START - shift(theta)
        radius = np.hypot(*place.T)
        p = np.exp(-0.5 * ((radius - 0.1) / 0.01) ** 2) / (0.01 * math.sqrt(2 * math.pi))
        inside = (place[:, 0] > 0) & (np.abs(theta) <= 1).all(axis=1)
        return np.where(inside, p / (math.pi * np.maximum(radius, 1e-9)), 0.0)

    observation = np.zeros(2)
    grid, cell = plane(-1, 1)
    p = likelihood(grid)
    evidence = p.sum() * cell

    def log_prob(theta: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(likelihood(theta) / evidence)

    def draw(rng: np.random.Generator, n: int) -> Array:
        cells = grid[rng.choice(len(grid), n, p=p / p.sum())]
        return cells + rng.uniform(-0.5, 0.5, cells.shape) * math.sqrt(cell)

    prior = lambda rng, n: rng.uniform(-1, 1, (n, 2))  # noqa: E731
    return Problem("two moons", prior, simulate, observation, log_prob, draw, (-1.0, 1.0))


def gaussian_linear(features: int = 10) -> Problem:
    """Theta ~ N(0, 0.1 I), x ~ N(theta, 0.1 I): the posterior is N(x / 2, 0.05 I)."""
    observation = np.linspace(-0.5, 0.5, features)
    deviation = math.sqrt(0.05)

    def log_prob(theta: Array) -> Array:
        z = (theta - observation / 2) / deviation
        return -0.5 * (z**2).sum(axis=1) - features * math.log(deviation * math.sqrt(2 * math.pi))

    return Problem(
        "Gaussian linear",
        lambda rng, n: math.sqrt(0.1) * rng.normal(size=(n, features)),
        lambda rng, theta: theta + math.sqrt(0.1) * rng.normal(size=theta.shape),
        observation,
        log_prob,
        lambda rng, n: observation / 2 + deviation * rng.normal(size=(n, features)),
    )


def plane(low: float, high: float) -> tuple[Array, float]:
    """The middles [m, 2] of the cells of a square, and the area of a cell."""
    side = (high - low) / CELLS
    middles = low + side * (np.arange(CELLS) + 0.5)
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2), side**2


def train(problem: Problem, simulations: int, folder: Path, *words: str) -> TrainedRun:
    """Simulate into a table, and train p(theta | x) on it by ``maf-run`` with these ``words``."""
    rng = np.random.default_rng(0)
    theta = problem.prior(rng, simulations)
    x = problem.simulate(rng, theta)
    thetas = [f"theta{i + 1}" for i in range(theta.shape[1])]
    observed = [f"x{i + 1}" for i in range(x.shape[1])]
    table = pd.DataFrame(np.hstack([theta, x]), columns=[*thetas, *observed])
    file = folder / f"{problem.name.replace(' ', '_')}_{simulations}.csv"
    table.to_csv(file, index=False)
    words = ("dataset=file", f"dataset.path={file}", f"dataset.name={file.stem}",
             f"dataset.context=[{','.join(observed)}]", "seed=0", "threads=1", *words)  # fmt: skip
    if problem.bounds:
        bounds = ", ".join(f"{name}: {list(problem.bounds)}" for name in thetas)
        words += (f"dataset.bounded={{{bounds}}}",)
    command = [sys.executable, "-m", "maf_runner", *words]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return TrainedRun.load(folder / done.stdout.strip())


def compared(problem: Problem, run: TrainedRun) -> dict[str, float]:
    """The KL divergence in nats and the accuracy of the classifier, at the observation."""
    rng = np.random.default_rng(1)
    exact = problem.draw(rng, DRAWS)
    assert run.context is not None and run.table is not None
    columns = {
        name: [value] for name, value in zip(run.context.names, problem.observation, strict=True)
    }
    context = run.context.encode(pd.DataFrame(columns), "the observation")
    (drawn, _), *_ = run.samples_given(context, DRAWS, seed=0)
    learned = run.table.to_table(drawn)

    def log_prob(theta: Array) -> Array:
        assert run.table is not None
        return run.log_prob(run.table.to_model(theta), context) + run.table.log_det(theta)

    if problem.bounds:
        grid, cell = plane(*problem.bounds)
        true = problem.log_prob(grid)
        inside = np.isfinite(true)
        difference = true[inside] - log_prob(grid[inside])
        divergence = float((np.exp(true[inside]) * difference).sum() * cell)
    else:
        divergence = float((problem.log_prob(exact) - log_prob(exact)).mean())
    return {"kl": divergence, "c2st": c2st(exact[:TOLD_APART], learned[:TOLD_APART])}


def c2st(one: Array, other: Array) -> float:
    """The accuracy, over 5 folds, of a network that tells rows of two samples apart."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    rows = np.concatenate([one, other])
    rows = (rows - one.mean(axis=0)) / one.std(axis=0)
    labels = np.repeat([0, 1], [len(one), len(other)])
    width = 10 * rows.shape[1]
    network = MLPClassifier((width, width), early_stopping=True, random_state=0)
    folds = KFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(network, rows, labels, cv=folds, scoring="accuracy").mean())


MAF = ("model=maf", "model.hidden=[64,64]", "trainer=tuned", "trainer.batch_size=200")
NSF = ("model=nsf", "model.layers=5", "model.hidden=[64,64]", "model.dropout=0", "trainer=nsf",
       "trainer.learning_rate=2e-3", "trainer.batch_size=500",
       "trainer.max_updates=6000")  # fmt: skip
# The posterior of two moons is two thin crescents: hard for affine layers, easier for splines.
MODELS = {"Gaussian linear": {"MAF (5)": MAF}, "two moons": {"MAF (5)": MAF, "NSF (5)": NSF}}


def table(kept: list[dict[str, Any]]) -> str:
    """The results as a table of Markdown."""
    lines = ["| problem | simulations | model | KL, nats | C2ST |", "|---|---:|---|---:|---:|"]
    for r in kept:
        known = r["problem"], f"{r['simulations']:,}", r["model"]
        lines.append(f"| {' | '.join(known)} | {r['kl']:.3f} | {r['c2st']:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Train, compare, keep."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--simulations", type=int, nargs="+", default=[10_000, 100_000])
    arguments.add_argument("--out", type=Path, default=KEPT)
    arguments.add_argument("--table", action="store_true", help="print what is kept, and end")
    options = arguments.parse_args()
    if options.table:
        print(table(json.loads(options.out.read_text())))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for problem in (gaussian_linear(), two_moons()):
            for simulations in options.simulations:
                for model, words in MODELS[problem.name].items():
                    run = train(problem, simulations, Path(folder), *words)
                    found = compared(problem, run)
                    known = {"problem": problem.name, "simulations": simulations, "model": model}
                    results.append({**known, **found, "seconds": run.record.seconds})
                    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
