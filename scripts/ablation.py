"""What each ingredient of trainer=tuned_table is worth on MINIBOONE: three seeds without it.

    python scripts/ablation.py [--results FOLDER]

Runs what has no record in results/ablation/ yet (one to five minutes each on one core; stopped, it
goes on), copies its record there and writes results/reports/ablation.md from all of them.
Validation decides; test figures stand beside it.
"""

import argparse
import math
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Record
from maf_runner.system import atomic

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "results" / "ablation"
REPORT = ROOT / "results" / "reports" / "ablation.md"
SEEDS = (0, 1, 2)
TUNED = ("model=maf", "model.size=0", "model.scale=bounded", "trainer=tuned_table")
RESIDUAL = ("+model.residual=true", "model.hidden=[128]")  # dropout is for these networks only
# What a row is called in the table: what is changed.
ROWS: dict[str, tuple[str, ...]] = {
    "tuned_table, bounded scale": (),
    "no prior": ("trainer.prior_precision=0",),
    "a tenth of the prior": ("trainer.prior_precision=20",),
    "no averaging": ("trainer.averaging=0",),
    "no warm-up": ("trainer.warmup=0",),
    "constant rate": ("trainer.schedule=constant", "trainer.warmup=0"),
    "constant rate, no averaging": (
        "trainer.schedule=constant",
        "trainer.warmup=0",
        "trainer.averaging=0",
    ),
    "28 epochs, not 100": ("trainer.max_epochs=28",),
    "batches of 400, not 100": ("trainer.batch_size=400",),
    "gradients no longer than 5": ("trainer.clip=5",),
    "two hidden layers, not one": ("model.size=1",),
    "residual blocks of 128 units": RESIDUAL,
    "residual blocks of 128 units, dropout 0.1": (*RESIDUAL, "+model.dropout=0.1"),
    "scale not bounded": ("model.scale=exp",),
    "scale not bounded, Student base": ("model.scale=exp", "model.base=student"),
    "paper's training, bounded scale": ("trainer=paper",),
    "paper's training": ("trainer=paper", "model.scale=exp"),
}


def run(name: str, seed: int, results: Path) -> None:
    """Train, or go on with what was stopped, and keep the record.

    Raises:
        subprocess.CalledProcessError: it failed; what it said stands above.
    """
    command = [sys.executable, "-m", "maf_runner", "dataset=miniboone", "threads=1", *TUNED]
    command += [*ROWS[name], f"seed={seed}", f"paths.results_dir={results}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    shutil.copy(RunFolder(Path(done.stdout.split()[-1])).record, record_file(name, seed))


def record_file(name: str, seed: int) -> Path:
    """Where the record of a run is kept."""
    return KEPT / f"{name}, seed {seed}.json"


def complete() -> dict[str, list[Record]]:
    """The records of the rows whose seeds are all there."""
    rows = {name: [record_file(name, seed) for seed in SEEDS] for name in ROWS}
    return {
        name: [Record.read(file) for file in files]
        for name, files in rows.items()
        if all(file.exists() for file in files)
    }


def figures(record: Record) -> tuple[float, float]:
    """Validation and test figure of a run; NaN where a row has no finite density."""
    both = record.validation or {}, record.test or {}
    found = [figure.get("log_likelihood") for figure in both]
    validation, test = (math.nan if figure is None else float(figure) for figure in found)
    return validation, test


def table(found: dict[str, list[Record]]) -> str:
    """The table in Markdown."""
    lines = [
        f"MAF (5) on MINIBOONE, mean over seeds {', '.join(map(str, SEEDS))} ± their standard "
        "deviation, in nats. Δ: validation, minus the first row.",
        "",
        "| | validation | Δ | test | best epoch | minutes |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    first = None
    for name, records in found.items():
        validation, test = zip(*map(figures, records), strict=True)
        mean = statistics.mean(validation)
        first = mean if first is None else first
        epochs = "/".join(str(record.best_epoch) for record in records)
        minutes = statistics.mean(float(record.seconds or 0) for record in records) / 60
        lines.append(
            f"| {name} | {mean:.2f} ± {statistics.stdev(validation):.2f} | {mean - first:+.2f} | "
            f"{statistics.mean(test):.2f} ± {statistics.stdev(test):.2f} | {epochs} | "
            f"{minutes:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all rows, and write the table after each that is complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--results", type=Path, default=ROOT / "results", help="where runs are kept"
    )
    options = parser.parse_args()
    for name in ROWS:
        for seed in SEEDS:
            if not record_file(name, seed).exists():
                run(name, seed, options.results.absolute())
        text = table(complete())
        atomic.write(REPORT, text)
        print(text.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
