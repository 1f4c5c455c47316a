"""What every dataset gives: three splits of rows, ready for a density model."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.spaces.table import TableSpace

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Paths:
    """The folders of raw and prepared files; absolute.

    ``mirror`` is an address with a copy of the raw folder; downloads try it first.
    """

    raw: Path
    prepared: Path
    mirror: str | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows ``x`` float32 [N, D]; with classes, ``labels`` int64 [N].

    ``context`` float32 [N, C] are the values of columns that a model is conditioned on.

    ``weights`` [N], above 0, say how much each row counts in a mean; None: all alike.
    """

    x: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None
    context: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Splits:
    """A dataset as models see it.

    Attributes:
        origin: ``authors`` (exactly the arrays that the paper's authors trained on), ``raw``
            (made from raw files by the same steps, as far as they are known), ``redrawn`` (a
            random step of the authors was drawn again) or ``own`` (the user's own table). In
            records and prepared files its key is ``recipe``.
        classes: number of classes; 0 without labels.
        prior: probability of each class in p(x); None if all are equal.
        image: how the rows were made from pixels; None if they are not images.
        table: how the rows were made from a table; None if they were not.
        context: how the context of the rows was made from columns of the table; None without.
        entropy: of the true density, in nats, if it is known.
        true_log_prob: the true log density in nats [N] of rows [N, D], if it is known.
        sources: SHA-256 of each file it was made from.
    """

    train: Rows
    validation: Rows
    test: Rows
    origin: str
    classes: int = 0
    prior: tuple[float, ...] | None = None
    image: LogitSpace | None = None
    table: TableSpace | None = None
    context: ContextSpace | None = None
    entropy: float | None = None
    true_log_prob: Callable[[NDArray[np.floating]], NDArray[np.float64]] | None = None
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def features(self) -> int:
        """D."""
        return self.train.x.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the shapes, rows, labels, weights and context of the three splits."""
        digest = hashlib.sha256()
        for rows in (self.train, self.validation, self.test):
            digest.update(repr(rows.x.shape).encode())
            digest.update(np.ascontiguousarray(rows.x, dtype="<f4").data)
            if rows.labels is not None:
                digest.update(np.ascontiguousarray(rows.labels, dtype="<i8").data)
            if rows.weights is not None:
                digest.update(np.ascontiguousarray(rows.weights, dtype="<f8").data)
            if rows.context is not None:
                digest.update(np.ascontiguousarray(rows.context, dtype="<f4").data)
        return digest.hexdigest()
