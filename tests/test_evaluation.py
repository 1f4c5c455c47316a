"""Class-conditional figures, each against its definition."""

import math

import numpy as np
import pytest
import torch
from test_flows import build

from maf_runner.evaluation import class_log_probs, class_marginal, evaluate, one_hot
from maf_runner.flows import Gaussian


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


def test_the_bar_of_bits_per_pixel_is_taken_after_the_jacobian():
    model, x, labels = trained()
    jacobian = torch.linspace(0, 50, 200, dtype=torch.float64)
    figures, per_row = evaluate(model, x, labels, bits_per_pixel=lambda nats: jacobian - nats)
    bits = (jacobian - per_row).numpy()
    assert figures["bits_per_pixel_error"] == pytest.approx(2 * bits.std() / math.sqrt(200))


def test_labels_are_needed():
    model, x, _ = trained()
    with pytest.raises(ValueError, match="labels are needed"):
        evaluate(model, x)
