"""Time sampling from MAF (5) against zuko and nflows, interleaved in one process, one thread.

Needs the extra ``bench``. Writes results/benchmarks/sampling.json and prints the table in
docs/performance.md.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from maf_runner.flows import MAF

# features, hidden width, rows drawn, how often
SIZES = [(6, 100, 1000, 15), (43, 512, 1000, 5), (63, 512, 1000, 5), (784, 1024, 100, 3)]
LAYERS = 5


def ours(features: int, width: int) -> MAF:
    """MAF (5) with batch norm, as in the paper."""
    settings = {"activation": "relu", "degrees": "sequential", "mask": "paper"}
    return MAF(features, layers=LAYERS, hidden=[width, width], **settings).eval()


def zuko(features: int, width: int) -> Callable[[int], torch.Tensor]:
    """The MAF of zuko; it has no batch norm."""
    from zuko.flows import MAF as Peer

    flow = Peer(features, transforms=LAYERS, hidden_features=(width, width))
    return lambda n: flow().sample((n,))


def nflows(features: int, width: int) -> Callable[[int], torch.Tensor]:
    """The masked affine transforms of nflows, reversed between, without batch norm."""
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import (
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        ReversePermutation,
    )

    steps = []
    for _ in range(LAYERS):
        steps.append(
            MaskedAffineAutoregressiveTransform(
                features, width, num_blocks=2, use_residual_blocks=False
            )
        )
        steps.append(ReversePermutation(features))
    return Flow(CompositeTransform(steps), StandardNormal([features])).eval().sample


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(values: list[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


def main() -> None:
    """Measure every size and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/sampling.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for features, width, n, times in SIZES:
        model = ours(features, width)
        x = torch.randn(n, features)
        peers = {"zuko": zuko(features, width), "nflows": nflows(features, width)}
        work = {
            "ours": lambda m=model, n=n: m.sample(n),
            "density pass": lambda m=model, x=x: m(x),
        }
        work |= {name: (lambda f=f, n=n: f(n)) for name, f in peers.items()}
        taken: dict[str, list[float]] = {name: [] for name in work}
        with torch.no_grad():
            for turn in range(times + 1):
                for name, function in work.items():
                    spent = seconds(function)
                    if turn or features > 100:  # the first turn warms up, where it is cheap
                        taken[name].append(spent)
        ms = {name: 1000 * median(values) for name, values in taken.items()}
        ratio = min(ms["zuko"], ms["nflows"]) / ms["ours"]
        passes = ms["ours"] / ms["density pass"]
        row = {"features": features, "hidden": [width, width], "rows": n, "ms": ms}
        rows.append({**row, "times_fastest_peer": ratio, "density_passes": passes, "all": taken})
        print(
            f"| {features} | {width}x2 | {n} | {ms['ours']:.1f} | {ms['density pass']:.1f} | "
            f"{ms['zuko']:.0f} | {ms['nflows']:.0f} | {ratio:.0f}x | {passes:.2f} |",
            flush=True,
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    options.out.write_text(json.dumps({**machine, "sizes": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
