"""The status file that each job of a sweep writes, wherever it runs, and the closing list."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from maf_runner.system import atomic, reading
from maf_runner.system.text import counted

OUTCOMES = ("done", "skipped", "resumed", "failed", "diverged", "unfinished")


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        number: its place in the sweep, from 0.
        overrides: its settings as on the command line.
        outcome: ``done``, ``skipped`` (it had a record already), ``resumed`` (and then done),
            ``failed``, ``diverged``, or ``unfinished``: not started, or its process is gone.
        text: its figures, or why there are none.
        folder: its run folder; empty if it has none.
    """

    number: int
    overrides: Sequence[str]
    outcome: str = "unfinished"
    text: str = ""
    folder: str = ""

    def write(self, sweep: Path) -> None:
        """Write the status file into the folder of the sweep."""
        path = sweep / "jobs" / f"{self.number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, json.dumps(asdict(self), indent=1) + "\n")


def read(sweep: Path) -> list[Job]:
    """The jobs of the sweep in this folder; one whose file is damaged counts as unfinished."""
    jobs = [_read(path) for path in (sweep / "jobs").glob("*.json")]
    return sorted(jobs, key=lambda job: job.number)


def _read(path: Path) -> Job:
    try:
        job = Job(**json.loads(reading.read_text(path, reading.MB)))
        texts = [*job.overrides, job.outcome, job.text, job.folder]
        "".join(texts).encode()
        if not isinstance(job.number, int) or job.outcome not in OUTCOMES:
            raise ValueError("it is not what a job leaves")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        number = int(path.stem) if path.stem.isdecimal() else sys.maxsize
        return Job(number, [], text=f"{path} cannot be read ({error})")
    return job


def closing_list(jobs: Sequence[Job]) -> str:
    """A line for each job, with the overrides not shared by all; then a count of each outcome.

    >>> jobs = [Job(i, [f"model={name}"], "failed", "no data") for i, name in enumerate("ab")]
    >>> print(closing_list(jobs))
    failed      model=a: no data
    failed      model=b: as above
    2 jobs: 2 failed
    """
    counts = Counter(job.outcome for job in jobs)
    width = max(map(len, OUTCOMES))
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    lines = []
    failures = set()
    for job in jobs:
        apart = " ".join(word for word in job.overrides if word not in shared)
        text = "as above" if job.text and job.text in failures else job.text
        lines.append(f"{job.outcome:<{width}}  {apart}: {text}".rstrip(": "))
        if job.outcome == "failed":
            failures.add(job.text)
    total = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    return "\n".join([*lines, f"{counted(len(jobs), 'job')}: {total or 'none was started'}"])
