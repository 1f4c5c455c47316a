"""Where what the program says goes: to the screen, past the progress bar, and to the run's log."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from maf_runner.system.text import plain_lines

log = logging.getLogger("maf_runner")


# The ``extra`` of what the log of a run has alone, such as a traceback.
FILE_ONLY = {"file_only": True}
_said: set[str] | None = None  # warnings that were shown, where each is shown once
_alone: Path | None = None  # the one file that is written to, where there are several


def warn_once() -> None:
    """Show each warning once from now on: the jobs of a sweep say the same of their table."""
    global _said
    _said = set() if _said is None else _said


class _BarHandler(logging.Handler):
    """Prints above a progress bar, to standard error."""

    def emit(self, entry: logging.LogRecord) -> None:
        if getattr(entry, "file_only", False):
            return
        if _said is not None and entry.levelno == logging.WARNING:
            if entry.getMessage() in _said:
                return
            _said.add(entry.getMessage())
        if entry.exc_info is None or entry.levelno < logging.ERROR:
            tqdm.write(plain_lines(self.format(entry)), file=sys.stderr)
        else:
            tqdm.write(plain_lines(entry.getMessage()), file=sys.stderr)


class _FileHandler(logging.FileHandler):
    """Writes to a file as long as there is room: all of it stands on the screen too.

    A link is not followed: what it leads to is nobody's log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path, encoding="utf-8")

    def _open(self) -> Any:
        def without_links(path: str, flags: int) -> int:
            return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

        return open(self.baseFilename, "a", encoding="utf-8", opener=without_links)

    def emit(self, entry: logging.LogRecord) -> None:
        if _alone in (None, self.path):
            super().emit(entry)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing of what could not be written; logging would print a traceback."""


@contextmanager
def console() -> Iterator[None]:
    """Print what is said to standard error while this is open."""
    with _handler(_BarHandler(), "%(message)s"):
        yield


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Append what is said to a file while this is open; a link there is removed first."""
    with suppress(OSError):
        if path.is_symlink():
            path.unlink()
    with _handler(_FileHandler(path), "%(asctime)s %(levelname)s %(message)s"):
        yield


@contextmanager
def to_none_but(path: Path) -> Iterator[None]:
    """Of the files that are open, write what is said to this one alone: it is of one run."""
    global _alone
    before, _alone = _alone, path
    try:
        yield
    finally:
        _alone = before


@contextmanager
def _handler(handler: logging.Handler, form: str) -> Iterator[None]:
    handler.setFormatter(logging.Formatter(form))
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # no room for the last line
            handler.close()


def has_terminal() -> bool:
    """Whether a progress bar can be shown.

    In some containers a terminal has no size; the processes of a sweep share one.
    """
    if multiprocessing.current_process().name != "MainProcess":
        return False
    try:
        return sys.stderr.isatty() and 0 not in os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        return False
