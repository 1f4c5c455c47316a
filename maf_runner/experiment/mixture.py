"""Several finished runs as one density: their uniform mixture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from maf_runner.datasets.base import Splits
from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.uniform import UniformMixture, Units
from maf_runner.system.errors import UsageError

# The fields of a record that are true of one run alone, emptied.
OF_ONE_RUN: dict[str, Any] = {
    "parameters": None,
    "departures": [],
    "test": {},
    "validation": {},
    "divergence": {},
    "best_epoch": None,
    "epochs": None,
    "updates": None,
    "stop_reason": None,
    "resumed": None,
    "seconds": None,
}


def load_trained(folders: Sequence[str | Path]) -> TrainedRun:
    """The run of one folder, or the uniform mixture of several.

    Raises:
        DataError: a folder is not a run folder, not finished, or damaged.
        UsageError: the runs cannot be mixed.
    """
    if len(folders) == 1:
        return TrainedRun.load(folders[0])
    return Mixture.load_all(folders)


@dataclass(frozen=True)
class Mixture(TrainedRun):
    """The uniform mixture of K runs, p(x) = 1/K sum_k p_k(x), used as a single run is.

    It has the spaces of the first run: rows are standardised as there, and so are the log
    densities of standardised rows. Those in the units of the table are of the same kind for all.
    Its record is that of the first run, without what is true of one run alone: figures, epochs.

    Attributes:
        runs: those that are mixed.
    """

    runs: tuple[TrainedRun, ...] = ()

    @classmethod
    def load_all(cls, folders: Sequence[str | Path]) -> Self:
        """The mixture of the runs of these folders.

        Raises:
            DataError: a folder is not a run folder, not finished, or damaged.
            UsageError: the runs are not over the same columns or given the same; one is named
                twice.
        """
        return cls.of([TrainedRun.load(folder) for folder in folders])

    @classmethod
    def of(cls, runs: Sequence[TrainedRun]) -> Self:
        """The mixture of these runs.

        Raises:
            UsageError: they are not over the same columns or given the same; one is named twice.
        """
        first = runs[0]
        seen: set[str] = set()
        for run in runs:
            if run.record.run_id in seen:
                raise UsageError(
                    f"{run.folder.path}: its run {run.record.run_id} is named twice: name each "
                    "run once"
                )
            seen.add(run.record.run_id)
            if difference := _difference(first, run):
                raise UsageError(
                    f"{run.folder.path} cannot be mixed with {first.folder.path}: {difference}"
                )
        density = UniformMixture([r.model for r in runs], [_units(first, r) for r in runs])
        ids = " ".join(run.record.run_id for run in runs)
        model = f"mixture of {len(runs)} runs"
        record = replace(first.record, run_id=ids, model=model, **OF_ONE_RUN)
        spaces = first.image, first.table, first.context
        return cls(first.folder, record, density.eval(), *spaces, runs=tuple(runs))

    def data(self, raw: Path | None = None, prepared: Path | None = None) -> Splits:
        """The data that all the runs were trained and tested on, as `TrainedRun.data`.

        Raises:
            DataError: they, or the run's settings, are missing or damaged.
            UsageError: the runs have different data.
        """
        for run in self.runs:
            if run.record.data.fingerprint != self.record.data.fingerprint:
                raise UsageError(
                    f"{run.folder.path} and {self.folder.path} were trained on different rows, so "
                    "their mixture has no training rows of its own"
                )
        return super().data(raw, prepared)


def _difference(a: TrainedRun, b: TrainedRun) -> str:
    """What keeps two runs from being mixed, in words; empty if nothing does."""
    kinds = [_kind(run) for run in (a, b)]
    if kinds[0] != kinds[1]:
        return f"it is a run on {kinds[1]}, the other on {kinds[0]}"
    if a.table is not None and b.table is not None:
        if text := _difference_of_tables(a.table, b.table):
            return text
    elif a.image is not None and b.image is not None and a.image != b.image:
        return f"its pictures have {_pictures(b.image)}, those of the other {_pictures(a.image)}"
    elif a.image is None and a.record.data.fingerprint != b.record.data.fingerprint:
        return (
            f"its data ({b.record.dataset}) are not those of the other ({a.record.dataset}), and "
            "the units of such data are not known"
        )
    return _difference_of_what_is_given(a, b)


def _kind(run: TrainedRun) -> str:
    if run.table is not None:
        return "your own table"
    return "pictures" if run.image is not None else "data that are no table"


def _pictures(space: LogitSpace) -> str:
    shape = "×".join(map(str, space.shape))
    return f"shape {shape}, {space.levels} grey levels and alpha {space.alpha}"


def _difference_of_tables(a: TableSpace, b: TableSpace) -> str:
    if a.columns != b.columns:
        return f"its columns are {', '.join(b.columns)}, those of the other {', '.join(a.columns)}"
    for i, name in enumerate(a.columns):
        for what, absent, every in (
            ("bounds", (None, None), (a.bounds, b.bounds)),
            ("categories", (), (a.categories, b.categories)),
        ):
            one, other = (own[i] if own else absent for own in every)
            if one != other:
                return (
                    f"column {name!r} has the {what} {_words(other)}, in the other {_words(one)}"
                )
        if not _same_steps(a, b, i):
            return f"the dequantised values of column {name!r} are not the same in both"
    return ""


def _words(values: Sequence[Any]) -> str:
    return ", ".join("none" if value is None else str(value) for value in values) or "(none)"


def _same_steps(a: TableSpace, b: TableSpace, column: int) -> bool:
    """Whether a column has the same steps: none, or of one width and a whole number apart."""
    steps = [space.steps[column] if space.steps else 0.0 for space in (a, b)]
    if steps[0] != steps[1] or not steps[0]:
        return steps[0] == steps[1]
    apart = (a.origins[column] - b.origins[column]) / steps[0]
    return abs(apart - round(apart)) < 1e-6


def _difference_of_what_is_given(a: TrainedRun, b: TrainedRun) -> str:
    given = [_given(run) for run in (a, b)]
    if given[0] != given[1]:
        return f"its model is given {given[1]}, that of the other {given[0]}"
    if a.context is not None and b.context is not None:
        for one, other in zip(a.context.columns, b.context.columns, strict=True):
            if one.categories != other.categories:
                return (
                    f"context column {one.name!r} has the categories {_words(other.categories)}, "
                    f"in the other {_words(one.categories)}"
                )
            if one.flagged != other.flagged:
                return (
                    f"only one of the models is told when context column {one.name!r} is missing"
                )
    elif a.model.context and a.classes != b.classes:
        return f"its classes are {_words(b.classes)}, those of the other {_words(a.classes)}"
    elif a.model.context and a.prior != b.prior:
        shares = [_words(run.prior) if run.prior else "all equal" for run in (a, b)]
        return f"the shares of its classes are {shares[1]}, those of the other {shares[0]}"
    return ""


def _given(run: TrainedRun) -> str:
    if run.context is not None:
        return ", ".join(run.context.names)
    return "the class" if run.model.context else "nothing"


def _units(shared: TrainedRun, own: TrainedRun) -> Units | None:
    """From rows and context of one run to those of another; None where they are the same."""
    scale, shift = np.ones(own.model.features), np.zeros(own.model.features)
    if (
        shared.table is not None and own.table is not None
    ):  # bounds are the same, so this is affine
        scale = np.divide(shared.table.deviation, own.table.deviation)
        shift = np.subtract(shared.table.mean, own.table.mean) / own.table.deviation
    context = None
    if shared.context is not None and own.context is not None:
        context = _context_units(shared.context, own.context)
    if context is None and (scale == 1).all() and (shift == 0).all():
        return None
    return Units(torch.from_numpy(scale), torch.from_numpy(shift), context)


def _context_units(
    shared: ContextSpace, own: ContextSpace
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A and b of `Units.context` from the standardisation of one space to that of the other."""
    matrix = torch.eye(own.width, dtype=torch.float64)
    offset = torch.zeros(own.width, dtype=torch.float64)
    place = 0
    for a, b in zip(shared.columns, own.columns, strict=True):
        if not a.categories:
            shift = (a.mean - b.mean) / b.deviation
            matrix[place, place] = a.deviation / b.deviation
            offset[place] = shift
            if b.flagged:  # a missing value is 0 in both
                matrix[place + 1, place] = -shift
        place += b.width
    same = not offset.any() and torch.equal(matrix, torch.eye(own.width, dtype=torch.float64))
    return None if same else (matrix, offset)
