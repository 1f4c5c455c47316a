"""Runs without a record: those under way, those that were interrupted, those that failed early.

A record is written last, so that what is known of such a run stands in its settings, its learning
curve, and the note of the process that holds the folder.
"""

import csv
import math
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from maf_runner.records.folder import RECORD, RunFolder
from maf_runner.system import reading

LARGEST_SETTINGS = reading.MB  # those of a run have a few thousand bytes
LARGEST_HISTORY = 64 * reading.MB


@dataclass(frozen=True)
class Unfinished:
    """What is known of a run that has no record.

    Attributes:
        folder: where it is.
        settings: resolved.
        status: ``running`` or ``interrupted``.
        state: ``running on HOST``, or how long ago it was interrupted.
        epochs: validations done.
        best_epoch: the best of them; None before the first.
        seconds: trained so far.
    """

    folder: RunFolder
    settings: dict[str, Any]
    status: str
    state: str
    epochs: int
    best_epoch: int | None
    best_validation: float | None
    seconds: float

    @property
    def limit(self) -> int | None:
        """Epochs after which training stops at the latest; None if not known."""
        trainer = self.settings["trainer"]
        if trainer.get("validate_every"):  # then validations are counted, which the data decide
            return None
        limit = trainer.get("max_epochs")
        return limit if isinstance(limit, int) else None


def unfinished(results: Path) -> list[Unfinished]:
    """The runs under ``results`` with settings and no record. Unreadable ones are left out."""
    found = []
    for config in sorted((results / "runs").glob("*/*/*/config.yaml")):
        folder = RunFolder(config.parent)
        if (config.parent / RECORD).exists():
            continue
        try:
            found.append(_read(folder))
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            continue
    return found


def _read(folder: RunFolder) -> Unfinished:
    settings = yaml.safe_load(reading.read_text(folder.config, LARGEST_SETTINGS))
    for group in ("dataset", "model", "trainer"):
        str(settings[group]["name"])
    epochs, best, nats, seconds = 0, None, None, 0.0
    if folder.history.is_file():
        lines = reading.read_text(folder.history, LARGEST_HISTORY).splitlines()
        for row in csv.DictReader(lines):
            epochs, seconds = int(row["epoch"]), float(row["seconds"])
            value = float(row["validation_nats"])
            if math.isfinite(value) and (nats is None or value > nats):
                best, nats = epochs, value
    return Unfinished(folder, settings, *_state(folder), epochs, best, nats, seconds)


def _state(folder: RunFolder) -> tuple[str, str]:
    """Whether a process is at it; and in words, which, or when it was interrupted."""
    last = max(p.stat().st_mtime for p in folder.path.iterdir() if p.is_file())
    since = f"{ago(time.time() - last)} ago"
    who = folder.holder()
    if who and who.host != socket.gethostname():  # whether it is still there cannot be told here
        return "running", f"running on {who.host}, last written {since}"
    if who and _alive(who.pid):
        return "running", f"running on {who.host}"
    return "interrupted", f"interrupted {since}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def ago(seconds: float) -> str:
    """A time in its largest unit.

    >>> ago(5), ago(300), ago(7300), ago(200_000)
    ('5 s', '5 min', '2 h', '2 days')
    """
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= (2 * size if unit == "days" else size):
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
