"""Time training, evaluation and sampling of MAF (5) against other libraries, and more.

More is: the engines beside each other for other models, and two threads beside one.

Everything is interleaved in one process with one thread, in short turns, so that a ratio is of
one and the same machine in one and the same mood; medians with quartiles. The others run as
they are installed: the routing of products and the keeping of memory are ours, and on for our
own work alone. Our models have batch norms, the others' have none. Needs the extra ``bench``.
Writes results/benchmarks/benchmark.json and the table in docs/performance.md.
"""

import argparse
import copy
import json
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import peers
import torch

from maf_runner.engine.adam import flatten
from maf_runner.engine.driver import COMPILED, EAGER, NATIVE, Driver, serves
from maf_runner.engine.products import fast_products
from maf_runner.engine.rows import log_prob_of_rows, sample
from maf_runner.flows import MAF, MADEMoG, MAFMoG, RealNVP
from maf_runner.flows.base import Density
from maf_runner.system import atomic
from maf_runner.training import TrainerSettings

# features, width, rows drawn, rows evaluated
SIZES = {6: (100, 1000, 200_000), 43: (512, 1000, 10_000), 63: (512, 1000, 10_000),
         784: (1024, 100, 3000)}  # fmt: skip
RATE = 1e-4
PAPER = TrainerSettings(
    learning_rate=RATE, betas=(0.9, 0.999), epsilon=1e-8, batch_size=100, l2=1e-6, patience=30,
    max_epochs=None, max_updates=None,
)  # fmt: skip
SECONDS = 15.0  # for the turns of one comparison, about
TURN = 0.2  # seconds of one function's turn, about
AIMS = {
    "training D=6 batch=100": 10, "training D=6 batch=1000": 5,
    "evaluation D=6": 4, "sampling D=6": 20,
    "training D=43 batch=100": 4.5, "training D=43 batch=1000": 4,
    "evaluation D=43": 3, "sampling D=43": 150,
    "training D=63 batch=100": 4.5, "training D=63 batch=1000": 4,
    "evaluation D=63": 3, "sampling D=63": 200,
    "training D=784 batch=100": 3.5, "training D=784 batch=1000": 3.5, "evaluation D=784": 3,
    "sampling D=784": 1500,
}  # fmt: skip
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- made by scripts/benchmark.py -->", "<!-- end -->"
WHAT = ("training", "evaluation", "sampling", "models", "threads")
Work = dict[str, Callable[[], object]]
Around = Callable[[], AbstractContextManager[object]]


NETWORK: Any = {"activation": "relu", "degrees": "sequential", "mask": "paper"}


def maf(features: int, width: int, context: int = 0) -> MAF:
    """The paper's MAF (5)."""
    return MAF(features, layers=peers.LAYERS, hidden=[width, width], context=context, **NETWORK)


def others(features: int, width: int) -> dict[str, tuple[Density, int]]:
    """The paper's other models, with the size of their context."""
    hidden, layers = [width, width], peers.LAYERS
    coupling = {"layers": layers, "hidden": hidden}
    return {
        "MADE MoG": (MADEMoG(features, hidden=hidden, components=10, **NETWORK), 0),
        "MAF MoG (5)": (
            MAFMoG(features, layers=layers, hidden=hidden, components=10, **NETWORK),
            0,
        ),
        "Real NVP (5)": (RealNVP(features, **coupling), 0),
        "MAF (5) given a class": (maf(features, width, context=10), 10),
    }


def interleaved(
    work: Work, seconds: float = SECONDS, *, around: dict[str, Around] | None = None
) -> dict[str, list[float]]:
    """Milliseconds of each function, turn by turn; each of its turns within its ``around``.

    A turn calls one function again and again for about `TURN` seconds, as a training does, and
    leaves the first of these calls out: it finds the caches full of the others' numbers. What
    takes longer than that is called once.
    """
    often = {}
    within = {name: (around or {}).get(name, nullcontext) for name in work}
    for name, function in work.items():
        with within[name]():
            taken = timed(function, 1)
            if taken < 40:  # s: the first call may have had something to make
                taken = min(timed(function, 1), timed(function, 1))
        often[name] = min(int(TURN / taken), 200)
    found: dict[str, list[float]] = {name: [] for name in work}
    begin = time.perf_counter()
    turns = 0
    while turns < 2 or (turns < 100 and time.perf_counter() - begin < seconds):
        for name, function in work.items():
            with within[name]():
                if often[name] > 1:
                    function()
                found[name].append(1000 * timed(function, max(1, often[name])))
        turns += 1
    return found


def timed(function: Callable[[], object], times: int) -> float:
    """Seconds of one call, from so many."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def summary(taken: dict[str, list[float]], ours: str, others: list[str]) -> dict[str, Any]:
    """Medians and quartiles; how many times faster than the fastest peer."""
    medians = {name: statistics.median(values) for name, values in taken.items()}
    quartiles = {n: statistics.quantiles(v, n=4)[::2] for n, v in taken.items()}
    ratio = min(medians[name] for name in others) / medians[ours]
    return {"ms": medians, "quartiles": quartiles, "times_fastest_peer": ratio,
            "turns": len(taken[ours])}  # fmt: skip


def training(
    features: int,
    width: int,
    batch: int,
    file: Path | None = None,
    *,
    device: str = "cpu",
    paths: tuple[str, ...] = (EAGER, COMPILED, NATIVE),
) -> dict[str, Any]:
    """One update: gradient and Adam, by each engine that is there."""
    if not serves(maf(features, width)):
        paths = tuple(path for path in paths if path != NATIVE)
    x = torch.randn(batch, features, device=device)
    work: Work = {}
    around: dict[str, Around] = {}
    for path in paths:
        driver = Driver(maf(features, width).to(device), PAPER.adam, path)
        work[path] = partial(driver.step, x, None, RATE)
        around[path] = partial(fast_products, driver.model, batch)
    for name, peer in peers.of(features, width, file).items():
        peer.module.to(device)
        adam = torch.optim.Adam(peer.module.parameters(), lr=1e-4, weight_decay=1e-6, fused=True)

        def update(peer: peers.Peer = peer, adam: torch.optim.Adam = adam) -> None:
            adam.zero_grad()
            (-peer.log_prob(x).mean()).backward()
            adam.step()

        work[name] = update
    others = [name for name in work if name not in paths]
    taken = interleaved(work, around=around)
    best = min(paths, key=lambda path: statistics.median(taken[path]))
    return {
        **summary(taken, best, others),
        "path": best,
        "limit_ms": limit(features, width, batch, device),
    }


def limit(features: int, width: int, batch: int, device: str) -> float:
    """Milliseconds of the products that a step cannot do without, at this machine's best pace."""
    a, b = torch.randn(2, 1024, 1024, device=device)
    around = {"product": partial(fast_products, torch.nn.Linear(1024, 1024), 1024)}
    taken = interleaved({"product": lambda: a @ b}, seconds=3, around=around)
    pace = min(taken["product"]) / (2 * 1024**3)
    weights = peers.LAYERS * (features * width + width * width + 2 * features * width) / 2
    return pace * 2 * 3 * batch * weights


def evaluation(features: int, width: int, rows: int, file: Path | None) -> dict[str, Any]:
    """Log densities of many rows."""
    x = torch.randn(rows, features)
    model = maf(features, width).eval()
    work: Work = {"ours": lambda: log_prob_of_rows(model, x)}
    for name, peer in peers.of(features, width, file).items():
        peer.module.eval()
        work[name] = lambda peer=peer: [peer.log_prob(p) for p in x.split(2048)]  # type: ignore[misc]
    with torch.no_grad():
        return summary(interleaved(work), "ours", list(work)[1:])


def sampling(features: int, width: int, rows: int) -> dict[str, Any]:
    """Rows drawn; beside it one density pass of as many."""
    model, x = maf(features, width).eval(), torch.randn(rows, features)
    flatten(model.parameters())  # as `load_run` does
    work: Work = {
        "ours": lambda: sample(model, rows),
        "density pass": lambda: log_prob_of_rows(model, x),
    }
    for name, peer in peers.of(features, width).items():
        assert peer.sample is not None
        work[name] = lambda peer=peer: peer.module.eval() and peer.sample(rows)  # type: ignore[misc]
    with torch.no_grad():
        found = summary(interleaved(work), "ours", list(work)[2:])
    return {**found, "density_passes": found["ms"]["ours"] / found["ms"]["density pass"]}


def engines(features: int, width: int) -> dict[str, dict[str, Any]]:
    """One update of the other models by 100 rows, eager and native."""
    found = {}
    for name, (model, context) in others(features, width).items():
        x = torch.randn(100, features)
        given = torch.eye(context)[torch.arange(100) % context] if context else None
        work: Work = {}
        around: dict[str, Around] = {}
        for engine in (EAGER, NATIVE):
            driver = Driver(copy.deepcopy(model), PAPER.adam, engine)
            work[engine] = partial(driver.step, x, given, RATE)
            around[engine] = partial(fast_products, driver.model, 100)
        found[name] = compared(interleaved(work, around=around), EAGER, NATIVE)
    return found


def threads(features: int, width: int) -> dict[str, Any]:
    """One native update of MAF (5) by 100 rows, with one thread and with two."""
    work: Work = {}
    for count in (1, 2):
        driver = Driver(maf(features, width), PAPER.adam, NATIVE)
        x = torch.randn(100, features)
        torch.set_num_threads(count)  # the engine makes its own at the first update
        driver.step(x, None, RATE)
        work[str(count)] = partial(driver.step, x, None, RATE)
    torch.set_num_threads(1)
    return compared(interleaved(work), "1", "2")


def compared(taken: dict[str, list[float]], slow: str, fast: str) -> dict[str, Any]:
    """Medians, and how many times faster the second is."""
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {"ms": medians, "from": slow, "to": fast, "times": medians[slow] / medians[fast]}


def brief(ms: float) -> str:
    """About three digits."""
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}"


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table, milliseconds."""
    lines = [
        f"{results['processor']}, torch {results['torch']}, one thread; milliseconds, medians. "
        "Evaluation is of 200,000 rows at D = 6, 10,000 at D = 43 and 63, and 3,000\nat D = 784; "
        "sampling of 1,000 rows, at D = 784 of 100.",
        "",
        "| what | ours | times the limit | zuko | nflows | times the faster peer | aim |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        if isinstance(found, dict) and "times_fastest_peer" in found:
            ms = found["ms"]
            ours = ms[found.get("path", "ours")]
            cells = [
                name + (f" ({found['path']})" if "path" in found else ""),
                brief(ours),
                f"{ours / found['limit_ms']:.2f}" if "limit_ms" in found else "",
                *(brief(ms[peer]) for peer in ("zuko", "nflows")),
                f"{found['times_fastest_peer']:.3g}",
                str(AIMS.get(name, "")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| training, 100 rows | ms | ms | times |", "|---|---|---|---|"]
    for name, found in results.items():
        if isinstance(found, dict) and "times" in found:
            pair = [f"{brief(found['ms'][key])} ({key})" for key in (found["from"], found["to"])]
            lines.append(f"| {name} | {' | '.join(pair)} | {found['times']:.2f} |")
    return "\n".join(lines)


def write_table(results: dict[str, Any]) -> None:
    """Put the table into the document, between its marks."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    atomic.write(DOCUMENT, f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--what", nargs="+", default=list(WHAT), choices=WHAT)
    parser.add_argument("--pytorch-flows", type=Path, help="its flows.py, if you have it")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/benchmark.json"))
    parser.add_argument("--table", action="store_true", help="only write the table, from --out")
    options = parser.parse_args()
    if options.table:
        write_table(json.loads(options.out.read_text(encoding="utf-8")))
        return
    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "torch": torch.__version__,
        "processor": processor(),
        "threads": 1,
    }
    file = options.pytorch_flows

    def note(name: str, found: dict[str, Any]) -> None:
        results[name] = found
        ms = ", ".join(f"{k} {v:.2f}" for k, v in found["ms"].items())
        times = found.get("times_fastest_peer", found.get("times"))
        print(f"{name}: {times:.2f}x; ms: {ms}", flush=True)

    for features in options.features:
        width, drawn, rows = SIZES[features]
        if "training" in options.what:
            for batch in options.batch:
                found = training(features, width, batch, file)
                note(f"training D={features} batch={batch}", found)
        if "evaluation" in options.what:
            note(f"evaluation D={features}", evaluation(features, width, rows, file))
        if "sampling" in options.what:
            note(f"sampling D={features}", sampling(features, width, drawn))
        if features in (43, 784) and serves(maf(features, width)):
            if "models" in options.what:
                for name, found in engines(features, width).items():
                    note(f"{name}, D={features}", found)
            if "threads" in options.what:
                note(f"MAF (5), D={features}, threads", threads(features, width))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.out.exists():  # a part replaces that part, if all is of one machine
        before = json.loads(options.out.read_text(encoding="utf-8"))
        alike = all(before.get(key) == results[key] for key in ("processor", "torch", "threads"))
        results = {**before, **results} if alike else results
    atomic.write(options.out, json.dumps(results, indent=1) + "\n")
    if options.out == parser.get_default("out"):
        write_table(results)


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
