"""Where training is, how it ended, and where it diverged."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor


@dataclass
class State:
    """Where training is. A checkpoint holds it, the model and the state of the engine.

    Attributes:
        update: updates done; it is also the place in the permutations.
        epoch: validations done.
        losses: of the updates since the last validation.
        history: one entry for each validation; ``validation_nats`` may be NaN or infinite.
        best: the state of the model at the best validation so far.
        best_epoch: the epoch of that validation; 0 before the first.
        best_validation: its mean log density in nats.
        seconds: spent so far, over all sessions.
        resumed: how many times training continued from a checkpoint.
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

    @classmethod
    def from_saved(cls, saved: dict[str, Any]) -> Self:
        """From the entries in a checkpoint; a field that it does not have gets its default."""
        return cls(**{f.name: saved[f.name] for f in fields(cls) if f.name in saved})


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        reason: ``closed_form``, ``patience``, ``max_epochs``, ``max_updates`` or ``diverged``.
        state: where it ended.
        divergence: where training diverged, or why it has no model: see `divergence`.
        engine: that made the last updates; None without updates.
    """

    reason: str
    state: State
    divergence: dict[str, Any] | None = None
    engine: str | None = None

    @property
    def has_model(self) -> bool:
        """Whether there are parameters to evaluate: those of the best finite validation."""
        return self.reason == "closed_form" or self.state.best is not None


def divergence(losses: Tensor, first: int, history: list[dict[str, float]]) -> dict[str, Any]:
    """Where the training loss was not finite.

    Args:
        losses: of the updates since the last validation; at least one of them is not finite.
        first: number of the first of these updates, counted from 0.
        history: the validations before.

    Returns:
        ``of``: "loss"; ``update``: the update, counted from 1; ``last_finite_loss`` before it, in
        nats; ``falling``: whether that loss is lower than those of all epochs before. A loss that
        falls without end indicates a density that grows without bound; one that rises indicates
        steps that are too large.
    """
    where = int((~torch.isfinite(losses)).nonzero()[0])
    before = [-epoch["train_nats"] for epoch in history]
    last = float(losses[where - 1]) if where > 0 else before[-1] if before else None
    earlier = before or losses[:1].tolist()
    return {
        "of": "loss",
        "update": first + where + 1,
        "last_finite_loss": last,
        "falling": last is not None and last < min(earlier),
    }


def never_finite(state: State) -> dict[str, Any]:
    """The same entries as `divergence`, for a run with finite losses but no finite validation."""
    return {
        "of": "validation",
        "update": state.update,
        "last_finite_loss": -state.history[-1]["train_nats"],
        "falling": False,
    }
