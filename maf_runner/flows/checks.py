"""Checks of the arguments of models: each returns the value, or says what it must be."""

import math
from collections.abc import Iterable, Sequence

MOST_LAYERS = 1000  # of a flow or a network: far more than ever helped


def positive(name: str, value: int, highest: int = 10**12) -> int:
    """Return ``value`` if it is a whole number from 1 to ``highest``, else raise ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if value > highest:
        raise ValueError(f"{name} must be a whole number of at most {highest:,}, got {value}")
    return value


def widths(hidden: object) -> list[int]:
    """Return the widths of hidden layers as a list, or raise ValueError."""
    if not isinstance(hidden, Sequence) or isinstance(hidden, str) or not hidden:
        raise ValueError(f"hidden must list at least one width, as in [100,100], got {hidden!r}")
    if len(hidden) > MOST_LAYERS:
        raise ValueError(f"hidden must list at most {MOST_LAYERS:,} widths, got {len(hidden):,}")
    return [positive("each width of hidden", width, 10**6) for width in hidden]


def permutation(name: str, value: object, size: int) -> list[int]:
    """Return ``value`` as a list if it has each of 0 .. size - 1 once, else raise ValueError."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = list(value)
        if all(type(n) is int for n in numbers) and sorted(numbers) == list(range(size)):
            return numbers
    raise ValueError(f"{name} must have each number from 0 to {size - 1} once, got {value!r}")


def one_of(name: str, value: str, options: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``options``, else raise ValueError."""
    options = tuple(options)
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")
    return value


def real(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> float:
    """Return ``value`` if it is a number within the limits, else raise ValueError."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and above < value < below and at_least <= value <= at_most:
        return float(value)
    limits = {"above": above, "at least": at_least, "below": below, "at most": at_most}
    said = " and ".join(f"{word} {x:g}" for word, x in limits.items() if math.isfinite(x))
    raise ValueError(f"{name} must be a number {said}, got {value!r}")
