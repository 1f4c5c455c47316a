"""When training ends, and the learning rate until then."""

import math
from dataclasses import dataclass

from maf_runner.training.settings import TrainerSettings
from maf_runner.training.state import State


@dataclass(frozen=True)
class Schedule:
    """Limits, patience and learning rate of one run.

    Attributes:
        settings: of the trainer, with a learning rate.
        per_epoch: updates in an epoch, in which every row is seen once. A validation ends it,
            unless ``validate_every`` of the settings says otherwise.
    """

    settings: TrainerSettings
    per_epoch: int

    @property
    def between(self) -> int:
        """The number of updates from one validation to the next."""
        return self.settings.validate_every or self.per_epoch

    @property
    def most_updates(self) -> float:
        """The number of updates that the limits allow; it can be infinite."""
        epochs = self.settings.max_epochs or math.inf
        return min(epochs * self.per_epoch, self.settings.max_updates or math.inf)

    @property
    def fewest_updates(self) -> int:
        """The number of updates that the run makes at least."""
        patience = math.inf if self.settings.patience is None else self.settings.patience
        return int(min((patience + 1) * self.between, self.most_updates))

    @property
    def warmup_updates(self) -> float:
        """The number of updates during which the rate rises."""
        return self.settings.warmup * self.most_updates if self.settings.warmup else 0.0

    def rate(self, update: int) -> float:
        """The learning rate of an update, counted from 0.

        It rises linearly during the warm-up. After it, the rate is constant, or, if the schedule
        is ``cosine``, falls to 0 along half a cosine.
        """
        highest = self.settings.learning_rate
        if highest is None:
            raise ValueError("learning_rate must be a number above 0, got None")
        warmup = self.warmup_updates
        if update < warmup:
            return highest * (update + 1) / (warmup + 1)
        if self.settings.schedule == "constant":
            return highest
        share = (update - warmup) / (self.most_updates - warmup)
        return highest * (1 + math.cos(math.pi * share)) / 2

    def epoch_end(self, epoch: int) -> int | float:
        """The number of updates that are done at the validation 0, 1, 2, ..."""
        return min((epoch + 1) * self.between, self.most_updates)

    def patience_left(self, state: State) -> int | float:
        """How many more validations may bring no improvement.

        Those during the warm-up are not counted, because a rising rate can set a model back for a
        while.
        """
        if self.settings.patience is None:
            return math.inf
        start = max(state.best_epoch, math.ceil(self.warmup_updates / self.between))
        return self.settings.patience - max(0, state.epoch - start)

    def stop_reason(self, state: State) -> str | None:
        """Why training ends after the last validation: ``patience``, a limit, or None."""
        if self.patience_left(state) <= 0:
            return "patience"
        validated = state.history[-1]["updates"] if state.history else 0
        epochs = self.settings.max_epochs
        if epochs is not None and validated >= epochs * self.per_epoch:
            return "max_epochs"
        if self.settings.max_updates is not None and validated >= self.settings.max_updates:
            return "max_updates"
        return None
