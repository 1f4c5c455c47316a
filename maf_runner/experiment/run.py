"""One experiment, from settings to record."""

import logging
import re
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from maf_runner.datasets.base import Splits
from maf_runner.experiment import description, standing
from maf_runner.experiment.distillation import training_rows
from maf_runner.experiment.evaluation import MANY, evaluate_splits, log_prob_function
from maf_runner.experiment.prepare import Experiment, prepare
from maf_runner.experiment.settings import build
from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Record
from maf_runner.system import atomic, logs, shortage
from maf_runner.system.errors import (
    DataError,
    OutsideError,
    ShortageError,
    UnwritableError,
    UsageError,
)
from maf_runner.system.interrupts import Interrupts
from maf_runner.tracking.history import History
from maf_runner.tracking.progress import Reporter
from maf_runner.training import Checkpoint, Outcome, fit
from maf_runner.training import checkpoint as checkpoints

log = logging.getLogger("maf_runner")


@dataclass(frozen=True)
class Result:
    """The record of a run, its folder, and whether it was there before."""

    record: Record
    folder: RunFolder
    known: bool = False

    @property
    def outcome(self) -> str:
        """Of a sweep's job: ``done``, ``skipped``, ``resumed``, ``diverged`` or ``failed``."""
        if not self.record.finished:
            return self.record.status
        if self.known:
            return "skipped"
        return "resumed" if self.record.resumed else "done"


def run(config: DictConfig) -> Result:
    """Carry out the experiment that ``config`` describes, or report the one already done.

    Raises:
        UsageError: impossible settings. Nothing is written.
        DataError: data missing, damaged or unfit. No record is written.
        BusyError: another process is at this run.
        ShortageError: no room on the disk, no memory, or a file was taken away.
        Interrupted: a signal came; the same command goes on from here.
    """
    try:
        with logs.console(), Interrupts() as interrupts:
            return _claim_and_train(config, interrupts)
    except Exception as error:
        if not shortage.is_shortage(error):
            raise
        raise ShortageError(shortage.describe(error)) from error


def _claim_and_train(config: DictConfig, interrupts: Interrupts) -> Result:
    """Hold the folder of the run, and train unless it has a record already."""
    experiment = prepare(config)
    folder, settings = experiment.folder, experiment.settings
    try:
        with (
            folder.held(wait=settings["wait"]) as check_lock,
            logs.to_file(folder.log),
        ):
            if record := standing.usable(experiment):
                return Result(record, folder, known=True)
            try:
                return _train_and_record(experiment, interrupts, check_lock)
            except Exception as error:
                if not shortage.is_gpu_memory(error):
                    raise
                device, asked = experiment.model.reference.device, settings["device"]
                short = shortage.describe_gpu(device, asked)
                if not asked.startswith("auto"):
                    folder.discard()
                    raise UsageError(short) from error
            # Outside the handler, so that nothing holds on to what is on the GPU.
            log.warning("%s: the run goes on on the CPU", short)
            experiment = experiment.on_cpu()
            torch.cuda.empty_cache()
            return _train_and_record(experiment, interrupts, check_lock)
    except UnwritableError:
        record = None if settings["force"] else standing.existing(experiment)
        if record is None:
            raise
        log.info("already there: %s", record.describe())
        return Result(record, folder, known=True)


def _train_and_record(
    experiment: Experiment, interrupts: Interrupts, check_lock: Callable[[], None]
) -> Result:
    """Train, evaluate, and write the record; of a failure too, unless it can be mended."""
    folder = experiment.folder
    checkpoint = begin(experiment, check_lock)
    with ExitStack() as stack:
        try:
            tracker: History = build("tracker", experiment.settings["tracker"], folder=folder.path)
            stack.callback(tracker.close)
            outcome = _train(experiment, checkpoint, interrupts, tracker)
            record = evaluate(experiment, outcome)
        except OutsideError:
            raise
        except (DataError, UsageError):
            folder.discard()
            raise
        except ShortageError:
            raise
        except Exception as error:
            if shortage.is_shortage(error):
                raise
            interrupts.act()  # a library may have turned a signal into an error of its own
            log.exception("%s failed", experiment.record.title)
            text = "".join(traceback.format_exception_only(error)).strip()
            replace(experiment.record, status="failed", error=text).write(folder.record)
            raise
        conclude(experiment, record, checkpoint, tracker)
    return Result(record, folder)


def begin(experiment: Experiment, check_lock: Callable[[], None]) -> Checkpoint:
    """Make the folder, which is held, ready for training; returns the checkpoint in it."""
    folder = experiment.folder
    folder.remove_temporaries()
    atomic.write(folder.config, OmegaConf.to_yaml(OmegaConf.create(experiment.settings)))
    return Checkpoint(folder.last, experiment.owner, complain=log.warning, guard=check_lock)


def conclude(
    experiment: Experiment, record: Record, checkpoint: Checkpoint, tracker: History
) -> None:
    """Write the record, and what follows from it; the checkpoint is not needed any more."""
    checkpoint.guard()
    record.write(experiment.folder.record)
    checkpoint.remove()
    drawable = record.features == 2 and (record.context or 0) < MANY and not record.given
    if record.finished and drawable:
        _draw_density(experiment)
    tracker.recorded(record)
    log.info("%s", record.describe())


def _train(
    experiment: Experiment, checkpoint: Checkpoint, interrupts: Interrupts, tracker: History
) -> Outcome:
    """Train the model, while progress and history are shown and kept."""
    model, splits, settings = experiment.model, experiment.splits, experiment.settings
    rows = training_rows(experiment)
    reporter = Reporter(experiment.title)
    try:
        return fit(
            model,
            experiment.tensors(rows),
            experiment.tensors(splits.validation),
            experiment.trainer,
            engine=settings["engine"],
            image=splits.image,
            seed=settings["seed"],
            checkpoint=checkpoint,
            interrupts=interrupts,
            progress=reporter,
            on_validation=tracker.validated,
        )
    except ValueError as error:
        if model.closed_form:
            from maf_runner.datasets.user_table.degenerate import why_singular  # takes pandas

            which = why_singular(splits, by_class=bool(experiment.conditioning.classes))
            title = experiment.record.title
            raise DataError(f"{title}: {_with_classes(str(error), splits)}{which}") from error
        raise
    finally:
        reporter.close()


def _with_classes(text: str, splits: Splits) -> str:
    """A text in which a class has its value in the user's table instead of its number."""
    values = splits.table.classes if splits.table else ()
    return re.sub(r"class (\d+)", lambda m: f"class {values[int(m[1])]}", text) if values else text


def evaluate(experiment: Experiment, outcome: Outcome) -> Record:
    """The record of the run that has ended; keeps the model and the densities of the rows."""
    record, folder = description.after_training(experiment.record, outcome), experiment.folder
    if not outcome.has_model:
        return record
    started = time.monotonic()
    found = evaluate_splits(
        experiment.model,
        experiment.splits,
        experiment.conditioning,
        experiment.settings["engine"],
    )
    for path, nats in (
        (folder.test_nats, found.test_nats),
        (folder.validation_nats, found.validation_nats),
    ):
        atomic.write_array(path, nats.astype(np.float32))
    checkpoints.save(folder.best, {**experiment.owner, "model": experiment.model.state_dict()})
    seconds = outcome.state.seconds + time.monotonic() - started
    return replace(
        record,
        status=found.status,
        test=found.test,
        validation=found.validation,
        seconds=seconds,
    )


def _draw_density(experiment: Experiment) -> None:
    from maf_runner.reporting.plots import pictures
    from maf_runner.reporting.plots.conditionals import TRUE
    from maf_runner.reporting.plots.drawing import axes_of

    splits, axes = experiment.splits, None
    log_prob = log_prob_function(experiment.model, splits.prior)
    points: NDArray[np.floating] = splits.train.x
    try:
        if (table := splits.table) is not None:
            log_prob, points = table.in_units(log_prob), table.to_table(points)
            axes = axes_of(table.columns, table.categories)
        shown = {experiment.record.title: log_prob}
        if splits.true_log_prob is not None:
            shown = {TRUE: splits.true_log_prob, **shown}
        learned = pictures.Learned("training data", points, shown, axes)  # type: ignore[arg-type]
        pictures.densities(experiment.folder.density, [learned])
    except Exception as error:  # no extra installed, no disk left: the run is as good without
        log.warning("no picture of the density: %s", error)
