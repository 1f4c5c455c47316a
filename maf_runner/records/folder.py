"""The folder of a run: its files, and who may write to it."""

import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from maf_runner.system import atomic
from maf_runner.system.errors import BusyError, UnwritableError

log = logging.getLogger("maf_runner")


@dataclass(frozen=True)
class RunFolder:
    """``<results_dir>/runs/<dataset>/<model>/<run id>/`` and what lies in it.

    ``config.yaml`` the resolved settings, ``record.json`` the result, ``history.csv`` one line
    for each validation, ``best.pt`` the trained model, ``last.pt`` the way back while
    unfinished, ``run.log``.
    """

    path: Path

    @property
    def record(self) -> Path:
        """The result."""
        return self.path / "record.json"

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def history(self) -> Path:
        """One line for each validation."""
        return self.path / "history.csv"

    @property
    def best(self) -> Path:
        """The trained model."""
        return self.path / "best.pt"

    @property
    def last(self) -> Path:
        """The checkpoint of an unfinished run."""
        return self.path / "last.pt"

    @property
    def log(self) -> Path:
        """What was said while it ran."""
        return self.path / "run.log"

    @contextmanager
    def held(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the folder: while this is open no other process writes to it.

        The lock is the operating system's, so that of a dead process is free.

        Args:
            wait: until another process lets go of it.

        Raises:
            BusyError: another process holds it.
            UnwritableError: it cannot be written to.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        holder = self.path / ".holder"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _acquire(lock, holder, wait=wait)
        except OSError as error:
            raise UnwritableError(
                f"{self.path} cannot be written ({error.strerror}): choose another folder with "
                "paths.results_dir=DIR"
            ) from error
        try:
            with suppress(OSError):  # it only tells others who it is
                who = {"pid": os.getpid(), "host": socket.gethostname()}
                atomic.write(holder, json.dumps(who))
            yield
        finally:
            with suppress(OSError):
                holder.unlink(missing_ok=True)
            lock.release()

    def discard(self) -> None:
        """Remove the folder if there is nothing in it that could be missed."""
        ours = {".lock", ".holder", self.log.name, self.config.name}
        if {path.name for path in self.path.iterdir()} <= ours:
            shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed writers left half-written."""
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove a result and what belongs to it; the log stays, and records put aside."""
        for path in self.path.iterdir():
            aside = path.name.startswith("record-put-aside")
            if path.suffix in (".json", ".csv", ".pt", ".npy", ".png") and not aside:
                path.unlink()


def run_folder(settings: dict[str, Any], run_id: str) -> RunFolder:
    """The folder of the run with these resolved settings."""
    dataset, model = (str(settings[g]["name"]).replace("/", "-") for g in ("dataset", "model"))
    return RunFolder(Path(settings["paths"]["results_dir"]) / "runs" / dataset / model / run_id)


def _acquire(lock: FileLock, holder: Path, *, wait: bool) -> None:
    try:
        lock.acquire()
    except Timeout as error:
        busy = f"{holder.parent} is in use by {_holder(holder)}"
        if not wait:
            raise BusyError(
                f"{busy}: stop it, or wait for it (wait=true does, and takes what it leaves)"
            ) from error
        log.info("%s; waiting", busy)
        lock.acquire(timeout=-1)


def _holder(path: Path) -> str:
    try:
        who = json.loads(path.read_text())
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
