"""A trained model back from its run folder, with all that its record says of its data."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from maf_runner.datasets.base import Splits
from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.engine.adam import flatten
from maf_runner.engine.rows import log_prob_of_rows, sample
from maf_runner.experiment import plugins
from maf_runner.experiment.conditioning import Conditioning, context_of, labels_by_share
from maf_runner.experiment.evaluation import log_prob_function
from maf_runner.experiment.prepare import as_density, data_of, without_numbers
from maf_runner.experiment.settings import build
from maf_runner.flows.base import SAMPLED_AT_ONCE, Density
from maf_runner.records.entries import record_of_model
from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Data, Record
from maf_runner.system import reading
from maf_runner.system.errors import DataError, ShortageError, UsageError, suggestion
from maf_runner.training.checkpoint import load


def load_run(folder: str | Path) -> Density:
    """The trained model of a finished run, in evaluation mode, on the CPU.

    Also of a run whose only fault is that rows of its own test split have no finite density.

    Args:
        folder: the run folder, as ``maf-run`` prints it. Nothing in it is executed, and only
            models of maf_runner are built from it.

    Raises:
        DataError: not a run folder, not finished, or damaged.
    """
    files = RunFolder(Path(folder))
    return _model(files, record_of_model(files))


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: the run folder.
        record: its record.
        model: the trained model, in evaluation mode, on the CPU.
        image: how the rows were made from pictures; None for other data.
        table: how the rows were made from a user's table; None for other data.
        context: how the context was made from the columns that the model is conditioned on; None
            for other models.
    """

    folder: RunFolder
    record: Record
    model: Density
    image: LogitSpace | None = None
    table: TableSpace | None = None
    context: ContextSpace | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The run of a run folder.

        Raises:
            DataError: not a run folder, not finished, or damaged.
        """
        files = RunFolder(Path(folder))
        record = record_of_model(files)
        model = _model(files, record)
        try:
            spaces = _image_space(record.data), _table_space(record.data), _context_space(record)
            run = cls(files, record, model, *spaces)
            run._check()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{folder}: the record does not describe the data as it should ({error!s:.500})"
            ) from error
        return run

    @property
    def conditioning(self) -> Conditioning:
        """What the model is given."""
        if self.context is not None:
            return Conditioning(columns=self.context)
        return Conditioning(self.model.context, None if self.prior is None else tuple(self.prior))

    @property
    def prior(self) -> list[float] | None:
        """The probability [C] of each class; None for equal ones."""
        return self.record.data.class_prior

    @property
    def classes(self) -> list[Any]:
        """The C classes of a model given one, as in the user's table, or else 0, 1, ..."""
        if self.context is not None or not self.model.context:
            return []
        named = self.table.classes if self.table else ()  # records of earlier versions have none
        return list(named or range(self.model.context))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the D columns: of a user's table its own, else x1, x2, ..."""
        if self.table is not None:
            return self.table.columns
        return tuple(f"x{i + 1}" for i in range(self.model.features))

    @property
    def label_name(self) -> str:
        """The name of the column with the classes."""
        return (self.table.label if self.table else None) or "label"

    def log_prob(
        self, rows: NDArray[Any], context: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        """Log densities [N] in nats of rows [N, D] as the model takes them.

        Of a model given the class that is the class marginal. A model given columns needs their
        ``context``, [N, C] or [1, C].
        """
        if self.context is None:
            return log_prob_function(self.model, self.prior)(rows)
        x, given = (torch.from_numpy(a).to(self.model.reference) for a in (rows, context))
        return log_prob_of_rows(self.model, x, given).numpy()

    def label_code(self, label: str | None) -> int | None:
        """The index among the classes of the one that ``--label`` names; None without it.

        Raises:
            UsageError: it is no class of this run.
        """
        if label is None:
            return None
        if not self.model.context:
            raise UsageError("--label: this model is not conditional")
        if self.context is not None:
            names = ", ".join(self.context.names)
            raise UsageError(f"--label: this model is conditioned on columns: {names}")
        known = self.classes
        for code, value in enumerate(known):
            if label in (str(value), json.dumps(value)):  # True or true
                return code
        if known == list(range(len(known))):
            raise UsageError(f"--label must be a class from 0 to {len(known) - 1}, got {label}")
        near = suggestion(label, [str(value) for value in known])
        raise UsageError(f"--label must be a class of this run, got {label!r}{near}")

    def draw_samples(
        self, n: int, *, seed: int, label: int | None = None
    ) -> tuple[NDArray[Any], list[int] | None]:
        """Draw ``n`` rows [n, D] of the model; see `samples`."""
        parts = list(self.samples(n, seed=seed, label=label))
        codes = [codes for _, codes in parts if codes is not None]
        rows = np.concatenate([rows for rows, _ in parts])
        return rows, [code for part in codes for code in part] if codes else None

    def samples(
        self, n: int, *, seed: int, label: int | None = None
    ) -> Iterator[tuple[NDArray[Any], list[int] | None]]:
        """Draw ``n`` rows of the model, some thousands at a time.

        Args:
            n: how many.
            seed: of the draw.
            label: of a conditional model: this class; None: each by its share, in ascending order.

        Yields:
            Rows [m, D], and the class of each for a conditional model.

        Raises:
            UsageError: the model has no way to draw samples.
        """
        labels = None
        if self.model.context and label is not None:
            labels = torch.full((n,), label)
        elif self.model.context:
            labels = labels_by_share(n, self.model.context, self.prior)
        for part, rows in self._drawn(
            n, seed, lambda part: context_of(self.model, None if labels is None else labels[part])
        ):
            yield rows, None if labels is None else labels[part].tolist()

    def samples_given(
        self, context: NDArray[Any], n: int, *, seed: int
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Draw ``n`` rows of a model given columns for each row of ``context`` [M, C].

        Yields:
            Rows [m, D], some thousands at a time, and for each the number of its context [m].

        Raises:
            UsageError: the model has no way to draw samples.
        """
        given = torch.from_numpy(context).to(self.model.reference)

        def numbers(part: slice) -> torch.Tensor:
            return torch.arange(part.start, part.stop) // n

        for part, rows in self._drawn(n * len(given), seed, lambda part: given[numbers(part)]):
            yield rows, numbers(part).numpy()

    def _drawn(
        self, n: int, seed: int, context: Callable[[slice], torch.Tensor | None]
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Draw ``n`` rows, some thousands at a time, each part with its ``context``."""
        generator = torch.Generator().manual_seed(seed)
        for start in range(0, n, SAMPLED_AT_ONCE):
            part = slice(start, min(start + SAMPLED_AT_ONCE, n))
            try:
                rows = sample(self.model, part.stop - start, context(part), generator)
            except NotImplementedError as error:
                raise UsageError(f"{self.record.model} cannot draw samples") from error
            yield part, rows.numpy()

    def grid_columns(self, n: int) -> int:
        """Columns of a grid of ``n`` samples: square, or a line for each class."""
        if self.classes and n % self.model.context == 0:
            return n // self.model.context
        return max(1, round(n**0.5))

    def data(self, raw: Path | None = None, prepared: Path | None = None) -> Splits:
        """The data of the run, from where it had them or from the folders given.

        Raises:
            DataError: they, or the run's settings, are missing or damaged.
        """
        splits = data_of(self.folder, raw, prepared)
        if splits.fingerprint != self.record.data.fingerprint:
            print(
                f"{self.folder.path}: the data here are not those it was trained on",
                file=sys.stderr,
            )
        return splits

    def _check(self) -> None:
        """Raise ValueError where the record and the model do not fit each other."""
        features, context = self.model.features, self.model.context
        if self.image is not None and math.prod(self.image.shape) != features:
            raise ValueError(f"no pictures of {features} values have shape {self.image.shape}")
        if self.table is not None and len(self.table.columns) != features:
            raise ValueError(f"there are {features} features and other columns")
        if self.context is not None and self.context.width != context:
            raise ValueError(f"the context has {self.context.width} numbers, the model {context}")
        if self.context is None and context and len(self.classes) != context:
            raise ValueError(f"there are {context} classes and other names of them")
        if self.prior is not None and not _is_prior(self.prior, context):
            raise ValueError(f"the prior is no share for each of {context} classes")


def _model(folder: RunFolder, record: Record) -> Density:
    """The model of a run, built from its record, with the parameters kept beside it."""
    try:
        best = load(folder.best, {"run_id": record.run_id})["model"]
        settings = record.settings["model"]
        size: dict[str, Any] = {"features": record.features, "context": record.context}
        stored = sum(tensor.untyped_storage().nbytes() for tensor in best.values())
        ours = plugins.of_target(str(settings.get("_target_"))) is None
        if ours:
            if (largest := max(_numbers([settings, size]))) > stored:
                raise ValueError(f"{folder.best} holds no model of size {largest:,}")
            _check_sizes(settings, size, best)
        else:
            plugins.warn_of_changes(record.settings.get("plugins", {}), folder.path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(record.settings.get("seed", 0))  # as when it was trained
            built = build("model", settings, **size)
        model = as_density(built, size["features"], size["context"], settings)
        if not isinstance(model, Density) or model.title != record.model:
            raise ValueError(f"{folder.record} has the settings of another model than it names")
        model.load_state_dict(best)
        flatten(model.parameters())  # so that the native engine need not copy them
        # Buffers of a model from outside may hold -inf, as masks of attention do.
        values = model.state_dict().values() if ours else model.parameters()
        if not all(tensor.isfinite().all() for tensor in values):
            raise ValueError(f"{folder.best} holds parameters that are not finite")
    except UsageError as error:
        raise DataError(f"{folder.path} cannot be loaded: {error!s:.800}") from error
    except Exception as error:  # whatever a strange record and checkpoint may lead to
        if (system := reading.out_of_reach(error)) is not None:
            raise ShortageError(f"{folder.best}: {system.strerror or system}") from error
        raise DataError(f"{folder.path} cannot be loaded: {error!s:.500}") from error
    return model.eval()


def _check_sizes(settings: dict[str, Any], size: dict[str, Any], best: dict[str, Any]) -> None:
    """Compare the model that the settings describe with the tensors, before it takes any memory.

    Raises:
        ValueError: they differ.
    """
    empty = without_numbers(settings, **size)
    if empty is None:
        return
    described = sum(parameter.numel() for parameter in empty.parameters())
    names = {name for name, _ in empty.named_parameters()}
    held = sum(tensor.numel() for name, tensor in best.items() if name in names)
    if described != held:
        raise ValueError(
            f"the settings describe a model of {described:,} parameters, the file holds {held:,}"
        )


def _numbers(value: Any) -> list[int]:
    """The whole numbers among nested values, and 0."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for entry in value for number in _numbers(entry)]
    return [value] if isinstance(value, int) else [0]


def _image_space(data: Data) -> LogitSpace | None:
    image = data.image
    if image is None:
        return None
    return LogitSpace(tuple(image["shape"]), levels=image["levels"], alpha=image["alpha"])


def _table_space(data: Data) -> TableSpace | None:
    return None if data.table is None else TableSpace.from_json(data.table)


def _context_space(record: Record) -> ContextSpace | None:
    if not record.given:
        return None
    return ContextSpace.from_json(record.data.context)


def _is_prior(prior: list[Any], classes: int) -> bool:
    right = not classes or len(prior) == classes
    right = right and all(isinstance(p, (int, float)) and 0 <= p <= 1 for p in prior)
    return right and sum(prior) > 0
