"""What an engine has to offer: everything that training needs to update a model.

An engine is one way to compute updates. Each stands in a file of its own: `eager`, `compiled`,
`graph` and `native.engine`. `driver` chooses among them and uses the chosen one; training sees the
driver only.
"""

from typing import Any, Protocol

from torch import Tensor

from maf_runner.flows.base import Density


class DeclinedError(Exception):
    """An engine cannot train this model. The message says why; the eager engine is used instead.

    Raised by the constructor of an engine, which must leave the model as it was.
    """


class Engine(Protocol):
    """One way to compute updates. Constructed with the model and `adam.AdamSettings`.

    An engine keeps the parameters in a flat buffer, and each moment of Adam in another of the same
    length. The order of the numbers in them is the engine's own choice; with `to_model` and
    `from_model`, the driver translates it into the order of the model's parameters.

    Attributes:
        name: stands in the checkpoint, so that a run continues on the same engine.
        parameters: the flat buffer. The driver reads it for the average of the parameters, and
            writes other values into it for a while.
        own_layout: whether the buffer differs from the model's parameters, one after another. If
            not, the model's parameters are views of the buffer, and are always up to date.
    """

    name: str
    parameters: Tensor
    own_layout: bool

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

    def density(self) -> Density:
        """A density that computes with the numbers now in ``parameters``, for evaluation."""

    def to_model(self) -> None:
        """Copy ``parameters`` to the model."""

    def from_model(self) -> None:
        """Copy the model's parameters to ``parameters``."""

    def state(self) -> dict[str, Any]:
        """State of the optimiser: ``steps``, ``first`` and ``second``, in the engine's layout."""

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
