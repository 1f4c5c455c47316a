"""The settings of a trainer, checked. Their values stand in ``conf/trainer/``."""

import math
import sys
from dataclasses import dataclass, replace
from typing import Any

from maf_runner.engine.adam import AdamSettings
from maf_runner.flows.checks import one_of, positive

SCHEDULES = ("constant", "cosine")
OPTIMISERS = ("paper", "textbook")
LARGEST = sys.float_info.max  # a larger whole number has no float


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How a model is trained; see ``conf/trainer/`` for the meaning of each.

    Raises:
        ValueError: an impossible value; the message names the setting.
    """

    learning_rate: float | None
    betas: tuple[float, float]
    epsilon: float
    batch_size: int
    l2: float
    patience: int | None
    max_epochs: int | None
    max_updates: int | None
    prior_precision: float = 0.0
    averaging: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    width: int | None = None
    fresh_noise: bool = False
    optimiser: str = "paper"
    clip: float | None = None
    validate_every: int | None = None

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            _number("learning_rate", self.learning_rate, above=0)
        if not isinstance(self.betas, (list, tuple)) or len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, got {self.betas!r}")
        for beta in self.betas:
            _number("betas", beta, at_least=0, below=1)
        _number("epsilon", self.epsilon, above=0)
        _number("l2", self.l2, at_least=0)
        positive("batch_size", self.batch_size, 10**6)
        _number("prior_precision", self.prior_precision, at_least=0)
        _number("averaging", self.averaging, at_least=0, below=1)
        _number("warmup", self.warmup, at_least=0, below=1)
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("optimiser", self.optimiser, OPTIMISERS)
        if self.clip is not None:
            _number("clip", self.clip, above=0)
        for name in ("patience", "max_epochs", "max_updates", "width", "validate_every"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        endless = self.max_epochs is None and self.max_updates is None
        if endless and (self.warmup or self.schedule == "cosine"):
            raise ValueError("a schedule or warmup needs an end: max_epochs or max_updates")
        if endless and self.patience is None:
            raise ValueError("training would not end: give patience, max_epochs or max_updates")

    @property
    def adam(self) -> AdamSettings:
        """The part that Adam needs."""
        return AdamSettings(
            betas=self.betas,
            epsilon=self.epsilon,
            l2=self.l2,
            textbook=self.optimiser == "textbook",
            clip=self.clip,
        )

    def for_rows(self, rows: int) -> "TrainerSettings":
        """The same settings, with the prior over the parameters as a part of ``l2``.

        The log density of the posterior is the sum of the log densities of N rows, minus
        precision/2 times the sum of squares of the parameters. Divided by N it is their mean,
        with a penalty that is ``precision / N`` stronger.
        """
        return replace(self, l2=self.l2 + self.prior_precision / rows, prior_precision=0.0)

    def for_width(self, widest: int) -> "TrainerSettings":
        """The same settings, with the learning rate for layers of at most so many inputs.

        An update by Adam changes every weight by about the rate, and so each output of a layer by
        about the rate times the number of its inputs. If a layer has more inputs than ``width``,
        the rate is therefore multiplied by ``width`` / inputs.
        """
        if self.width is None or self.learning_rate is None:
            return self
        rate = self.learning_rate * min(1.0, self.width / widest)
        return replace(self, learning_rate=rate, width=None)


def _number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = LARGEST,
) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (above < value < below and value >= at_least):
        limits = [
            f"above {above:g}" if above > -math.inf else "",
            f"at least {at_least:g}" if at_least > -math.inf else "",
            f"below {below:g}" if below < LARGEST else "",
        ]
        raise ValueError(
            f"{name} must be a number {' and '.join(filter(None, limits))}, got {value!r}"
        )
