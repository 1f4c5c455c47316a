"""What the tests of faults run, and when two records of it are the same."""

import json

MAY_DIFFER = ("seconds", "environment", "resumed")
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


def record_of(folder):
    """The one record under ``folder``, without what may differ between two runs."""
    (path,) = folder.rglob("record.json")
    return {k: v for k, v in json.loads(path.read_text()).items() if k not in MAY_DIFFER}


def leftovers(folder):
    """Files under ``folder`` that only an unfinished or a careless run leaves behind."""
    return sorted(p.name for p in folder.rglob("*") if p.name.endswith((".tmp", "last.pt")))
