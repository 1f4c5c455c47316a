"""What a section of the check is told, and what it reports."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from maf_runner.system import atomic

ROOT = Path(__file__).resolve().parents[2]


class OutOfTimeError(Exception):
    """A section had to stop before its end; what it has found is good."""


@dataclass(frozen=True)
class Place:
    """Where a section is carried out.

    Attributes:
        device: ``cuda``, or ``cpu`` to try the script itself.
        small: whether everything is done in miniature.
        out: the folder for what is kept.
        work: the folder for everything else.
        ends: when the section has to be done, in seconds of `time.monotonic`, which counts alike
            in all processes of a machine.
    """

    device: str
    small: bool
    out: Path
    work: Path
    ends: float

    @property
    def left(self) -> float:
        """Seconds until the section has to be done."""
        return self.ends - time.monotonic()


@dataclass
class Report:
    """What a section has found; each addition is written at once.

    Attributes:
        path: its file.
        found: figures by name, JSON types.
        wrong: what is not as it should be, a line each.
        left_out: what was not done and why, a line each.
        done: whether the section came to its end.
    """

    path: Path
    found: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    done: bool = False

    @classmethod
    def read(cls, path: Path) -> Self:
        """The report in a file; an empty one where there is none."""
        if not path.exists():
            return cls(path)
        return cls(path, **json.loads(path.read_text(encoding="utf-8")))

    def note(self, name: str, value: Any) -> None:
        """Add a figure."""
        self.found[name] = value
        self.write()

    def check(self, good: bool, what: str) -> None:
        """Add ``what`` to what is wrong, unless it is good."""
        if not good:
            self.wrong.append(what)
            self.write()

    def leave_out(self, what: str) -> None:
        """Add what is not done."""
        self.left_out.append(what)
        self.write()

    def write(self) -> None:
        """Replace the file."""
        content = asdict(self)
        del content["path"]
        atomic.write(self.path, json.dumps(content))
