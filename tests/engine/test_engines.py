"""Masked layers in blocks, and compiled steps, against the plain model: it is the oracle."""

import copy

import pytest
import torch

from maf_runner.engine import blocks, driver, width
from maf_runner.engine import compiled as compiling
from maf_runner.engine.blocks import BlockLinear, copies_of, copy_back, cut, in_blocks
from maf_runner.engine.driver import COMPILED, EAGER, GRAPH, Driver, choose
from maf_runner.engine.eager import Eager
from maf_runner.engine.engine import DeclinedError
from maf_runner.engine.rows import log_prob_of_rows
from maf_runner.flows.made import MaskedLinear
from maf_runner.system.errors import UsageError
from maf_runner.training import TrainerSettings
from tests.helpers.models import MODELS, build, names, rows
from tests.helpers.settings import TRAINER

TRAINED = names(trained=True)
RATE = 1e-3
ADAM = TrainerSettings(**TRAINER).adam


@pytest.fixture
def everything_wide(monkeypatch):
    monkeypatch.setattr(width, "CUT_FROM", 1)


def gradients(model, x, context):
    loss = -model(x, context).mean()
    return loss, torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


@pytest.mark.usefixtures("everything_wide")
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("context", [0, 3], ids=["", "conditional"])
@pytest.mark.parametrize("features", [1, 2, 9])
def test_same_density_and_same_gradients(name, features, context):
    model = build(name, features, context).train()
    twin = in_blocks(model)
    assert (twin is not model) == (MODELS[name].masked and not MODELS[name].inverted)
    x, given = rows(20, features, context)
    torch.testing.assert_close(log_prob_of_rows(twin, x, given), log_prob_of_rows(model, x, given))
    loss, expected = gradients(model, x, given)
    again, found = gradients(twin, x, given)
    torch.testing.assert_close(again, loss, rtol=1e-12, atol=1e-12)
    # Put the gradients into the twin's parameters, and these into the model: as a step would.
    was = {n: p.detach().clone() for n, p in model.named_parameters()}
    with torch.no_grad():
        for parameter, gradient in zip(twin.parameters(), found, strict=True):
            if gradient is not None:
                parameter.add_(gradient)
    copy_back(twin, model)
    for (n, parameter), gradient in zip(model.named_parameters(), expected, strict=True):
        change = parameter.detach() - was[n]
        right = torch.zeros_like(change) if gradient is None else gradient
        torch.testing.assert_close(change, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("wide", [1, 10_000], ids=["blocks", "plain"])
def test_float32_gradients_are_those_of_float64(name, wide, monkeypatch):
    monkeypatch.setattr(width, "CUT_FROM", wide)
    torch.manual_seed(0)
    model = build(name, 9).train()
    x, _ = rows(100, 9)
    _, exact = gradients(in_blocks(model), x, None)
    model = model.float()
    _, found = gradients(in_blocks(model), x.float(), None)
    pairs = [(a, b.double()) for a, b in zip(exact, found, strict=True) if a is not None]
    apart = torch.cat([(a - b).flatten() for a, b in pairs]).norm()
    assert apart < 1e-5 * torch.cat([a.flatten() for a, _ in pairs]).norm()


@pytest.mark.parametrize("outputs", [1, 2, 30])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("degrees", ["sequential", "random"])
def test_blocks_hold_every_connection_once_and_leave_out_zeros(degrees, reverse, outputs):
    from maf_runner.flows.made import MaskedNetwork

    network = MaskedNetwork(
        64, outputs=outputs, hidden=[256, 200], activation="relu", degrees=degrees, mask="paper",
        reverse=reverse,
    )  # fmt: skip
    assert copies_of(network.linears[-1].mask) == outputs
    for layer in network.linears:
        stairs = layer.mask.unflatten(0, (copies_of(layer.mask), -1))[0]
        taken = torch.zeros_like(stairs)
        for rows_, columns, edge in cut(stairs):
            taken[rows_, columns] += 1
            inside = stairs[rows_, columns]
            assert inside[:, : edge.start].all() and inside[:, edge.stop :].all()
        assert taken.max() == 1 and (taken >= stairs).all()
        assert taken.sum() < 0.7 * taken.numel()


def test_any_mask_can_be_cut():
    stripes = torch.zeros(600, 300)
    stripes[::2] = 1
    assert copies_of(stripes) == 300
    assert cut(stripes[:2], 2) == [blocks.Block(slice(0, 1), slice(0, 300), slice(0, 0))]
    for mask in (torch.rand(200, 300) < 0.5, torch.zeros(8, 3), torch.ones(8, 3), stripes):
        linear = MaskedLinear(mask)
        x = torch.randn(5, mask.shape[1])
        torch.testing.assert_close(BlockLinear(linear)(x), linear(x))


def test_narrow_models_are_left_alone_and_wide_ones_share_all_but_the_weights():
    assert in_blocks(model := build("maf")) is model
    wide = MODELS["maf"].make(5, context=0)
    wide.transforms[0].network.layers[1] = MaskedLinear(torch.ones(1100, 16).tril())
    twin = in_blocks(wide)
    assert sum(isinstance(m, BlockLinear) for m in twin.modules()) == 1
    ours = {id(t) for t in [*wide.parameters(), *wide.buffers()]}
    others = [t for t in [*twin.parameters(), *twin.buffers()] if id(t) not in ours]
    assert len(others) == len(twin.transforms[0].network.layers[1].weights)


def trained(name, path, *, updates=50, context=3, device="cpu", ends_as=None):
    model = build(name, 5, context).to(device)
    engine = Driver(model, ADAM, path)
    generator = torch.Generator().manual_seed(1)
    for _ in range(updates):
        x = torch.randn(20, 5, dtype=torch.float64, generator=generator)
        labels = torch.randint(0, 3, (20,), generator=generator)
        given = torch.nn.functional.one_hot(labels, 3).double() if context else None
        loss = engine.step(x.to(device), None if given is None else given.to(device), RATE)
    engine.sync()
    assert engine.name == (ends_as or path) and torch.isfinite(loss)
    return {n: p.detach().clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize("name", ["made", "made-mog", "maf", "maf-mog"])
def test_fifty_updates_in_blocks_are_those_of_the_plain_model(name, monkeypatch):
    torch.manual_seed(0)
    plain = trained(name, EAGER)
    monkeypatch.setattr(width, "CUT_FROM", 1)
    torch.manual_seed(0)
    for key, value in trained(name, EAGER).items():
        torch.testing.assert_close(value, plain[key], rtol=0, atol=1e-9)


@pytest.mark.parametrize("widths", [(1, 10_000), (10_000, 1)], ids=["to-plain", "to-blocks"])
@pytest.mark.parametrize("name", ["made", "maf", "maf-mog"])
def test_a_run_goes_on_without_blocks_or_with_them(name, widths, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    batches = torch.randn(30, 20, 5, dtype=torch.float64, generator=generator)

    def updated(engine, some):
        for x in some:
            engine.step(x, None, RATE)
        engine.sync()
        return engine.model.state_dict(), engine.state()

    def begun(model):
        return Driver(model, ADAM, EAGER, averaging=0.9)

    monkeypatch.setattr(width, "CUT_FROM", widths[0])
    torch.manual_seed(0)
    half_way = build(name, 5)
    model, rest = copy.deepcopy(updated(begun(half_way), batches[:15]))
    torch.manual_seed(0)
    expected = updated(begun(build(name, 5)), batches)
    monkeypatch.setattr(width, "CUT_FROM", widths[1])
    other = build(name, 5)
    other.load_state_dict(model)
    engine = begun(other)
    engine.load(rest)
    torch.testing.assert_close(updated(engine, batches[15:]), expected, rtol=0, atol=1e-9)


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


@needs_compiler
def test_of_a_wide_model_adam_alone_is_compiled(monkeypatch):
    torch.manual_seed(0)
    plain = trained("maf", EAGER)
    monkeypatch.setattr(width, "NARROW", 1)
    monkeypatch.setattr(compiling, "whole", None)
    torch.manual_seed(0)
    for key, value in trained("maf", COMPILED).items():
        torch.testing.assert_close(value, plain[key], rtol=0, atol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
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
    engine.sync()
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
    assert choose(wide, "auto", compiling.LONG_IF_WIDE) == COMPILED
    assert choose(narrow, "auto", compiling.LONG_IF_WIDE) == EAGER
    monkeypatch.setattr(driver, "has_compiler", lambda: False)
    assert choose(narrow, "auto", compiling.LONG) == EAGER
    with pytest.raises(UsageError, match=r"engine=compiled needs a C\+\+ compiler"):
        choose(narrow, "compiled", compiling.LONG)


def test_copies_of_a_twin_do_not_share(everything_wide):
    model = build("made")
    twin = in_blocks(model)
    other = copy.deepcopy(twin)
    with torch.no_grad():
        next(p for n, p in other.named_parameters() if "weights" in n).add_(1)
    x, _ = rows(4)
    torch.testing.assert_close(twin(x), model(x))


class Backwards(Eager):
    """An engine with a buffer of its own, in an order of its own, with gaps: as a native one."""

    name = "backwards"
    declined = None

    def __init__(self, model, settings):
        if self.declined:
            raise DeclinedError(self.declined)
        super().__init__(model, settings)
        self.own_layout = True
        self.parameters = torch.zeros(self.adam.parameters.numel() + 3).double()
        self.moments = [torch.zeros_like(self.parameters) for _ in range(2)]
        self.take(self.adam.parameters, self.parameters)

    def take(self, source, target):
        target[3:] = source.flip(0)

    def step(self, x, context, rate):
        own = (self.parameters, *self.moments)
        theirs = (self.adam.parameters, self.adam.first, self.adam.second)
        for buffer, tensor in zip(own, theirs, strict=True):
            tensor.copy_(buffer[3:].flip(0))
        loss = super().step(x, context, rate)
        for buffer, tensor in zip(own, theirs, strict=True):
            self.take(tensor, buffer)
        return loss

    def density(self):
        self.to_model()
        return self.model

    def to_model(self):
        self.adam.parameters.copy_(self.parameters[3:].flip(0))
        super().to_model()

    def from_model(self):
        super().from_model()
        self.take(self.adam.parameters, self.parameters)

    def state(self):
        return {"steps": int(self.adam.count), "first": self.moments[0], "second": self.moments[1]}

    def load(self, state):
        self.adam.count.fill_(state["steps"])
        self.moments = [state["first"].clone(), state["second"].clone()]


@pytest.fixture
def backwards(monkeypatch):
    monkeypatch.setitem(driver.ENGINES, Backwards.name, Backwards)


@pytest.mark.parametrize("cut_from", [1, 10_000], ids=["blocks", "plain"])
def test_a_run_moves_between_engines_of_any_layout(backwards, cut_from, monkeypatch):
    """Updates, validation, the average and the state are those of the eager engine."""
    monkeypatch.setattr(width, "CUT_FROM", cut_from)
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
            engine.sync()
            state = copy.deepcopy(engine.state())
        return nats, best, copy.deepcopy(model.state_dict()), state

    expected = updated([EAGER] * 3)
    for engines in (["backwards"] * 3, [EAGER, "backwards", EAGER], ["backwards", EAGER, EAGER]):
        torch.testing.assert_close(updated(engines), expected, rtol=0, atol=1e-12)


def test_an_engine_may_decline_a_model(backwards, monkeypatch):
    said = []
    monkeypatch.setattr(driver.log, "warning", lambda form, *a: said.append(form % a))
    monkeypatch.setattr(Backwards, "declined", "it has couplings")
    engine = Driver(build("maf", 5), ADAM, "backwards")
    assert engine.name == EAGER
    assert said == ["the backwards engine cannot train this model: it has couplings"]
    assert Driver(build("maf", 5), ADAM, "of another version").name == EAGER


def test_an_engine_of_its_own_layout_may_fail(backwards, monkeypatch):
    torch.manual_seed(0)
    plain = trained("maf", EAGER, updates=3)
    monkeypatch.setattr(Backwards, "prepare", lambda *batch: 1 / 0)
    torch.manual_seed(0)
    for key, value in trained("maf", "backwards", updates=3, ends_as=EAGER).items():
        assert torch.equal(value, plain[key])
