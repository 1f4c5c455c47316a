"""What every dataset gives: three splits of rows, ready for a density model."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.spaces.table import TableSpace

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Paths:
    """Where a recipe may look for files and keep what it makes; absolute.

    ``mirror`` is an address that has the raw folder under it, tried first in a download.
    """

    raw: Path
    prepared: Path
    mirror: str | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows ``x`` float32 [N, D] and, where there are classes, ``labels`` int64 [N]."""

    x: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Splits:
    """A dataset as models see it.

    Attributes:
        recipe: ``authors`` (the very arrays the paper's authors trained on), ``raw`` (made from
            raw files, as nearly by the same steps as is known), ``redrawn`` (a random part of
            it is ours) or ``own`` (a table of the user's).
        classes: how many classes the labels have; 0 without labels.
        prior: of each class in p(x), summing to 1; None for equal ones.
        image: how the rows were made from pixels; None where they are no images.
        table: how the rows were made from a table; None where they come from none.
        entropy: of the true density, in nats, where it is known.
        sources: SHA-256 of the files it was made from.
    """

    train: Rows
    validation: Rows
    test: Rows
    recipe: str
    classes: int = 0
    prior: tuple[float, ...] | None = None
    image: LogitSpace | None = None
    table: TableSpace | None = None
    entropy: float | None = None
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def features(self) -> int:
        """D."""
        return self.train.x.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, rows and labels of the three splits: the data, and nothing else."""
        digest = hashlib.sha256()
        for rows in (self.train, self.validation, self.test):
            digest.update(repr(rows.x.shape).encode())
            digest.update(np.ascontiguousarray(rows.x, dtype="<f4").data)
            if rows.labels is not None:
                digest.update(np.ascontiguousarray(rows.labels, dtype="<i8").data)
        return digest.hexdigest()
