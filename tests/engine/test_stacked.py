"""A stack of models against the same models, each trained alone by the eager engine."""

from dataclasses import replace

import pytest
import torch

from maf_runner.engine import stacked
from maf_runner.engine.eager import Eager
from maf_runner.engine.stacked import Stacked
from maf_runner.flows import Elementwise
from maf_runner.training import TrainerSettings
from tests.helpers.models import MAP, MODELS, build, names
from tests.helpers.settings import TRAINER

RATES = [1e-3, 3e-3, 1e-3, 2e-4]
PENALTIES = [1e-6, 1e-2, 0.0, 1e-6]
ADAM = TrainerSettings(**TRAINER).adam


def members(name, context=0):
    """Four models that differ in their seed, and the settings of Adam for each."""
    models = []
    for seed in range(4):
        torch.manual_seed(seed)
        models.append(build(name, 5, context))
    return models, [replace(ADAM, l2=l2) for l2 in PENALTIES]


def batches(updates, context=0, n=20):
    """For each update, rows [4, n, 5] and classes [4, n, context] or None."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(updates):
        x = torch.randn(4, n, 5, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, 3, (4, n), generator=generator)
        yield x, torch.nn.functional.one_hot(labels, 3).double() if context else None


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["maf", "made-random", "maf-mog", "realnvp", "nsf"])
def test_captured_updates_are_those_of_the_cpu(name):
    models, settings = members(name, 3)
    alone, _ = members(name, 3)
    captured = Stacked([model.cuda() for model in models], settings)
    plain = Stacked(alone, settings)
    for update, (x, given) in enumerate(batches(50, 3)):
        if update == 25:
            for stack in (captured, plain):
                stack.leave(stack.optimisers[1])
        here = [0, 1, 2, 3] if update < 25 else [0, 2, 3]
        rates = [RATES[k] * (1 + update) / 50 for k in here]
        captured.step(x[here].cuda(), given[here].cuda(), rates)
        plain.step(x[here], given[here], rates)
    assert captured._graph
    compare([model.cpu() for model in models], alone)


def test_a_graph_that_fails_costs_a_warning_and_nothing_else(monkeypatch):
    def unavailable():
        raise RuntimeError("no GPU")

    said = []
    monkeypatch.setattr(stacked.log, "warning", lambda form, *a: said.append(form % a))
    monkeypatch.setattr(torch.cuda, "Stream", unavailable)
    models, settings = members("maf")
    alone, _ = members("maf")
    stack, plain = Stacked(models, settings), Stacked(alone, settings)
    stack._graph = True
    for x, _ in batches(3):
        stack.step(x, None, RATES)
        plain.step(x, None, RATES)
    assert said == ["the stack cannot be recorded as a CUDA graph (no GPU): slower"]
    compare(models, alone)


def compare(models, alone):
    for model, other in zip(models, alone, strict=True):
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=1e-9)


def check(name, context=0, *, updates, settings=None, weighted=False):
    """Compare the updates of the stack with those of four eager engines."""
    models, each = members(name, context)
    alone, _ = members(name, context)
    settings = settings or each
    engines = [Eager(model, own) for model, own in zip(alone, settings, strict=True)]
    stack = Stacked(models, settings)
    weights = torch.rand(4, 20, dtype=torch.float64) if weighted else None
    for x, given in batches(updates, context):
        losses = stack.step(x, given, RATES, weights)
        for k, engine in enumerate(engines):
            row = None if given is None else given[k]
            if weights is None:
                loss = engine.step(x[k], row, RATES[k])
            else:
                loss = engine.weighted_step(x[k], row, RATES[k], weights[k])
            assert float(losses[k]) == pytest.approx(float(loss), abs=1e-8)
    compare(models, alone)


@pytest.mark.parametrize(
    ("name", "context"),
    [("maf", 0), ("maf", 3), ("made-mog", 0), ("maf-mog", 0), ("realnvp", 0), ("every-layer", 3)],
)
def test_fifty_stacked_updates_are_those_of_each_alone(name, context):
    check(name, context, updates=50)


@pytest.mark.parametrize("name", names(trained=True))
def test_every_model_can_be_stacked(name):
    check(name, 3, updates=3)


def test_weights_of_rows():
    check("maf", updates=20, weighted=True)


def test_the_textbooks_adam_with_clipped_gradients():
    adam = replace(ADAM, textbook=True, clip=0.5)
    check("nsf", updates=10, settings=[replace(adam, l2=l2) for l2 in PENALTIES])


def test_a_member_that_is_lost_takes_no_other_along():
    models, settings = members("maf")
    alone, _ = members("maf")
    stack = Stacked(models, settings)
    engines = [Eager(model, own) for model, own in zip(alone, settings, strict=True)]
    for x, _ in batches(5):
        x[2] *= 1e200
        losses = stack.step(x, None, RATES)
        for k in (0, 1, 3):
            engines[k].step(x[k], None, RATES[k])
    assert torch.isfinite(losses).tolist() == [True, True, False, True]
    compare([models[k] for k in (0, 1, 3)], [alone[k] for k in (0, 1, 3)])


def test_members_come_and_go():
    """Some leave the stack, and their state goes on in engines of their own; and back."""
    models, settings = members("maf")
    alone, _ = members("maf")
    engines = [Eager(model, own) for model, own in zip(alone, settings, strict=True)]
    for k, engine in enumerate(engines):  # at different places when the stack is made
        for x, _ in batches(k):
            engine.step(x[k], None, RATES[k])
            models[k].load_state_dict(alone[k].state_dict())
    stack = Stacked(models, settings)
    for k, engine in enumerate(engines):
        stack.optimisers[k].load(engine.state())
    here = [0, 1, 2, 3]
    for update, (x, _) in enumerate(batches(9)):
        if update in (3, 6):
            stack.leave(stack.optimisers[1])
            del here[1]
        stack.step(x[here], None, [RATES[k] for k in here])
        for k in here:
            engines[k].step(x[k], None, RATES[k])
    assert here == [0, 3]
    compare(models, alone)
    for place, k in enumerate(here):
        found, expected = stack.optimisers[place].state(), engines[k].state()
        assert found["steps"] == expected["steps"] == 9 + k
        torch.testing.assert_close(found["first"], expected["first"], rtol=0, atol=1e-9)
        engine = Eager(models[k], settings[k])
        engine.load(found)
        engine.step(x[k], None, RATES[k])
        engines[k].step(x[k], None, RATES[k])
    compare([models[k] for k in here], [alone[k] for k in here])


def test_what_cannot_be_stacked_is_refused():
    models, settings = members("maf")
    other = MODELS["maf"].make(5, activation="relu").double()
    with pytest.raises(ValueError, match="the same class and settings"):
        Stacked([*models[:3], other], settings)
    with pytest.raises(ValueError, match="the same class and settings"):
        Stacked([*models[:3], build("maf", 6)], settings)
    bounded = Elementwise(5, layers=1, **{**MAP, "interval": 4.0, "linear": "none"}).double()
    plain = Elementwise(5, layers=1, **MAP, linear="none").double()
    with pytest.raises(ValueError, match="the same class and settings"):
        Stacked([plain, bounded], settings[:2])
    with pytest.raises(ValueError, match="may differ in rate and l2 alone"):
        Stacked(models, [*settings[:3], replace(ADAM, textbook=True)])
    for alone in (build("gaussian"), MODELS["nsf"].make(5, dropout=0.1)):
        with pytest.raises(ValueError, match="cannot be stacked"):
            Stacked([alone], [ADAM])
