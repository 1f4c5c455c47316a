"""Every model is a density, and every transform what it says: driven by the table in models.py."""

import copy
import math
from itertools import pairwise

import pytest
import torch

from maf_runner.engine.rows import log_prob_of_rows, noise_of_rows, refresh_statistics
from maf_runner.flows import MADE, MAF, Gaussian
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.reporting.comparison.cells import FAMILIES
from tests.helpers.models import CLASSES, MODELS, build, names, rows

every_model = pytest.mark.parametrize("name", MODELS)
every_smooth_model = pytest.mark.parametrize("name", names(stepped=False))
every_flow = pytest.mark.parametrize("name", names(flow=True))
conditional_or_not = pytest.mark.parametrize("context", [0, CLASSES], ids=["", "conditional"])


def jacobian(forward, x):
    """du/dx [B, D, D] of a function that treats each row on its own, by autodiff."""
    return torch.func.vmap(torch.func.jacrev(lambda row: forward(row[None])[0]))(x)


@every_flow
@conditional_or_not
def test_log_det_agrees_with_autodiff(name, context):
    model = build(name, context=context)
    x, given = rows(4, context=context)
    one = None if given is None else given[:1]
    for transform in model.transforms:
        expected = jacobian(lambda x, t=transform: t._forward(x, one)[0], x).slogdet()
        given_each = None if one is None else one.expand(len(x), -1)
        _, log_det = transform._forward(x, given_each)
        torch.testing.assert_close(log_det, expected.logabsdet)


@every_model
@conditional_or_not
def test_standard_noise_is_a_change_of_variables_to_the_normal(name, context):
    """N(u) |det du/dx| is the density: so u is normal exactly if the model is right."""
    model = build(name, context=context)
    x, given = rows(3, context=context)
    x[0] *= 2  # far out
    u = model.standard_noise(x, given)
    normal = -0.5 * (u.square() + math.log(2 * math.pi)).sum(dim=1)
    for i in range(len(x)):
        one = None if given is None else given[i : i + 1]
        slope = torch.autograd.functional.jacobian(
            lambda row, one=one: model.standard_noise(row[None], one)[0], x[i]
        )
        expected = model(x[i : i + 1], one)[0]
        torch.testing.assert_close(normal[i] + slope.slogdet().logabsdet, expected)
    torch.testing.assert_close(noise_of_rows(model, x, given, chunk=2), u.detach())


def test_noise_of_a_mixture_is_finite_far_out_on_either_side():
    torch.manual_seed(0)
    model = build("made-mog", features=1)
    x = torch.tensor([[-14.0], [14.0], [-1e6], [1e6]], dtype=torch.float64)
    u = noise_of_rows(model, x).flatten()
    assert torch.isfinite(u).all() and (u[::2] < -9).all() and (u[1::2] > 9).all()  # 1 - F(9) is 0


@every_flow
@conditional_or_not
@torch.no_grad()  # the fast inverse; test_inversion.py compares it with the differentiable one
def test_round_trip(name, context):
    model = build(name, context=context)
    x, given = rows(50, context=context)
    for transform in model.transforms:
        u, forward = transform._forward(x, given)
        back, inverse = transform._inverse(u, given)
        assert (back - x).abs().max() < 1e-9
        assert (forward + inverse).abs().max() < 1e-9
        there, _ = transform._forward(transform._inverse(x, given)[0], given)
        assert (there - x).abs().max() < 1e-9


def conditionals(name, model):
    """The masked networks of a model, from the data on, each with the map to noise it is for."""
    found = []
    if MODELS[name].flow:
        layers = [t for t in model.transforms if not isinstance(t, BatchNorm)]
        found += [(t.network, lambda x, t=t: t._forward(x, None)[0]) for t in layers]
    if MODELS[name].mixture:
        mixture = model.base if MODELS[name].flow else model
        found.append((mixture.network, mixture.standard_noise))
    return found


@pytest.mark.parametrize("name", names(autoregressive=True))
def test_autoregressive(name):
    """Variable i of u depends on x_j for j before i only: by autodiff and by multiplied masks."""
    model = build(name, features=6)
    found = conditionals(name, model)
    assert found
    for number, (network, to_noise) in enumerate(found):
        order = network.degrees[0].argsort()
        backwards = number % 2 == 1 or MODELS[name].reverse
        assert order.tolist() == (list(range(6))[::-1] if backwards else list(range(6)))
        slopes = jacobian(to_noise, rows(8, 6)[0])
        slopes = slopes[:, order][:, :, order]
        assert (slopes.triu(1) == 0).all()
        assert (slopes.diagonal(dim1=1, dim2=2) > 0).all()

        reach = torch.eye(6)
        for layer in network.layers:
            assert (layer.weight[layer.mask == 0] == 0).all()
            reach = layer.mask.to(reach.dtype) @ reach
        reach = reach.view(-1, 6, 6)[:, order][:, :, order]
        assert (reach.triu(0) == 0).all()
        if not (MODELS[name].narrow or MODELS[name].random):
            assert (reach[:, 1:, 0] > 0).all()  # and it does reach what it may


def on_a_grid(name, context):
    """Log density of a model in two dimensions on a grid that is fine at 0 and reaches ±200."""
    model = build(name, features=2, context=context)
    given = torch.eye(CLASSES, dtype=torch.float64)[1:2] if context else None
    side = torch.linspace(-6, 6, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    weight = grid.cosh().prod(dim=1) * (side[1] - side[0]) ** 2
    return log_prob_of_rows(model, grid.sinh(), given, native=False), weight, model


@every_smooth_model
@conditional_or_not
def test_integrates_to_one(name, context):
    log_p, weight, _ = on_a_grid(name, context)
    assert abs(float((log_p.exp() * weight).sum()) - 1) < 1e-3


@every_model
@conditional_or_not
def test_row_does_not_depend_on_its_batch(name, context):
    model = build(name, context=context)
    x, given = rows(7, context=context)
    whole = model.log_prob(x, given)
    alone = torch.cat(
        [
            model.log_prob(x[i : i + 1], None if given is None else given[i : i + 1])
            for i in range(7)
        ]
    )
    torch.testing.assert_close(whole, alone, rtol=1e-12, atol=1e-12)


@every_model
@conditional_or_not
def test_save_and_load_gives_the_same_model(name, context, tmp_path):
    model = build(name, context=context)
    x, given = rows(9, context=context)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    torch.manual_seed(99)  # random degrees are drawn anew, and must then be loaded
    other = MODELS[name].make(5, context=context).double().eval()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(model.log_prob(x, given), other.log_prob(x, given))
    assert torch.equal(model.log_prob(x, given), copy.deepcopy(model).log_prob(x, given))


@pytest.mark.parametrize("name", names(trained=True))
@conditional_or_not
def test_gradient_reaches_every_parameter(name, context):
    model = build(name, context=context)
    model.train()
    x, given = rows(64, context=context)
    (-model.log_prob(x, given).mean()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", names(masked=True))
def test_masked_weights_get_no_gradient(name):
    model = build(name)
    model(rows(64)[0]).mean().backward()
    layers = [m for m in model.modules() if isinstance(getattr(m, "mask", None), torch.Tensor)]
    assert layers
    for layer in layers:
        assert (layer.weight.grad[layer.mask == 0] == 0).all()


@every_model
@conditional_or_not
def test_wrong_arguments_are_named(name, context):
    model = build(name, context=context)
    x, given = rows(4, context=context)
    with pytest.raises(ValueError, match=r"x must have shape \[B, 5\], got \[5\]"):
        model.log_prob(x[0], given)
    with pytest.raises(ValueError, match=r"x must have shape \[B, 5\], got \[4, 4\]"):
        model.log_prob(x[:, :4], given)
    with pytest.raises(
        TypeError, match=r"x must be torch.float64 as the model is, got torch.int64"
    ):
        model.log_prob(x.long(), given)
    with pytest.raises(TypeError, match=r"x must be a torch.Tensor, got list"):
        model.log_prob(x.tolist(), given)
    bad = x.clone()
    bad[2, 1] = math.nan
    with pytest.raises(ValueError, match=r"x holds NaN in 1 of 4 rows, first in row 2"):
        model.log_prob(bad, given)
    if context:
        with pytest.raises(ValueError, match=r"context is missing.*expects \[B, 3\]"):
            model.log_prob(x)
        with pytest.raises(ValueError, match=r"context must have shape \[B, 3\], got \[4, 2\]"):
            model.log_prob(x, given[:, :2])
        with pytest.raises(ValueError, match=r"context has 3 rows and x has 4"):
            model.log_prob(x, given[:3])
        with pytest.raises(ValueError, match="context is missing"):
            model.sample(4)
    else:
        with pytest.raises(ValueError, match=r"context was given \(shape \[4, 1\]\)"):
            model.log_prob(x, x[:, :1])
    with pytest.raises(ValueError, match="n must be"):
        model.sample(-1)


@every_model
@conditional_or_not
def test_samples_follow_the_density(name, context):
    """The cross-entropy of samples agrees with quadrature of -∫ p log p in two dimensions."""
    log_p, weight, model = on_a_grid(name, context)
    entropy = -float((log_p.exp() * log_p * weight).sum())
    n = 4000
    given = torch.eye(CLASSES, dtype=torch.float64)[1].expand(n, -1) if context else None
    x = model.sample(n, given, generator=torch.Generator().manual_seed(1))
    nats = -model.log_prob(x, given).detach()
    assert abs(float(nats.mean()) - entropy) < 4 * float(nats.std()) / math.sqrt(n) + 3e-3


def test_first_variable_and_the_context():
    """The authors' masks keep the context from the first variable; full_context mends that."""
    x, given = rows(2, context=CLASSES)
    for name, sees in (("made", False), ("made-full-context", True)):
        network = build(name, context=CLASSES).transforms[0].network
        one, other = network(x[:1], given[:1]), network(x[:1], given[1:2])
        assert (not torch.equal(one[:, :, 0], other[:, :, 0])) == sees
        assert not torch.equal(one[:, :, 1:], other[:, :, 1:])


def test_sequential_degrees_are_the_authors():
    """arange(H) % max(1, D-1) + min(1, D-1), up to the order of the units."""
    for features, width in ((6, 100), (1, 4), (2, 5), (784, 1024)):
        model = MADE(
            features, hidden=[width], activation="relu", degrees="sequential", mask="paper"
        )
        theirs = torch.arange(width) % max(1, features - 1) + min(1, features - 1)
        degrees = model.transforms[0].network.degrees[1]
        assert degrees.tolist() == sorted(theirs.tolist())


def test_random_degrees_never_fall_below_the_layer_before():
    for seed in range(20):
        torch.manual_seed(seed)
        model = MADE(30, hidden=[8, 8, 8], activation="relu", degrees="random", mask="paper")
        chain = model.transforms[0].network.degrees
        assert chain[0].tolist() == list(range(1, 31))
        for before, after in pairwise(chain):
            assert after.min() >= before.min() and after.max() <= 29


def test_initialisation_is_the_authors():
    torch.manual_seed(3)
    model = MAF(
        50,
        layers=2,
        hidden=[400, 300],
        activation="relu",
        degrees="sequential",
        mask="paper",
        context=10,
    )
    network = model.transforms[0].network
    for layer, inputs in zip(network.layers, (50, 400, 300), strict=True):
        alive = layer.weight.detach()[layer.mask == 1]
        assert float(alive.std()) == pytest.approx((inputs + 1) ** -0.5, rel=0.03)
        assert (layer.bias == 0).all()
    assert float(network.context_weight.detach().std()) == pytest.approx(11**-0.5, rel=0.05)
    kinds = [type(t).__name__ for t in model.transforms]
    assert kinds == ["AffineAutoregressive", "BatchNorm"] * 2
    assert (model.transforms[1].log_gamma == 0).all() and (model.transforms[1].beta == 0).all()


def test_parameters_are_counted_without_masked_weights():
    """Half the connections, up to the diagonal: the paper's 3/2 DH + (L-1)/2 H² and biases."""
    model = MADE(129, hidden=[512, 512], activation="relu", degrees="sequential", mask="paper")
    masked = sum(int(layer.mask.sum()) for layer in model.transforms[0].network.layers)
    assert model.parameter_count() == masked + 512 + 512 + 2 * 129
    assert masked == pytest.approx(1.5 * 129 * 512 + 0.5 * 512**2, rel=0.01)
    assert Gaussian(4).parameter_count() == 14


def test_batch_norm_after_refreshing_is_training_mode():
    """After refreshing on rows X, evaluation on X equals training mode on X."""
    model = MAF(
        4, layers=3, hidden=[20], activation="relu", degrees="sequential", mask="paper"
    ).double()
    fresh = model.transforms[1]
    assert (fresh.mean == 0).all() and (fresh.variance == 1).all()
    x, _ = rows(257, features=4)
    refresh_statistics(model, x, chunk=50)
    assert model.training
    in_training = model(x)
    torch.testing.assert_close(model.eval()(x), in_training, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(model.train()(x[:20]), in_training[:20])


def test_gaussian_is_maximum_likelihood():
    x = torch.randn(500, 3, dtype=torch.float64) @ torch.randn(3, 3, dtype=torch.float64)
    model = Gaussian(3)
    model.fit(x)
    reference = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0))
    torch.testing.assert_close(model.log_prob(x), reference.log_prob(x))
    assert model.log_prob(x.float()).dtype == torch.float32
    two_of_three = torch.eye(3, dtype=torch.float64)[torch.arange(500) % 2]
    with pytest.raises(ValueError, match="class 2 has no rows"):
        Gaussian(3, context=3).fit(x, two_of_three)
    with pytest.raises(ValueError, match="not positive definite"):
        model.fit(torch.ones(10, 3))


@every_model
def test_known_entropy_is_not_beaten(name):
    """A density cannot beat the truth: E log p <= -H + 3 standard errors, and a fit comes near."""
    x = torch.randn(4000, 2, dtype=torch.float64)
    x[:, 1] += x[:, 0]
    true_entropy = 2 * 0.5 * math.log(2 * math.pi * math.e)
    held_out = x[2000:]
    model = MODELS[name].make(2).double()
    model.look_at(x[:2000])
    if not MODELS[name].trained:
        model.fit(x[:2000])
    else:
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        for step in range(150):
            optimiser.zero_grad()
            batch = x[(step % 10) * 200 : (step % 10 + 1) * 200]
            (-model(batch).mean()).backward()
            optimiser.step()
        refresh_statistics(model, x[:2000])
        model.eval()
    nats = model.log_prob(held_out).detach()
    margin = 3 * float(nats.std()) / math.sqrt(len(nats))
    # Two networks of two units are too narrow to come near; no model may come too near.
    assert float(nats.mean()) < -true_entropy + margin
    assert float(nats.mean()) > -true_entropy - (1.0 if MODELS[name].narrow else 0.15)


@pytest.mark.gpu
@every_model
@conditional_or_not
def test_gpu_agrees_with_cpu(name, context):
    model = build(name, context=context)
    x, given = rows(50, context=context)
    expected = model.log_prob(x, given).detach()
    there = None if given is None else given.cuda()
    found = model.cuda().log_prob(x.cuda(), there).detach().cpu()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert torch.isfinite(model.sample(50, there)).all()


@pytest.mark.parametrize("name", ["maf", "realnvp", "iaf"])
def test_wrong_arguments_of_a_transform_are_named(name):
    transform = build(name, context=CLASSES).transforms[0]
    x, given = rows(4, context=CLASSES)
    assert transform(x, given)[0].shape == transform.inverse(x, given)[0].shape == (4, 5)
    with pytest.raises(ValueError, match=r"x must have shape \[B, 5\], got \[5\]"):
        transform(x[0], given)
    with pytest.raises(ValueError, match=r"u must have shape \[B, 5\], got \[4, 4\]"):
        transform.inverse(x[:, :4], given)
    with pytest.raises(TypeError, match=r"x must be torch.float64 as the model is"):
        transform(x.float(), given)
    with pytest.raises(ValueError, match="context is missing"):
        transform.inverse(x)


def test_many_samples_are_drawn_in_parts(monkeypatch):
    monkeypatch.setattr("maf_runner.flows.base.SAMPLED_AT_ONCE", 7)
    _, given = rows(20, context=CLASSES)
    x = build("made", context=CLASSES).sample(20, given)
    assert x.shape == (20, 5) and len(x.unique(dim=0)) == 20


@pytest.mark.parametrize("name", MODELS)
def test_the_tables_know_the_titles_of_ours(name):
    title = getattr(build(name, 3, 0), "title", None)  # flows put together have none
    assert title is None or title.partition(" (")[0] in FAMILIES
