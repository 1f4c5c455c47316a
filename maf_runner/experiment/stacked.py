"""Several experiments trained as one stack, before the job of each takes its usual road.

What ends here has its record, and its job reports that. Whatever cannot be stacked, or fails, is
left to the job itself, which says why, or goes on alone from the checkpoint.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from omegaconf import DictConfig

from maf_runner.datasets.base import Splits
from maf_runner.experiment import known, standing
from maf_runner.experiment.prepare import Experiment, prepare
from maf_runner.experiment.run import Result, begin, conclude, evaluate
from maf_runner.experiment.settings import build
from maf_runner.system import logs
from maf_runner.system.errors import BusyError, DataError, UsageError
from maf_runner.system.interrupts import Interrupts
from maf_runner.tracking.history import History
from maf_runner.tracking.progress import Reporter
from maf_runner.training import Checkpoint, Outcome
from maf_runner.training.schedule import Schedule
from maf_runner.training.stacked import Member, fit_stacked
from maf_runner.training.state import State

log = logging.getLogger("maf_runner")


def train(configs: Sequence[DictConfig]) -> None:
    """Train experiments as one stack, and write their records; those that fail have none.

    Raises:
        Interrupted: a signal came; the same command goes on from here.
    """
    with logs.console(), Interrupts() as interrupts:
        try:
            with ExitStack() as held:
                runs: list[_Run] = []
                for config in configs:
                    splits = runs[0].experiment.splits if runs else None
                    if run := _claim(config, splits, held):
                        runs.append(run)
                if len(runs) > 1:
                    _train_claimed(runs, interrupts)
        except ValueError as error:  # no such stack
            log.info("each job trains alone: %s", error)
        except Exception as error:
            interrupts.act()  # a library may have turned a signal into an error of its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("the stack has failed (%s): its jobs go on alone", reason)


@dataclass(frozen=True)
class _Run:
    """An experiment whose folder is held until it ends, with what follows it."""

    experiment: Experiment
    checkpoint: Checkpoint
    tracker: History
    release: Callable[[], None]

    def member(self) -> Member:
        return Member(
            model=self.experiment.model,
            settings=self.experiment.trainer,
            seed=self.experiment.settings["seed"],
            checkpoint=self.checkpoint,
            progress=_Reporter(self.experiment),
            on_validation=self.tracker.validated,
            on_end=self.end,
        )

    def end(self, outcome: Outcome) -> None:
        """Evaluate the run and write its record."""
        folder = self.experiment.folder
        with logs.to_none_but(folder.log):
            try:
                record = evaluate(self.experiment, outcome)
                conclude(self.experiment, record, self.checkpoint, self.tracker)
            except Exception as error:  # the others go on; the job does this again, and says why
                log.warning("%s failed (%s)", self.experiment.title, error)
            else:
                known.just_trained[folder.path] = Result(record, folder).outcome
            finally:
                self.release()


class _Reporter(Reporter):
    """Says lines that tell the runs of a stack apart, each to the log of its run."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(f"{experiment.title} ({experiment.record.run_id})", bar=False)
        self.log = experiment.folder.log

    def start(self, state: State, schedule: Schedule, engine: str) -> None:
        """Say that a run starts, or goes on."""
        with logs.to_none_but(self.log):
            super().start(state, schedule, engine)

    def validated(self, state: State) -> None:
        """Say the figures of a validation now and then."""
        with logs.to_none_but(self.log):
            super().validated(state)


def _claim(config: DictConfig, splits: Splits | None, held: ExitStack) -> _Run | None:
    """Prepare an experiment and hold its folder; None where it is left to its job."""
    with ExitStack() as own:
        try:
            experiment = prepare(config, splits)
            folder = experiment.folder
            check_lock = own.enter_context(folder.held())
            if standing.usable(experiment):
                return None
            own.enter_context(logs.to_file(folder.log))
            tracker: History = build("tracker", experiment.settings["tracker"], folder=folder.path)
            own.callback(tracker.close)
            checkpoint = begin(experiment, check_lock)
        except (UsageError, DataError, BusyError):
            return None
        mine = held.enter_context(own.pop_all())
        return _Run(experiment, checkpoint, tracker, mine.close)


def _train_claimed(runs: Sequence[_Run], interrupts: Interrupts) -> None:
    first = runs[0].experiment
    log.info("%d runs are trained as one stack", len(runs))
    fit_stacked(
        [run.member() for run in runs],
        first.tensors(first.splits.train),
        first.tensors(first.splits.validation),
        engine=first.settings["engine"],
        image=first.splits.image,
        interrupts=interrupts,
    )
