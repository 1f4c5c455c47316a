"""Two trainings of the paper, beside the kept records of the same runs on the CPU."""

import os
from pathlib import Path

from gpu.runs import Run, curve, figures, kept_on_the_cpu
from gpu.section import OutOfTimeError, Place, Report
from maf_runner.engine.driver import GRAPH

TINY = ("dataset=digits", "model.layers=2", "model.hidden=[16]", "threads=1")
FIRST = 3  # epochs whose means over all updates are compared
NATS = {"power": 0.05, "mnist": 1.0}  # that they may be apart: rounding grows, and evens out


def power(place: Place, report: Report) -> None:
    """MAF (5) on POWER for three epochs: 16,600 updates each."""
    run = _carried_out(place, report, "power", [100, 100], "trainer.max_epochs=3")
    if run is not None and len(run.history) > 1:
        first, last = run.history[0], run.history[-1]
        seconds = (last["seconds"] - first["seconds"]) / (len(run.history) - 1)
        report.note("seconds an epoch, after the first", seconds)


def mnist(place: Place, report: Report) -> None:
    """MAF (5) on MNIST to the end of its training."""
    hidden, small = [1024, 1024], ["trainer.max_epochs=3"] if place.small else []
    run = _carried_out(place, report, "mnist", hidden, *small)
    if run is None or place.small or (kept := kept_on_the_cpu("mnist", "MAF (5)", hidden)) is None:
        return
    record, _ = kept
    report.note("run on the CPU", figures(record))
    apart = abs(run.record.test["log_likelihood"] - record.test["log_likelihood"])
    good = apart < 2 * record.test["error"]
    report.check(good, f"test: {apart:.2f} nats apart from the run on the CPU")


def _carried_out(
    place: Place, report: Report, dataset: str, hidden: list[int], *words: str
) -> Run | None:
    """The paper's MAF (5) on a dataset, finished; None if it was left out, stopped, or failed."""
    if not place.small and not Path(os.environ.get("MAF_RUNNER_RAW_DIR", ""), dataset).is_dir():
        report.leave_out(f"there is no {dataset}/ in the folder of raw data: name it with --raw")
        return None
    chosen = TINY if place.small else (f"dataset={dataset}",)
    run = Run(place, dataset, "model=maf", "trainer=paper", *chosen, *words)
    try:
        code = run.wait()
    except OutOfTimeError:
        code = None
    run.keep()
    if history := run.history:
        report.note("epochs", len(history))
        report.note("validation nats", [line["validation_nats"] for line in history])
        report.note("seconds until the last validation", history[-1]["seconds"])
        report.note("updates a second", history[-1]["updates"] / history[-1]["seconds"])
        if not place.small:
            _beside_the_cpu(report, dataset, hidden, history)
    if code is None:
        report.leave_out(f"{dataset}: stopped after {len(history)} epochs, no time left")
        return None
    if code != 0 or run.record is None:
        report.check(False, f"maf-run ended with {code}: {run.said[-500:]}")
        return None
    found = figures(run.record)
    report.note("run", found)
    if place.device == "cuda":
        report.check(found["engine"] == GRAPH, f"updated by the {found['engine']} engine")
    return run


def _beside_the_cpu(
    report: Report, dataset: str, hidden: list[int], history: list[dict[str, float]]
) -> None:
    """The first epochs are those of the CPU."""
    kept = kept_on_the_cpu(dataset, "MAF (5)", hidden)
    if kept is None:
        return
    pairs = list(zip(history[:FIRST], curve(kept[1]), strict=False))
    for when in ("train_nats", "validation_nats"):
        report.note(f"{when}, here and on the CPU", [[a[when], b[when]] for a, b in pairs])
    apart = max(abs(a["train_nats"] - b["train_nats"]) for a, b in pairs)
    good = apart < NATS[dataset]
    report.check(good, f"the first epochs are {apart:.2g} nats apart from the CPU's")
