"""Milliseconds of an update of MAF (5) by 100 rows, by each engine, zuko and nflows.

Beside them what torch's profiler counts: the kernels of one update. A GPU cannot start kernels
of a graph faster than at a certain pace, which is measured; kernels times that is the least time
of an update of many small kernels, and the share says how much of an update it is. On the CPU
operators take the place of kernels. Compiling takes long and comes last, size by size.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import benchmark
import peers
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from gpu.section import Place, Report
from maf_runner.engine.driver import COMPILED, EAGER, GRAPH, Driver

# features and width: POWER, MINIBOONE, BSDS300, MNIST, CIFAR-10
SIZES = {**{features: size[0] for features, size in benchmark.SIZES.items()}, 3072: 1024}
ROWS = 100
SECONDS = 3.0  # for the turns of one size
Update = Callable[[], object]


def ours(features: int, width: int, x: torch.Tensor, engine: str) -> tuple[Update, str]:
    """An update by one of our engines, and the engine that makes it."""
    torch.manual_seed(0)
    model = benchmark.maf(features, width).to(x.device)
    driver = Driver(model, benchmark.PAPER.adam, engine)
    driver.step(x, None, benchmark.RATE)
    return partial(driver.step, x, None, benchmark.RATE), driver.name


def theirs(make: Callable[[int, int], peers.Peer], x: torch.Tensor, width: int) -> Update:
    """A plain update of another library's MAF."""
    torch.manual_seed(0)
    peer = make(x.shape[1], width)
    peer.module.to(x.device)
    adam = torch.optim.Adam(peer.module.parameters(), lr=1e-4, weight_decay=1e-6, fused=True)

    def update() -> None:
        adam.zero_grad()
        (-peer.log_prob(x).mean()).backward()
        adam.step()

    return update


def launches(update: Update, device: str) -> int:
    """The kernels of one update."""
    kind, activity = DeviceType.CPU, ProfilerActivity.CPU
    if device == "cuda":
        kind, activity = DeviceType.CUDA, ProfilerActivity.CUDA
    count = 0
    for _ in range(2):  # the profiler sets itself up at its first use
        with profile(activities=[activity]) as seen:
            update()
            if device == "cuda":
                torch.cuda.synchronize()
        count = sum(event.count for event in seen.key_averages() if event.device_type == kind)
    return count


def pace(device: str) -> float:
    """Milliseconds that a kernel takes at the least."""
    x = torch.zeros(1, device=device)

    def thousand() -> None:
        for _ in range(1000):
            x.add_(1)

    work: Update = thousand
    if device == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            thousand()
        work = graph.replay
    return min(benchmark.timed(work, 10) for _ in range(5))  # seconds a thousand


def measured(work: dict[str, Update], device: str, least: float, seconds: float) -> dict[str, Any]:
    """Median milliseconds, launches, and the share of the time that launching them takes."""
    taken = benchmark.interleaved(work, seconds=seconds)
    found = {}
    for name, values in taken.items():
        ms, count = statistics.median(values), launches(work[name], device)
        found[name] = {"ms": ms, "launches": count, "share": count * least / ms}
    return found


def main(place: Place, report: Report) -> None:
    """Size after size, then size after size with the compiled engine."""
    sizes = {6: 16, 8: 16} if place.small else SIZES
    if place.small:
        peers.LAYERS = 1
    seconds = 0.4 if place.small else SECONDS
    least = pace(place.device)
    report.note("microseconds a launch", 1000 * least)
    engines = (EAGER, GRAPH) if place.device == "cuda" else (EAGER,)
    for features, width in sizes.items():
        title = f"D={features}, {width} wide"
        if place.left < 10:
            report.leave_out(f"{title}: no time left")
            continue
        x = torch.randn(ROWS, features, device=place.device)
        work = {}
        for engine in engines:
            work[engine], used = ours(features, width, x, engine)
            report.check(used == engine, f"{title}: the {engine} engine was not used")
        for name in ("zuko", "nflows"):
            try:
                work[name] = theirs(getattr(peers, name), x, width)
            except ImportError:
                report.leave_out(f"{title}: {name} is not installed")
        found = measured(work, place.device, least, seconds)
        report.note(title, found)
        if not all(each["launches"] for each in found.values()):
            report.leave_out(f"{title}: the profiler has counted no launches")
    for features, width in sizes.items():
        title = f"D={features}, {width} wide"
        if title not in report.found or place.left < (10 if place.small else 30):
            report.leave_out(f"{title}, compiled: no time left")
            continue
        x = torch.randn(ROWS, features, device=place.device)
        update, used = ours(features, width, x, COMPILED)
        if used != COMPILED:
            report.leave_out(f"{title}, compiled: the program cannot be made")
            continue
        found = measured({COMPILED: update}, place.device, least, seconds / 4)
        report.note(title, {**report.found[title], **found})
        if place.small:
            break  # one program shows that it works
