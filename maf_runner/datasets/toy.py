"""Points in the plane or on a line, drawn here: small enough to see how a flow works.

Preparation: one ``numpy.random.default_rng(seed)`` draws the training, validation and test points
in turn. Where the density is known, so is its entropy H: no model can do better than -H nats on
average. `Splits` has both.

- ``circles``: as scikit-learn's make_circles: a ring of radius 1 and one of radius ``factor``,
  noise N(0, ``noise``²); classes outer, inner.
- ``moons``: as scikit-learn's make_moons: two interleaved half circles with noise; two classes.
- ``checkerboard``: uniform over the eight dark squares of side 2 of a 4x4 board on [-4, 4]².
- ``two_gaussians``: N((±2, 0), diag(0.25, 1)), half each; two classes.
- ``banana``: x2 ~ N(0, 4), x1 ~ N(x2²/4, 1): the paper's Figure 1, where a MADE with the order
  x1, x2 fails and a MAF does not.
- ``smile``: a third each of two eyes N((±1.5, 2.5), 0.04 I), and a mouth along the lower half of
  an ellipse, (2 cos a, -sin a) + N(0, 0.04 I); three classes.
- ``mixture1d``: on a line, N(-1, 1/16) and N(1/2, 1/4), half each; two classes.
"""

import math
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import Paths, Rows, Splits

Points = NDArray[np.float64]
Labels = NDArray[np.int64] | None
Weighted = tuple[Points, NDArray[np.float64]]  # places [K, 2] and their weights [K]
MOST_ROWS = 10_000_000
SMILE_NOISE = 0.2
LEAST_NOISE = 0.08  # with which the entropy of a curve takes a moment


class Toy(NamedTuple):
    """How to draw ``n`` points [n, 2] or [n, 1] with labels; the classes.

    If the density is known: its entropy in nats, and the log density [n] of points.
    """

    draw: Callable[..., tuple[Points, Labels]]
    classes: int = 0
    entropy: Callable[..., float | None] | None = None
    log_prob: Callable[..., NDArray[np.float64]] | None = None


def load(
    *, paths: Paths, kind: str, rows: int, held_out: int, seed: int, options: dict[str, float]
) -> Splits:
    """Draw a toy dataset.

    Args:
        paths: not used.
        kind: which one; see the module.
        rows: of the training split.
        held_out: rows of the validation split, and of the test split.
        seed: of the points.
        options: further arguments of the kind, such as ``noise``.

    Raises:
        ValueError: an unknown kind or option, no rows or far too many, or a negative seed.
    """
    if kind not in tuple(TOYS):
        raise ValueError(f"kind must be one of {', '.join(TOYS)}, got {kind!r}")
    for name, count in (("rows", rows), ("held_out", held_out)):
        if not 1 <= count <= MOST_ROWS:
            raise ValueError(
                f"{name} must be a whole number from 1 to {MOST_ROWS:,}, got {count!r}"
            )
    if seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    known = [*signature(TOYS[kind].draw).parameters][2:]
    if not isinstance(options, dict) or set(options) != set(known):
        wanted = f"{{{', '.join(f'{name}: NUMBER' for name in known)}}}"
        raise ValueError(f"options of {kind} must be {wanted}, got {options!r}")
    for name, value in options.items():
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not 0.001 <= value <= 100
        ):
            raise ValueError(f"options.{name} must be a number from 0.001 to 100, got {value!r}")
    toy = TOYS[kind]
    rng = np.random.default_rng(seed)

    def draw(n: int) -> Rows:
        points, labels = toy.draw(rng, n, **options)
        return Rows(points.astype(np.float32), labels)

    return Splits(
        train=draw(rows),
        validation=draw(held_out),
        test=draw(held_out),
        origin="raw",
        classes=toy.classes,
        entropy=toy.entropy(**options) if toy.entropy else None,
        true_log_prob=partial(toy.log_prob, **options) if toy.log_prob else None,
    )


def _half(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Labels 0 and 1, each with probability one half."""
    return rng.integers(0, 2, n)


def _circles(
    rng: np.random.Generator, n: int, *, noise: float, factor: float
) -> tuple[Points, Labels]:
    labels = _half(rng, n)
    angle = rng.uniform(0, 2 * math.pi, n)
    radius = np.where(labels == 0, 1.0, factor)
    ring = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    return ring + noise * rng.standard_normal((n, 2)), labels


def _rings(r: NDArray[np.float64], *, noise: float, factor: float) -> NDArray[np.float64]:
    """The density in the plane at distance ``r`` from the centre of the circles.

    The mean over the angle is a Bessel function.
    """
    from scipy.special import i0e

    p = np.zeros_like(r)
    for ring in (1.0, factor):
        z = r * ring / noise**2
        p += 0.5 * i0e(z) * np.exp(-((r - ring) ** 2) / (2 * noise**2)) / (2 * math.pi * noise**2)
    return p


def _circles_log_prob(x: Points, *, noise: float, factor: float) -> NDArray[np.float64]:
    return _log(_rings(np.hypot(*x.T.astype(float)), noise=noise, factor=factor))


def _circles_entropy(*, noise: float, factor: float) -> float:
    """By quadrature over the radius."""
    end = max(1.0, factor) + 12 * noise
    r = np.linspace(0, end, 1 + max(20000, round(50 * end / noise)))[1:]
    p = _rings(r, noise=noise, factor=factor)
    inside = np.where(p > 0, -p * np.log(np.maximum(p, 1e-300)), 0.0) * 2 * math.pi * r
    return float(np.trapezoid(inside, r))


def _moons(rng: np.random.Generator, n: int, *, noise: float) -> tuple[Points, Labels]:
    labels = _half(rng, n)
    angle = rng.uniform(0, math.pi, n)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    lower = np.column_stack([1 - np.cos(angle), 0.5 - np.sin(angle)])
    points = np.where(labels[:, None] == 0, upper, lower)
    return points + noise * rng.standard_normal((n, 2)), labels


def _moons_places(noise: float) -> Weighted:
    """Points along both half circles, and their weights."""
    angle, weights = _nodes(math.pi, noise / 4)
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    lower = np.column_stack([1 - np.cos(angle), 0.5 - np.sin(angle)])
    return np.concatenate([upper, lower]), np.tile(weights / 2, 2)


def _moons_log_prob(x: Points, *, noise: float) -> NDArray[np.float64]:
    return _blurred(x, _moons_places(noise), noise)


def _moons_entropy(*, noise: float) -> float | None:
    return _entropy_of_blurred(_moons_places(noise), noise)


def _nodes(length: float, step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in an interval from 0, about ``step`` apart; weights of sum 1 (Gauss-Legendre)."""
    nodes, weights = np.polynomial.legendre.leggauss(math.ceil(length / step))
    return (nodes + 1) * length / 2, weights / 2


def _blurred(x: Points, places: Weighted, noise: float) -> NDArray[np.float64]:
    """The log density at ``x`` [n, 2] of weighted places [K, 2] with normal noise."""
    centres, weights = places
    p = np.empty(len(x))
    for start in range(0, len(x), 1000):
        across, up = (
            x[start : start + 1000, i, None].astype(float) - centres[:, i] for i in (0, 1)
        )
        p[start : start + 1000] = np.exp(-(across**2 + up**2) / (2 * noise**2)) @ weights
    return _log(p / (2 * math.pi * noise**2))


def _entropy_of_blurred(places: Weighted, noise: float) -> float | None:
    """The entropy of weighted places with noise, by a sum over a grid."""
    if noise < LEAST_NOISE:
        return None
    step = noise / 3
    low, high = (end(places[0], axis=0) for end in (np.min, np.max))
    axes = [np.arange(a - 8 * noise, b + 8 * noise, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    nats = _blurred(grid, places, noise)
    finite = nats[np.isfinite(nats)]
    return float(-(np.exp(finite) * finite).sum() * step**2)


def _checkerboard(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    column = rng.integers(0, 4, n)
    row = 2 * rng.integers(0, 2, n) + column % 2
    corner = 2.0 * np.column_stack([column, row]) - 4
    return corner + 2 * rng.random((n, 2)), None


def _checkerboard_log_prob(x: Points) -> NDArray[np.float64]:
    column, row = (np.floor((x + 4) / 2)).T
    dark = ((column + row) % 2 == 0) & (np.abs(x) <= 4).all(axis=1)
    return np.where(dark, -math.log(32), -np.inf)


def _two_gaussians(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    labels = _half(rng, n)
    points = rng.standard_normal((n, 2)) * [0.5, 1.0]
    points[:, 0] += np.where(labels == 0, -2.0, 2.0)
    return points, labels


def _two_gaussians_log_prob(x: Points) -> NDArray[np.float64]:
    halves = _normal(x[:, 0], -2, 0.5), _normal(x[:, 0], 2, 0.5)
    return np.logaddexp(*halves) - math.log(2) + _normal(x[:, 1], 0, 1)


def _two_gaussians_entropy() -> float:
    """The mixture along x1 by quadrature; x2 is a standard normal of its own."""
    x = np.linspace(-8, 8, 20001)
    bumps = [np.exp(-(((x - m) / 0.5) ** 2) / 2) / (0.5 * math.sqrt(2 * math.pi)) for m in (-2, 2)]
    p = 0.5 * (bumps[0] + bumps[1])
    along = float(np.trapezoid(-p * np.log(np.maximum(p, 1e-300)), x))
    return along + 0.5 * math.log(2 * math.pi * math.e)


def _smile(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    labels = rng.integers(0, 3, n)
    angle = rng.uniform(0, math.pi, n)
    mouth = np.column_stack([2 * np.cos(angle), -np.sin(angle)])
    eye = np.column_stack([np.where(labels == 0, -1.5, 1.5), np.full(n, 2.5)])
    points = np.where(labels[:, None] == 2, mouth, eye)
    return points + SMILE_NOISE * rng.standard_normal((n, 2)), labels


def _smile_places() -> Weighted:
    angle, weights = _nodes(math.pi, SMILE_NOISE / 8)
    mouth = np.column_stack([2 * np.cos(angle), -np.sin(angle)])
    places = np.concatenate([mouth, [[-1.5, 2.5], [1.5, 2.5]]])
    return places, np.append(weights, [1.0, 1.0]) / 3


def _smile_log_prob(x: Points) -> NDArray[np.float64]:
    return _blurred(x, _smile_places(), SMILE_NOISE)


def _smile_entropy() -> float | None:
    return _entropy_of_blurred(_smile_places(), SMILE_NOISE)


def _mixture1d(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    labels = _half(rng, n)
    points = np.where(labels == 0, -1.0, 0.5) + np.where(
        labels == 0, 0.25, 0.5
    ) * rng.standard_normal(n)
    return points[:, None], labels


def _mixture1d_log_prob(x: Points) -> NDArray[np.float64]:
    halves = _normal(x[:, 0], -1, 0.25), _normal(x[:, 0], 0.5, 0.5)
    return np.logaddexp(*halves) - math.log(2)


def _mixture1d_entropy() -> float:
    """By quadrature."""
    x = np.linspace(-6, 6, 20001)
    bumps = [
        np.exp(-(((x - m) / s) ** 2) / 2) / (s * math.sqrt(2 * math.pi))
        for m, s in ((-1.0, 0.25), (0.5, 0.5))
    ]
    p = 0.5 * (bumps[0] + bumps[1])
    return float(np.trapezoid(-p * np.log(np.maximum(p, 1e-300)), x))


def _banana(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    x2 = 2 * rng.standard_normal(n)
    return np.column_stack([x2**2 / 4 + rng.standard_normal(n), x2]), None


def _banana_log_prob(x: Points) -> NDArray[np.float64]:
    return _normal(x[:, 1], 0, 2) + _normal(x[:, 0], x[:, 1].astype(float) ** 2 / 4, 1)


def _normal(x: NDArray[Any], mean: NDArray[Any] | float, deviation: float) -> NDArray[np.float64]:
    """The log density of a normal distribution."""
    z = (x.astype(float) - mean) / deviation
    return -0.5 * (z**2 + math.log(2 * math.pi)) - math.log(deviation)


def _log(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(p, out=np.full_like(p, -np.inf), where=p > 0)


TOYS: dict[str, Toy] = {
    "circles": Toy(_circles, 2, _circles_entropy, _circles_log_prob),
    "moons": Toy(_moons, 2, _moons_entropy, _moons_log_prob),
    "checkerboard": Toy(_checkerboard, 0, lambda: math.log(32), _checkerboard_log_prob),
    "two_gaussians": Toy(_two_gaussians, 2, _two_gaussians_entropy, _two_gaussians_log_prob),
    "smile": Toy(_smile, 3, _smile_entropy, _smile_log_prob),
    "mixture1d": Toy(_mixture1d, 2, _mixture1d_entropy, _mixture1d_log_prob),
    "banana": Toy(
        _banana, 0, lambda: math.log(2 * math.pi * math.e) + math.log(2), _banana_log_prob
    ),
}
