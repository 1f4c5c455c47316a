"""One process at a time, the others wait."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger("maf_runner")


@contextmanager
def alone(path: Path, meanwhile: str) -> Iterator[None]:
    """Hold the lock file ``path``; while another process has it, say ``meanwhile`` and wait.

    The lock is the operating system's, so that of a dead process is free.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s", meanwhile)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
