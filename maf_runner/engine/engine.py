"""What an engine has to offer: everything that training needs to update a model.

An engine is one way to compute updates. Each stands in a file of its own: `eager`, `compiled`,
`graph` and `native.engine`. `driver` chooses among them and uses the chosen one; training sees the
driver only.
"""

from typing import Any, Protocol

from torch import Tensor


class DeclinedError(Exception):
    """An engine cannot train this model. The message says why; the eager engine is used instead.

    Raised by the constructor of an engine, which must leave the model as it was.
    """


class Optimiser(Protocol):
    """What holds the parameters of one model in training and the state of its optimiser.

    The model's parameters are views of one flat buffer, in their order, and each moment of Adam is
    another of the same length. So the model is always up to date, and a run can move between
    engines.

    Attributes:
        name: stands in the checkpoint, so that a run continues on the same engine.
    """

    name: str

    @property
    def parameters(self) -> Tensor:
        """The flat buffer.

        The driver reads it for the average of the parameters, and writes other values into it for
        a while.
        """

    def state(self) -> dict[str, Any]:
        """State of the optimiser: ``steps``, ``first`` and ``second``."""

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""


class Engine(Optimiser, Protocol):
    """One way to update a model alone. Constructed with the model and `adam.AdamSettings`."""

    def step(self, x: Tensor, context: Tensor | None, rate: float) -> Tensor:
        """Update the parameters by one batch.

        Args:
            x: rows [B, D]; every call has the same B.
            context: [B, C], or None.
            rate: the learning rate of this update.

        Returns:
            The mean negative log density of the batch before the update, in nats: a tensor of no
            dimensions on the model's device. The host does not wait for it.
        """
