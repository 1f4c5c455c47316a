"""The binned MADE: its bins, their densities, tails, and what it learns of steps."""

import math

import pytest
import torch

from maf_runner.flows import BinnedMADE
from maf_runner.flows.bins import Bins
from tests.helpers.models import CLASSES, build, names

every_binned = pytest.mark.parametrize("name", names(stepped=True))


def steps(n):
    """Rows [n, 2] and their entropy: x_1 in three steps, x_2 in one of two beside each."""
    first = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), n, replacement=True)
    second = 2 * first + (torch.rand(n) < 0.25)
    x = torch.stack([first, second], dim=1) + torch.rand(n, 2)
    shares = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.75, 0.25])
    return x.double(), -sum(float((p * p.log()).sum()) for p in shares)


def test_densities_of_the_largest_numbers_are_finite():
    model = BinnedMADE(1, bins=10, min_width=2e-3, hidden=[8])
    model.look_at(torch.randn(1000, 1) * 1e-3)
    largest = torch.finfo(torch.float32).max
    x = torch.tensor([[largest], [-largest]])
    assert torch.isfinite(model.log_prob(x)).all()
    assert torch.isfinite(model.standard_noise(x)).all()


@every_binned
@pytest.mark.parametrize("context", [0, CLASSES], ids=["", "conditional"])
def test_integrates_to_one(name, context):
    """Places of the later variable sum exactly, those of the earlier by many points in each."""
    model = build(name, features=2, context=context)
    early, late = (1, 0) if model.network.reverse else (0, 1)
    bins = model.bins
    edges = bins.edges[early]
    fine = (torch.arange(400) + 0.5) / 400
    points, weights = [], []
    for place in range(bins.places):  # equal shares of a place hold equal parts of its mass
        at = bins.value(early, torch.full((400,), place), fine.double())
        density = bins.log_density(columns(at, early), bins.place(columns(at, early)))[:, early]
        points.append(at)
        weights.append((-density).exp() / 400)
    at, weight = torch.cat(points), torch.cat(weights)
    assert at.min() < edges[0] and at.max() > edges[-1]
    total = 0.0
    for place in range(bins.places):
        x = columns(at, early)
        x[:, late] = bins.value(late, torch.full((len(x),), place), torch.full_like(at, 0.3))
        size = (-bins.log_density(x, bins.place(x))[:, late]).exp()
        given = torch.eye(CLASSES).double()[:1].expand(len(x), -1) if context else None
        in_place = x[:, model.order.argsort()]
        density = model.log_prob(in_place, given).detach().exp()
        total += float((density * size * weight).sum())
    assert abs(total - 1) < 1e-6


def columns(values, place):
    x = torch.zeros(len(values), 2, dtype=torch.float64)
    x[:, place] = values
    return x


def test_edges_stand_where_the_density_jumps():
    x, _ = steps(20_000)
    bins = Bins(2, 20, 0.0).double()
    bins.find(x)
    for edge in (1.0, 2.0):
        assert (bins.edges[0] - edge).abs().min() < 2e-3
    for edge in (1.0, 3.0, 5.0):  # at 2 and 4 it hardly jumps
        assert (bins.edges[1] - edge).abs().min() < 5e-3
    assert (bins.edges.diff(dim=1) > 0).all()


def test_shares_and_values_are_inverse():
    bins = Bins(2, 7, 0.0).double()
    x = torch.randn(500, 2, dtype=torch.float64)
    bins.find(x)
    x = torch.cat([x, torch.tensor([[-40.0, 9.0], [1e4, -1e4]], dtype=torch.float64)])
    places = bins.place(x)
    share, above = bins.shares(x, places)
    assert ((share >= 0) & (share <= 1)).all()
    torch.testing.assert_close(share + above, torch.ones_like(share))
    assert {0, 8} <= set(places.flatten().tolist())
    for feature in (0, 1):
        back = bins.value(feature, places[:, feature], share[:, feature])
        torch.testing.assert_close(back, x[:, feature], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "column",
    [
        torch.zeros(50),
        torch.tensor([0.0, 1.0]).repeat(25),
        torch.cat([torch.zeros(49), torch.tensor([1e6])]),
        torch.arange(2.0),
        torch.full((1,), 3.0),
        torch.randn(1000) * 1e-6 + 5.0,
        torch.cat([torch.randn(1000), torch.tensor([3e38])]),
    ],
    ids=["constant", "two values", "one far out", "two rows", "one row", "narrow", "largest"],
)
def test_every_column_has_bins(column):
    model = BinnedMADE(1, bins=10, min_width=2e-3, hidden=[8])
    x = column[:, None]
    model.look_at(x)
    assert torch.isfinite(model.bins.edges).all() and torch.isfinite(model.bins.scales).all()
    assert (model.bins.scales > 0).all()
    far = torch.tensor([[1e30], [-1e30], [0.0]])
    assert torch.isfinite(model.log_prob(torch.cat([x, far]))).all()
    assert torch.isfinite(model.standard_noise(torch.cat([x, far]))).all()
    sample = model.sample(200, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(model.log_prob(sample)).all()


def test_each_variable_depends_on_those_before_it_in_the_given_order():
    order = [2, 0, 3, 1]
    model = BinnedMADE(4, bins=6, min_width=0.0, hidden=[12], order=order).double()
    x = torch.randn(300, 4, dtype=torch.float64)
    model.look_at(x)
    row = x[:1].requires_grad_()
    slopes = [torch.autograd.grad(u, row, retain_graph=True)[0][0] for u in noise_of(model, row)]
    depends = torch.stack(slopes) != 0
    for place, feature in enumerate(order):
        assert depends[feature, order[: place + 1]].all()
        assert not depends[feature, order[place + 1 :]].any()


def noise_of(model, row):
    return model.standard_noise(row)[0]


@pytest.mark.parametrize(
    "order", [[0, 1], [0, 1, 1], [1, 2, 3], [0, True, 2], [0.0, 1.0, 2.0], "012", 3, []]
)
def test_an_order_that_is_none_is_refused(order):
    with pytest.raises(ValueError, match="order must have each number from 0 to 2 once"):
        BinnedMADE(3, bins=6, min_width=0.0, hidden=[8], order=order)


def test_reverse_and_order_exclude_each_other():
    with pytest.raises(ValueError, match="reverse or order, not both"):
        BinnedMADE(3, bins=6, min_width=0.0, hidden=[8], reverse=True, order=[0, 1, 2])


def test_noise_far_out_is_as_precise_above_as_below():
    model = BinnedMADE(1, bins=10, min_width=2e-3, hidden=[8])
    x = torch.randn(1000, 1)
    model.look_at(torch.cat([x, -x]))
    far = torch.tensor([[1e9], [-1e9]])
    share = model._logits(far, None).detach().double().softmax(dim=2)
    share = torch.stack([share[0, 0, -1], share[1, 0, 0]])
    beyond = share / (1 + 1e9 / model.bins.scales[0].flip(0).double())
    expected = torch.special.ndtri(beyond) * torch.tensor([-1, 1])
    u = model.standard_noise(far).flatten().double()
    torch.testing.assert_close(u, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5], [0, 1]], ids=["five", "two"])
def test_the_highest_of_steps_is_not_in_a_tail(values):
    x = torch.tensor(values).float()[torch.randint(len(values), (2000, 1))]
    bins = Bins(1, 20, 2e-3)
    shares = bins.find(x)[0]
    assert shares[-1] == 0
    assert values[-1] < float(bins.edges[0, -1]) < values[-1] + 0.02


def test_values_cut_off_above_are_not_in_a_tail():
    x = torch.randn(4000, 1).clamp(max=1.0)
    model = BinnedMADE(1, bins=20, min_width=2e-3, hidden=[8])
    model.look_at(x)
    share = float((x == 1).float().mean())
    with torch.no_grad():
        model.network.linears[-1].weight.zero_()
    sample = model.sample(4000, generator=torch.Generator().manual_seed(0))
    assert float((sample > 1.02).float().mean()) < 1e-3
    assert float(((sample >= 1) & (sample <= 1.02)).float().mean()) == pytest.approx(
        share, abs=0.03
    )


def test_begins_with_the_shares_of_the_training_rows():
    x, _ = steps(4000)
    model = BinnedMADE(2, bins=16, min_width=2e-3, hidden=[8]).double()
    with torch.no_grad():
        model.network.linears[-1].weight.zero_()
    model.look_at(x)
    shares = torch.stack([p.bincount(minlength=18) for p in model.bins.place(x).mT]) / len(x)
    own = model._logits(x[:1], None)[0].exp()
    torch.testing.assert_close(own, (shares + 0.5 / len(x)).double(), rtol=1e-6, atol=1e-9)


def test_learns_steps_to_the_truth():
    """The density jumps at integers; after a short training the model is near their entropy."""
    torch.manual_seed(0)
    x, entropy = steps(22_000)
    train, held_out = x[:20_000], x[20_000:]
    model = BinnedMADE(2, bins=24, min_width=2e-3, hidden=[32]).double()
    model.look_at(train)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(300):
        optimiser.zero_grad()
        batch = train[(step % 40) * 500 : (step % 40 + 1) * 500]
        (-model(batch).mean()).backward()
        optimiser.step()
    nats = model.log_prob(held_out).detach()
    margin = 3 * float(nats.std()) / math.sqrt(len(nats))
    assert -entropy - 0.03 - margin < float(nats.mean()) < -entropy + margin


def test_noise_of_samples_is_standard_normal():
    model = build("binned-made", features=3)
    x = model.sample(4000, generator=torch.Generator().manual_seed(2))
    u = model.standard_noise(x).sort(dim=0).values
    expected = (torch.arange(1, 4001, dtype=torch.float64) - 0.5) / 4000
    distance = (torch.special.ndtr(u) - expected[:, None]).abs().max()
    assert distance < 1.95 / math.sqrt(4000)  # Kolmogorov's test at 0.001
