"""Every engine against the eager one: it is the oracle."""

import copy
import dataclasses

import pytest
import torch

from maf_runner.engine import compiled as compiling
from maf_runner.engine import driver
from maf_runner.engine.driver import COMPILED, EAGER, GRAPH, NATIVE, Driver, choose
from maf_runner.engine.eager import Eager
from maf_runner.engine.engine import DeclinedError
from maf_runner.engine.native.library import instructions
from maf_runner.system.errors import UsageError
from maf_runner.training import TrainerSettings
from tests.helpers.models import MODELS, build, names, rows
from tests.helpers.settings import TRAINER

TRAINED = names(trained=True)
RATE = 1e-3
ADAM = TrainerSettings(**TRAINER).adam


def gradients(model, x, context):
    loss = -model(x, context).mean()
    return loss, torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


@pytest.mark.parametrize("name", TRAINED)
def test_float32_gradients_are_those_of_float64(name):
    torch.manual_seed(0)
    model = build(name, 9).train()
    x, _ = rows(100, 9)
    _, exact = gradients(model, x, None)
    model = model.float()
    _, found = gradients(model, x.float(), None)
    pairs = [(a, b.double()) for a, b in zip(exact, found, strict=True) if a is not None]
    apart = torch.cat([(a - b).flatten() for a, b in pairs]).norm()
    assert apart < 1e-5 * torch.cat([a.flatten() for a, _ in pairs]).norm()


def trained(name, path, *, updates=50, context=3, device="cpu", ends_as=None):
    model = build(name, 5, context).to(device)
    engine = Driver(model, ADAM, path)
    generator = torch.Generator().manual_seed(1)
    for _ in range(updates):
        x = torch.randn(20, 5, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, 3, (20,), generator=generator)
        given = torch.nn.functional.one_hot(labels, 3).double() if context else None
        loss = engine.step(x.to(device), None if given is None else given.to(device), RATE)
    assert engine.name == (ends_as or path) and torch.isfinite(loss)
    return {n: p.detach().clone() for n, p in model.named_parameters()}


needs_compiler = pytest.mark.skipif(not compiling.has_compiler(), reason="no C++ compiler here")


@needs_compiler
def test_fifty_compiled_updates_are_those_of_the_plain_model():
    """Of a flow with every kind of layer; `faults` has the models themselves."""
    torch.manual_seed(0)
    plain = trained("every-layer", EAGER)
    torch.manual_seed(0)
    for key, value in trained("every-layer", COMPILED).items():
        torch.testing.assert_close(value, plain[key], rtol=0, atol=1e-9)


@needs_compiler
def test_compiled_updates_of_a_spline_flow_with_clipped_gradients(monkeypatch):
    """With the optimiser that is meant for it, and gradients longer than allowed."""
    settings = {**TRAINER, "optimiser": "textbook", "clip": 0.5, "l2": 0.0}
    monkeypatch.setattr("tests.engine.test_engines.ADAM", TrainerSettings(**settings).adam)
    torch.manual_seed(0)
    plain = trained("nsf", EAGER)
    torch.manual_seed(0)
    for key, value in trained("nsf", COMPILED).items():
        torch.testing.assert_close(value, plain[key], rtol=0, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.parametrize("name", names(trained=True, inverted=False))
def test_fifty_captured_updates_are_those_of_the_plain_model(name):
    torch.manual_seed(0)
    plain = trained(name, EAGER)
    torch.manual_seed(0)
    for key, value in trained(name, GRAPH, device="cuda").items():
        torch.testing.assert_close(value.cpu(), plain[key], rtol=0, atol=1e-9)


def test_without_a_gpu_nothing_is_captured_and_training_goes_on(monkeypatch):
    said = []
    monkeypatch.setattr(driver.log, "warning", lambda form, *a: said.append(form % a))
    monkeypatch.setattr(torch.cuda, "Stream", unavailable)
    torch.manual_seed(0)
    plain = trained("made", EAGER, updates=3)
    torch.manual_seed(0)
    for key, value in trained("made", GRAPH, updates=3, ends_as=EAGER).items():
        assert torch.equal(value, plain[key])
    assert said == [
        "the graph training step failed (no GPU): training continues with the eager one, "
        "which is slower"
    ]


def unavailable():
    raise RuntimeError("no GPU")


def test_a_compiler_that_fails_costs_a_warning_and_nothing_else(monkeypatch):
    said = []
    monkeypatch.setattr(driver.log, "warning", lambda form, *a: said.append(form % a))

    def broken(*arguments, **named):
        def program(*rows):
            raise RuntimeError("no such compiler\nand more")

        return program

    torch.manual_seed(0)
    plain = trained("made", EAGER, updates=3)
    monkeypatch.setattr(torch, "compile", broken)
    torch.manual_seed(0)
    model = build("made", 5, 3)
    engine = Driver(model, ADAM, COMPILED)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        x = torch.randn(20, 5, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, 3, (20,), generator=generator)
        engine.step(x, torch.nn.functional.one_hot(labels, 3).double(), RATE)
    assert engine.name == EAGER and engine.state()["steps"] == engine.updates == 3
    assert len(said) == 1 and "no such compiler" in said[0] and "and more" not in said[0]
    for key, value in model.named_parameters():
        assert torch.equal(value, plain[key])


def test_no_memory_is_no_failure_of_the_compiler(monkeypatch):
    """The run ends and goes on later by the same path."""

    def short(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")

    monkeypatch.setattr(torch, "compile", lambda *arguments, **named: short)
    engine = Driver(build("made", 5, 3), ADAM, COMPILED)
    with pytest.raises(RuntimeError, match="allocate memory"):
        engine.step(torch.randn(20, 5, dtype=torch.float64), torch.eye(3).double()[[0] * 20], RATE)
    assert engine.name == COMPILED


def test_the_path_follows_from_the_settings(monkeypatch):
    narrow = build("maf")
    monkeypatch.setattr(driver, "serves", lambda model: False)
    monkeypatch.setattr(driver, "has_compiler", lambda: True)
    assert choose(narrow, "auto", 100) == EAGER
    assert choose(narrow, "auto", compiling.LONG) == COMPILED
    assert choose(narrow, "compiled", 100) == COMPILED
    assert choose(narrow, "eager", compiling.LONG) == EAGER
    assert choose(build("iaf"), "auto", compiling.LONG) == EAGER
    wide = MODELS["realnvp-plain"].make(5, context=0, hidden=[1024])
    assert choose(wide, "auto", compiling.LONG) == EAGER
    monkeypatch.setattr(driver, "has_compiler", lambda: False)
    assert choose(narrow, "auto", compiling.LONG) == EAGER
    with pytest.raises(UsageError, match=r"engine=compiled needs a C\+\+ compiler"):
        choose(narrow, "compiled", compiling.LONG)


@pytest.mark.parametrize("engines", [[EAGER] * 3, [EAGER, NATIVE, EAGER], [NATIVE, EAGER, NATIVE]])
def test_a_run_moves_between_engines(engines):
    """Updates, validation, the average and the state are those of the eager engine."""
    if NATIVE in engines and not driver.serves(build("maf", 5)):
        pytest.skip("the native engine is not built here")
    x, _ = rows(200, 5)
    validation, _ = rows(30, 5)

    def updated(engines):
        torch.manual_seed(0)
        model = build("maf", 5)
        state, nats = None, []
        for name in engines:
            engine = Driver(model, ADAM, name, averaging=0.9)
            if state:
                engine.load(state)
            assert engine.name == name
            for batch in x.split(20):
                engine.step(batch, None, RATE)
            nats.append(engine.evaluate((x, None), (validation, None)))
            best = engine.averaged_model()
            state = copy.deepcopy(engine.state())
        return nats, best, copy.deepcopy(model.state_dict()), state

    torch.testing.assert_close(updated(engines), updated([EAGER] * 3), rtol=0, atol=1e-9)


class Declining(Eager):
    """An engine that knows no model."""

    name = "declining"

    def __init__(self, model, settings):
        raise DeclinedError("it has couplings")


def test_an_engine_may_decline_a_model(monkeypatch):
    said = []
    monkeypatch.setattr(driver.log, "warning", lambda form, *a: said.append(form % a))
    monkeypatch.setitem(driver.ENGINES, Declining.name, Declining)
    engine = Driver(build("maf", 5), ADAM, "declining")
    assert engine.name == EAGER
    assert said == ["the declining engine cannot train this model: it has couplings"]
    assert Driver(build("maf", 5), ADAM, "of another version").name == EAGER


@pytest.mark.parametrize("path", [EAGER, NATIVE])
def test_moments_too_small_for_full_precision_become_zero(path):
    """Those of weights without a gradient: here no unit of the hidden layer fires."""
    if path == NATIVE and instructions() is None:
        pytest.skip("the native engine is not built")
    model = build("made-relu", 5).float()
    first = model.transforms[0].network.layers[0]
    with torch.no_grad():
        first.bias.fill_(-1000)
    settings = dataclasses.replace(ADAM, l2=0)
    engine = Driver(model, settings, path)
    small = torch.full_like(engine.optimiser.parameters, 1e-40)
    engine.load({**engine.state(), "first": small, "second": small})
    with engine.session(20):
        engine.step(torch.randn(20, 5), None, RATE)
    assert engine.name == path
    for moments in ("first", "second"):
        left = engine.state()[moments][: first.weight.numel()].view_as(first.weight)
        assert not left[first.mask > 0].any()
    assert torch.tensor(1e-30) * torch.tensor(1e-10) > 0  # elsewhere they are as before
