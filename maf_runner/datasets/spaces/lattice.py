"""The values of a rounded column: an origin and multiples of a step, as decimals print them.

The step is known to nine digits, so a third is 0.333333333. And 0.1 is no binary number: 3 * 0.1
is 0.30000000000000004. Hence values are whole numbers over a common denominator: 3 / 10 is 0.3.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.spaces.bounds import Exact

ROUNDED = 5e-9  # relative error, at most, of a step with nine digits
SINGLE = 5e-7  # likewise, of one that was found in float32
SIMPLE = 10_000  # denominators, at most, of a step that is no decimal
NEAR = 1e-3  # a fraction p/q is meant where it is nearer than this over q²
MOVED = 5e-3  # of a step, at most, by which rounding moves a value; see `steps.SURE`
AT = 1e-3  # of a step: so near at its beginning a value is that of the table, rounded
EXACT = 2.0**53  # whole numbers below are exact in float64


@dataclass(frozen=True)
class Lattice:
    """The values ``(start + step k) / denominator`` for whole numbers k."""

    start: int
    step: int
    denominator: int

    @classmethod
    def of(cls, step: float, origin: float) -> "Lattice":
        """From a step above 0, to nine digits, and one of the values.

        >>> Lattice.of(0.333333333, 2 / 3), Lattice.of(0.1, 18.3)
        (Lattice(start=2, step=1, denominator=3), Lattice(start=183, step=1, denominator=10))
        """
        step, origin = float(step), float(origin)
        is_single = float(np.float32(origin)) == origin  # perhaps float32 in the file
        width = _fraction(step, SINGLE if is_single else ROUNDED)
        start = _start(origin, width, is_single=is_single)
        denominator = math.lcm(width.denominator, start.denominator)
        return cls(int(start * denominator), int(width * denominator), denominator)

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        return self.denominator == 1

    def values(self, k: NDArray[np.floating]) -> Exact:
        """The values [N] at the whole numbers ``k`` [N]."""
        with np.errstate(all="ignore"):
            whole: Exact = float(self.step) * np.asarray(k, np.float64) + float(self.start)
            plain = self.step / self.denominator * k + self.start / self.denominator
            is_exact = np.abs(whole) < max(EXACT - abs(self.start), 0)
            return np.where(is_exact, whole / self.denominator, plain)

    def steps_of(self, values: NDArray[np.floating]) -> Exact:
        """The whole number [N] of the step in which each value lies; a printed one begins it."""
        with np.errstate(all="ignore"):
            k: Exact = (np.asarray(values, np.float64) * self.denominator - self.start) / self.step
            return np.where(np.abs(k - np.round(k)) < AT, np.round(k), np.floor(k))


def _fraction(step: float, error: float) -> Fraction:
    """A simple fraction that ``step`` is but for a relative error, or else its decimals."""
    exact = Fraction(step)
    simple = exact.limit_denominator(SIMPLE)
    off = abs(float(simple - exact))
    if off <= error * step and off * simple.denominator**2 < NEAR:
        return simple
    short = Fraction(f"{step:.6g}")
    return short if abs(float(short - exact)) <= error * step else Fraction(repr(step))


def _start(origin: float, width: Fraction, *, is_single: bool) -> Fraction:
    """The origin: itself if it is whole or has few digits, else a multiple of the step if near."""
    text = f"{origin:.7g}"
    if origin.is_integer():
        return Fraction(origin)
    if float(text) == origin:
        return Fraction(text)
    ratio = Fraction(origin) / width
    error = 2 * np.finfo(np.float32 if is_single else np.float64).eps * abs(float(ratio))
    off = abs(float(ratio - round(ratio)))
    if off <= error and off <= MOVED:
        return round(ratio) * width
    return Fraction(text if is_single and float(np.float32(text)) == origin else repr(origin))
