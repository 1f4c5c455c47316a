"""How large a model is, and every decision that depends on it.

All thresholds of width stand here, with what was measured or reckoned. Two moments ask: before
the model is built, only the settings are known (`PlannedSize`); afterwards its matrices are
(`ModelSize`).
"""

from dataclasses import dataclass
from typing import Self

from torch import nn

# Up to this width an update of a network takes about as long to call as to carry out. So a
# narrower network gains nothing from several threads, and one up to this is worth compiling; wider
# ones are bound by matrix products, which a compiler leaves alone.
NARROW = 512
# A layer between two of this width takes 256 MiB in float32: from here on a model is counted
# before it is built. Counting takes a second, so that smaller ones are built at once.
COUNT_FROM = 8192
# Multiplications of the largest product from which switching torch's library for products pays.
SWITCH_FROM = 4e6
# Rows in one pass without gradients: as many as give this many numbers (16 MB in float32) in the
# widest layer, since allocators do not keep much larger pieces; more rows gain nothing.
NUMBERS_AT_ONCE = 4 << 20
FEWEST_ROWS, MOST_ROWS = 1024, 4096


@dataclass(frozen=True)
class PlannedSize:
    """The size of a model that is not built yet.

    Attributes:
        hidden: units of the widest hidden layer; 0 if there is none, or if the setting is not a
            list of whole numbers, which building the model will report.
        features: D, or 0 before the data are loaded.
    """

    hidden: int
    features: int = 0

    @classmethod
    def of(cls, hidden: object, features: int = 0) -> Self:
        """From the setting ``model.hidden``, in any form that a user may have given it."""
        widths = hidden if isinstance(hidden, list) else []
        return cls(max((w for w in widths if isinstance(w, int)), default=0), features)

    @property
    def wants_one_thread(self) -> bool:
        """Whether more threads would only wait for each other."""
        return 0 < self.hidden < NARROW

    @property
    def may_exceed_memory(self) -> bool:
        """Whether the bytes must be counted before the model is built."""
        return max(self.features, self.hidden) >= COUNT_FROM


@dataclass(frozen=True)
class ModelSize:
    """The size of the matrices [out, in] that a model learns.

    A model may have none, as one that learns vectors only; the defaults are for that.

    Attributes:
        widest_input: most columns of a matrix. The tuned learning rate is divided by it.
        widest_output: most rows of a matrix.
        largest: most numbers in a matrix.
    """

    widest_input: int = 1
    widest_output: int = 1
    largest: int = 0

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """From the parameters of a model."""
        matrices = [p for p in model.parameters() if p.ndim == 2]
        if not matrices:
            return cls()
        return cls(
            widest_input=max(p.shape[1] for p in matrices),
            widest_output=max(p.shape[0] for p in matrices),
            largest=max(p.numel() for p in matrices),
        )

    @property
    def narrow(self) -> bool:
        """Whether an update takes about as long to call as to carry out."""
        return self.widest_output <= NARROW

    @property
    def rows_at_once(self) -> int:
        """Rows in one pass without gradients: more of a narrow model."""
        return min(max(NUMBERS_AT_ONCE // self.widest_output, FEWEST_ROWS), MOST_ROWS)

    def switches_products(self, rows: int) -> bool:
        """Whether products of ``rows`` rows are large enough to choose a library for them."""
        return rows * self.largest >= SWITCH_FROM
