"""Maps of one variable against nflows, against autodiff, and where they could break."""

import math

import pytest
import torch
from torch.nn import functional as F

from maf_runner.flows import MAF, NSF, NSFCoupling, bases
from maf_runner.flows.univariate import (
    MAPS,
    LinearSpline,
    QuadraticSpline,
    RationalQuadraticSpline,
    chosen,
)
from tests.helpers.models import MAP, NETWORK

SPLINES = ("rational_quadratic", "quadratic", "piecewise_linear")
ONTO = [name for name in MAPS if name not in SPLINES]
every_map = pytest.mark.parametrize("name", MAPS)
every_spline = pytest.mark.parametrize("name", SPLINES)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def drawn(univariate, *, rows=500, features=5, spread=1.0, dtype=torch.float64):
    return spread * torch.randn(rows, univariate.parameters, features, dtype=dtype)


def values(rows=500, features=5, dtype=torch.float64):
    """Values in the interval, far outside, and exactly at its ends."""
    x = 2 * torch.randn(rows, features, dtype=dtype)
    x[0], x[1], x[2] = 3.0, -3.0, 1e4
    return x


def nflows_functions():
    """nflows' splines. Say loudly when they are missing, for they are the reference."""
    return pytest.importorskip(
        "nflows.transforms.splines", reason="nflows is not installed: pip install nflows==0.14"
    )


@both_ways
@pytest.mark.parametrize("bins", [2, 8, 30])
def test_rational_quadratic_is_nflows(bins, inverse):
    theirs = nflows_functions().unconstrained_rational_quadratic_spline
    spline = RationalQuadraticSpline(bins, interval=2.5, min_width=2e-3, min_slope=5e-3)
    x, parameters = values(), drawn(spline)
    found = (spline.inverse if inverse else spline.forward)(x, parameters, 1)
    raw = parameters.movedim(1, -1).split([bins, bins, bins - 1], -1)
    least = {"min_bin_width": 2e-3, "min_bin_height": 1e-3, "min_derivative": 5e-3}
    expected = theirs(x, *raw, inverse=inverse, tail_bound=2.5, **least)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@both_ways
def test_quadratic_is_nflows(inverse):
    """Theirs is given all K + 1 slopes: at the ends, those with which the slope there is 1."""
    theirs = nflows_functions().quadratic_spline
    bins = 6
    spline = QuadraticSpline(bins)
    x, parameters = values().clamp(-3, 3), drawn(spline)
    width, slope = parameters.movedim(1, -1).split([bins, bins - 1], -1)
    widths = 1e-3 + (1 - 1e-3 * bins) * width.softmax(-1)
    inner = F.softplus(slope) + 1e-3
    among = (inner[..., :-1] + inner[..., 1:]) / 2 * widths[..., 1:-1]
    first, last = widths[..., :1], widths[..., -1:]
    area = 0.5 * first * inner[..., :1] + 0.5 * last * inner[..., -1:] + among.sum(-1, True)
    end = area / (1 - 0.5 * first - 0.5 * last)
    end = torch.expm1(end - 1e-3).log()  # softplus of it is end - 1e-3
    raw = width, torch.cat([end, slope, end], -1)
    box = {"left": -3.0, "right": 3.0, "bottom": -3.0, "top": 3.0}
    expected = theirs(x, *raw, inverse=inverse, **box)
    found = (spline.inverse if inverse else spline.forward)(x, parameters, 1)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    ends = torch.tensor([[-3.0], [3.0]], dtype=torch.float64).expand(2, 5)
    assert spline.log_slope(ends, parameters[:2], 1).abs().max() < 1e-12


def test_piecewise_linear_is_nflows():
    """Their inverse moves the last knot in passing, so it is ours that is held to their map."""
    theirs = nflows_functions().unconstrained_linear_spline
    spline = LinearSpline(7, min_height=1e-300)
    x, parameters = values(), drawn(spline)
    u, log_slope = spline.forward(x, parameters, 1)
    expected = theirs(x, parameters.movedim(1, -1), tail_bound=3.0)
    torch.testing.assert_close((u, log_slope), expected, rtol=1e-12, atol=1e-12)
    back, inverse = spline.inverse(expected[0], parameters, 1)
    torch.testing.assert_close(back, x, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(inverse[3:], -log_slope[3:], rtol=1e-11, atol=1e-11)


@every_map
@both_ways
def test_log_slope_and_gradients_are_those_of_autodiff(name, inverse):
    """Also through the inverse by bisection, by value and by every parameter."""
    univariate = chosen({**MAP, "map": name})
    x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    parameters = drawn(univariate, rows=3, features=3).requires_grad_()
    function = univariate.inverse if inverse else univariate.forward
    u, log_slope = function(x, parameters, 1)
    (slope,) = torch.autograd.grad(u.sum(), x, retain_graph=True)
    torch.testing.assert_close(log_slope, slope.log(), rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(
        lambda x, p: function(x, p, 1), (x, parameters), atol=1e-4, rtol=1e-3
    )


@every_map
def test_there_and_back_in_float64_and_along_another_axis(name):
    univariate = chosen({**MAP, "map": name})
    x, parameters = values(), drawn(univariate)
    u, log_slope = univariate.forward(x, parameters, 1)
    back, inverse = univariate.inverse(u, parameters, 1)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(inverse, -log_slope, rtol=1e-8, atol=1e-8)
    for function, value in ((univariate.forward, x), (univariate.inverse, u)):
        turned = function(value.mT, parameters.movedim(0, 2), 0)
        torch.testing.assert_close([t.mT for t in turned], list(function(value, parameters, 1)))
    # One variable after another, as sampling does it.
    into = torch.empty(5, len(x), dtype=torch.float64)
    with torch.no_grad():
        write = univariate.inverter(u.mT, parameters.movedim(0, 2), into)
        for i in (3, 0, 4, 2, 1):
            write(i)
    torch.testing.assert_close(into.mT, back, rtol=1e-12, atol=1e-12)


@every_spline
def test_there_and_back_in_float32_in_the_tails_on_the_knots_and_at_the_ends(name):
    spline = chosen({**MAP, "map": name, "bins": 8})
    parameters = drawn(spline, rows=200, spread=0.5, dtype=torch.float32)
    places = [torch.tensor([-1e6, -50.0, -3.0, 3.0, 50.0, 1e6])]
    places += [torch.nextafter(torch.tensor(end), torch.tensor(way))[None]
               for end in (-3.0, 3.0) for way in (-9.0, 9.0)]  # fmt: skip
    if name == "piecewise_linear":
        knots = torch.linspace(-3, 3, 9).expand(200, 5, 9)
    else:
        knots = spline._tables(parameters, 1)[:, 0].movedim(1, -1)
    for at in (*torch.cat(places).expand(200, 5, -1).unbind(-1), *knots.unbind(-1)):
        u, log_slope = spline.forward(at, parameters, 1)
        back, inverse = spline.inverse(u, parameters, 1)
        assert ((back - at).abs() <= 1e-5 * at.abs().clamp_min(1)).all()
        assert torch.isfinite(log_slope).all() and torch.isfinite(inverse).all()
        if at.abs().min() > 3:
            assert torch.equal(u, at) and (log_slope == 0).all()


@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0, 1000.0])
@every_spline
def test_extreme_parameters_stay_finite_and_increasing_in_float32(name, spread):
    """Bins of least width beside each other: no discriminant below 0, nothing but numbers."""
    spline = chosen({**MAP, "map": name, "bins": 8})
    parameters = drawn(spline, rows=4000, spread=spread, dtype=torch.float32).requires_grad_()
    x = values(4000, dtype=torch.float32).requires_grad_()
    for function in (spline.forward, spline.inverse):
        u, log_slope = function(x, parameters, 1)
        (u.sum() + log_slope.sum()).backward()
        assert torch.isfinite(u).all() and torch.isfinite(log_slope).all()
        assert torch.isfinite(x.grad).all() and torch.isfinite(parameters.grad).all()
    line = torch.linspace(-3.1, 3.1, 2001)[:, None].expand(-1, 5)
    u, _ = spline.forward(line, parameters.detach()[:1].expand(2001, -1, -1), 1)
    assert (u.diff(dim=0) >= -1e-6).all()


@pytest.mark.parametrize("name", ONTO)
def test_maps_without_an_interval_stay_finite_far_out_in_float32(name):
    univariate = chosen({**MAP, "map": name})
    parameters = drawn(univariate, dtype=torch.float32)
    x = torch.tensor([-1e4, -200.0, -20.0, 0.0, 20.0, 200.0, 1e4])[:, None].expand(7, 5)
    u, log_slope = univariate.forward(x, parameters[:1].expand(7, -1, -1), 1)
    assert torch.isfinite(u).all() and torch.isfinite(log_slope).all()
    assert (u.diff(dim=0) > 0).all()
    back, _ = univariate.inverse(u, parameters[:1].expand(7, -1, -1), 1)
    torch.testing.assert_close(back, x, rtol=1e-4, atol=1e-4)


@every_map
@pytest.mark.parametrize("base", ["normal", "student", "logistic"])
def test_a_flow_of_one_variable_integrates_to_one(name, base):
    settings = {**MAP, "map": name}
    flow = NSF(1, layers=2, hidden=[4], dropout=0.0, linear="lu", base=base, **settings).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            free = (parameter != 0) | (parameter.ndim == 1)
            parameter.add_(0.5 * torch.randn_like(parameter) * free)
    t = torch.linspace(-12, 12, 40_001, dtype=torch.float64)
    log_p = flow.eval().log_prob(t.sinh()[:, None]).detach()
    mass = torch.trapezoid(log_p.exp() * t.cosh(), t)
    assert abs(float(mass) - 1) < 1e-3


def test_a_uniform_base_needs_rows_in_its_cube():
    settings = {**MAP, "linear": "permutation"}
    for make in (NSF, NSFCoupling):
        flow = make(2, layers=2, hidden=[8], dropout=0.0, base="uniform", **settings).double()
        side = torch.linspace(-2.995, 2.995, 600, dtype=torch.float64)
        log_p = flow.eval().log_prob(torch.cartesian_prod(side, side)).detach()
        assert abs(float(log_p.exp().mean()) * 36 - 1) < 1e-2
        x = flow.sample(1000)
        assert x.abs().max() <= 3 and torch.isfinite(flow.log_prob(x)).all()
        assert flow.log_prob(torch.full_like(x[:1], 3.1)).item() == -math.inf


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        (
            "uniform",
            torch.distributions.Uniform(torch.tensor(-3.0).double(), torch.tensor(3.0).double()),
        ),
        ("logistic", None),
        ("beta", None),
        ("student", torch.distributions.StudentT(torch.tensor(4.0).double())),
    ],
)
def test_bases_are_the_densities_they_are_named_after(name, reference):
    base = bases.chosen(name, 3, hidden=[8]).double()
    x = base.sample(20_000, generator=torch.Generator().manual_seed(0))
    noise = base.standard_noise(x)
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    assert abs(float((noise.abs() < 1).double().mean()) - 0.6827) < 0.01
    if reference is not None:
        torch.testing.assert_close(base.log_prob(x), reference.log_prob(x).sum(1))
    far = torch.tensor([[-1e3, 1e3, 2.0]], dtype=torch.float64)
    if name != "uniform":
        assert torch.isfinite(base.standard_noise(far)).all()
        assert base.standard_noise(far)[0, 0] == -base.standard_noise(far)[0, 1]


def test_a_bounded_scale_keeps_a_row_far_out_sane():
    torch.manual_seed(0)
    found = {}
    for scale in ("exp", "bounded"):
        model = MAF(4, layers=3, hidden=[32], batch_norm=False, scale=scale, **NETWORK).eval()
        with torch.no_grad():
            for transform in model.transforms:
                transform.network.linears[-1].bias.fill_(12.0)  # log slope 6
        found[scale] = model.log_prob(torch.full((1, 4), 5.0)).item()
    assert -1e9 < found["bounded"] < 0 and found["exp"] < 1000 * found["bounded"]


BAD = [
    ({"bins": 0}, "bins must be a whole number of at least 1, got 0"),
    ({"bins": 1}, "bins must be at least 2: with 1 a spline is the identity"),
    ({"bins": 2.5}, "bins must be a whole number"),
    ({"bins": 10**6}, "bins must be a whole number of at most 1,000"),
    ({"interval": 0}, "interval must be a number above 0 and at most 1e.06, got 0"),
    ({"interval": -3.0}, "interval must be a number above 0"),
    ({"interval": "wide"}, "interval must be a number above 0"),
    ({"interval": math.nan}, "interval must be a number above 0"),
    ({"min_width": 0.25}, "min_width must be below 1 / bins = 0.25, or the 4 bins do not fit"),
    ({"min_height": 0.5}, "min_height must be below 1 / bins = 0.25"),
    ({"min_width": 0.0}, "min_width must be a number above 0"),
    ({"min_slope": 1.0}, "min_slope must be a number above 0 and below 1, got 1.0"),
    ({"min_slope": True}, "min_slope must be a number"),
    ({"map": "cubic"}, "map must be one of rational_quadratic, quadratic, .*, got 'cubic'"),
    ({"linear": "qr"}, "linear must be one of lu, permutation, none, got 'qr'"),
    ({"base": "cauchy"}, "base must be one of normal, uniform, student, .*, got 'cauchy'"),
    (
        {"hidden": [8, 16]},
        r"hidden must give one width for all residual blocks, .*, got \[8, 16\]",
    ),
    ({"dropout": 1.0}, "dropout must be a number at least 0 and below 1, got 1.0"),
    ({"layers": 0}, "layers must be a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize(("bad", "message"), BAD, ids=[str(bad) for bad, _ in BAD])
@pytest.mark.parametrize("make", [NSF, NSFCoupling])
def test_settings_that_cannot_be_are_refused_by_name(make, bad, message):
    usual = {"layers": 1, "hidden": [8], "dropout": 0.0, "linear": "lu", **MAP}
    with pytest.raises(ValueError, match=message):
        make(3, **{**usual, **bad})
    if "scale" not in bad:
        with pytest.raises(ValueError, match="scale must be one of exp, bounded, got 'wild'"):
            MAF(3, layers=1, hidden=[4], scale="wild", **NETWORK)


def test_dropout_is_off_in_evaluation_and_needs_residual_blocks():
    usual = {"layers": 1, "hidden": [32], "linear": "lu", **MAP}
    model = NSF(3, dropout=0.5, **usual)
    x = torch.randn(8, 3)
    assert not torch.equal(model.train()(x), model(x))
    assert torch.equal(model.eval()(x), model(x))
    with pytest.raises(ValueError, match="dropout needs residual=true"):
        MAF(3, layers=1, hidden=[4], dropout=0.5, **NETWORK)
    residual = MAF(
        3, layers=1, hidden=[4], residual=True, dropout=0.5, **{**NETWORK, "activation": "relu"}
    )
    assert residual.eval().sample(3).shape == (3, 3)


def test_a_whole_model_is_that_of_nflows_with_copied_weights():
    """Permutations, LU layers, ResMADE with its hidden units in another order, and splines."""
    nflows_functions()
    from nflows.transforms.autoregressive import (
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform as Theirs,
    )
    from nflows.transforms.lu import LULinear

    features, width, bins = 5, 24, 6
    ours = NSF(
        features, layers=2, hidden=[width] * 2, dropout=0.1, linear="lu", **{**MAP, "bins": bins}
    )
    ours = ours.double().eval()
    x = 2 * torch.randn(40, features, dtype=torch.float64)
    u, total = x, torch.zeros(40, dtype=torch.float64)
    steps = iter(ours.chain)
    for permutation in steps:
        u = u[:, permutation.order]
        linear, own = LULinear(features).double(), next(steps)
        for values in linear.parameters():
            torch.nn.init.normal_(values, std=0.3)
        with torch.no_grad():
            own.weight.zero_()
            own.weight[linear.lower_indices] = linear.lower_entries
            own.weight[linear.upper_indices] = linear.upper_entries
            own.weight[linear.diag_indices] = linear.unconstrained_upper_diag
            own.bias.copy_(linear.bias)
        u, log_det = linear(u)
        total = total + log_det
        layer = next(steps, None)
        if layer is None:
            break
        theirs = Theirs(features, width, num_blocks=2, num_bins=bins, tails="linear", tail_bound=3)
        theirs = theirs.double().eval()
        net = theirs.autoregressive_net
        net.hidden_features = width  # or logits are not divided by its root, as the authors do
        order = net.initial_layer.degrees.argsort(stable=True)
        blocks = [linear for block in net.blocks for linear in block.linear_layers]
        with torch.no_grad():
            first, *inside, last = layer.network.linears
            first.weight.copy_((net.initial_layer.weight * net.initial_layer.mask)[order])
            first.bias.copy_(net.initial_layer.bias[order])
            for own, other in zip(inside, blocks, strict=True):
                torch.nn.init.normal_(other.weight, std=0.2)
                own.weight.copy_((other.weight * other.mask)[order][:, order])
                own.bias.copy_(other.bias[order])
            final = net.final_layer
            torch.nn.init.normal_(final.bias)
            weight = (final.weight * final.mask)[:, order].unflatten(0, (features, -1))
            last.weight.copy_(weight.transpose(0, 1).flatten(0, 1))
            last.bias.copy_(final.bias.unflatten(0, (features, -1)).mT.flatten())
        u, log_det = theirs(u)
        total = total + log_det
    with torch.no_grad():
        torch.testing.assert_close(ours.to_noise(x), (u, total), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(ours.from_noise(u), x, rtol=1e-8, atol=1e-8)
