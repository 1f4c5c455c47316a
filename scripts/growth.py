"""How the time of a training step grows with features, width, layers and batch: one picture.

MAF on one thread, the paper's Adam, the eager path; a dense limit beside it, from the pace of a
large product measured in the same run. Writes docs/pictures/growth.png (extra ``plot``).
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from benchmark import PAPER, RATE, interleaved

from maf_runner.engine.driver import EAGER, Driver
from maf_runner.flows import MAF

USUAL = {"features": 64, "width": 512, "layers": 5, "batch": 100}
SWEEPS = {
    "features": [8, 32, 128, 512, 1024],
    "width": [64, 128, 256, 512, 1024, 2048],
    "layers": [1, 2, 5, 10],
    "batch": [25, 100, 400, 1600],
}


def step_ms(features: int, width: int, layers: int, batch: int) -> float:
    """Milliseconds of one update: the median of many."""
    network: dict[str, Any] = {"activation": "relu", "degrees": "sequential", "mask": "paper"}
    model = MAF(features, layers=layers, hidden=[width, width], **network)
    driver, x = Driver(model, PAPER.adam, EAGER), torch.randn(batch, features)
    taken = sorted(interleaved({"step": lambda: driver.step(x, None, RATE)}, seconds=2)["step"])
    return taken[len(taken) // 2]


def products_ms(pace: float, features: int, width: int, layers: int, batch: int) -> float:
    """What the products alone would take at ``pace`` ms per operation, zeros included."""
    return pace * 6 * batch * layers * width * (3 * features + width)


def main() -> None:
    """Measure and draw."""
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/growth.png"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    a = torch.randn(1024, 1024)
    pace = min(interleaved({"product": lambda: a @ a}, seconds=2)["product"]) / (2 * 1024**3)
    figure, axes = plt.subplots(1, 4, figsize=(12, 3), sharey=True, layout="constrained")
    for axis, (name, values) in zip(axes, SWEEPS.items(), strict=True):
        sizes = [{**USUAL, name: value} for value in values]
        measured = [step_ms(**size) for size in sizes]
        print(name, dict(zip(values, (round(ms, 2) for ms in measured), strict=True)), flush=True)
        axis.loglog(values, measured, "o-", color="#0072b2", label="step")
        limits = [products_ms(pace, **size) for size in sizes]
        axis.loglog(values, limits, "--", color="#d55e00", label="its products, dense")
        axis.set_xticks(values, map(str, values))
        axis.minorticks_off()
        others = ", ".join(f"{k} {v}" for k, v in USUAL.items() if k != name)
        axis.set_xlabel(name)
        axis.set_title(others, fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("ms an update")
    axes[0].legend()
    figure.savefig(options.out, dpi=130)


if __name__ == "__main__":
    main()
