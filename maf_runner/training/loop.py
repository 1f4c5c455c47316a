"""The training loop: updates, validation, early stopping, and a way back after a stop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.engine.products import fast_products
from maf_runner.engine.rows import log_prob_of_rows, refresh_statistics
from maf_runner.engine.step import Step, choose
from maf_runner.flows.base import Density
from maf_runner.system.interrupts import Interrupts
from maf_runner.training.batches import Batches
from maf_runner.training.checkpoint import Checkpoint
from maf_runner.training.noise import FreshNoise
from maf_runner.training.settings import TrainerSettings


class TensorRows(NamedTuple):
    """Rows ``x`` [N, D] and their context [N, C] or None, where the model is."""

    x: Tensor
    context: Tensor | None


class Progress(Protocol):
    """Who wants to hear how training goes."""

    def start(self, state: "State", updates_per_epoch: int) -> None:
        """Training starts, or goes on from ``state``."""

    def update(self) -> None:
        """One more update is done."""

    def validated(self, state: "State", patience: int) -> None:
        """One more validation is done, the last of ``state.history``; so much patience is left."""


@dataclass
class State:
    """Where training is. With the model and the optimiser, all that a checkpoint holds.

    Attributes:
        update: updates done; it is also the place in the permutations.
        epoch: validations done.
        losses: of the updates since the last validation.
        history: one entry for each validation; ``validation_nats`` may be NaN or infinite.
        best: the state of the model at the best validation so far.
        seconds: spent so far, over all sessions.
        resumed: how many times training went on from a checkpoint.
    """

    update: int = 0
    epoch: int = 0
    losses: Tensor = field(default_factory=lambda: torch.zeros(0))
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    best_epoch: int = 0
    best_validation: float = -math.inf
    seconds: float = 0.0
    resumed: int = 0


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        reason: ``closed_form``, ``patience``, ``max_epochs``, ``max_updates`` or ``diverged``.
        state: where it ended.
        divergence: where training diverged, or why it has no model: see `_divergence`.
    """

    reason: str
    state: State
    divergence: dict[str, Any] | None = None

    @property
    def has_model(self) -> bool:
        """Whether there are parameters to evaluate: those of the best finite validation."""
        return self.reason == "closed_form" or self.state.best is not None


def fit(
    model: Density,
    train: TensorRows,
    validation: TensorRows,
    settings: TrainerSettings,
    *,
    image: LogitSpace | None,
    seed: int,
    checkpoint: Checkpoint,
    interrupts: Interrupts,
    progress: Progress,
    on_validation: Callable[[State], None],
) -> Outcome:
    """Train ``model`` until validation stops to improve; leave the best parameters in it.

    Goes on from the checkpoint where there is one. ``image`` is how the rows were made, if they
    are pictures.

    A validation that is not finite counts as one without improvement, as in the authors' program:
    one row far out can overflow for a few epochs. A training loss that is not finite ends the
    training, for the parameters are lost by then; the best ones so far are kept.

    Raises:
        Interrupted: a signal came; the checkpoint was written.
    """
    if model.closed_form:
        started = time.monotonic()
        model.fit(*train)
        return Outcome("closed_form", State(seconds=time.monotonic() - started))

    rows = len(train.x)
    widest = max(p.shape[1] for p in model.parameters() if p.ndim == 2)
    settings = settings.for_rows(rows).for_width(widest)
    batches = Batches(rows=rows, size=settings.batch_size, seed=seed, device=train.x.device)
    noise = FreshNoise(train.x, image, seed) if settings.fresh_noise and image else None
    per_epoch = math.ceil(rows / settings.batch_size)
    path = choose(model, settings.compile, _at_least(settings, per_epoch))
    state, step = _resume(checkpoint, model, settings, path) or (
        State(),
        Step(model, settings, path),
    )
    working = step.working
    if len(state.losses) != per_epoch:
        state.losses = train.x.new_zeros(per_epoch)
    started = time.monotonic() - state.seconds

    def save() -> None:
        state.seconds = time.monotonic() - started
        step.finish()
        checkpoint.save(
            {
                **vars(state),
                "device": model.reference.device.type,
                "path": step.path,
                "model": model.state_dict(),
                "step": step.state(),
                "generator": torch.get_rng_state(),
            }
        )

    divergence = None
    progress.start(state, per_epoch)
    with interrupts.deferred(), fast_products(working, settings.batch_size):
        while (reason := _stop_reason(settings, state, per_epoch)) is None:
            working.train()
            first = state.epoch * per_epoch
            last = min(first + per_epoch, settings.max_updates or math.inf)
            while state.update < last:
                batch = batches.at(state.update)
                context = None if train.context is None else train.context.index_select(0, batch)
                x = noise.batch(batch, state.update) if noise else train.x.index_select(0, batch)
                step.adam.rate.fill_(rate_at(settings, state.update, per_epoch))
                loss = step(x, context)
                state.losses[state.update - first] = loss
                state.update += 1
                progress.update()
                if interrupts.stop is not None or interrupts.save:
                    interrupts.save = False
                    save()
                    interrupts.act()

            losses = state.losses[: state.update - first].double().cpu()
            if not torch.isfinite(losses).all():
                reason, divergence = "diverged", _divergence(losses, first, state.history)
                break
            with step.averaged():
                working.eval()
                refresh_statistics(working, *train)
                nats = float(log_prob_of_rows(working, *validation).mean())
                state.epoch += 1
                if math.isfinite(nats) and nats > state.best_validation:
                    state.best_validation = nats
                    state.best_epoch = state.epoch
                    step.finish()
                    state.best = {k: v.detach().clone() for k, v in model.state_dict().items()}
            state.history.append(
                {
                    "epoch": state.epoch,
                    "updates": state.update,
                    "train_nats": -float(losses.mean()),
                    "validation_nats": nats,
                    "seconds": time.monotonic() - started,
                }
            )
            on_validation(state)  # before the checkpoint, so that a kill between loses nothing
            save()
            progress.validated(state, _patience_left(settings, state, per_epoch))
            interrupts.act()
    if state.best is None:
        return Outcome("diverged", state, divergence or _never_finite(state))
    # The batch-norm statistics in it were computed with these very parameters.
    model.load_state_dict(state.best)
    model.eval()
    return Outcome(reason, state, divergence)


def rate_at(settings: TrainerSettings, update: int, per_epoch: int) -> float:
    """The learning rate of an update, counted from 0.

    It rises linearly over the first ``warmup`` of all updates, and where the schedule is
    ``cosine`` it falls over the others, along half a cosine, to 0.
    """
    rate: float = settings.learning_rate  # type: ignore[assignment]
    total, warm = _at_most(settings, per_epoch), _warm(settings, per_epoch)
    if update < warm:
        return rate * (update + 1) / (warm + 1)
    if settings.schedule == "constant":
        return rate
    return rate * (1 + math.cos(math.pi * (update - warm) / (total - warm))) / 2


def _stop_reason(settings: TrainerSettings, state: State, per_epoch: int) -> str | None:
    if _patience_left(settings, state, per_epoch) <= 0:
        return "patience"
    if settings.max_epochs is not None and state.epoch >= settings.max_epochs:
        return "max_epochs"
    validated = state.history[-1]["updates"] if state.history else 0
    if settings.max_updates is not None and validated >= settings.max_updates:
        return "max_updates"
    return None


def _patience_left(settings: TrainerSettings, state: State, per_epoch: int) -> int:
    """How many more validations may bring nothing better.

    Those of the warm-up are not counted: a rising rate can set a model back for a while.
    """
    start = max(state.best_epoch, math.ceil(_warm(settings, per_epoch) / per_epoch))
    return settings.patience - max(0, state.epoch - start)


def _divergence(losses: Tensor, first: int, history: list[dict[str, float]]) -> dict[str, Any]:
    """Where the training loss was not finite.

    Args:
        losses: of the updates since the last validation; one of them is not finite.
        first: the update, from 0, of the first of them.
        history: the validations before.

    Returns:
        ``of``: "loss"; ``update``: which, counted from 1; ``last_finite_loss`` before it, in nats;
        ``falling``: whether that is lower than all epochs before it. A loss that falls without end
        tells of a density that grows without bound, one that rises of steps that are too large.
    """
    where = int((~torch.isfinite(losses)).nonzero()[0])
    before = [-epoch["train_nats"] for epoch in history]
    last = float(losses[where - 1]) if where > 0 else before[-1] if before else None
    earlier = before or losses[:1].tolist()
    falling = last is not None and last < min(earlier)
    return {
        "of": "loss",
        "update": first + where + 1,
        "last_finite_loss": last,
        "falling": falling,
    }


def _never_finite(state: State) -> dict[str, Any]:
    """What `_divergence` says, of a run whose losses were finite and no validation was."""
    last = -state.history[-1]["train_nats"]
    return {
        "of": "validation",
        "update": state.update,
        "last_finite_loss": last,
        "falling": False,
    }


def _at_least(settings: TrainerSettings, per_epoch: int) -> int:
    """How many updates a run makes at least."""
    return int(min((settings.patience + 1) * per_epoch, _at_most(settings, per_epoch)))


def _warm(settings: TrainerSettings, per_epoch: int) -> float:
    """The updates over which the rate rises."""
    return settings.warmup * _at_most(settings, per_epoch) if settings.warmup else 0.0


def _at_most(settings: TrainerSettings, per_epoch: int) -> float:
    """How many updates the limits allow."""
    epochs, updates = settings.max_epochs or math.inf, settings.max_updates or math.inf
    return min(epochs * per_epoch, updates)


def _resume(
    checkpoint: Checkpoint, model: Density, settings: TrainerSettings, path: str
) -> tuple[State, Step] | None:
    """Where a run was, and its steps; None where there is no checkpoint.

    They take the path that the run took, unless it was on another kind of device.
    """
    needed = (*vars(State()), "model", "step", "generator", "device", "path")
    saved: dict[str, Any] | None = checkpoint.load(needed)
    if saved is None:
        return None
    model.load_state_dict(saved["model"])
    if saved["device"] == model.reference.device.type:
        path = saved["path"]
    step = Step(model, settings, path)
    step.load(saved["step"])
    torch.set_rng_state(saved["generator"])
    state = State(**{name: saved[name] for name in vars(State())})
    state.losses = state.losses.to(model.reference.device)
    state.resumed += 1
    return state, step
