"""The course of one run: its batches, validations, early stopping, checkpoint and end."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.engine.driver import Learner
from maf_runner.engine.width import ModelSize
from maf_runner.flows.base import Density
from maf_runner.training.batches import Batches
from maf_runner.training.checkpoint import Checkpoint
from maf_runner.training.noise import FreshNoise
from maf_runner.training.schedule import Schedule
from maf_runner.training.settings import TrainerSettings
from maf_runner.training.state import Outcome, State, divergence, never_finite
from maf_runner.training.update_seeds import UpdateSeeds


class TensorRows(NamedTuple):
    """Rows on the device of the model.

    ``x`` [N, D]; ``context`` [N, C] or None; ``weights`` [N] with mean 1, or None.
    """

    x: Tensor
    context: Tensor | None
    weights: Tensor | None = None


class Progress(Protocol):
    """An object that is told how training proceeds."""

    def start(self, state: State, schedule: Schedule, engine: str) -> None:
        """Training starts on this engine, or continues from ``state``."""

    def update(self) -> None:
        """An update is done."""

    def validated(self, state: State) -> None:
        """A validation is done, the last of ``state.history``."""


class Course:
    """Everything of a run in training but its updates, which somebody else makes.

    That is `loop.fit` for a run alone and `stacked.fit_stacked` for several at once. First `begin`
    is called. Then, until there is a ``reason`` to stop, `validate` where that is ``due``, or else
    an update by `batch` and ``rate``, whose loss is given to `updated`.

    The constructor reads the checkpoint, if there is one, and gives the model its parameters.

    Args:
        model: what is trained.
        train: the training rows.
        validation: the validation rows.
        settings: of the trainer.
        image: how the rows were made, if they are pictures.
        seed: of the run.
        checkpoint: of the run.
        progress: is told of every update.
        on_validation: is told of every validation, before it is saved.

    Attributes:
        settings: of the trainer, for these rows and the width of this model.
        saved: what the checkpoint held, or None.
        reason: why training has ended; None before.
    """

    def __init__(
        self,
        model: Density,
        train: TensorRows,
        validation: TensorRows,
        settings: TrainerSettings,
        *,
        image: LogitSpace | None,
        seed: int,
        checkpoint: Checkpoint,
        progress: Progress,
        on_validation: Callable[[State], None],
    ) -> None:
        rows = len(train.x)
        self.model, self.train, self.validation = model, train, validation
        self.settings = settings.for_rows(rows).for_width(ModelSize.of(model).widest_input)
        self.schedule = Schedule(self.settings, math.ceil(rows / settings.batch_size))
        device = train.x.device
        self.batches = Batches(rows=rows, size=settings.batch_size, seed=seed, device=device)
        self.noise = FreshNoise(train.x, image, seed) if settings.fresh_noise and image else None
        self.update_seeds = UpdateSeeds(seed, device) if model.draws_in_training else None
        self.checkpoint, self.progress, self.on_validation = checkpoint, progress, on_validation
        self.reason: str | None = None
        self._where: dict | None = None  # training diverged
        self.saved = checkpoint.load(("state", "model", "step", "device", "path"))
        if self.saved is None:
            model.look_at(train.x)
        else:
            model.load_state_dict(self.saved["model"])

    def begin(self, learner: Learner) -> None:
        """Start, or continue from the checkpoint, with the model in the hands of ``learner``."""
        self.learner, self.state = learner, State()
        reference = self.model.reference
        if self.saved is not None:
            learner.load(self.saved["step"])
            self.state = State.from_saved(self.saved["state"])
            self.state.losses = self.state.losses.to(reference.device)
            self.state.resumed += 1
            self.saved = None
        if len(self.state.losses) != self.schedule.between:
            self.state.losses = reference.new_zeros(self.schedule.between)
        self._started = time.monotonic() - self.state.seconds
        self.progress.start(self.state, self.schedule, learner.name)
        self._look_ahead()

    @property
    def due(self) -> bool:
        """Whether the next validation is due."""
        return self.state.update >= self._last

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return self.schedule.rate(self.state.update)

    def batch(self) -> TensorRows:
        """The rows of the next update; what the model draws in it is set."""
        update, train = self.state.update, self.train
        rows = self.batches.at(update)
        x = self.noise.batch(rows, update) if self.noise else train.x.index_select(0, rows)
        context = None if train.context is None else train.context.index_select(0, rows)
        weights = None if train.weights is None else train.weights[rows]
        if self.update_seeds is not None:
            self.update_seeds.seed(update)
        return TensorRows(x, context, weights)

    def updated(self, loss: Tensor) -> None:
        """Note an update and its loss, a tensor of no dimensions."""
        self.state.losses[self.state.update - self._first] = loss
        self.state.update += 1
        self.progress.update()

    def validate(self) -> None:
        """Look for a divergence, validate, and save; or end."""
        state = self.state
        losses = state.losses[: state.update - self._first].double().cpu()
        if not torch.isfinite(losses).all():
            self.reason = "diverged"
            self._where = divergence(losses, self._first, state.history)
            return
        train, validation = self.train[:2], self.validation[:2]
        nats = self.learner.evaluate(train, validation, self.validation.weights)
        state.epoch += 1
        if math.isfinite(nats) and nats > state.best_validation:
            state.best_validation = nats
            state.best_epoch = state.epoch
            state.best = self.learner.averaged_model()
        state.history.append(
            {
                "epoch": state.epoch,
                "updates": state.update,
                "train_nats": -float(losses.mean()),
                "validation_nats": nats,
                "learning_rate": self.schedule.rate(state.update - 1),
                "seconds": time.monotonic() - self._started,
            }
        )
        self.on_validation(state)  # before the checkpoint: if killed between, it is told again
        self.save()
        self.progress.validated(state)
        self._look_ahead()

    def pause(self, seconds: float) -> None:
        """Do not count so many seconds, in which something else was done."""
        self._started += seconds

    def save(self) -> None:
        """Write the checkpoint."""
        self.state.seconds = time.monotonic() - self._started
        self.checkpoint.save(
            {
                "state": vars(self.state),
                "device": self.model.reference.device.type,
                "path": self.learner.name,
                "model": self.model.state_dict(),
                "step": self.learner.state(),
            }
        )

    def outcome(self) -> Outcome:
        """How training ended; leaves the best parameters in the model."""
        assert self.reason is not None
        state, engine = self.state, self.learner.name
        if state.best is None:
            return Outcome("diverged", state, self._where or never_finite(state), engine)
        # It includes the batch-norm statistics, which were computed with these parameters.
        self.model.load_state_dict(state.best)
        self.model.eval()
        return Outcome(self.reason, state, self._where, engine)

    def _look_ahead(self) -> None:
        """Where the next validation is due, if training goes on."""
        self._first = self.state.epoch * self.schedule.between
        self._last = self.schedule.epoch_end(self.state.epoch)
        self.reason = self.schedule.stop_reason(self.state)
