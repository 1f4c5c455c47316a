"""Check and time training on a CUDA GPU: run it where there is one.

1. Every model, given the class or not: fifty captured updates in float64 give the parameters of
   fifty plain ones on the CPU to 1e-9, and a trained model's log densities in float32 agree.
2. The time of an update at four sizes, beside other libraries on the same GPU (extra ``bench``),
   and the share of it that the GPU would need just to start the update's kernels.

Exits with 1 if a figure of the first part is off. Writes results/benchmarks/gpu.json.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from benchmark import PAPER, RATE, SIZES, maf, timed, training
from torch.profiler import ProfilerActivity, profile

from maf_runner.engine.driver import EAGER, GRAPH, Driver
from maf_runner.flows import MADE, MAF, Density, MADEMoG, MAFMoG, RealNVP
from maf_runner.system import atomic

NETWORK: dict[str, Any] = {"activation": "tanh", "degrees": "sequential", "mask": "paper"}
MODELS = {
    "MADE": lambda c: MADE(6, context=c, hidden=[32, 32], **NETWORK),
    "MADE MoG": lambda c: MADEMoG(6, context=c, hidden=[32, 32], components=3, **NETWORK),
    "Real NVP": lambda c: RealNVP(6, context=c, layers=3, hidden=[32]),
    "MAF": lambda c: MAF(6, context=c, layers=3, hidden=[32, 32], **NETWORK),
    "MAF MoG": lambda c: MAFMoG(6, context=c, layers=2, hidden=[32, 32], components=3, **NETWORK),
}
UPDATES = 50


def disagreement(build: Any, classes: int) -> tuple[float, float]:
    """Between GPU and CPU: of the parameters in float64, of the log densities in float32."""
    torch.manual_seed(0)
    x = torch.randn(UPDATES, 100, 6, dtype=torch.float64)
    context = (
        torch.eye(classes, dtype=torch.float64)[torch.arange(100) % classes] if classes else None
    )
    ended: list[Density] = []
    for device, path in (("cpu", EAGER), ("cuda", GRAPH)):
        torch.manual_seed(1)
        model = build(classes).double().to(device)
        driver = Driver(model, PAPER.adam, path)
        for rows in x.to(device):
            driver.step(rows, None if context is None else context.to(device), RATE)
        assert driver.name == path, f"the {path} engine was not used"
        ended.append(model.cpu().eval())
    parameters = zip(*(model.parameters() for model in ended), strict=True)
    apart = max(float((a - b).abs().max()) for a, b in parameters)
    model = ended[0].float()
    rows, given = x[0].float(), None if context is None else context.float()
    here = model(rows, given)
    there = model.cuda()(rows.cuda(), None if given is None else given.cuda()).cpu()
    return apart, float(((here - there).abs() / here.abs().clamp(min=1)).max().detach())


def launches(features: int, width: int) -> int:
    """The kernels of one eager update."""
    driver = Driver(maf(features, width).cuda(), PAPER.adam, EAGER)
    x = torch.randn(100, features).cuda()
    driver.step(x, None, RATE)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        driver.step(x, None, RATE)
        torch.cuda.synchronize()
    return sum(event.count for event in seen.key_averages())


def launch_ms() -> float:
    """Milliseconds that a kernel in a graph takes at the least."""
    x, graph = torch.zeros(1, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(1000):
            x.add_(1)
    return min(timed(graph.replay, 10) for _ in range(5))  # seconds a thousand


def main() -> int:
    """Check, time, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/gpu.json"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("check_gpu: torch sees no CUDA GPU here", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    good = True
    for name, build in MODELS.items():
        for classes in (0, 3):
            apart, densities = disagreement(build, classes)
            good &= apart < 1e-9 and densities < 1e-4
            results[f"agreement {name}, {classes} classes"] = [apart, densities]
            print(f"{name}, {classes} classes: {apart:.1e}, log densities {densities:.1e}")
    pace = launch_ms()
    for features, (width, _, _) in SIZES.items():
        for batch in (100, 1000):
            found = training(features, width, batch, device="cuda", paths=(EAGER, GRAPH))
            found["launch_bound_ms"] = launches(features, width) * pace
            results[f"training D={features} batch={batch}"] = found
            print(f"D={features} batch={batch}: {found}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(options.out, json.dumps(results, indent=1) + "\n")
    if not good:
        print("check_gpu: the GPU's figures are not those of the CPU", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
