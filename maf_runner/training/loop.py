"""The training loop: updates, validation, early stopping, checkpoints, and resuming from them."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.engine.driver import AUTO, Driver, choose, continued, evaluates_natively
from maf_runner.engine.width import ModelSize
from maf_runner.flows.base import Density
from maf_runner.flows.made import has_dropout
from maf_runner.system.interrupts import Interrupts
from maf_runner.training.batches import Batches
from maf_runner.training.checkpoint import Checkpoint
from maf_runner.training.dropout import Dropout
from maf_runner.training.noise import FreshNoise
from maf_runner.training.schedule import Schedule
from maf_runner.training.settings import TrainerSettings
from maf_runner.training.state import Outcome, State, divergence, never_finite


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


def fit(
    model: Density,
    train: TensorRows,
    validation: TensorRows,
    settings: TrainerSettings,
    *,
    engine: str = AUTO,
    image: LogitSpace | None,
    seed: int,
    checkpoint: Checkpoint,
    interrupts: Interrupts,
    progress: Progress,
    on_validation: Callable[[State], None],
) -> Outcome:
    """Train ``model`` until validation stops improving; leave the best parameters in it.

    Continues from the checkpoint if there is one. ``engine`` is the setting of that name;
    ``image`` tells how the rows were made, if they are pictures.

    A validation that is not finite counts as one without improvement, as in the authors' program:
    a row far out can overflow for a few epochs. A training loss that is not finite ends the
    training, because the parameters are lost by then; the best ones so far are kept.

    Raises:
        Interrupted: a signal arrived; the checkpoint was written.
    """
    if model.closed_form:
        started = time.monotonic()
        model.fit(*(train if train.weights is not None else train[:2]))
        return Outcome("closed_form", State(seconds=time.monotonic() - started))

    rows = len(train.x)
    settings = settings.for_rows(rows).for_width(ModelSize.of(model).widest_input)
    batches = Batches(rows=rows, size=settings.batch_size, seed=seed, device=train.x.device)
    noise = FreshNoise(train.x, image, seed) if settings.fresh_noise and image else None
    dropout = Dropout(seed, train.x.device) if has_dropout(model) else None
    schedule = Schedule(settings, math.ceil(rows / settings.batch_size))
    weighted = train.weights is not None
    state, driver = _begin(checkpoint, model, settings, schedule, engine, weighted)
    started = time.monotonic() - state.seconds

    def save() -> None:
        state.seconds = time.monotonic() - started
        checkpoint.save(
            {
                "state": vars(state),
                "device": model.reference.device.type,
                "path": driver.name,
                "model": model.state_dict(),
                "step": driver.state(),
            }
        )

    where = None  # training diverged
    progress.start(state, schedule, driver.name)
    with interrupts.deferred(), driver.session(settings.batch_size):
        while (reason := schedule.stop_reason(state)) is None:
            first = state.epoch * schedule.between
            last = schedule.epoch_end(state.epoch)
            while state.update < last:
                batch = batches.at(state.update)
                x = noise.batch(batch, state.update) if noise else train.x.index_select(0, batch)
                context = None if train.context is None else train.context.index_select(0, batch)
                weights = None if train.weights is None else train.weights[batch]
                if dropout is not None:
                    dropout.seed(state.update)
                loss = driver.step(x, context, schedule.rate(state.update), weights)
                state.losses[state.update - first] = loss
                state.update += 1
                progress.update()
                if interrupts.stop is not None or interrupts.save:
                    interrupts.save = False
                    save()
                    interrupts.act()

            losses = state.losses[: state.update - first].double().cpu()
            if not torch.isfinite(losses).all():
                reason, where = "diverged", divergence(losses, first, state.history)
                break
            nats = driver.evaluate(train[:2], validation[:2], validation.weights)
            state.epoch += 1
            if math.isfinite(nats) and nats > state.best_validation:
                state.best_validation = nats
                state.best_epoch = state.epoch
                state.best = driver.averaged_model()
            state.history.append(
                {
                    "epoch": state.epoch,
                    "updates": state.update,
                    "train_nats": -float(losses.mean()),
                    "validation_nats": nats,
                    "learning_rate": schedule.rate(state.update - 1),
                    "seconds": time.monotonic() - started,
                }
            )
            on_validation(state)  # before the checkpoint: if killed between, it is told again
            save()
            progress.validated(state)
            interrupts.act()
    if state.best is None:
        return Outcome("diverged", state, where or never_finite(state), driver.name)
    # It includes the batch-norm statistics, which were computed with these parameters.
    model.load_state_dict(state.best)
    model.eval()
    return Outcome(reason, state, where, driver.name)


def _begin(
    checkpoint: Checkpoint,
    model: Density,
    settings: TrainerSettings,
    schedule: Schedule,
    engine: str,
    weighted: bool,
) -> tuple[State, Driver]:
    """The state and the engine at the start, or as the checkpoint has them.

    Under ``engine=auto`` a run continues on the engine it was on, unless that was for another kind
    of device.
    """
    adam = settings.adam
    name = choose(model, engine, schedule.fewest_updates, adam, weighted=weighted)
    saved = checkpoint.load(("state", "model", "step", "device", "path"))
    if saved is not None:
        model.load_state_dict(saved["model"])
        if engine == AUTO and saved["device"] == model.reference.device.type:
            name = continued(model, saved["path"], name)
    natively = evaluates_natively(model, engine)
    driver = Driver(model, adam, name, averaging=settings.averaging, natively=natively)
    state = State()
    if saved is not None:
        driver.load(saved["step"])
        state = State.from_saved(saved["state"])
        state.losses = state.losses.to(model.reference.device)
        state.resumed += 1
    if len(state.losses) != schedule.between:
        state.losses = model.reference.new_zeros(schedule.between)
    return state, driver
