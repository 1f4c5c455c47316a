"""Signals: stop at a safe place, with everything saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from maf_runner.system.errors import Interrupted

STOP = (signal.SIGINT, signal.SIGTERM)
SAVE = getattr(signal, "SIGUSR1", None)  # not on Windows
PREEMPTED = getattr(signal, "SIGUSR2", None)  # submitit's, for jobs that are put back in the queue


class Interrupts:
    """While this context is open, SIGINT and SIGTERM raise `Interrupted`; SIGUSR1 is noted.

    Inside ``deferred()`` they are noted only, for the training loop to look at between two
    updates; a second one raises at once. A signal that is somebody else's already, as SIGUSR2
    and SIGTERM are submitit's, goes on to them, from the training loop once the checkpoint is
    written. Does nothing outside the main thread, where Python lets nobody handle signals.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self.save = False
        self._deferred = False
        self._before: dict[int, Any] = {}
        self._owners: dict[int, Any] = {}
        self._owed: list[int] = []

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in filter(None, (*STOP, SAVE, PREEMPTED)):
                handler = signal.getsignal(number)
                if _foreign(handler):
                    self._owners[number] = handler
                elif number == PREEMPTED:
                    continue
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, Exception):
            self.act()  # what a library made of an Interrupted that came in the midst of it

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note what comes; act on leaving on what nobody has acted on."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.act()

    def act(self) -> None:
        """Raise `Interrupted` if a signal to stop was noted; hand on what is others'."""
        if self.stop is not None:
            raise Interrupted(self.stop)
        while self._owed:
            number = self._owed.pop()
            self._owners[number](number, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in self._owners:
            if not self._deferred:
                self._owners[number](number, frame)
                return
            self._owed.append(number)
            self.save = True
            return
        if number == SAVE:
            self.save = True
            return
        again, self.stop = self.stop is not None, number
        if again or not self._deferred:
            raise Interrupted(number)


def _foreign(handler: Any) -> bool:
    """Whether somebody else handles the signal: neither Python, nor the system, nor we."""
    ours = isinstance(getattr(handler, "__self__", None), Interrupts)
    return callable(handler) and handler is not signal.default_int_handler and not ours
