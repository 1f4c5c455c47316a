"""Signals: stop at a safe place, with everything saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from maf_runner.errors import Interrupted

STOP = (signal.SIGINT, signal.SIGTERM)
SAVE = getattr(signal, "SIGUSR1", None)  # not on Windows


class Interrupts:
    """While this context is open, SIGINT and SIGTERM raise `Interrupted`; SIGUSR1 is noted.

    Inside ``deferred()`` they are noted only, for the training loop to look at between two
    updates; a second one raises at once. Does nothing outside the main thread, where Python
    lets nobody handle signals.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self.save = False
        self._deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (*STOP, *((SAVE,) if SAVE else ())):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note what comes; raise on leaving if nobody has acted on it."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        """Raise `Interrupted` if a signal to stop was noted."""
        if self.stop is not None:
            raise Interrupted(self.stop)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == SAVE:
            self.save = True
            return
        if not self._deferred or self.stop is not None:
            raise Interrupted(number)
        self.stop = number
