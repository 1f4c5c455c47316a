"""The flows of the library zuko as models, trained and evaluated as ours.

`zuko <https://zuko.readthedocs.io>`_ is an extra: ``pip install '.[zuko]'``. The settings are
those of its classes; a list stands for a tuple.
"""

import inspect
import logging
import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from maf_runner.flows.base import Density, drawing_from
from maf_runner.system import shortage
from maf_runner.system.errors import DataError, UsageError, extra
from maf_runner.system.text import as_typed

KINDS = ("MAF", "NSF", "NCSF", "NICE", "NAF", "UNAF", "SOSPF", "BPF", "GF", "CNF")
SEARCHED = ("NAF", "UNAF", "SOSPF", "GF")  # the inverse is searched between two bounds
COUNTS = ("transforms", "bins", "components", "degree", "polynomials", "signal", "passes", "freqs")
MOST = 10_000
log = logging.getLogger("maf_runner")


class Zuko(Density):
    """A flow of zuko.

    Args:
        features: D.
        kind: the class, one of `KINDS`.
        settings: its arguments by name.
        context: C, 0 for none.

    Raises:
        UsageError: zuko is not installed.
        ValueError: no such class, or arguments that it does not take or that cannot be.
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
        self.kind, self.choice = kind, f"zuko/{kind.lower()}"
        _check(settings)
        self._require_memory(settings)
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        try:
            self.flow = getattr(zuko.flows, kind)(features, context, **plain)
            self._try()
        except Exception as error:  # of any kind: they are not zuko's own checks
            if torch.get_default_device().type == "meta":
                raise  # zuko reads numbers while it builds, and there are none to read
            given = ", ".join(f"model.settings.{k}={as_typed(v)}" for k, v in settings.items())
            why = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(f"zuko refuses {given or 'no settings'} ({why})") from error
        self.libraries = {"zuko": zuko.__version__}
        self.title = f"zuko {kind}"

    @torch.no_grad()
    def _try(self) -> None:
        """Take the density of a row, because zuko takes some settings only to fail then."""
        if self.reference.is_meta:
            return
        with torch.random.fork_rng(devices=[]):
            given = torch.zeros(1, self.context) if self.context else None
            self.flow(given).log_prob(torch.zeros(1, self.features))

    def _require_memory(self, settings: dict[str, Any]) -> None:
        """Refuse matrices that cannot fit, before any is made."""
        widths = [self.features, *settings.get("hidden_features", ()), self.features]
        weights = settings.get("transforms", 1) * sum(a * b for a, b in pairwise(widths))
        # Each weight has a gradient, two moments and a copy of the best.
        way_out = "take smaller model.settings.hidden_features"
        shortage.require(20 * weights, f"model={self.choice}", way_out)

    def look_at(self, x: Tensor) -> None:
        """Refuse training rows ``x`` [N, D] of which the model has no density.

        Raises:
            DataError: NCSF, and rows outside of its square.
        """
        if self.kind == "NCSF" and (outside := int(_outside(x).sum())):
            raise DataError(
                f"model={self.choice} is for values from -pi to pi, and {outside:,} of {len(x):,} "
                "training rows have others: take model=zuko/nsf, or scale the data"
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B]; of NCSF, which zuko repeats from square to square, of one."""
        found: Tensor = self.flow(context).log_prob(x)
        return found.masked_fill(_outside(x), -torch.inf) if self.kind == "NCSF" else found

    @property
    def draws_in_training(self) -> bool:
        """CNF can: it estimates a trace at random unless it is told to compute it."""
        return self.kind == "CNF"

    @torch.no_grad()
    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` rows [n, D]; warns of those that zuko's inverse cuts off, see `Density`."""
        self._cut = 0
        rows = super().sample(n, context, generator)
        if self._cut:
            log.warning(
                "%d of %d samples are cut off and do not follow this density: the inverse of %s "
                "searches from %g to %g, and what they come from lies beyond",
                *(self._cut, n, self.choice, -self._bound, self._bound),
            )
        return rows

    @property
    def _bound(self) -> float:
        """How far from 0 zuko's search for an inverse goes."""
        from zuko.transforms import MonotonicTransform

        return float(inspect.signature(MonotonicTransform).parameters["bound"].default)

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        with drawing_from(generator):
            flow, shape = self.flow(context), (() if context is not None else (n,))
            if self.kind not in SEARCHED:
                found: Tensor = flow.sample(shape)
                return found
            found, nearly = flow.base.sample(shape), self._bound * (1 - 1e-6)
            cut = torch.zeros(n, dtype=torch.bool, device=found.device)
            for transform in reversed(flow.transform.transforms):  # any of them may cut
                found = transform.inv(found)
                cut |= (found.abs() >= nearly).any(dim=1)
        self._cut += int(cut.sum())
        return found


def _outside(x: Tensor) -> Tensor:
    """Which rows [B] of ``x`` [B, D] have a value outside of -pi to pi."""
    return (x.abs() > math.pi).any(dim=1)


def _check(settings: object) -> None:
    """Refuse counts of which zuko makes something impossible, or fails later.

    Raises:
        ValueError: such a setting, by name.
    """
    if not isinstance(settings, dict):
        raise ValueError(f"model.settings must be settings by name, got {as_typed(settings)}")
    for name in COUNTS:
        value = settings.get(name, 1)
        if name == "passes" and value is None:
            continue
        if not (type(value) is int and 0 < value <= MOST):
            raise ValueError(
                f"model.settings.{name} must be a whole number from 1 to {MOST}, got "
                f"{as_typed(value)}"
            )
    widths = settings.get("hidden_features", [])
    if not isinstance(widths, list | tuple) or not all(type(w) is int and w > 0 for w in widths):
        raise ValueError(
            "model.settings.hidden_features must be a list of whole numbers of at least 1, as in "
            f"[64,64], got {as_typed(widths)}"
        )
