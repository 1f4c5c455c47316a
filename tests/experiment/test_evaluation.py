"""Class-conditional figures, each against its definition."""

import math

import numpy as np
import pytest
import torch

from maf_runner.datasets.base import Rows, Splits
from maf_runner.experiment import evaluation
from maf_runner.experiment.conditioning import Conditioning, one_hot
from maf_runner.experiment.evaluation import (
    class_log_probs,
    class_marginal,
    evaluate,
    log_prob_function,
)
from maf_runner.flows import MADE, Gaussian
from maf_runner.system import memory
from maf_runner.system.errors import UsageError
from tests.helpers.models import build


def trained():
    labels = torch.arange(600) % 3
    x = torch.randn(600, 2) + 2.0 * labels[:, None]
    model = Gaussian(2, context=3)
    model.fit(x, one_hot(labels, 3))
    return model, x[:200], labels[:200]


def test_class_marginal_is_a_density():
    """(1/L) sum_y p(x | y) integrates to one."""
    model = build("made", features=2, context=3)
    side = torch.linspace(-6, 6, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    weight = grid.cosh().prod(dim=1) * (side[1] - side[0]) ** 2
    log_p = class_marginal(class_log_probs(model, grid.sinh(), 3))
    assert abs(float((log_p.exp() * weight).sum()) - 1) < 2e-3


def test_figures_of_a_conditional_model():
    model, x, labels = trained()
    figures, per_row = evaluate(model, x, labels)
    by_class = np.stack(
        [model.log_prob(x, one_hot(torch.full((200,), y), 3)).double().numpy() for y in range(3)]
    )
    marginal = np.log(np.exp(by_class).mean(axis=0))
    true = by_class[labels.numpy(), np.arange(200)]
    hit = by_class.argmax(axis=0) == labels.numpy()
    for name, error_name, values in (
        ("log_likelihood", "error", marginal),
        ("conditional_log_likelihood", "conditional_error", true),
        ("accuracy", "accuracy_error", hit),
    ):
        assert figures[name] == pytest.approx(values.mean(), rel=1e-9)
        assert figures[error_name] == pytest.approx(2 * values.std() / math.sqrt(200), rel=1e-9)
    np.testing.assert_allclose(per_row, marginal, rtol=1e-9)
    assert 0.7 < figures["accuracy"] < 1


def test_unequal_classes():
    """Two unit Gaussians at 0 and 2, of which the first is three times as common."""
    model = Gaussian(1, context=2)
    model.mean[1] = 2.0
    x = torch.tensor([[-1.0], [0.8], [1.2], [2.0]])
    normal = lambda u: np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    points = x.numpy()[:, 0].astype(np.float64)
    density = 0.75 * normal(points) + 0.25 * normal(points - 2)
    labels = torch.tensor([0, 0, 0, 1])
    figures, per_row = evaluate(model, x, labels, prior=(0.75, 0.25))
    np.testing.assert_allclose(per_row, np.log(density), rtol=1e-6)
    assert figures["log_likelihood"] == pytest.approx(np.log(density).mean(), rel=1e-6)
    # 1.2 is nearer to the second, and still likelier to be of the first: log 3 / 2 > 0.2
    assert figures["accuracy"] == 1 and evaluate(model, x, labels)[0]["accuracy"] == 0.75
    np.testing.assert_allclose(log_prob_function(model, (0.75, 0.25))(x.numpy()), per_row)
    np.testing.assert_allclose(evaluate(model, x, labels, prior=(1, 0))[1], np.log(normal(points)))


def test_the_bar_of_bits_per_pixel_is_taken_after_the_jacobian():
    model, x, labels = trained()
    jacobian = torch.linspace(0, 50, 200, dtype=torch.float64)
    figures, per_row = evaluate(model, x, labels, bits_per_pixel=lambda nats: jacobian - nats)
    bits = (jacobian - per_row).numpy()
    assert figures["bits_per_pixel_error"] == pytest.approx(2 * bits.std() / math.sqrt(200))


@pytest.mark.parametrize("at_once", [1, 7 * 120, 1 << 24])
def test_the_marginal_over_many_classes_is_the_same_in_parts(monkeypatch, at_once, caplog):
    """Against the definition, and in bounded memory: never more rows at once than asked for."""
    monkeypatch.setattr(evaluation, "DENSITIES_AT_ONCE", at_once)
    classes, seen = 120, []
    whole = evaluation.class_log_probs

    def counted(model, x, *others, **options):
        seen.append(len(x))
        return whole(model, x, *others, **options)

    monkeypatch.setattr(evaluation, "class_log_probs", counted)
    torch.manual_seed(0)
    for model in (build_of(classes), Gaussian(2, context=classes)):
        seen.clear()
        x, labels = torch.randn(20, 2), torch.arange(20) * 5
        figures, per_row = evaluate(model, x, labels)
        every = torch.stack(
            [model.log_prob(x, one_hot(torch.full((20,), y), classes)) for y in range(classes)], 1
        )
        marginal = (every.double().logsumexp(1) - math.log(classes)).detach()
        np.testing.assert_allclose(per_row, marginal, rtol=1e-5)
        true = every[torch.arange(20), labels].mean()
        assert figures["conditional_log_likelihood"] == pytest.approx(true.item(), rel=1e-5)
        assert max(seen) == max(1, min(20, at_once // classes)) and sum(seen) == 20


def test_more_classes_than_memory_are_refused_before_training(monkeypatch, caplog):
    caplog.set_level("INFO", logger="maf_runner")
    rows = Rows(np.zeros((1000, 2), dtype=np.float32))
    splits = Splits(rows, rows, rows, origin="own", classes=5000)
    model = build_of(5000)
    evaluation.announce_classes(splits, Conditioning(5000), model)
    assert "sum over 5,000 classes: each of 2,000 validation and test rows" in caplog.text
    assert "in up to 160 MB" in caplog.text
    monkeypatch.setattr(memory, "available", lambda: 10**8)
    with pytest.raises(UsageError, match="a model given 5,000 classes needs at least 200 MB"):
        evaluation.announce_classes(splits, Conditioning(5000), model)


def build_of(classes):
    return MADE(2, hidden=[8], activation="relu", degrees="sequential", mask="paper",
                context=classes).eval()  # fmt: skip


def test_labels_are_needed():
    model, x, _ = trained()
    with pytest.raises(ValueError, match="labels are needed"):
        evaluate(model, x)
