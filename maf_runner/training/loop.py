"""The training loop: updates, validation, early stopping, checkpoints, and resuming from them."""

import time
from collections.abc import Callable

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.engine.driver import AUTO, Driver, choose, continued, evaluates_natively
from maf_runner.flows.base import Density
from maf_runner.system.interrupts import Interrupts
from maf_runner.training.checkpoint import Checkpoint
from maf_runner.training.course import Course, Progress, TensorRows
from maf_runner.training.settings import TrainerSettings
from maf_runner.training.state import Outcome, State


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

    course = Course(
        model,
        train,
        validation,
        settings,
        image=image,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
        on_validation=on_validation,
    )
    driver = _driver(course, engine)
    course.begin(driver)
    with interrupts.deferred(), driver.session(settings.batch_size):
        while course.reason is None:
            if course.due:
                course.validate()
                interrupts.act()
                continue
            x, context, weights = course.batch()
            course.updated(driver.step(x, context, course.rate, weights))
            if interrupts.stop is not None or interrupts.save:
                interrupts.save = False
                course.save()
                interrupts.act()
    return course.outcome()


def _driver(course: Course, engine: str) -> Driver:
    """The engine at the start, or as the checkpoint has it.

    Under ``engine=auto`` a run continues on the engine it was on, unless that was for another kind
    of device.
    """
    model, adam, saved = course.model, course.settings.adam, course.saved
    weighted = course.train.weights is not None
    name = choose(model, engine, course.schedule.fewest_updates, adam, weighted=weighted)
    if saved is not None and engine == AUTO and saved["device"] == model.reference.device.type:
        name = continued(model, saved["path"], name)
    natively = evaluates_natively(model, engine)
    return Driver(model, adam, name, averaging=course.settings.averaging, natively=natively)
