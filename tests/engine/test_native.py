"""The native engine against the plain model, which is the oracle."""

import copy
import math
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from maf_runner.engine import driver
from maf_runner.engine.adam import AdamSettings, PaperAdam
from maf_runner.engine.driver import EAGER, NATIVE, Driver, choose
from maf_runner.engine.native import library, updates
from maf_runner.engine.native.describe import UnknownError, describe, statistics
from maf_runner.engine.native.library import Coefficients, Kernels, instructions
from maf_runner.engine.native.rows import native_rows
from maf_runner.engine.native.updates import NativeUpdate, look, serves
from maf_runner.engine.rows import log_prob_of_rows, refresh_statistics, sample
from maf_runner.flows import MADE, MAF, MADEMoG, MAFMoG, RealNVP
from maf_runner.flows.autoregressive import AffineAutoregressive
from maf_runner.flows.base import Flow, StandardNormal
from maf_runner.system.errors import UsageError
from maf_runner.training import TrainerSettings
from tests.helpers.models import NETWORK, build, names, rows
from tests.helpers.settings import TRAINER

pytestmark = pytest.mark.skipif(instructions() is None, reason="the native engine is not built")
SERVED = names(trained=True, inverted=False, native=True)
SETS = [name for name in ("avx512", "avx2", "portable") if instructions(name)]
RATE = 1e-3
ADAM = AdamSettings(betas=(0.9, 0.999), epsilon=1e-8, l2=1e-3)
DOUBLE, SINGLE = torch.float64, torch.float32

plain = partial(log_prob_of_rows, native=False)


def flat(model):
    return parameters_to_vector(model.parameters()).detach()


def exact(model, x, context):
    """The loss and its gradient by autograd, flat."""
    loss = -model(x, context).mean()
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    pairs = zip(model.parameters(), found, strict=True)
    parts = [(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs]
    return float(loss.detach()), torch.cat(parts)


def native(model, x, context, dtype=DOUBLE, threads=1, name=""):
    engine = Kernels(describe(model), dtype, len(x), threads, name)
    given = None if context is None else context.to(dtype)
    loss, gradient = engine.gradient(flat(model).to(dtype), x.to(dtype), given)
    return loss, gradient.double()


def same(found, wanted, tolerance):
    loss, gradient = found
    assert abs(loss - wanted[0]) <= tolerance * max(1, abs(wanted[0]))
    assert (gradient - wanted[1]).norm() <= tolerance * wanted[1].norm()


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("context", [0, 3], ids=["", "conditional"])
@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
def test_the_gradient_is_that_of_autograd(name, context, batch):
    model = build(name, 9, context).train()
    x, given = rows(batch, 9, context)
    wanted = exact(model, x, given)
    same(native(model, x, given), wanted, 1e-12)
    same(native(model, x, given, SINGLE), wanted, 1e-5)


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("features", [1, 2, 5])
@pytest.mark.parametrize("instruction_set", SETS)
def test_with_each_instruction_set_and_several_threads(name, features, instruction_set):
    for context in (0, 3):
        model = build(name, features, context).train()
        x, given = rows(33, features, context)
        wanted = exact(model, x, given)
        for threads in (1, 2, 3):
            same(native(model, x, given, DOUBLE, threads, instruction_set), wanted, 1e-12)
            same(native(model, x, given, SINGLE, threads, instruction_set), wanted, 1e-5)


WIDE = {
    "maf": lambda context: MAF(
        43, layers=2, hidden=[130, 70, 515], **NETWORK | {"degrees": "random"}, context=context
    ),
    "mog": lambda context: MADEMoG(
        19, components=11, hidden=[150], reverse=True, **NETWORK, context=context
    ),
    "realnvp": lambda context: RealNVP(51, layers=2, hidden=[130, 65], context=context),
}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("instruction_set", SETS)
def test_of_wider_layers_too(name, instruction_set):
    """Of which a block of the cache, a strip or a panel holds only a part."""
    model = WIDE[name](5).double().train()
    x, given = torch.randn(117, model.features, dtype=DOUBLE), torch.rand(117, 5, dtype=DOUBLE)
    wanted = exact(model, x, given)
    same(native(model, x, given, DOUBLE, 2, instruction_set), wanted, 1e-12)
    same(native(model, x, given, SINGLE, 2, instruction_set), wanted, 1e-5)


def updated(model, update, batches):
    return [update(*batch) for batch in batches], {
        n: p.detach().clone() for n, p in model.named_parameters()
    }


def eager(model, adam):
    def update(x, context):
        adam.zero_grad()
        loss = -model(x, context).mean()
        loss.backward()
        adam.step()
        return loss.detach()

    return update


def trained(model, batches, path):
    adam = PaperAdam(model.parameters(), ADAM)
    adam.rate.fill_(RATE)
    return updated(model, path(model, adam), batches)


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("context", [0, 3], ids=["", "conditional"])
def test_fifty_updates_are_those_of_the_plain_model(name, context):
    model = build(name, 5, context).train()
    batches = [rows(20, 5, context) for _ in range(50)]
    losses, wanted = trained(copy.deepcopy(model), batches, eager)
    native_losses, found = trained(model, batches, NativeUpdate)
    torch.testing.assert_close(native_losses, losses, rtol=0, atol=1e-9)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_goes_on_later_is_the_same_to_the_last_bit(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model = build("maf-mog", 5, 3).float().train()
    batches = [(x.float(), c.float()) for x, c in (rows(20, 5, 3) for _ in range(20))]
    other = copy.deepcopy(model)
    _, wanted = trained(model, batches, NativeUpdate)
    adam = PaperAdam(other.parameters(), ADAM)
    adam.rate.fill_(RATE)
    updated(other, NativeUpdate(other, adam), batches[:9])
    state = copy.deepcopy(adam.state())
    later = PaperAdam(other.parameters(), ADAM)
    later.rate.fill_(RATE)
    later.load(state)
    _, found = updated(other, NativeUpdate(other, later), batches[9:])
    for name, value in wanted.items():
        assert torch.equal(found[name], value)


def test_a_number_of_threads_gives_one_result():
    model = WIDE["maf"](0).train()
    x = torch.randn(100, 43)
    found = [native(model, x, None, SINGLE, threads=2)[1] for _ in range(5)]
    assert all(torch.equal(gradient, found[0]) for gradient in found)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("name", ["made-relu", "maf", "made-mog", "realnvp"])
def test_what_is_not_finite_stays_so(name, bad):
    model = build(name, 5).float().train()
    x = rows(20, 5)[0].float()
    x[3, 2] = bad
    loss, gradient = exact(model, x, None)
    found = native(model, x, None, SINGLE)
    assert math.isfinite(found[0]) == math.isfinite(loss)
    if not math.isfinite(loss):
        assert torch.isfinite(found[1]).all() == torch.isfinite(gradient).all()


def test_exp_overflows_as_in_torch():
    """A scale of exp(100) is infinite in float32, and no large number."""
    model = MADE(2, hidden=[8], **NETWORK).train()
    with torch.no_grad():
        model.transforms[0].network.layers[-1].bias.fill_(200)
    x = torch.randn(20, 2)
    assert exact(model, x, None)[0] == math.inf
    assert native(model, x, None, SINGLE)[0] == math.inf
    with torch.no_grad():
        model.transforms[0].network.layers[-1].bias.fill_(-190)  # exp(-95): a denormal number
    loss = exact(model.double(), x.double(), None)[0]
    assert native(model, x.double(), None, SINGLE)[0] == pytest.approx(loss, rel=1e-6)


def test_tanh_has_no_gradient_where_its_argument_is_clipped():
    model = MADE(3, hidden=[8, 8], **NETWORK).train()
    with torch.no_grad():
        model.transforms[0].network.layers[0].bias.copy_(torch.linspace(-12, 12, 8))
    x = torch.randn(20, 3)
    for dtype in (SINGLE, DOUBLE):
        model, x = model.to(dtype), x.to(dtype)
        gradient = native(model, x, None, dtype)[1]
        assert torch.equal(gradient == 0, exact(model, x, None)[1] == 0)


class Mine(MADE):
    """A model of a user's own."""


class MyLayer(AffineAutoregressive):
    """A layer of a user's own."""


def with_hook():
    model = build("maf")
    model.transforms[0].register_forward_hook(lambda *_: None)
    return model


def with_frozen():
    model = build("maf")
    next(model.parameters()).requires_grad_(False)
    return model


def with_shared():
    model = build("maf")
    model.transforms[2] = model.transforms[0]
    return model


def with_other_linear():
    model = build("realnvp")
    model.transforms[0].shift.layers[0] = nn.Sequential(model.transforms[0].shift.layers[0])
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: build("iaf"),
        lambda: build("gaussian"),
        lambda: Mine(5, hidden=[8], **NETWORK),
        lambda: Flow([MyLayer(5, hidden=[8], **NETWORK)], StandardNormal(5)),
        lambda: Flow([], build("gaussian")),
        with_hook,
        with_frozen,
        with_shared,
        with_other_linear,
    ],
)
def test_what_is_not_known_is_declined(make):
    model = make()
    with pytest.raises(UnknownError):
        describe(model)
    assert not serves(model)
    with pytest.raises(UnknownError, match=r"^\w+$"):
        NativeUpdate(model, None)


def test_every_model_of_the_comparison_is_served():
    network = {"hidden": [100, 100], "activation": "relu", "degrees": "sequential"}
    network |= {"mask": "full_context", "context": 10}
    assert serves(MADE(6, **network)) and serves(MAF(6, layers=5, **network))
    assert serves(MADEMoG(6, components=10, **network))
    assert serves(MAFMoG(6, layers=5, components=10, **network))
    assert serves(RealNVP(6, layers=5, hidden=[100, 100], context=10))
    assert not serves(MADE(6, **network).half())


def test_without_a_library_one_line_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(updates.log, "info", said.append)
    monkeypatch.setattr(library, "library", lambda: None)
    model = build("maf")
    said.clear()
    updates._say_missing.cache_clear()
    assert not serves(model) and not serves(model)
    assert len(said) == 1 and "the native engine is not built" in said[0]
    with pytest.raises(RuntimeError, match="not built here"):
        NativeUpdate(build("maf"), None)
    with pytest.raises(RuntimeError, match="not built"):
        Kernels([4, 0, 1, 10], SINGLE, 5, 1)


@pytest.mark.parametrize("description", [[4, 0, 1], [4, 0, 1, 10, 7], [4, 0, 1, 5], []])
def test_a_description_that_cannot_be_is_refused(description):
    with pytest.raises((RuntimeError, ValueError)):
        Kernels(description, SINGLE, 5, 1)


def test_wrong_tensors_never_reach_the_library():
    model = build("maf", 5, 3)
    engine = Kernels(describe(model), DOUBLE, 20, 1)
    x, given = rows(20, 5, 3)
    values = flat(model)
    for wrong in ((x[:19], given), (x.float(), given), (x.mT.contiguous().mT, given), (x, None)):
        with pytest.raises(ValueError, match="expected a plain"):
            engine.gradient(values, *wrong)
    with pytest.raises(ValueError, match="expected a plain"):
        engine.update(values, values[:5], values, x, given, Coefficients(1, 1, (0.9, 0.9), 0))


def test_it_is_taken_where_it_serves_and_nothing_else_is_asked_for():
    assert choose(build("maf"), "auto", 1) == NATIVE
    assert choose(build("maf"), "eager", 1) == EAGER
    assert choose(build("iaf"), "auto", 1) == EAGER
    assert choose(build("maf"), "native", 1) == NATIVE
    with pytest.raises(UsageError, match="engine=native is not possible: it has no kernels for"):
        choose(build("iaf"), "native", 1)


@pytest.mark.parametrize("name", names(native=False))
def test_what_it_does_not_know_is_left_to_torch(name):
    assert look(build(name))[0] is None and choose(build(name), "auto", 1) == EAGER


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"residual": True, "activation": "relu"}, "ResidualMaskedNetwork"),
        ({"base": "uniform"}, "Uniform"),
    ],
)
def test_the_part_that_it_does_not_know_is_named(settings, part):
    model = MAF(5, layers=1, hidden=[8], **{**NETWORK, **settings})
    with pytest.raises(UsageError, match=f"it has no kernels for {part}"):
        choose(model, "native", 1)


def test_a_run_that_began_natively_goes_on_without_the_library(monkeypatch, caplog):
    assert driver.continued(build("maf"), NATIVE, EAGER) == NATIVE
    monkeypatch.setattr(updates, "instructions", lambda: None)
    assert driver.continued(build("maf"), NATIVE, EAGER) == EAGER
    assert "but the native engine is not built here" in caplog.text
    assert "goes on with the eager engine" in caplog.text


@pytest.mark.parametrize("changes", [{"clip": 5.0}, {"optimiser": "textbook"}])
def test_another_optimiser_is_left_to_torch(changes):
    settings = TrainerSettings(**{**TRAINER, **changes}).adam
    assert choose(build("maf"), "auto", 1, settings) == EAGER
    with pytest.raises(UsageError, match=r"it has only the paper's Adam, without trainer\.clip"):
        choose(build("maf"), "native", 1, settings)
    assert Driver(build("maf"), settings, NATIVE).name == EAGER


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_run_goes_on_natively_from_another_path_and_back(averaging):
    settings = TrainerSettings(**TRAINER).adam
    batches = [rows(20, 5) for _ in range(45)]

    def state_after(*paths):
        torch.manual_seed(0)
        model, kept = build("maf", 5), None
        for number, path in enumerate(paths):
            engine = Driver(model, settings, path, averaging=averaging)
            if kept is not None:
                engine.load(copy.deepcopy(kept))
            for batch in batches[number * 15 : (number + 1) * 15]:
                engine.step(*batch, RATE)
            kept = engine.state()
            assert engine.name == path
        return model.state_dict(), kept

    wanted = state_after(EAGER, EAGER, EAGER)
    for paths in ((NATIVE, EAGER, NATIVE), (EAGER, NATIVE, EAGER)):
        torch.testing.assert_close(state_after(*paths), wanted, rtol=0, atol=1e-9)


def test_a_run_that_was_native_goes_on_without_a_library(monkeypatch):
    said = []
    monkeypatch.setattr(driver.log, "warning", lambda form, *a: said.append(form % a))
    monkeypatch.setattr(library, "library", lambda: None)
    engine = Driver(build("maf", 5), ADAM, NATIVE)
    engine.step(*rows(20, 5), RATE)
    assert engine.name == EAGER and len(said) == 1
    assert (
        "the native engine cannot train this model: the native engine is not built here" in said[0]
    )


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("context", [0, 3], ids=["", "conditional"])
def test_many_rows_are_those_of_the_model_in_evaluation(name, context):
    model = build(name, 9, context)
    native = native_rows(model)
    for n in (1, 113, 500):
        x, given = rows(n, 9, context)
        wanted = plain(model, x, given)
        torch.testing.assert_close(native.log_prob(x, given), wanted, rtol=1e-12, atol=1e-12)
        if context:
            wanted = plain(model, x, given[:1])
            found = native.log_prob(x, given[:1])
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        if isinstance(model, Flow):
            carry, carried = native.carrier(), x.clone()
            for number, transform in enumerate(model.chain):
                carry(number, carried, given)
                x = transform._forward(x, given)[0].detach()
                torch.testing.assert_close(carried, x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["maf", "realnvp", "maf-mog", "made-mog", "iaf"])
@pytest.mark.parametrize("context", [0, 3], ids=["", "conditional"])
def test_statistics_and_densities_are_those_of_the_plain_functions(name, context):
    model = build(name, 5, context)
    other = copy.deepcopy(model)
    x, given = rows(300, 5, context)
    x = x.mT.contiguous().mT  # columns first
    refresh_statistics(model, x, given)
    refresh_statistics(other, x, given, native=False)
    torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=1e-12, atol=1e-12)
    found = log_prob_of_rows(model, x, given)
    torch.testing.assert_close(found, plain(other, x, given), rtol=1e-12, atol=1e-12)
    model.train()  # its batch norms take the statistics of the rows, chunk by chunk
    found, wanted = (f(model, x, given, chunk=30) for f in (log_prob_of_rows, plain))
    assert torch.equal(found, wanted)


FLOWS = [name for name in SERVED if isinstance(build(name), Flow)]


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("context", [0, 3], ids=["", "conditional"])
@pytest.mark.parametrize("threads", [1, 2])
def test_samples_are_those_of_the_model(name, context, threads, monkeypatch):
    model = build(name, 9, context)
    _, given = rows(500, 9, context)
    drawn = [
        sample(model, 500, given, torch.Generator().manual_seed(3), native=native)
        for native in (True, False)
        if torch.set_num_threads(threads) is None
    ]
    torch.set_num_threads(1)
    assert native_rows(model).inverts()
    torch.testing.assert_close(*drawn, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=["single", "double"])
@pytest.mark.parametrize(("features", "hidden"), [(1, 3), (2, 1), (40, 64), (7, 200), (150, 37)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_noise_goes_back_to_the_data_it_came_from(
    instructions, dtype, features, hidden, activation
):
    """Units of one step and of many, blocks of one step and of many, and what sees nothing."""
    torch.manual_seed(0)
    settings = NETWORK | {"hidden": [hidden, hidden + 2], "activation": activation}
    model = MAF(features, layers=3, context=2, **settings).to(dtype).eval()
    x, given = torch.randn(133, features, dtype=dtype), torch.randn(133, 2, dtype=dtype)
    with torch.no_grad():
        u, _ = model.to_noise(x, given)
        wanted = model.from_noise(u, given)
    engine = Kernels(describe(model), dtype, 50, 1, instructions)
    found = engine.inverse(flat(model), statistics(model), u, given)
    tolerance = 1e-10 if dtype == DOUBLE else 1e-3
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found, x, rtol=tolerance, atol=tolerance)


def test_a_sample_of_what_the_library_cannot_invert_is_torchs():
    model = build("iaf", 5)
    drawn = (f(model, 20, None, torch.Generator().manual_seed(1)) for f in (sample, MAF.sample))
    assert torch.equal(*drawn)
    with pytest.raises(ValueError, match="n must be a number"):
        sample(build("maf"), -1)
    with pytest.raises(ValueError, match="context is missing"):
        sample(build("maf", 5, 3), 4)


@pytest.mark.skipif(sys.platform != "linux", reason="the files of Linux are judged")
def test_a_library_cut_short_is_not_loaded(tmp_path):
    (file,) = Path(library.__file__).parent.glob("_library*.so")
    assert library.is_whole(file)
    content, cut = file.read_bytes(), tmp_path / "cut.so"
    for length in (100, 4096, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:length])
        assert not library.is_whole(cut)
