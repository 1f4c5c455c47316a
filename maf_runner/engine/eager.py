"""The eager engine: the loss as the model states it, autograd, Adam.

It runs everywhere and is the one to read first. The tests compare every other engine with it.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from maf_runner.engine.adam import AdamSettings, PaperAdam
from maf_runner.flows.base import Density

Update = Callable[[Tensor, Tensor | None], Tensor]  # takes a batch, returns its loss


class Eager:
    """Calls torch's operators one by one.

    Other engines that work with torch derive from it and override `prepare`.
    """

    name = "eager"

    def __init__(self, model: Density, settings: AdamSettings) -> None:
        self.model = model
        self.adam = PaperAdam((p for p in model.train().parameters() if p.requires_grad), settings)
        self.parameters = self.adam.parameters
        self._update: Update | None = None

    def step(self, x: Tensor, context: Tensor | None, rate: float) -> Tensor:
        """Update the parameters; see `Engine.step`."""
        self.adam.rate.fill_(rate)
        if self._update is None:
            self._update = self.prepare(x, context)
        return self._update(x, context)

    def prepare(self, x: Tensor, context: Tensor | None) -> Update:
        """Return the function that computes updates. Called once, with the first batch."""
        return self.update

    def update(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Compute one update; the learning rate is set already."""
        self.adam.zero_grad()
        loss = -self.model(x, context).mean()  # nats
        return self._descend(loss)

    def weighted_step(
        self, x: Tensor, context: Tensor | None, rate: float, weights: Tensor
    ) -> Tensor:
        """As `step`, for the mean of weight times negative log density; ``weights`` is [B]."""
        self.adam.rate.fill_(rate)
        self.adam.zero_grad()
        return self._descend(-(weights * self.model(x, context)).mean())

    def _descend(self, loss: Tensor) -> Tensor:
        loss.backward()
        self.adam.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """State of Adam."""
        return self.adam.state()

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.adam.load(state)
