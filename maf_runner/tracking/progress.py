"""What a person sees of a training run: a bar on a terminal, a line now and then elsewhere."""

import logging
import math
import time

from tqdm import tqdm

from maf_runner.system import logs
from maf_runner.training.state import State

log = logging.getLogger("maf_runner")
QUIET_SECONDS = 30  # between two lines where there is no terminal


class Reporter:
    """Shows epoch, nats, best so far, patience left and time."""

    def __init__(
        self, title: str, max_epochs: int | None, validate_every: int | None = None
    ) -> None:
        self.title = title
        self.max_epochs = max_epochs
        self.word = "validation" if validate_every else "epoch"
        self.bar: tqdm | None = None
        self.said = time.monotonic()

    def start(self, state: State, updates_per_epoch: int) -> None:
        """Open the bar; say that an interrupted run goes on."""
        if state.resumed:
            log.info(
                "goes on after %s validations and %s updates",
                f"{state.epoch:,}",
                f"{state.update:,}",
            )
        log.info(
            "training %s: one validation every %s updates", self.title, f"{updates_per_epoch:,}"
        )
        self.bar = tqdm(
            total=updates_per_epoch,
            initial=state.update - state.epoch * updates_per_epoch,
            desc=self._epoch(state.epoch + 1),
            unit="update",
            leave=False,
            disable=not logs.has_terminal(),
            dynamic_ncols=True,
        )

    def update(self) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update()

    def validated(self, state: State, patience: int | float) -> None:
        """Start the bar of the next epoch, or print a line if there is no bar."""
        nats = state.history[-1]["validation_nats"]
        shown = f"{nats:.3f} nats" if math.isfinite(nats) else "not finite"
        what = "" if self.word == "validation" else "validation "
        text = f"{what}{shown}, best {state.best_validation:.3f}"
        if patience < math.inf:
            text += f", patience {patience}"
        if self.bar is not None and not self.bar.disable:
            self.bar.reset()
            self.bar.set_description(self._epoch(state.epoch + 1), refresh=False)
            self.bar.set_postfix_str(text)
        elif time.monotonic() - self.said > QUIET_SECONDS:
            self.said = time.monotonic()
            log.info("%s: %s, %.0f s", self._epoch(state.epoch), text, state.seconds)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()

    def _epoch(self, number: int) -> str:
        limited = self.max_epochs and self.word == "epoch"
        return f"{self.word} {number}/{self.max_epochs}" if limited else f"{self.word} {number}"
