"""Sampling without repeated work gives what D full passes give, whatever the blocks are."""

import pytest
import torch

from maf_runner.flows import MAF, Flow, inversion
from maf_runner.flows.autoregressive import AffineAutoregressive
from maf_runner.flows.base import Inverse
from tests.flows.test_models import CLASSES, build, rows
from tests.helpers.models import MODELS


def autoregressive_layers(model):
    for transform in getattr(model, "transforms", []):
        inner = transform.transform if isinstance(transform, Inverse) else transform
        if isinstance(inner, AffineAutoregressive):
            yield inner


@pytest.mark.parametrize("units", [1, 9, 10**6])
@pytest.mark.parametrize("trim", [0, 10**6])
@pytest.mark.parametrize("context", [0, CLASSES], ids=["", "conditional"])
@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith(("made", "maf", "iaf"))])
def test_equals_step_by_step(monkeypatch, name, context, units, trim):
    monkeypatch.setattr(inversion, "UNITS", units)
    monkeypatch.setattr(inversion, "TRIM", trim)
    for features in (1, 2, 7):
        model = build(name, features=features, context=context)
        u, given = rows(20, features, context)
        for layer in autoregressive_layers(model):
            with torch.no_grad():
                x, log_det = layer._inverse(u, given)
            expected, expected_log_det = layer._inverse_step_by_step(u, given)
            torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)


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
