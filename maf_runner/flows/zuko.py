"""The flows of the library zuko as models, trained and evaluated as ours.

`zuko <https://zuko.readthedocs.io>`_ is an extra: ``pip install '.[zuko]'``. The settings are
those of its classes; a list stands for a tuple.
"""

from typing import Any

import torch
from torch import Tensor

from maf_runner.flows.base import Density
from maf_runner.system.errors import UsageError, extra

KINDS = ("MAF", "NSF", "NCSF", "NICE", "NAF", "UNAF", "SOSPF", "BPF", "GF", "CNF")


class Zuko(Density):
    """A flow of zuko.

    Args:
        features: D.
        kind: the class, one of `KINDS`.
        settings: its arguments by name.
        context: C, 0 for none.

    Raises:
        UsageError: zuko is not installed.
        ValueError: no such class, or arguments that it does not take.
    """

    def __init__(
        self, features: int, *, kind: str, settings: dict[str, Any], context: int = 0
    ) -> None:
        super().__init__(features, context)
        try:
            import zuko
        except ImportError as error:
            raise UsageError(f"model=zuko/... needs zuko: {extra('zuko')}") from error
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        try:
            self.flow = getattr(zuko.flows, kind)(features, context, **plain)
        except (TypeError, ValueError, AssertionError) as error:
            raise ValueError(f"zuko's {kind} refuses its settings ({error})") from error
        self.libraries = {"zuko": zuko.__version__}
        self.title = f"zuko {kind}"

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B]."""
        found: Tensor = self.flow(context).log_prob(x)
        return found

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        with torch.random.fork_rng(devices=[]):  # zuko draws from torch's own generator
            if generator is not None:
                seed = torch.randint(2**63 - 1, (), generator=generator)
                torch.manual_seed(int(seed))
            found: Tensor = self.flow(context).sample(() if context is not None else (n,))
        return found
