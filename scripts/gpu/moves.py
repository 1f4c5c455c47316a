"""A run that is interrupted on one device and taken up on another, twice.

It begins on the GPU, goes on on the CPU, and ends on the GPU; beside it the same run on each of
them alone. Its checkpoint says on which device it was written.
"""

from gpu.runs import Run, figures
from gpu.section import Place, Report
from maf_runner.training import checkpoint

WORDS = ("dataset=digits", "model=maf", "trainer.patience=1000")


def main(place: Place, report: Report) -> None:
    """Carry out the runs, and compare their figures."""
    epochs = 30 if place.small else 60
    words = [*WORDS, f"trainer.max_epochs={epochs}"]
    if place.small:
        words += ["model.layers=2", "model.hidden=[16]", "threads=1"]
    whole = {}
    for device in dict.fromkeys(("cpu", place.device)):
        run = Run(place, f"alone-{device}", *words, device=device)
        if run.wait() != 0:
            report.check(False, f"on {device} alone: {run.said[-500:]}")
            return
        whole[device] = run.history
        report.note(f"on {device} alone", figures(run.record))
    report.note("devices", [])
    for device, stop in ((place.device, epochs // 3), ("cpu", 2 * epochs // 3)):
        run = Run(place, "moved", *words, device=device)
        if run.wait(until=lambda run=run, stop=stop: len(run.history) >= stop) is not None:
            report.check(False, f"it ended on {device} before it was stopped: {run.said[-500:]}")
            return
        state = checkpoint.load(run.folder.last, {})
        written = {key: state[key] for key in ("device", "path")}
        report.note("devices", [*report.found["devices"], {**written, "epochs": len(run.history)}])
        report.check(state["device"] == device, f"the checkpoint says {state['device']}")
        report.check(not run.folder.record.exists(), "there is a record already")
    run = Run(place, "moved", *words)
    if run.wait() != 0:
        report.check(False, f"taken up again: {run.said[-500:]}")
        return
    run.keep()
    record, history = run.record, run.history
    report.note("moved", {**figures(record), "resumed": record.resumed})
    report.check(record.resumed == 2, f"it was taken up {record.resumed} times, not twice")
    report.check(len(history) == epochs, f"its learning curve has {len(history)} lines")
    for device, other in whole.items():
        pairs = zip(history, other, strict=True)
        apart = max(abs(a["validation_nats"] - b["validation_nats"]) for a, b in pairs)
        report.note(f"validation nats apart from {device} alone", apart)
        most = record.test["error"] / 10
        report.check(apart < most, f"{apart:.2g} nats apart from the run on {device} alone")
