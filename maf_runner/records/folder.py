"""The folder of a run: its files, and who may write to it."""

import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from maf_runner.system import atomic, reading
from maf_runner.system.errors import BusyError, ShortageError, UnwritableError

log = logging.getLogger("maf_runner")


RECORD, HISTORY, DENSITY = "record.json", "history.csv", "density.png"
TEST_NATS, VALIDATION_NATS = "test_nats.npy", "validation_nats.npy"
PUT_ASIDE = "record-put-aside-"  # and a number: records of other data


@dataclass(frozen=True)
class Holder:
    """The process that holds a folder, and the inode of the lock file by which it does.

    Earlier versions did not note the inode.
    """

    pid: int
    host: str
    lock: int | None = None


@dataclass(frozen=True)
class RunFolder:
    """``<results_dir>/runs/<dataset>/<model>/<run id>/`` and the names of its files."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def log(self) -> Path:
        """What was said while it ran."""
        return self.path / "run.log"

    @property
    def last(self) -> Path:
        """The checkpoint of an unfinished run."""
        return self.path / "last.pt"

    @property
    def history(self) -> Path:
        """The learning curve: one line for each validation."""
        return self.path / HISTORY

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def best(self) -> Path:
        """The trained model."""
        return self.path / "best.pt"

    @property
    def test_nats(self) -> Path:
        """The log density of each test row, float32 [N]."""
        return self.path / TEST_NATS

    @property
    def validation_nats(self) -> Path:
        """The log density of each validation row, float32 [N]; earlier versions kept none."""
        return self.path / VALIDATION_NATS

    @property
    def density(self) -> Path:
        """A picture of the density, for points in the plane."""
        return self.path / DENSITY

    @property
    def record(self) -> Path:
        """The result, written last."""
        return self.path / RECORD

    def put_record_aside(self) -> Path:
        """Rename the record, so that another can be written; returns its new place."""
        aside = self.path / f"{PUT_ASIDE}{time.time_ns()}.json"
        self.record.replace(aside)
        return aside

    @contextmanager
    def held(self, *, wait: bool = False) -> Iterator[Callable[[], None]]:
        """Hold the folder: while this is open no other process writes to it.

        The lock is the operating system's, so that of a dead process is free. Yields a function
        that raises `ShortageError` if the lock file was removed or replaced meanwhile: then
        another process can have taken the folder.

        Args:
            wait: until another process lets go of it.

        Raises:
            BusyError: another process holds it.
            UnwritableError: it cannot be written to.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        holder = self.path / ".holder"
        try:
            number = self._take(lock, wait=wait)
        except OSError as error:
            raise UnwritableError(
                f"{self.path} cannot be written ({error.strerror}): choose another folder with "
                "paths.results_dir=DIR"
            ) from error
        try:
            with suppress(OSError):  # it only tells others who it is
                who = Holder(os.getpid(), socket.gethostname(), number)
                atomic.write(holder, json.dumps(asdict(who)))

            def check() -> None:
                try:
                    same = self.path.joinpath(".lock").stat().st_ino == number
                except FileNotFoundError:
                    same = False
                if not same:
                    raise ShortageError(
                        f"{self.path}/.lock was removed, so that another process may be at this "
                        "run: nothing more is written. What was saved before is whole, and the "
                        "same command goes on from there"
                    )

            yield check
        finally:
            with suppress(OSError):
                holder.unlink(missing_ok=True)
            lock.release()

    def holder(self) -> Holder | None:
        """The process that holds the folder, or did when it was killed; None if there is none.

        In a copy of the folder there is none: its lock is another file.
        """
        try:
            who = Holder(**json.loads(reading.read_text(self.path / ".holder", reading.MB)))
            same = who.lock in (None, self.path.joinpath(".lock").stat().st_ino)
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        known = isinstance(who.pid, int) and isinstance(who.host, str) and who.pid > 0
        return who if known and same else None

    def _take(self, lock: FileLock, *, wait: bool) -> int:
        """Make the folder and acquire its lock; the number of the lock's file."""
        tries = 3
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._acquire(lock, wait=wait)
                return self.path.joinpath(".lock").stat().st_ino
            except FileNotFoundError:  # who held it has removed the folder: nothing was in it
                lock.release()
                tries -= 1
                if not tries:
                    raise

    def _acquire(self, lock: FileLock, *, wait: bool) -> None:
        try:
            lock.acquire()
        except Timeout as error:
            who = self.holder()
            by = f"process {who.pid} on {who.host}" if who else "another process"
            busy = f"{self.path} is in use by {by}"
            if not wait:
                raise BusyError(
                    f"{busy}: stop it, or wait for it (wait=true does, and takes what it leaves)"
                ) from error
            log.info("%s; waiting", busy)
            lock.acquire(timeout=-1)

    def discard(self) -> None:
        """Remove the folder if there is nothing in it that could be missed."""
        ours = {".lock", ".holder", self.log.name, self.config.name}
        if {path.name for path in self.path.iterdir()} <= ours:
            shutil.rmtree(self.path, ignore_errors=True)

    def remove_temporaries(self) -> None:
        """Remove what killed writers left half-written."""
        for path in self.path.glob(".*.tmp"):
            if atomic.is_temporary(path):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove a result and what belongs to it; the log stays, and records put aside."""
        for path in (
            self.record,
            self.history,
            self.best,
            self.last,
            self.test_nats,
            self.validation_nats,
            self.density,
        ):
            path.unlink(missing_ok=True)
        self.path.joinpath(f"previous-{self.last.name}").unlink(missing_ok=True)
        shutil.rmtree(self.tensorboard, ignore_errors=True)


def run_folder(settings: dict[str, Any], run_id: str) -> RunFolder:
    """The folder of the run with these resolved settings."""
    dataset, model = (str(settings[g]["name"]).replace("/", "-") for g in ("dataset", "model"))
    return RunFolder(Path(settings["paths"]["results_dir"]) / "runs" / dataset / model / run_id)


def run_folders(results: Path) -> list[RunFolder]:
    """The folders under ``results`` that have a record."""
    return [RunFolder(p.parent) for p in sorted((results / "runs").glob(f"*/*/*/{RECORD}"))]
