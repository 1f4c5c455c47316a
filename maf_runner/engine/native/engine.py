"""The native engine (CPU): a whole update in one call of the library, of the models it knows."""

from torch import Tensor

from maf_runner.engine.adam import AdamSettings
from maf_runner.engine.eager import Eager, Update
from maf_runner.engine.engine import DeclinedError
from maf_runner.engine.native.updates import NativeUpdate, look
from maf_runner.flows.base import Density


class Native(Eager):
    """Works on Adam's buffers, of which the model's parameters are views."""

    name = "native"

    def __init__(self, model: Density, settings: AdamSettings) -> None:
        if reason := look(model)[1]:
            raise DeclinedError(reason)
        if not settings.as_in_the_paper:
            raise DeclinedError("it has no other Adam than the paper's, and clips no gradients")
        super().__init__(model, settings)

    def prepare(self, x: Tensor, context: Tensor | None) -> Update:
        """Describe the model to the library."""
        return NativeUpdate(self.model, self.adam)
