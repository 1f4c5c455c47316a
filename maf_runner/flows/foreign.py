"""A model from outside the package: any module with ``log_prob(x, context=None) -> [B]``."""

from typing import Any

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Density, drawing_from
from maf_runner.system.errors import UsageError
from maf_runner.system.outside import errors_of


class Foreign(Density):
    """Gives a module the form of a `Density`, and checks what comes out of it.

    ``sample(n, context=None) -> [n, D]`` and ``standard_noise(x, context=None) -> [B, D]`` of the
    module are used if they are there.

    Args:
        module: the model.
        features: D.
        context: C, 0 for none.
        title: its name in tables; the module's own ``title`` comes first.
    """

    def __init__(self, module: nn.Module, features: int, context: int, title: str) -> None:
        super().__init__(features, context)
        if not callable(getattr(module, "log_prob", None)):
            raise ValueError(f"{_name(module)} has no log_prob(x, context=None)")
        self.module: Any = module
        self.title = str(getattr(module, "title", title))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B].

        Raises:
            UsageError: the module returns something else.
        """
        rows = x if self.training else x.clone()  # these are the data themselves
        found = self._called("log_prob", rows, (len(x),), context)
        if torch.is_grad_enabled() and self.training and not found.requires_grad:
            raise UsageError(
                f"{_name(self.module)}.log_prob returns a tensor without gradient: is it "
                "detached, or made under torch.no_grad?"
            )
        return found

    @property
    def can_sample(self) -> bool:
        """Whether the module has a ``sample``."""
        return callable(getattr(self.module, "sample", None))

    @property
    def draws_in_training(self) -> bool:
        """It may: nothing is known of the module."""
        return True

    @property
    def has_standard_noise(self) -> bool:
        """Whether the module has a ``standard_noise``."""
        return callable(getattr(self.module, "standard_noise", None))

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The noise [B, D] that the module makes of rows."""
        if not self.has_standard_noise:
            return super().standard_noise(x, context)
        return self._called("standard_noise", x, tuple(x.shape), context)

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        if not self.can_sample:
            return super()._sample(n, context, generator)
        with drawing_from(generator):
            return self._called("sample", n, (n, self.features), context)

    def _called(
        self, method: str, what: Tensor | int, shape: tuple[int, ...], context: Tensor | None
    ) -> Tensor:
        """What a method of the module returns, of that shape."""
        given = {} if context is None else {"context": context}
        name = f"{_name(self.module)}.{method}"
        with errors_of(name):
            found = getattr(self.module, method)(what, **given)
        if not isinstance(found, Tensor) or tuple(found.shape) != shape:
            got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UsageError(f"{name} must return a tensor of shape {list(shape)}, got {got}")
        return found


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
