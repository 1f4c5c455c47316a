"""Points in the plane: drawn as said, with the entropy as said."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0e

from maf_runner.datasets.toy import TOYS, load

OPTIONS = {"circles": {"noise": 0.05, "factor": 0.99}, "moons": {"noise": 0.1}}


def circles(x):
    r = np.hypot(*x.T)
    rings = [
        i0e(r * q / 0.05**2) * np.exp(-((r - q) ** 2) / (2 * 0.05**2)) / (2 * math.pi * 0.05**2)
        for q in (1.0, 0.99)
    ]
    return np.log(sum(rings) / 2)


def normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd * math.sqrt(2 * math.pi))


DENSITIES = {
    "circles": circles,
    "two_gaussians": lambda x: (
        np.logaddexp(normal(x[:, 0], -2, 0.5), normal(x[:, 0], 2, 0.5))
        - math.log(2)
        + normal(x[:, 1], 0, 1)
    ),
    "mixture1d": lambda x: (
        np.logaddexp(normal(x[:, 0], -1, 0.25), normal(x[:, 0], 0.5, 0.5)) - math.log(2)
    ),
    "banana": lambda x: normal(x[:, 1], 0, 2) + normal(x[:, 0], x[:, 1] ** 2 / 4, 1),
}


def draw(kind, rows=20000):
    options = OPTIONS.get(kind, {})
    return load(paths=None, kind=kind, rows=rows, held_out=50, seed=1, options=options)


@pytest.mark.parametrize("kind", DENSITIES)
def test_entropy_is_that_of_the_points(kind):
    splits = draw(kind)
    nats = -DENSITIES[kind](splits.train.x.astype(float))
    assert nats.mean() == pytest.approx(splits.entropy, abs=4 * nats.std() / math.sqrt(len(nats)))
    far = np.concatenate([splits.train.x, 20 + splits.train.x[:9]])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(splits.true_log_prob(far), DENSITIES[kind](far.astype(float)))


def along(curve, ends, x, noise):
    """The density of points along a curve, each alike, with noise."""

    def integrand(t):
        return math.exp(-((x - curve(t)) ** 2).sum() / (2 * noise**2)) / (2 * math.pi * noise**2)

    return quad(integrand, *ends, limit=200)[0] / (ends[1] - ends[0])


CURVES = {  # share, curve
    "moons": (
        (1 / 2, lambda t: np.array([math.cos(t), math.sin(t)])),
        (1 / 2, lambda t: np.array([1 - math.cos(t), 0.5 - math.sin(t)])),
    ),
    "smile": (
        (1 / 3, lambda t: np.array([2 * math.cos(t), -math.sin(t)])),
        (1 / 3, lambda t: np.array([-1.5, 2.5])),
        (1 / 3, lambda t: np.array([1.5, 2.5])),
    ),
}


@pytest.mark.parametrize(("kind", "noise"), [("moons", 0.1), ("smile", 0.2)])
def test_density_and_entropy_of_curves(kind, noise):
    splits = draw(kind)
    x = splits.test.x[:20].astype(float)
    ends = (0, math.pi)
    expected = [sum(w * along(c, ends, row, noise) for w, c in CURVES[kind]) for row in x]
    np.testing.assert_allclose(splits.true_log_prob(x), np.log(expected), atol=1e-6)
    nats = -splits.true_log_prob(splits.train.x)
    assert nats.mean() == pytest.approx(splits.entropy, abs=4 * nats.std() / math.sqrt(len(nats)))


def test_smile_has_two_eyes_and_a_mouth():
    rows = draw("smile").train
    middles = [rows.x[rows.labels == label].mean(axis=0) for label in range(3)]
    assert np.allclose(middles, [[-1.5, 2.5], [1.5, 2.5], [0, -2 / math.pi]], atol=0.06)
    mouth = rows.x[rows.labels == 2]
    assert np.hypot(mouth[:, 0] / 2, mouth[:, 1]).mean() == pytest.approx(1, abs=0.05)


def test_checkerboard_is_uniform_over_its_dark_squares():
    splits = draw("checkerboard")
    column, row = (np.floor((splits.train.x + 4) / 2).astype(int)).T
    assert ((column + row) % 2 == 0).all() and set(column) == set(row) == {0, 1, 2, 3}
    counts = np.unique(column * 4 + row, return_counts=True)[1]
    assert len(counts) == 8 and abs(counts - 2500).max() < 5 * math.sqrt(2500)
    assert splits.entropy == pytest.approx(math.log(8 * 4))
    assert (splits.true_log_prob(splits.train.x) == -math.log(32)).all()
    outside = np.array([[-3.0, -1.0], [3.0, 5.0], [-5.0, -5.0]])
    assert (splits.true_log_prob(outside) == -np.inf).all()


def test_entropy_of_two_far_rings():
    """Two rings that do not touch: the entropy of a ring and that of the choice."""
    options = {"noise": 0.02, "factor": 2.0}
    splits = load(paths=None, kind="circles", rows=9, held_out=9, seed=0, options=options)
    across = 0.5 * math.log(2 * math.pi * math.e * 0.02**2)
    expected = math.log(2) + across + 0.5 * (math.log(2 * math.pi) + math.log(4 * math.pi))
    assert splits.entropy == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", TOYS)
def test_seed_decides(kind):
    assert draw(kind, 10).fingerprint == draw(kind, 10).fingerprint
    assert len(draw(kind, 10).validation) == 50
    assert (draw(kind, 10).classes > 0) == (draw(kind, 10).train.labels is not None)


def test_impossible_arguments():
    with pytest.raises(ValueError, match="kind must be one of circles, moons"):
        load(paths=None, kind="spiral", rows=1, held_out=1, seed=0, options={})
    with pytest.raises(ValueError, match="wobble"):
        load(paths=None, kind="banana", rows=1, held_out=1, seed=0, options={"wobble": 1})
    with pytest.raises(ValueError, match=r"options\.noise must be a number"):
        load(paths=None, kind="moons", rows=1, held_out=1, seed=0, options={"noise": -3})
    with pytest.raises(ValueError, match="rows must be"):
        load(paths=None, kind="banana", rows=0, held_out=1, seed=0, options={})
