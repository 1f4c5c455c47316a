"""Nats against seconds: the paper's training, ours, and the plain loop of a library, on one core.

    python scripts/time_to_quality.py train miniboone [--limit 900]    # or power, mnist
    python scripts/time_to_quality.py draw

``train`` runs what a dataset has one after another, each for at most --limit seconds, and writes
the validation curves to results/time_to_quality/. Nothing else should run on the core meanwhile.
``draw`` makes the picture and the table of all curves that are there.

The library is zuko: its MAF with as many layers, as wide, in the loop of its README (Adam, rate
1e-3), with the paper's batches of 100 rows, and a validation after each epoch, as ours has.
Seconds count updates and validations, not the loading of data.
"""

import argparse
import csv
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import peers
import torch

from maf_runner.experiment.prepare import data_of
from maf_runner.records.folder import RunFolder
from maf_runner.reporting.comparison.published import figures
from maf_runner.reporting.plots import drawing
from maf_runner.system import atomic

ROOT = Path(__file__).resolve().parent.parent
CURVES = ROOT / "results" / "time_to_quality"
REPORT = ROOT / "results" / "reports" / "time_to_quality.md"
BATCH, RATE = 100, 1e-3
OURS = {
    "miniboone": {
        "MAF (5), the paper's training": ["model=maf"],
        "MAF (5), tuned_table": ["model=maf", "trainer=tuned_table", "model.scale=bounded"],
    },
    "power": {
        "MAF (5), the paper's training": ["model=maf"],
        "Binned MADE, large_table": [
            "model=binned_made",
            "model.reverse=true",
            "trainer=large_table",
        ],
    },
    "mnist": {
        "MAF (5), the paper's training": ["model=maf"],
        "MAF (5), tuned": ["model=maf", "trainer=tuned"],
    },
}
HISTORY = "runs/*/*/*/history.csv"  # of unfinished runs too
TICKS = (1, 3, 10, 30, 100, 300, 1000)
LIBRARY = "MAF (5), zuko"
WIDTHS = {"miniboone": 512, "power": 100, "mnist": 1024}  # of two hidden layers, as ours


def train(dataset: str, limit: float) -> None:
    """Run all that is to be compared on a dataset, and write its curves."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        for name, settings in OURS[dataset].items():
            write_curve(dataset, name, by_us(dataset, settings, results, limit))
        write_curve(dataset, LIBRARY, by_library(dataset, results, limit))


def write_curve(dataset: str, name: str, curve: list[tuple[float, float]]) -> None:
    """Write the seconds and nats of a curve."""
    CURVES.mkdir(parents=True, exist_ok=True)
    lines = [f"{seconds:.2f},{nats:.4f}" for seconds, nats in curve]
    text = "\n".join(["seconds,validation_nats", *lines, ""])
    atomic.write(CURVES / f"{dataset}, {name}.csv", text)
    print(f"{dataset}, {name}: {len(curve)} validations, best {max(n for _, n in curve):.2f}")


def by_us(
    dataset: str, settings: list[str], results: Path, limit: float
) -> list[tuple[float, float]]:
    """Seconds and validation nats of a run of maf-run, interrupted at the limit."""
    there = set(results.glob(HISTORY))
    command = [sys.executable, "-m", "maf_runner", f"dataset={dataset}", "threads=1", *settings]
    process = subprocess.Popen([*command, f"paths.results_dir={results}"])
    try:
        process.wait(limit + 30)  # it loads the data first
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()
    (history,) = set(results.glob(HISTORY)) - there
    with history.open() as file:
        rows = [(float(r["seconds"]), float(r["validation_nats"])) for r in csv.DictReader(file)]
    return [(seconds, nats) for seconds, nats in rows if seconds <= limit]


def by_library(dataset: str, results: Path, limit: float) -> list[tuple[float, float]]:
    """Seconds and validation nats of the library's model in the plain loop."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    splits = data_of(RunFolder(next(results.glob(HISTORY)).parent))
    x, held_out = (torch.from_numpy(rows.x) for rows in (splits.train, splits.validation))
    peer = peers.zuko(splits.features, WIDTHS[dataset])
    optimiser = torch.optim.Adam(peer.module.parameters(), lr=RATE)
    curve: list[tuple[float, float]] = []
    start = time.monotonic()
    while time.monotonic() - start < limit:
        for batch in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            (-peer.log_prob(x[batch]).mean()).backward()
            optimiser.step()
        with torch.no_grad():
            parts = [peer.log_prob(part).double() for part in held_out.split(4096)]
        curve.append((time.monotonic() - start, float(torch.cat(parts).mean())))
    return curve


def curves() -> dict[str, dict[str, np.ndarray]]:
    """All curves [validations, 2], by dataset and name; seconds and the best nats until then."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for file in sorted(CURVES.glob("*.csv")):
        dataset, name = file.stem.split(", ", 1)
        curve = np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
        curve[:, 1] = np.fmax.accumulate(curve[:, 1])
        found.setdefault(dataset, {})[name] = curve
    return found


def published_figure(dataset: str) -> float:
    """The paper's test figure of MAF (5)."""
    return figures()[dataset, False, "MAF (5)"].value


def draw(found: dict[str, dict[str, np.ndarray]]) -> None:
    """The picture of all curves."""
    with drawing.drawing(3.4 * len(found), 2.9) as figure:
        every = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (dataset, each) in zip(every, found.items(), strict=True):
            styles = zip(drawing.COLOURS, drawing.DASHES, strict=False)
            for (name, curve), (colour, dashes) in zip(each.items(), styles, strict=False):
                axes.plot(*curve.T, color=colour, linestyle=dashes, label=name)
            axes.axhline(published_figure(dataset), color="grey", linewidth=0.8)
            ends = [published_figure(dataset), *(curve[:, 1].max() for curve in each.values())]
            span = max(ends) - min(ends)
            axes.set_ylim(min(ends) - span, max(ends) + 0.6 * span)
            axes.set(xscale="log", title=dataset.upper(), xlabel="seconds of one core")
            axes.set_xticks(TICKS, map(str, TICKS), minor=False)
            axes.set_xticks([], minor=True)
            axes.set_xlim(min(curve[0, 0] for curve in each.values()), None)
            axes.legend(loc="upper left")
        every[0].set_ylabel("validation, nats")
        drawing.save(figure, ROOT / "docs" / "pictures" / "time_to_quality.png")


def table(found: dict[str, dict[str, np.ndarray]]) -> str:
    """When each reaches the paper's test figure on validation, in Markdown."""
    lines = [
        "Seconds of one core until the best validation so far reaches the paper's test figure of "
        "MAF (5), and the best validation of the whole run, in nats.",
        "",
        "| dataset | | reaches | after | best | after | ended |",
        "|:--|:--|--:|--:|--:|--:|--:|",
    ]
    for dataset, each in found.items():
        for name, curve in each.items():
            at = np.flatnonzero(curve[:, 1] >= published_figure(dataset))
            first = f"{curve[at[0], 0]:,.0f} s" if len(at) else "not reached"
            best = curve[curve[:, 1].argmax()]
            lines.append(
                f"| {dataset} | {name} | {published_figure(dataset)} | {first} | {best[1]:.2f} | "
                f"{best[0]:,.0f} s | {curve[-1, 0]:,.0f} s |"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    """Train, or draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    training = actions.add_parser("train")
    training.add_argument("dataset", choices=OURS)
    training.add_argument("--limit", type=float, default=900.0, help="seconds for each")
    actions.add_parser("draw")
    options = parser.parse_args()
    if options.action == "draw":
        draw(curves())
        atomic.write(REPORT, table(curves()))
    else:
        train(options.dataset, options.limit)


if __name__ == "__main__":
    main()
