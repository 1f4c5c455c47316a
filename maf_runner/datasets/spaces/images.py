"""From pixels to logit space and back to bits per pixel (the paper, section 4.3 and appendix E).

Pixels of L grey levels get uniform noise, are scaled to [0, 1) and go through
logit(alpha + (1 - 2 alpha) x). Models see logits; bits per pixel are counted for the pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.floating]
CHUNK = 5000  # pictures at a time


@dataclass(frozen=True)
class LogitSpace:
    """How images became rows.

    Attributes:
        shape: (height, width) or (colours, height, width) of a picture, as its row lists it.
        levels: number of values of a pixel (256).
        alpha: distance from 0 and 1 before the logit is taken.
    """

    shape: tuple[int, ...]
    levels: int
    alpha: float

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, (int, float)) or not 0 < self.alpha < 0.5:
            raise ValueError(f"alpha must be a number between 0 and 0.5, got {self.alpha!r:.200}")
        sizes = [*self.shape, self.levels]
        if len(sizes) not in (3, 4) or not all(isinstance(n, int) and n > 0 for n in sizes):
            raise ValueError(
                f"no picture has shape {self.shape!r:.200} and {self.levels!r:.200} levels"
            )

    @classmethod
    def from_json(cls, value: Any) -> "LogitSpace":
        """The space that `to_json` described.

        Raises:
            ValueError: ``value`` describes no space.
        """
        try:
            return cls(tuple(value["shape"]), levels=value["levels"], alpha=value["alpha"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{value!r:.200} does not describe pictures") from error

    def to_json(self) -> dict[str, Any]:
        """The space as a dict for JSON."""
        return {"shape": list(self.shape), "levels": self.levels, "alpha": self.alpha}

    def squeezed(self, unit: Any) -> Any:
        """Map values in [0, 1), of numpy or torch, away from 0 and 1."""
        return self.alpha + (1 - 2 * self.alpha) * unit

    def to_logits(self, unit: Array) -> Array:
        """Map values in [0, 1) to logits, in the dtype given."""
        squeezed = self.squeezed(unit)
        return np.log(squeezed) - np.log1p(-squeezed)

    def to_unit(self, logits: Array) -> Array:
        """Map logits back to [0, 1]; logits outside the range of pixels are clipped."""
        squeezed = np.exp(-np.logaddexp(0, -np.asarray(logits, dtype=np.float64)))
        return ((squeezed - self.alpha) / (1 - 2 * self.alpha)).clip(0, 1)

    def to_levels(self, logits: Array) -> Array:
        """Map logits back to the grey levels, 0 to ``levels`` - 1, without the noise."""
        return np.floor(self.to_unit(logits) * self.levels).clip(0, self.levels - 1)

    def to_pictures(self, logits: Array) -> Array:
        """Rows of logits [N, D] to pictures [N, height, width] or [N, height, width, colours]."""
        pictures = self.to_unit(logits).reshape(len(logits), *self.shape)
        return np.moveaxis(pictures, 1, -1) if len(self.shape) == 3 else pictures

    def log_prob_of_unit(self, log_prob: Array, logits: Array) -> Array:
        """Log densities [N] in nats over [0, 1]^D, from those over the logits [N, D]."""
        x = np.asarray(logits, dtype=np.float64)
        # ln z + ln(1 - z) with z the sigmoid of x
        log_slope = -np.logaddexp(0, x) - np.logaddexp(0, -x)
        return log_prob + x.shape[1] * np.log(1 - 2 * self.alpha) - log_slope.sum(axis=1)

    def bits_per_pixel(self, log_prob: Array, logits: Array) -> Array:
        """Bits for each pixel value [N] of the pictures ``logits`` [N, D], from nats [N]."""
        nats = self.log_prob_of_unit(log_prob, logits)
        return -nats / (logits.shape[1] * np.log(2)) + np.log2(self.levels)


def in_chunks(
    pictures: Any, steps: Callable[..., Array], dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Apply ``steps`` to pictures [N, D] in chunks, so that intermediate results stay small."""
    made = np.empty(pictures.shape, dtype=dtype)
    for start in range(0, len(made), CHUNK):
        part = slice(start, start + CHUNK)
        made[part] = steps(pictures[part])
    return made
