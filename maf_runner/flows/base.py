"""The two protocols of the mathematics: transforms and densities.

Direction, stated once: ``forward`` maps data ``x`` to noise ``u``, ``inverse`` maps noise ``u``
to data ``x``; ``log_det`` of ``forward`` is log |det du/dx|, of ``inverse`` log |det dx/du|.
Log probabilities are in nats. ``B`` rows, ``D`` features, ``C`` entries of context.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from maf_runner.flows.checks import positive

OURS = ("maf_runner", "torch")  # packages whose modules draw nothing but by dropout
SAMPLED_AT_ONCE = 10_000  # rows; more are drawn in parts, to bound the memory


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Let what draws from torch's global generator follow ``generator``, if there is one.

    The global one is then left as it was.
    """
    if generator is None:
        yield
        return
    seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        yield


class Conditioned(nn.Module):
    """What transforms and densities share: their dimensions, and the check of their arguments."""

    any_dtype = False  # True: takes rows of any floating dtype, not only its own

    def __init__(self, features: int, context: int = 0) -> None:
        super().__init__()
        self.features = positive("features", features)
        if not isinstance(context, int) or isinstance(context, bool) or context < 0:
            raise ValueError(f"context must be 0 (none) or its width, got {context!r}")
        self.context = context

    @property
    def reference(self) -> Tensor:
        """A parameter or buffer that shows the dtype and device the model works in."""
        for tensor in chain(self.parameters(), self.buffers()):
            if tensor.is_floating_point():
                return tensor
        return torch.empty(0)

    def check(self, name: str, rows: Tensor, context: Tensor | None) -> None:
        """Raise where ``rows`` [B, D] or ``context`` [B, C] do not fit this model.

        Raises:
            TypeError: not a tensor, or a dtype other than the model's.
            ValueError: a wrong shape, or context where there is none, or none where there is.
        """
        self._check_rows(name, rows, self.features)
        if self.context == 0:
            if context is not None:
                raise ValueError(
                    f"context was given (shape {_shape(context)}), but this model is not "
                    "conditional: leave it out, or build the model with context=C"
                )
            return
        if context is None:
            raise ValueError(
                f"context is missing: this model is conditional and expects [B, {self.context}]"
            )
        self._check_rows("context", context, self.context)
        if len(context) != len(rows):
            raise ValueError(
                f"context has {len(context)} rows and {name} has {len(rows)}: give one for each"
            )

    def _check_rows(self, name: str, rows: Tensor, width: int) -> None:
        if not isinstance(rows, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(rows).__name__}")
        if rows.ndim != 2 or rows.shape[1] != width:
            raise ValueError(f"{name} must have shape [B, {width}], got {_shape(rows)}")
        if self.any_dtype and rows.is_floating_point():
            return
        dtype = self.reference.dtype
        if rows.dtype != dtype:
            raise TypeError(f"{name} must be {dtype} as the model is, got {rows.dtype}")


class Transform(Conditioned):
    """An invertible map between data and noise. Subclasses hold ``_forward`` and ``_inverse``."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data ``x`` [B, D] to noise ``u`` [B, D] and log |det du/dx| [B]."""
        self.check("x", x, context)
        return self._forward(x, context)

    def inverse(self, u: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map noise ``u`` [B, D] to data ``x`` [B, D] and log |det dx/du| [B]."""
        self.check("u", u, context)
        return self._inverse(u, context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Inverse(Transform):
    """A transform used backwards: its ``forward`` is the other's ``inverse``."""

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform.features, transform.context)
        self.transform = transform

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform._inverse(x, context)

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform._forward(u, context)


def inverts(model: nn.Module) -> bool:
    """Whether a transform of the model is used backwards, as in IAF: a pass for each feature."""
    return any(isinstance(module, Inverse) for module in model.modules())


class Density(Conditioned):
    """A probability density over ``D`` features, perhaps given a context.

    A subclass must have a ``title``, its name in tables, and ``forward``, the log density without
    checks, which training calls. The rest is optional: ``_sample`` to draw rows,
    ``standard_noise`` for the test of normality, ``look_at`` for what a model takes from the
    training rows before it is trained, and ``fit`` with ``closed_form = True`` for a model that is
    not trained by gradient steps. It need not have any weight matrix.
    """

    title: str
    closed_form = False  # True: `fit` replaces training by gradient steps

    @property
    def can_sample(self) -> bool:
        """Whether `sample` works for this model."""
        return type(self)._sample is not Density._sample

    @property
    def draws_in_training(self) -> bool:
        """Whether an update draws random numbers, as dropout does; code from outside may."""
        if any(type(own).__module__.partition(".")[0] not in OURS for own in self.modules()):
            return True
        return any(isinstance(module, nn.Dropout) and module.p for module in self.modules())

    @property
    def has_standard_noise(self) -> bool:
        """Whether `standard_noise` works for this model."""
        return type(self).standard_noise is not Density.standard_noise

    def fit(self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None) -> None:
        """Set the parameters from rows ``x`` [N, D]; only where ``closed_form`` is True.

        ``weights`` [N] are given only where rows have some.

        Raises:
            ValueError: the rows do not determine the parameters.
        """
        raise NotImplementedError(f"{self.title} is trained by gradient steps")

    def look_at(self, x: Tensor) -> None:
        """Take from the training rows ``x`` [N, D] what is not learned; by default nothing.

        It is called once, before training begins; what is taken belongs in buffers.
        """

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of rows ``x`` [B, D], without checking the arguments."""
        raise NotImplementedError

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats of each row.

        Args:
            x: rows [B, D] in data space, in the model's dtype.
            context: [B, C] for a conditional model, None for any other.

        Returns:
            log p(x) or log p(x | context), [B].

        Raises:
            ValueError: wrong shapes, a context too many or too few, NaN in ``x``.
            TypeError: wrong types or dtypes.
        """
        self.check("x", x, context)
        bad = torch.isnan(x).any(dim=1)
        if bad.any():
            row = int(bad.nonzero()[0])
            raise ValueError(
                f"x holds NaN in {int(bad.sum())} of {len(x)} rows, first in row {row}"
            )
        return self(x, context)

    @torch.no_grad()
    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` rows [n, D] in data space.

        Args:
            n: how many.
            context: [n, C] for a conditional model, None for any other.
            generator: the source of randomness; torch's global one by default.

        Raises:
            ValueError: ``n`` negative, or a context that does not fit.
            NotImplementedError: the model cannot sample; see `can_sample`.
        """
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"n must be a number of rows, 0 or more, got {n!r}")
        wanted = self.reference.new_zeros(()).expand(n, self.features)  # takes no memory
        self.check("samples", wanted, context)
        parts = []
        for start in range(0, max(n, 1), SAMPLED_AT_ONCE):
            part = slice(start, min(start + SAMPLED_AT_ONCE, n))
            given = None if context is None else context[part]
            parts.append(self._sample(part.stop - start, given, generator))
        return torch.cat(parts).contiguous()  # an inverse may lay out rows the other way round

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        raise NotImplementedError(f"{self.title} cannot sample")

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map rows ``x`` [B, D] to ``u`` [B, D], which is N(0, I) where the model is right.

        Raises:
            NotImplementedError: there is no such map; see `has_standard_noise`.
        """
        raise NotImplementedError(f"{self.title} has no map to standard normal noise")

    def parameter_count(self) -> int:
        """How many numbers are learned; weights held at zero by a mask are not counted."""
        masked = 0
        for module in self.modules():
            mask, weight = (getattr(module, name, None) for name in ("mask", "weight"))
            if not isinstance(mask, Tensor) or not isinstance(weight, Tensor):
                continue
            if mask.shape == weight.shape:  # else it masks something else
                masked += mask.numel() - int(mask.count_nonzero())
        return sum(p.numel() for p in self.parameters()) - masked


class StandardNormal(Density):
    """The noise at the end of a flow: independent N(0, 1) in every dimension."""

    title = "Standard normal"

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of ``x`` [B, D]; the context is not looked at."""
        return -0.5 * (x.square().sum(dim=1) + self.features * math.log(2 * math.pi))

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``x`` itself."""
        return x

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return self.reference.new_empty(n, self.features).normal_(generator=generator)


class Flow(Density):
    """A base density seen through transforms (the paper's equation 1).

    ``transforms[0]`` is next to the data. The base sees the context only if it is conditional.
    """

    def __init__(self, transforms: Iterable[Transform], base: Density, context: int = 0) -> None:
        super().__init__(base.features, context)
        self.transforms = nn.ModuleList(transforms)
        for transform in self.chain:
            if transform.features != base.features:
                raise ValueError(
                    f"the base has {base.features} features and a transform {transform.features}"
                )
        self.base = base

    @property
    def can_sample(self) -> bool:
        """Whether the base can."""
        return self.base.can_sample

    @property
    def has_standard_noise(self) -> bool:
        """Whether the base has."""
        return self.base.has_standard_noise

    @property
    def chain(self) -> list[Transform]:
        """The transforms, from the data to the noise."""
        return cast(list[Transform], list(self.transforms))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B]: that of the noise, plus every log |det du/dx|."""
        u, log_det = self.to_noise(x, context)
        return self.base(u, self._for_base(context)) + log_det

    def to_noise(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data ``x`` [B, D] to the base's noise ``u`` [B, D] and log |det du/dx| [B]."""
        total = x.new_zeros(len(x))
        for transform in self.chain:
            x, log_det = transform._forward(x, context)
            total = total + log_det
        return x, total

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The noise of the base, mapped on by a base that is not N(0, I) itself."""
        return self.base.standard_noise(self.to_noise(x, context)[0], self._for_base(context))

    def from_noise(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        """Map the base's noise ``u`` [B, D] to data ``x`` [B, D]."""
        for transform in reversed(self.chain):
            u, _ = transform._inverse(u, context)
        return u

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        return self.from_noise(self.base._sample(n, self._for_base(context), generator), context)

    def _for_base(self, context: Tensor | None) -> Tensor | None:
        return context if self.base.context else None


def _shape(value: object) -> object:
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__
