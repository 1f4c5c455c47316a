"""Sampling without repeated work gives what D full passes give, whatever the blocks are."""

import pytest
import torch

from maf_runner.flows import MAF, Flow, inversion
from maf_runner.flows.autoregressive import Autoregressive
from maf_runner.flows.base import Inverse
from tests.helpers.models import CLASSES, build, names, rows

blocks_and_trim = [
    pytest.mark.parametrize("units", [1, 9, 10**6]),
    pytest.mark.parametrize("trim", [0, 10**6]),
    pytest.mark.parametrize("context", [0, CLASSES], ids=["", "conditional"]),
]


def in_every_way(test):
    """A test in small blocks and in one, with what is not there yet left out or not."""
    for mark in blocks_and_trim:
        test = mark(test)
    return test


@pytest.fixture
def blocks_of(monkeypatch):
    """Set the sizes, and count the blocks that are worked on."""
    counted = []
    block = inversion._Generation.block
    monkeypatch.setattr(
        inversion._Generation, "block", lambda *a: (counted.append(a[1]), block(*a))[1]
    )

    def set_to(units, trim):
        monkeypatch.setattr(inversion, "UNITS", units)
        monkeypatch.setattr(inversion, "TRIM", trim)
        return counted

    return set_to


def autoregressive_layers(model):
    inner = [t.transform if isinstance(t, Inverse) else t for t in model.transforms]
    return [t for t in inner if isinstance(t, Autoregressive)]


@in_every_way
@pytest.mark.parametrize("name", names(flow=True, masked=True))
def test_equals_step_by_step(blocks_of, name, context, units, trim):
    counted = blocks_of(units, trim)
    for features in (1, 2, 7):
        model = build(name, features=features, context=context)
        u, given = rows(20, features, context)
        layers = autoregressive_layers(model)
        assert layers
        for layer in layers:
            counted.clear()
            with torch.no_grad():
                x, log_det = layer._inverse(u, given)
            if features == 7 and units != 9:
                assert (len(counted) > 1) == (units == 1)
            expected, expected_log_det = layer._inverse_step_by_step(u, given)
            torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)


def sampled_step_by_step(mixture, normal, uniform, context):
    """Rows of a MADE MoG from draws [D, B]: the whole network for each feature."""
    x = torch.zeros_like(normal).mT.contiguous()
    for feature in mixture.network.order.tolist():
        parameters = mixture.network(x, context)[:, :, feature].unflatten(1, (3, -1))
        mean, log_precision, logit = parameters.unbind(1)  # each [B, components]
        upto = logit.softmax(dim=1).cumsum(dim=1)
        upto[:, -1] = 1
        chosen = (uniform[feature][:, None] <= upto).int().argmax(dim=1, keepdim=True)
        deviation = (-0.5 * log_precision).exp().gather(1, chosen)[:, 0]
        x[:, feature] = mean.gather(1, chosen)[:, 0] + deviation * normal[feature]
    return x


@in_every_way
@pytest.mark.parametrize("name", names(mixture=True))
def test_samples_of_a_mixture_equal_step_by_step(blocks_of, name, context, units, trim):
    """From the same draws: first the normal ones of all rows, then those that choose."""
    counted = blocks_of(units, trim)
    for features in (1, 2, 7):
        model = build(name, features=features, context=context)
        mixture = model.base if isinstance(model, Flow) else model
        _, given = rows(50, features, context)
        draws = torch.Generator().manual_seed(features)
        normal = torch.empty(features, 50, dtype=torch.float64).normal_(generator=draws)
        uniform = torch.empty(features, 50, dtype=torch.float64).uniform_(generator=draws)
        counted.clear()
        x = mixture.sample(50, given, generator=torch.Generator().manual_seed(features))
        if features == 7 and units != 9:
            assert (len(counted) > 1) == (units == 1)
        with torch.no_grad():
            expected = sampled_step_by_step(mixture, normal, uniform, given)
        torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)


def test_cost_is_about_one_pass_not_d(monkeypatch):
    """Multiplications counted, not seconds: below those of two dense passes at D = 43."""
    from torch.utils.flop_counter import FlopCounterMode

    model = MAF(
        43, layers=1, hidden=[512, 512], activation="relu", degrees="sequential", mask="paper"
    )
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as one_pass:
        model(torch.randn(100, 43))
    with FlopCounterMode(display=False) as sampling:
        model.sample(100)
    assert sampling.get_total_flops() < 1.0 * one_pass.get_total_flops()


def test_same_generator_same_samples():
    model = build("maf-mog", context=CLASSES)
    _, given = rows(10, context=CLASSES)
    one, other = (
        model.sample(10, given, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(one, other) and one.shape == (10, 5)
    assert not torch.equal(one, model.sample(10, given))
    assert isinstance(model, Flow) and model.sample(0, given[:0]).shape == (0, 5)
