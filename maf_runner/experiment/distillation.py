"""Rows drawn from finished runs, on which another model is trained: distillation.

A mixture of several models has a better density than each of them, and costs as much as all. Rows
drawn from it are training rows without end, so that one model that is trained on them overfits
less and comes near to the mixture (Hinton et al. 2015 do so with classifiers).
"""

import logging
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from maf_runner.datasets.base import Rows, Splits
from maf_runner.experiment.conditioning import Conditioning
from maf_runner.experiment.mixture import Mixture
from maf_runner.experiment.prepare import Experiment
from maf_runner.experiment.trained import TrainedRun
from maf_runner.system import logs, shortage
from maf_runner.system.errors import DataError, UsageError

log = logging.getLogger("maf_runner")
T = TypeVar("T", bound=np.generic)
MARGIN = 0.5  # share of a variable's range; drawn rows farther beyond the range are left out
COPIES = 2  # of the drawn rows in memory: in parts, then joined


def training_rows(experiment: Experiment) -> Rows:
    """What a run is trained on: the training rows, and those of its teachers if it has any.

    Raises:
        DataError, UsageError: see `with_drawn_rows`.
    """
    splits, settings = experiment.splits, experiment.settings
    trainer, seed = settings["trainer"], settings["seed"]
    if "teachers" not in trainer:
        return splits.train
    return with_drawn_rows(
        splits, experiment.conditioning, trainer["teachers"], trainer["drawn_rows"], seed
    )


def with_drawn_rows(
    splits: Splits, conditioning: Conditioning, teachers: Sequence[str], n: int, seed: int
) -> Rows:
    """The training rows, and after them ``n`` rows drawn from the mixture of ``teachers``.

    A flow can draw rows far outside of the data. Drawn rows that lie beyond the range of the
    training rows by more than half of that range are left out, but not for a constant variable.

    Args:
        splits: the data, which the teachers too were trained on.
        conditioning: what model and teachers are given. Classes are drawn by their share; columns
            that are given are those of the training rows.
        teachers: folders of finished runs.
        n: how many rows are drawn.
        seed: of the draw.

    Raises:
        DataError: a folder holds no finished run.
        UsageError: the teachers had other data, are given something else, cannot be sampled or
            draw most rows far outside; or there is not enough memory for the rows.
    """
    # Sorted by id, as in the run id, so that the order in which they are named changes no row.
    try:
        runs = sorted(map(TrainedRun.load, teachers), key=lambda run: run.record.run_id)
    except DataError as error:
        raise DataError(f"trainer.teachers: {error}") from error
    teacher = runs[0] if len(runs) == 1 else Mixture.of(runs)
    _require_same(runs, splits, conditioning)
    log.info("drawing %s rows from %s", f"{n:,}", teacher.record.model)
    train, parts = splits.train, [splits.train]
    width = train.x.shape[1] + conditioning.width
    shortage.require(
        COPIES * n * width * train.x.itemsize, f"trainer.drawn_rows={n:,}", "draw fewer rows"
    )
    low, high = train.x.min(axis=0), train.x.max(axis=0)
    margin = np.where(high > low, MARGIN * (high - low), np.inf)
    with tqdm(total=n, unit=" rows", leave=False, disable=not logs.has_terminal()) as bar:
        for rows in _draws(teacher, train, n, seed):
            inside = ((rows.x >= low - margin) & (rows.x <= high + margin)).all(axis=1)
            parts.append(_select(rows, inside))
            bar.update(len(rows))
    if left_out := n - sum(map(len, parts[1:])):
        text = f"{left_out:,} of {n:,} drawn rows lie far outside of the training rows"
        if left_out > n / 2:
            raise UsageError(f"trainer.teachers: {text}: these runs draw no rows to learn from")
        log.info("%s: left out", text)
    return Rows(
        np.concatenate([rows.x for rows in parts]),
        _joined([rows.labels for rows in parts]),
        context=_joined([rows.context for rows in parts]),
    )


def _require_same(runs: list[TrainedRun], splits: Splits, conditioning: Conditioning) -> None:
    if splits.train.weights is not None:
        raise UsageError(
            "trainer.teachers: rows that are drawn have no weights: leave out dataset.weight"
        )
    for run in runs:
        if run.record.data.fingerprint != splits.fingerprint:
            raise UsageError(
                f"trainer.teachers: {run.folder.path} was trained on other rows than this run: "
                "give both the same dataset"
            )
        if run.conditioning.width != conditioning.width:
            raise UsageError(
                f"trainer.teachers: {run.folder.path} is given {run.conditioning.width} numbers "
                f"with each row, the model {conditioning.width}: give both the same "
                "model.conditional"
            )
        if conditioning.classes and run.conditioning.prior != conditioning.prior:
            raise UsageError(
                f"trainer.teachers: the classes of {run.folder.path} have other probabilities "
                "than those of this run: give both the same dataset.class_prior"
            )
        if not run.model.can_sample:
            raise UsageError(
                f"trainer.teachers: {run.folder.path} is of {run.record.model}, which cannot draw "
                "rows: leave it out"
            )


def _draws(teacher: TrainedRun, train: Rows, n: int, seed: int) -> Iterator[Rows]:
    """The rows drawn, some thousands at a time, with the labels or the context of each."""
    if teacher.context is None:
        for x, codes in teacher.samples(n, seed=seed):
            labels = None if codes is None else np.array(codes, dtype=np.int64)
            yield Rows(x.astype(np.float32), labels)
        return
    assert train.context is not None
    chosen = np.random.default_rng(seed).integers(len(train), size=n)
    given = train.context[chosen]
    for x, numbers in teacher.samples_given(given, 1, seed=seed):
        yield Rows(x.astype(np.float32), context=given[numbers])


def _select(rows: Rows, which: NDArray[np.bool_]) -> Rows:
    labels = None if rows.labels is None else rows.labels[which]
    context = None if rows.context is None else rows.context[which]
    return Rows(rows.x[which], labels, context=context)


def _joined(parts: list[NDArray[T] | None]) -> NDArray[T] | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if len(arrays) == len(parts) else None
