"""The record of a run: one JSON file, written last, from which every table is made."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from maf_runner.records.checks import (
    arguments,
    check_figures,
    check_values,
    finite,
    is_figure,
    known,
    plus_minus,
)
from maf_runner.system import atomic, reading
from maf_runner.system.errors import DataError
from maf_runner.system.text import counted

SCHEMA = 1
LARGEST_RECORD = 16 * reading.MB  # bytes; a usual one has some thousand
STATUSES = ("finished", "diverged", "failed")
GROUPS = ("dataset", "model", "trainer")  # what the settings must have


class UnreadableRecordError(DataError):
    """A file that is not a record this version can read; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The data of a run.

    Attributes:
        fingerprint: SHA-256 of the arrays, see `Splits.fingerprint`.
        recipe: how the arrays were made: ``authors``, ``raw``, ``redrawn`` or ``own``.
        sources: SHA-256 of each file they were made from.
        image: the fields of the `LogitSpace` of pictures; None for other data.
        class_prior: the probability of each class; None for equal ones.
        table: the fields of the `TableSpace` of a user's table; None for other data.
        context: the fields of the `ContextSpace` of columns that are conditioned on; None without.
        entropy: of the true density in nats, where it is known.
        unknown: what a later version has written beside these.
    """

    fingerprint: str | None = None
    recipe: str | None = None
    sources: dict[str, Any] = field(default_factory=dict)
    image: dict[str, Any] | None = None
    class_prior: list[float] | None = None
    table: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    entropy: float | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The data as they stand in the record."""
        fields = known(self)
        if self.context is None:
            del fields["context"]
        return {**fields, **self.unknown}


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a run, in the order of its JSON; None and {} are not written.

    Attributes:
        run_id: twelve hexadecimal digits of the scientific settings, see `identity`.
        dataset: the name of the dataset.
        model: the title of the model, as in the paper's tables.
        conditional: whether the density is given the class, or the context columns.
        quantity: what ``log_likelihood`` is the mean of, where a model is given columns of its
            table; None where it is log p(x).
        features: D.
        context: C; 0 for an unconditional model.
        parameters: how many numbers the model learns.
        seed: of initial weights and batches.
        settings: the scientific settings: groups dataset, model, trainer; and the seed.
        departures: settings that differ from their preset, as on the command line.
        train_rows: N of the training split.
        validation_rows: N of the validation split.
        test_rows: N of the test split.
        data: what the run was trained and tested on.
        environment: versions of the libraries, device and threads.
        status: ``finished``, ``diverged`` (no test figure) or ``failed`` (by an error);
            ``running`` before the end, which is never written.
        error: the error of a failed run.
        test: figures by name: ``log_likelihood`` and ``error`` (two standard errors) in nats,
            and what else there is; see `evaluation.evaluate`. All finite in a finished run.
        validation: figures of the validation split.
        divergence: where training diverged; see `training.state.divergence`.
        best_epoch: the validation, counted from 1, whose parameters were kept.
        epochs: validations done.
        updates: updates done.
        stop_reason: ``closed_form``, ``patience``, ``max_epochs``, ``max_updates``, ``diverged``.
        resumed: how many times training went on from a checkpoint.
        seconds: training and evaluation.
        unknown: what a later version has written beside these.
        file: where the record was read from, if it was.
    """

    run_id: str
    dataset: str
    model: str
    conditional: bool
    quantity: str | None = None
    features: int | None = None
    context: int | None = None
    parameters: int | None = None
    seed: int
    settings: dict[str, Any]
    departures: list[str] = field(default_factory=list)
    train_rows: int | None = None
    validation_rows: int | None = None
    test_rows: int | None = None
    data: Data
    environment: dict[str, Any] = field(default_factory=dict)
    status: str = "running"
    error: str | None = None
    test: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    divergence: dict[str, Any] = field(default_factory=dict)
    best_epoch: int | None = None
    epochs: int | None = None
    updates: int | None = None
    stop_reason: str | None = None
    resumed: int | None = None
    seconds: float | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = field(default=None, compare=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            UnreadableRecordError: missing, not JSON, of another schema, or not a record at all.
        """
        try:
            content = json.loads(reading.read_text(path, LARGEST_RECORD))
            check_values(content)
        except reading.OddFileError as error:
            raise UnreadableRecordError(str(error)) from error
        except OSError as error:
            raise UnreadableRecordError(f"{path} cannot be opened ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise UnreadableRecordError(
                f"{path} is not JSON, perhaps cut short ({error})"
            ) from error
        try:
            return cls.from_json(content, file=path)
        except ValueError as error:
            raise UnreadableRecordError(f"{path} {error}") from error

    @classmethod
    def from_json(cls, content: Any, *, file: Path | None = None) -> Self:
        """The record of parsed JSON.

        Raises:
            ValueError: it is none; the message continues "this file ...".
        """
        if not isinstance(content, dict) or "schema" not in content:
            raise ValueError("is not a record of maf_runner")
        if content["schema"] != SCHEMA:
            raise ValueError(
                f"has schema {content['schema']!r:.50}; this version reads schema {SCHEMA}"
            )
        content = {k: v for k, v in content.items() if k != "schema" and v is not None}
        if not isinstance(content.get("data"), dict):
            raise ValueError("has no valid 'data'")
        content["data"] = Data(**arguments(Data, content["data"], "data."))
        context = content["data"].context
        columns = None if context is None else context.get("columns")
        if context is not None and not (
            isinstance(columns, list) and all(isinstance(c, dict) and "name" in c for c in columns)
        ):
            raise ValueError("has no valid data.context")
        record = cls(**arguments(cls, content), file=file)
        for group in GROUPS:
            if not isinstance(record.settings.get(group), dict):
                raise ValueError(f"has no valid settings.{group}")
        if record.status not in STATUSES:
            raise ValueError(f"has an unknown status {record.status!r:.50}")
        if not all(isinstance(departure, str) for departure in record.departures):
            raise ValueError("has no valid 'departures'")
        if record.finished:
            check_figures("test", record.test, record.test_rows)
            check_figures("validation", record.validation, record.validation_rows)
        return record

    def as_json(self) -> dict[str, Any]:
        """What is written to the file; NaN and infinities are None."""
        content = {key: value for key, value in known(self).items() if value not in (None, {})}
        content["data"] = self.data.as_json()
        return finite({"schema": SCHEMA, **content, **self.unknown})

    def write(self, path: Path) -> None:
        """Write the record to ``path`` atomically."""
        atomic.write(path, json.dumps(self.as_json(), indent=1, allow_nan=False) + "\n")

    @property
    def finished(self) -> bool:
        """Whether the run has a trained model and all its figures."""
        return self.status == "finished"

    @property
    def key(self) -> str:
        """What tells this record from all others: its file, or its run if it was in none."""
        return str(self.file or self.run_id)

    @property
    def trainer(self) -> str:
        """The name of the trainer."""
        return str(self.settings["trainer"].get("name", "paper"))

    @property
    def title(self) -> str:
        """Which model on which data."""
        given = " given the class" if self.conditional else ""
        if self.given:
            given = f" given {', '.join(self.given)}"
        redrawn = " (redrawn)" if self.data.recipe == "redrawn" else ""
        trainer = "" if self.trainer == "paper" else f", {self.trainer},"
        return f"{self.model}{trainer}{given} on {self.dataset}{redrawn}"

    @property
    def given(self) -> tuple[str, ...]:
        """The columns that the model is conditioned on; empty without, and for a class."""
        if not self.conditional or self.data.context is None:
            return ()
        return tuple(str(column["name"]) for column in self.data.context["columns"])

    @property
    def given_class(self) -> bool:
        """Whether the model is given the class, over which its figures are sums."""
        return self.conditional and not self.given

    @property
    def score(self) -> float:
        """What a search maximises: the validation log-likelihood in nats, -inf unless finished."""
        mean = self.validation_mean
        return mean if self.finished and mean is not None else -math.inf

    @property
    def validation_mean(self) -> float | None:
        """The validation log-likelihood in nats, where it is known, also without a test figure.

        Of a model given the class it is the class marginal, as the test figure is.
        """
        return self.validation.get(f"{self._marginal}log_likelihood")

    @property
    def validation_error(self) -> float | None:
        """Two standard errors of `validation_mean`, where they are known."""
        return self.validation.get(f"{self._marginal}error")

    @property
    def _marginal(self) -> str:
        """What the names of the validation figures that choices look at begin with."""
        return "marginal_" if "marginal_log_likelihood" in self.validation else ""

    def error_of(self, name: str = "error") -> float | None:
        """The error of a test figure, by its name; None for that of a single row."""
        return None if self.test_rows == 1 else self.test.get(name)

    def describe(self) -> str:
        """One line with the figures of the run, or with the reason why there are none."""
        if self.status == "failed":
            return f"{self.title}: failed, {self.error} (retry=true tries again)"
        if not self.finished:
            return f"{self.title}: {self._no_figure()}"
        test = self.test
        text = f"{self.title}: test {test['log_likelihood']:.2f}{plus_minus(self.error_of())} nats"
        if "bits_per_pixel" in test:
            bar = plus_minus(self.error_of("bits_per_pixel_error"), 3)
            text += f", {test['bits_per_pixel']:.3f}{bar} bits/pixel"
        if self.data.entropy is not None:
            text += f" (no model can beat {-self.data.entropy:.3f})"
        if "accuracy" in test:
            error = self.error_of("accuracy_error")
            bar = plus_minus(None if error is None else 100 * error)
            text += f", accuracy {100 * test['accuracy']:.2f}{bar} %"
        if self.stop_reason == "closed_form":
            return f"{text}; closed form"
        ended = f"stopped by {self.stop_reason}"
        if self.stop_reason == "diverged":
            ended = f"then {self._where_it_diverged()}"
        took = "" if self.seconds is None else f", {self.seconds:.0f} s"
        length = counted(self.epochs or 0, "validation" if self.counts_validations else "epoch")
        return f"{text}; {length}, best {self.best_epoch}, {ended}{took}"

    @property
    def weighted(self) -> bool:
        """Whether the rows have weights."""
        return self.settings["dataset"].get("weight") is not None

    @property
    def counts_validations(self) -> bool:
        """Whether ``epochs`` and ``best_epoch`` are validations that do not end an epoch."""
        return bool(self.settings["trainer"].get("validate_every"))

    @property
    def ending(self) -> str:
        """The status in a word or two; of a model that only lacks a figure ``not finite``."""
        return "not finite" if self.rows_not_finite else self.status

    @property
    def rows_not_finite(self) -> str:
        """A text on the test rows, else the validation rows, without a finite log density.

        Empty if there are none.
        """
        for split, figures in (("test", self.test), ("validation", self.validation)):
            rows = figures.get("rows_not_finite")
            if isinstance(rows, int):
                text = f"the log density of {counted(rows, f'{split} row')} is not finite"
                text += f" (the first is row {figures.get('first_not_finite')})"
                mean = figures.get("log_likelihood_of_others")
                error = figures.get("error_of_others")
                if is_figure(mean):
                    bar = plus_minus(error if is_figure(error) else None)
                    text += f"; the mean of the others is {mean:.2f}{bar} nats"
                return text
        return ""

    def _no_figure(self) -> str:
        """Why a run has no test figure, and what may help."""
        if text := self.rows_not_finite:
            return text
        text = self._where_it_diverged()
        if not self.divergence:
            return text
        if self.divergence.get("of") == "validation":
            return f"{text} (validation rows may lie far from all training rows)"
        if self.divergence.get("falling"):
            return (
                f"{text} (the density grew without bound: look for values that repeat, "
                "and see dataset.dequantise)"
            )
        return f"{text} (a lower trainer.learning_rate may help)"

    def _where_it_diverged(self) -> str:
        if not self.divergence:
            return "diverged on the test rows"  # an earlier version did not say which
        if self.divergence.get("of") == "validation":
            return f"diverged: none of {self.epochs} validations was finite"
        loss = self.divergence.get("last_finite_loss")
        last = f", last finite loss {loss:.3f} nats" if is_figure(loss) else ""
        return f"diverged at update {self.divergence.get('update')}{last}"
