"""Training of several runs at once, whose models are updated as one stack.

It is for the jobs of a sweep that differ in seed, learning rate, penalty, patience or limits.
Every run keeps its own course: order of the batches, rate, validations, early stopping, history
and checkpoint. Its checkpoint is that of a run alone, so that each can be continued alone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.engine.denormals import flushed
from maf_runner.engine.driver import AUTO, Learner, evaluates_natively
from maf_runner.engine.stacked import Stacked
from maf_runner.flows.base import Density
from maf_runner.system.interrupts import Interrupts
from maf_runner.training.checkpoint import Checkpoint
from maf_runner.training.course import Course, Progress, TensorRows
from maf_runner.training.settings import TrainerSettings
from maf_runner.training.state import Outcome, State


@dataclass(frozen=True, kw_only=True)
class Member:
    """One run of a stack: what it does not share with the others; see `loop.fit`.

    ``on_end`` is called with the outcome as soon as the run has ended, while others go on.
    """

    model: Density
    settings: TrainerSettings
    seed: int
    checkpoint: Checkpoint
    progress: Progress
    on_validation: Callable[[State], None]
    on_end: Callable[[Outcome], None] = lambda outcome: None


def fit_stacked(
    members: Sequence[Member],
    train: TensorRows,
    validation: TensorRows,
    *,
    engine: str = AUTO,
    image: LogitSpace | None,
    interrupts: Interrupts,
) -> list[Outcome]:
    """Train the models of all members, each as `loop.fit` would alone, up to rounding.

    Each run continues from its checkpoint if there is one, wherever the others are. A run that has
    ended leaves the stack. ``seconds`` of a run are those of the whole stack while it was in it,
    without what ``on_end`` takes.

    Args:
        members: the runs, at least one.
        train: the training rows of all.
        validation: the validation rows of all.
        engine: the setting; with ``eager``, rows are evaluated by torch alone.
        image: how the rows were made, if they are pictures.
        interrupts: signals; they are acted on between two updates.

    Raises:
        ValueError: the runs cannot be stacked; see `engine.stacked.Stacked`.
        Interrupted: a signal arrived; the checkpoints of all that were not done are written.
    """
    if len({member.settings.batch_size for member in members}) != 1:
        raise ValueError("stacked runs must have the same batch_size")
    courses = [_course(member, train, validation, image) for member in members]
    stack = Stacked([each.model for each in courses], [each.settings.adam for each in courses])
    optimisers = dict(zip(courses, stack.optimisers, strict=True))
    for course, optimiser in optimisers.items():
        natively, averaging = evaluates_natively(course.model, engine), course.settings.averaging
        course.begin(Learner(course.model, optimiser, averaging=averaging, natively=natively))
    outcomes: dict[Course, Outcome] = {}
    running = list(courses)

    def heed() -> None:
        """Save what is not done, and stop, if a signal asks for it."""
        if interrupts.stop is not None or interrupts.save:
            interrupts.save = False
            for course in running:
                course.save()
            interrupts.act()

    with interrupts.deferred(), flushed():
        while running:
            for course, member in zip(courses, members, strict=True):
                while course.reason is None and course.due:
                    course.validate()
                    heed()
                if course in running and course.reason is not None:
                    running.remove(course)
                    stack.leave(optimisers[course])
                    outcomes[course] = course.outcome()
                    ended = time.monotonic()
                    member.on_end(outcomes[course])
                    for other in running:
                        other.pause(time.monotonic() - ended)
            if running:
                update(stack, running)
                heed()
    return [outcomes[course] for course in courses]


def _course(
    member: Member, train: TensorRows, validation: TensorRows, image: LogitSpace | None
) -> Course:
    return Course(
        member.model,
        train,
        validation,
        member.settings,
        image=image,
        seed=member.seed,
        checkpoint=member.checkpoint,
        progress=member.progress,
        on_validation=member.on_validation,
    )


def update(stack: Stacked, courses: Sequence[Course]) -> None:
    """Update every model of the stack by the next batch of its course, and note its loss."""
    x, context, weights = zip(*(course.batch() for course in courses), strict=True)
    rates = [course.rate for course in courses]
    losses = stack.step(torch.stack(x), _together(context), rates, _together(weights))
    for course, loss in zip(courses, losses.unbind(), strict=True):
        course.learner.updated()
        course.updated(loss)


def _together(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The parts in one tensor, if there are any."""
    present = [part for part in parts if part is not None]
    return torch.stack(present) if present else None
