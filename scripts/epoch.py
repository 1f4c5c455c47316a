"""Time an epoch of MAF (5) on POWER: maf-run natively and eagerly, and zuko's plain loop.

The real data, batches of 100, one thread, one after another on the same machine. Needs the extra
``bench`` and POWER's raw file (MAF_RUNNER_RAW_DIR). An epoch has 16,600 updates; ours includes
the statistics of batch norm over all training rows and the validation, zuko's the updates alone.

    python scripts/epoch.py "$MAF_RUNNER_RAW_DIR"
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers
import torch

from maf_runner.datasets.base import Paths
from maf_runner.datasets.power import load

BATCH = 100


def ours(engine: str, raw: str, prepared: Path) -> float:
    """Seconds of the first epoch, as the learning curve has them."""
    with tempfile.TemporaryDirectory() as results:
        words = ["dataset=power", "model=maf", "threads=1", "trainer.max_epochs=1"]
        words += [f"engine={engine}", f"paths.results_dir={results}"]
        words += [f"paths.raw_dir={raw}", f"paths.prepared_dir={prepared}"]
        command = [sys.executable, "-m", "maf_runner", *words]
        folder = subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
        with Path(folder, "history.csv").open(encoding="utf-8", newline="") as file:
            return float(next(csv.DictReader(file))["seconds"])


def zuko(raw: str, prepared: Path) -> float:
    """Seconds of as many updates by zuko's MAF of the same size and torch's Adam."""
    torch.set_num_threads(1)
    x = torch.from_numpy(load(paths=Paths(Path(raw), prepared), download=False).train.x)
    peer = peers.zuko(x.shape[1], 100)
    adam = torch.optim.Adam(peer.module.parameters(), lr=1e-4, weight_decay=1e-6, fused=True)
    order = torch.randperm(len(x))
    start = time.monotonic()
    for first in range(0, len(x), BATCH):
        adam.zero_grad()
        (-peer.log_prob(x[order[first : first + BATCH]]).mean()).backward()
        adam.step()
    return time.monotonic() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", help="the folder of raw data")
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    options = parser.parse_args()
    for name in ("native", "eager"):
        print(f"{name}: {ours(name, options.raw, options.prepared):.1f} s", flush=True)
    print(f"zuko: {zuko(options.raw, options.prepared):.1f} s", flush=True)


if __name__ == "__main__":
    main()
