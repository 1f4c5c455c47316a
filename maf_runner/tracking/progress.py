"""What a person sees of a training run: a bar on a terminal, a line now and then elsewhere."""

import logging
import math
import time
from typing import Any

from tqdm import tqdm

from maf_runner.system import logs
from maf_runner.system.text import counted
from maf_runner.training.schedule import Schedule
from maf_runner.training.state import State

log = logging.getLogger("maf_runner")
QUIET_SECONDS = 30  # between two lines where there is no bar
WITH_END = "{desc} |{bar}| {remaining} left"
WITHOUT_END = "{desc}{postfix} | {share}"  # of the updates until the next validation


class Reporter:
    """Shows epoch, nats, best so far, patience used, and time left, over the whole run.

    How long a run takes is known only if the number of its epochs is; else the time is shown after
    which patience ends it at the earliest.

    Args:
        title: of the run.
        bar: false: lines, also on a terminal, as where several runs share it.
    """

    def __init__(self, title: str, *, bar: bool = True) -> None:
        self.title = title
        self.has_bar = bar and logs.has_terminal()
        self.schedule: Schedule | None = None
        self.bar: _Bar | None = None
        self.said = time.monotonic()

    def start(self, state: State, schedule: Schedule, engine: str) -> None:
        """Open the bar; say that an interrupted run goes on, and by which engine."""
        self.schedule = schedule
        if state.resumed:
            log.info(
                "%s goes on after %s and %s",
                self.title,
                counted(state.epoch, "validation"),
                counted(state.update, "update"),
            )
        log.info(
            "training %s: one validation every %s, %s engine",
            self.title,
            counted(schedule.between, "update"),
            engine,
        )
        ends = math.isfinite(schedule.most_updates)
        self.bar = _Bar(
            total=int(schedule.most_updates) if ends else None,
            between=schedule.between,
            initial=state.update,
            desc=self._words(state),
            bar_format=WITH_END if ends else WITHOUT_END,
            leave=False,
            disable=not self.has_bar,
            dynamic_ncols=True,
        )

    def update(self) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update()

    def validated(self, state: State) -> None:
        """Show the figures of a validation: in the bar, or, if there is none, now and then."""
        words = self._words(state)
        if self.bar is not None and not self.bar.disable:
            self.bar.set_description_str(words, refresh=False)
            if (left := self._at_least(state)) is not None:
                self.bar.set_postfix_str(f"ends in >{tqdm.format_interval(left)}", refresh=False)
        elif time.monotonic() - self.said > QUIET_SECONDS:
            self.said = time.monotonic()
            log.info("%s: %s%s", self.title, words, self._times(state))

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()

    def _words(self, state: State) -> str:
        """Epoch, nats, best and patience, in at most 60 columns."""
        assert self.schedule is not None
        settings = self.schedule.settings
        if not state.history:
            return "first epoch"
        limit = f"/{settings.max_epochs}" if settings.max_epochs else ""
        word = "validation" if settings.validate_every else f"epoch {state.epoch}{limit}"
        nats = state.history[-1]["validation_nats"]
        shown = f"{nats:.2f} nats" if math.isfinite(nats) else "not finite"
        text = f"{word}: {shown}, best {state.best_validation:.2f}"
        left = self.schedule.patience_left(state)
        if settings.patience is not None and math.isfinite(left):
            text += f", patience {settings.patience - int(left)}/{settings.patience}"
        return text

    def _at_least(self, state: State) -> float | None:
        """The seconds that the run goes on at least; None if another limit may end it sooner."""
        assert self.schedule is not None
        left = self.schedule.patience_left(state)
        if math.isfinite(self.schedule.most_updates) or not math.isfinite(left):
            return None
        return left * state.seconds / max(state.epoch, 1)

    def _times(self, state: State) -> str:
        """The time so far and the time left, for a line."""
        assert self.schedule is not None
        text = f", {tqdm.format_interval(state.seconds)}"
        if math.isfinite(most := self.schedule.most_updates) and state.update:
            left = state.seconds * (most / state.update - 1)
            return f"{text}, at most {tqdm.format_interval(left)} left"
        least = self._at_least(state)
        return text if least is None else f"{text}, at least {tqdm.format_interval(least)} left"


class _Bar(tqdm):
    """A bar that also knows the share of the updates until the next validation."""

    def __init__(self, *, between: int, **options: Any) -> None:
        self.between = between
        super().__init__(**options)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the bar's format can name."""
        values = super().format_dict
        return {**values, "share": f"{100 * (values['n'] % self.between) // self.between} %"}
