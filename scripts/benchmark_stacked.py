"""Time the updates of K runs trained as one stack, and of the same runs one after another.

    python scripts/benchmark_stacked.py [--device cuda] [--features 6 43 784] [--members 1 8 32]

The model is MAF (5), as wide as in the other benchmark unless ``--width`` is given; batches have
100 rows. Timed is what a training loop does between two validations: batch, update, loss. A run
alone is timed on the eager engine and on the one that ``engine=auto`` takes, and counts K times.
All take turns in one process, on a CPU with one thread; printed are medians. A stack of 32 at
D = 784 has 2 GB of parameters, and takes several times that.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from benchmark import PAPER, SIZES, Around, Work, interleaved, maf

from maf_runner.engine.driver import AUTO, EAGER, Driver, Learner, choose
from maf_runner.engine.stacked import Stacked
from maf_runner.training import Checkpoint
from maf_runner.training.course import Course, TensorRows
from maf_runner.training.schedule import Schedule
from maf_runner.training.stacked import update
from maf_runner.training.state import State

ROWS = 10_000
LONG = replace(PAPER, validate_every=100_000)  # no turn comes so far


class Unseen:
    """A progress that nobody follows."""

    def start(self, state: State, schedule: Schedule, engine: str) -> None:
        """Training starts."""

    def update(self) -> None:
        """An update is done."""

    def validated(self, state: State) -> None:
        """A validation is done."""


def courses(number: int, width: int, rows: TensorRows, folder: str) -> list[Course]:
    """Runs that differ in their seed, and have not begun."""
    found = []
    for seed in range(number):
        torch.manual_seed(seed)
        course = Course(
            maf(rows.x.shape[1], width).to(rows.x.device),
            rows,
            rows,
            LONG,
            image=None,
            seed=seed,
            checkpoint=Checkpoint(Path(folder, "last.pt"), {}),
            progress=Unseen(),
            on_validation=lambda state: None,
        )
        found.append(course)
    return found


def alone(course: Course, engine: str) -> tuple[Work, dict[str, Around]]:
    """The update of a run by this engine, by the name of the engine."""
    driver = Driver(course.model, course.settings.adam, engine)
    course.begin(driver)

    def once() -> None:
        x, context, weights = course.batch()
        course.updated(driver.step(x, context, course.rate, weights))

    return {engine: once}, {engine: lambda: driver.session(LONG.batch_size)}


def together(runs: list[Course]) -> Work:
    """The update of these runs as one stack."""
    stack = Stacked([each.model for each in runs], [each.settings.adam for each in runs])
    for course, optimiser in zip(runs, stack.optimisers, strict=True):
        course.begin(Learner(course.model, optimiser))
    return {"stacked": lambda: update(stack, runs)}


def measured(
    features: int, width: int, members: int, device: str, seconds: float
) -> dict[str, float]:
    """Milliseconds in which all runs get one update, by engine."""
    rows = TensorRows(torch.randn(ROWS, features, device=device), None)
    with TemporaryDirectory() as folder:
        runs = courses(members, width, rows, folder)
        work = together(runs)
        around: dict[str, Around] = {}
        best = choose(runs[0].model, AUTO, runs[0].schedule.fewest_updates)
        for engine in dict.fromkeys((EAGER, best)):
            its_work, its_around = alone(courses(1, width, rows, folder)[0], engine)
            work, around = work | its_work, around | its_around
        taken = interleaved(work, seconds, around=around)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {name: ms * (1 if name == "stacked" else members) for name, ms in medians.items()}


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--features", type=int, nargs="+", default=[6, 43, 784])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--width", type=int, help="of the two hidden layers")
    parser.add_argument("--seconds", type=float, default=10.0, help="for a line, about")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| D | width | runs | stacked, ms | one after another, ms | times faster |")
    print("|---|---|---|---|---|---|")
    for features in options.features:
        width = options.width or SIZES.get(features, (512,))[0]
        for members in options.members:
            ms = measured(features, width, members, options.device, options.seconds)
            stacked = ms.pop("stacked")
            others = ", ".join(f"{value:.3g} ({name})" for name, value in ms.items())
            times = ", ".join(f"{value / stacked:.2f}" for value in ms.values())
            cells = (str(features), str(width), str(members), f"{stacked:.3g}", others, times)
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
