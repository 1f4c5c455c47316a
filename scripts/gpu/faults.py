"""A GPU that is nearly full, and a GPU that two runs share.

Another process takes all of the memory but a little. Then a run that names the GPU is refused with
one line and leaves nothing behind; one that does not goes on on the CPU; and rows are evaluated
fewer at once, with the same log densities. Two runs at once on one GPU end with the figures that
each has alone. On the CPU only the last is done.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpu.runs import Run, figures
from gpu.section import Place, Report
from maf_runner.engine.rows import log_prob_of_rows
from maf_runner.flows import MAF

MIB = 1 << 20
WORDS = ("dataset=digits", "model=maf", "trainer.max_epochs=5")
TINY = ("model.layers=2", "model.hidden=[16]", "threads=1")
TAKE = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = [torch.empty(max(0, free - int(sys.argv[1])), dtype=torch.uint8, device="cuda")]
print("taken", flush=True)
sys.stdin.read()
"""


@contextmanager
def nearly_full(left: int) -> Iterator[None]:
    """Inside, another process holds the GPU's memory but for so many bytes."""
    with subprocess.Popen(
        [sys.executable, "-c", TAKE, str(left)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            if process.stdout.readline() != "taken\n":
                raise RuntimeError("the GPU's memory could not be taken by another process")
            yield
        finally:
            process.stdin.close()
            process.wait()


def main(place: Place, report: Report) -> None:
    """Two runs at once first, which need no full GPU."""
    words = [*WORDS, *(TINY if place.small else ())]
    together = [Run(place, f"together-{seed}", *words, f"seed={seed}") for seed in (0, 1)]
    codes = [run.wait() for run in together]
    report.check(codes == [0, 0], f"two at once ended with {codes}: {together[0].said[-500:]}")
    alone = Run(place, "alone", *words, "seed=0")
    if alone.wait() == 0 and codes[0] == 0:
        one, other = alone.record, together[0].record
        apart = abs(one.test["log_likelihood"] - other.test["log_likelihood"])
        report.note("two runs at once", {**figures(other), "apart from alone": apart})
        report.check(apart < one.test["error"] / 10, f"two at once: {apart:.2g} nats apart")
    if place.device == "cpu":
        report.leave_out("a full GPU: there is none")
        return
    for left in (64 * MIB, 700 * MIB):  # too little for CUDA itself; too little for a wide model
        with nearly_full(left):
            refused_or_moved(place, report, left // MIB)
    fewer_rows(report)


def refused_or_moved(place: Place, report: Report, left: int) -> None:
    """A wide model on a GPU with ``left`` MiB: refused by name, on the CPU where that is open."""
    wide = ["dataset=digits", "model=maf", "model.hidden=[4096,4096]", "trainer.max_updates=2"]
    named = Run(place, f"full-{left}-named", *wide, device="cuda")
    free = Run(place, f"full-{left}-auto", *wide, device="auto")
    code = named.wait()
    report.note(f"{left} MiB left, device=cuda", {"code": code, "said": named.said[-500:]})
    clear = "the GPU has not enough memory" in named.said and "Traceback" not in named.said
    report.check(code == 2 and clear, f"{left} MiB left, device=cuda: exit {code}, no clear line")
    report.check(named.folder is None, f"{left} MiB left, device=cuda: a folder is left behind")
    code = free.wait()
    where = free.record.environment["device"] if free.record else None
    report.note(f"{left} MiB left, device=auto", {"code": code, "said": free.said[-500:]})
    report.check(code == 0 and where == "cpu", f"{left} MiB left, device=auto: {code} on {where}")


def fewer_rows(report: Report) -> None:
    """With a limit of memory of this process alone, which torch keeps to."""
    network = {"activation": "relu", "degrees": "sequential", "mask": "paper"}
    torch.manual_seed(0)
    model = MAF(64, layers=2, hidden=[1024, 1024], **network).cuda().eval()
    x = torch.randn(100_000, 64, device="cuda")
    expected = log_prob_of_rows(model, x)
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 64 * MIB) / total)
    try:
        found = log_prob_of_rows(model, x, chunk=len(x))
    except torch.OutOfMemoryError as error:
        report.check(False, f"rows are not evaluated fewer at once: {str(error)[:200]}")
        return
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    apart = float((found - expected).abs().max())
    report.note("fewer rows at once, apart by", apart)
    report.check(apart < 1e-3, f"fewer rows at once give log densities {apart:.1e} apart")
