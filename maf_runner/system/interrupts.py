"""Signals: stop at a safe place, after everything was saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from maf_runner.system.errors import Interrupted

STOP = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # the last when a terminal is closed; not on Windows
SAVE = getattr(signal, "SIGUSR1", None)  # not on Windows
PREEMPTED = getattr(signal, "SIGUSR2", None)  # submitit uses it for jobs that are queued again


class Interrupts:
    """Inside this context, SIGINT, SIGTERM and SIGHUP raise `Interrupted`; SIGUSR1 sets ``save``.

    Inside ``deferred()``, they only set ``stop``, which the training loop reads
    between two updates; a second signal raises at once. If another program had installed a handler
    before (submitit does so for SIGUSR2 and SIGTERM), that handler is called: at once outside
    ``deferred()``, inside it after the checkpoint was written. Outside the main thread, where
    Python does not allow handlers of signals, the context does nothing.
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
                if number == getattr(signal, "SIGHUP", None) and handler == signal.SIG_IGN:
                    continue  # nohup asked for that
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
            self.act()  # a library may have turned an Interrupted into an error of its own

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, signals are only noted. On leaving, `act` deals with those still open."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.act()

    def act(self) -> None:
        """Raise `Interrupted` if a signal to stop was noted; else call the handlers of others."""
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
    """Whether a handler belongs to another program: not to Python, the system or this class."""
    ours = isinstance(getattr(handler, "__self__", None), Interrupts)
    return callable(handler) and handler is not signal.default_int_handler and not ours
