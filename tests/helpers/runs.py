"""Runs that the tests carry out, what they leave, and when two of their records are the same."""

import json
import time
from pathlib import Path

MAY_DIFFER = ("seconds", "environment", "resumed")
SMALL = (
    "model=maf",
    "model.hidden=[16]",
    "model.layers=2",
    "trainer.learning_rate=0.01",
    "trainer.patience=5",
    "threads=1",
)
# From the raw files to the record: data are prepared, six epochs, each with a checkpoint.
RUN = (
    "maf-run",
    "dataset=miniboone",
    "model=maf",
    "model.layers=2",
    "model.hidden=[16]",
    "trainer.learning_rate=0.01",
    "trainer.max_epochs=6",
    "threads=1",
)


def records(folder):
    """The records under ``folder``."""
    return [json.loads(p.read_text()) for p in sorted(Path(folder).rglob("record.json"))]


def only_folder(folder):
    """The one run folder under ``folder``."""
    (path,) = Path(folder).rglob("record.json")
    return path.parent


def record_of(folder):
    """The one record under ``folder``, without what may differ between two runs."""
    (entry,) = records(folder)
    return comparable(entry)


def comparable(record):
    """A record without what may differ between two runs."""
    return {key: value for key, value in record.items() if key not in MAY_DIFFER}


def same(one, other):
    """Whether two records are of the same run with the same figures."""
    return comparable(one) == comparable(other)


def leftovers(folder):
    """Files under ``folder`` that only an unfinished or a careless run leaves behind."""
    return sorted(p.name for p in folder.rglob("*") if p.name.endswith((".tmp", "last.pt")))


def wait_for(folder, pattern, count=1, seconds=120):
    """The files under ``folder`` that fit the pattern, once there are ``count`` of them."""
    deadline = time.monotonic() + seconds
    while len(there := list(Path(folder).rglob(pattern))) < count:
        assert time.monotonic() < deadline, f"no {pattern} under {folder} after {seconds} s"
        time.sleep(0.01)
    return there
