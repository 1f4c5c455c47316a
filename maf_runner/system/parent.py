"""A worker of a sweep ends soon after the process that gives out the jobs was killed."""

import os
import signal
import sys
import threading
import time

EVERY = 2  # seconds between two looks
SAVING = 20  # seconds for a last checkpoint

_follower: threading.Thread | None = None


def follow() -> None:
    """In a worker process: send it SIGTERM, upon which a run saves and stops, without a parent."""
    global _follower
    multiprocessing = sys.modules.get("multiprocessing")  # a worker has it
    if multiprocessing is None or multiprocessing.current_process().name == "MainProcess":
        return
    if _follower is not None:
        return
    _follower = threading.Thread(target=_watch, args=(os.getppid(),), daemon=True)
    _follower.start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SAVING)  # a library that waits for the parent may hold the process up
    os._exit(128 + signal.SIGTERM)
