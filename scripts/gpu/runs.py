"""Real runs of ``maf-run``: started, watched, stopped, and what they leave."""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu.section import ROOT, OutOfTimeError, Place
from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Record

RECORDS = ROOT / "results" / "records"
MARGIN = 15  # seconds before the end of a section in which its runs are stopped


class Run:
    """A run in a folder of results of its own.

    Args:
        place: where the section is carried out.
        name: of the folder of results, under ``place.work``.
        words: settings, as on the command line.
        device: the setting, by default that of the section.
    """

    def __init__(self, place: Place, name: str, *words: str, device: str | None = None) -> None:
        self.place, self.name = place, name
        self.results = place.work / name
        self.results.mkdir(parents=True, exist_ok=True)
        own = [f"device={device or place.device}", f"paths.results_dir={self.results}"]
        own += [f"paths.prepared_dir={place.work / 'prepared'}"]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.log = self.results / "said.txt"
        with self.log.open("a", encoding="utf-8") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maf_runner", *words, *own],
                cwd=place.work,
                env={**os.environ, "PYTHONPATH": path},
                stdout=said,
                stderr=said,
            )

    @property
    def folder(self) -> RunFolder | None:
        """Its folder, once it is there."""
        found = sorted((self.results / "runs").glob("*/*/*"))
        return RunFolder(found[0]) if found else None

    @property
    def said(self) -> str:
        """All that it, and those before it in the same folder, wrote to the screen."""
        return self.log.read_text(encoding="utf-8")

    @property
    def history(self) -> list[dict[str, float]]:
        """Its learning curve so far, a line for each validation."""
        if self.folder is None or not self.folder.history.exists():
            return []
        return curve(self.folder.history)

    @property
    def record(self) -> Record | None:
        """Its record, once it is there."""
        if self.folder is None or not self.folder.record.exists():
            return None
        return Record.read(self.folder.record)

    def wait(self, until: Callable[[], bool] = lambda: False) -> int | None:
        """Wait for its end and return the exit code; None if ``until`` stopped it before that.

        Raises:
            OutOfTimeError: it was stopped because the section's time is nearly over.
        """
        while self.process.poll() is None:
            if until():
                self._stop()
                return None
            if self.place.left < MARGIN:
                self._stop()
                raise OutOfTimeError(f"{self.name}: no time left")
            time.sleep(0.01)
        return self.process.returncode

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=MARGIN - 3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def keep(self) -> None:
        """Copy record and learning curve to ``place.out``."""
        target = self.place.out / "records"
        target.mkdir(parents=True, exist_ok=True)
        if self.folder is not None:
            for file in (self.folder.record, self.folder.history):
                if file.exists():
                    shutil.copy(file, target / f"{self.name}{file.suffix}")


def curve(path: Path) -> list[dict[str, float]]:
    """The lines of a ``history.csv`` that are whole."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    whole = [line for line in lines if None not in line.values()]
    return [{key: float(value) for key, value in line.items()} for line in whole]


def figures(record: Record) -> dict[str, Any]:
    """What a report keeps of a record."""
    test = record.test or {}
    return {
        "status": record.status,
        "nats": test.get("log_likelihood"),
        "error": test.get("error"),
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "updates": record.updates,
        "seconds": record.seconds,
        "device": record.environment.get("device"),
        "engine": record.environment.get("engine"),
    }


def kept_on_the_cpu(dataset: str, model: str, hidden: list[int]) -> tuple[Record, Path] | None:
    """The kept record, and learning curve, of the paper's training of a model on the CPU."""
    for path in sorted((RECORDS / dataset).rglob("*.json")):
        record = Record.read(path)
        settings = record.settings
        alike = (settings["trainer"]["name"], record.model, settings["model"].get("hidden"))
        if alike == ("paper", model, hidden) and not record.conditional and record.seed == 0:
            return record, path.with_suffix(".csv")
    return None
