"""Maps of one variable, and layers made of a map of one's own."""

import pytest
import torch
from torch.nn import functional as F

from maf_runner.flows import MAF, Density, Gaussian, MADEMoG, RealNVP
from maf_runner.flows.autoregressive import Autoregressive
from maf_runner.flows.univariate import Affine, Univariate
from tests.helpers.models import NETWORK


class Sinh(Univariate):
    """u = sinh(x - a) exp(b) + c: not affine, with three parameters and no shortcut."""

    parameters = 3

    def initialise(self, weight, bias):
        bias[1].fill_(0.25)

    def forward(self, x, parameters, dim):
        a, b, c = parameters.unbind(dim)
        return (x - a).sinh() * b.exp() + c, (x - a).cosh().log() + b

    def inverse(self, u, parameters, dim):
        a, b, c = parameters.unbind(dim)
        x = ((u - c) * (-b).exp()).asinh() + a
        return x, -(x - a).cosh().log() - b


@pytest.mark.parametrize("univariate", [Affine(), Sinh()], ids=["affine", "sinh"])
def test_slopes_and_inverse(univariate):
    x = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    parameters = torch.randn(7, univariate.parameters, 4, dtype=torch.float64)
    u, log_slope = univariate.forward(x, parameters, 1)
    (slope,) = torch.autograd.grad(u.sum(), x)
    torch.testing.assert_close(log_slope, slope.log())
    torch.testing.assert_close(univariate.log_slope(x, parameters, 1), log_slope)
    back, inverse = univariate.inverse(u, parameters, 1)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse, -log_slope)
    # Rows along the last axis, as in sampling, one variable after another.
    into = torch.empty(4, 7, dtype=torch.float64)
    with torch.no_grad():
        write = univariate.inverter(u.mT, parameters.movedim(0, 2), into)
        for i in range(4):
            write(i)
    torch.testing.assert_close(into, x.detach().mT)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_layer_of_another_map_is_inverted_and_differentiated(reverse):
    layer = Autoregressive(6, Sinh(), reverse=reverse, hidden=[11, 9], **NETWORK).double()
    assert torch.equal(
        layer.network.linears[-1].bias.view(3, 6)[1], torch.full((6,), 0.25).double()
    )
    x = torch.randn(20, 6, dtype=torch.float64)
    u, log_det = layer(x)
    with torch.no_grad():
        back, inverse = layer.inverse(u)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse, -log_det)
    slow, slow_log_det = layer.inverse(u)
    torch.testing.assert_close(slow, x)
    torch.testing.assert_close(slow_log_det, -log_det)


@pytest.mark.parametrize("context", [0, 3])
def test_the_base_can_be_chosen(context):
    base = MADEMoG(4, components=2, hidden=[8], context=context, **NETWORK)
    for model in (
        MAF(4, layers=2, hidden=[8], base=base, context=context, **NETWORK),
        RealNVP(4, layers=2, hidden=[8], base=base, context=context),
    ):
        given = F.one_hot(torch.arange(9) % 3, 3).float() if context else None
        model.eval()
        x = model.sample(9, given)
        u, log_det = model.to_noise(x, given)
        torch.testing.assert_close(model.log_prob(x, given), base.log_prob(u, given) + log_det)
    with pytest.raises(ValueError, match="the base has 5 features and a transform 4"):
        MAF(4, layers=1, hidden=[8], base=Gaussian(5), **NETWORK)


class Cauchy(Density):
    """The least a density must have."""

    title = "Cauchy"

    def __init__(self, features):
        super().__init__(features)
        self.location = torch.nn.Parameter(torch.zeros(features))

    def forward(self, x, context=None):
        return torch.distributions.Cauchy(self.location, 1.0).log_prob(x).sum(dim=1)


def test_what_a_density_need_not_have():
    model = Cauchy(2)
    assert not model.can_sample and not model.has_standard_noise and not model.closed_form
    assert model.parameter_count() == 2 and model.log_prob(torch.zeros(3, 2)).shape == (3,)
    flow = MAF(2, layers=1, hidden=[8], base=model, **NETWORK)
    assert not flow.can_sample and not flow.has_standard_noise
    with pytest.raises(NotImplementedError, match="Cauchy cannot sample"):
        flow.sample(3)
    with pytest.raises(NotImplementedError, match="Cauchy has no map to standard normal noise"):
        model.standard_noise(torch.zeros(3, 2))
    with pytest.raises(NotImplementedError, match="Cauchy is trained by gradient steps"):
        model.fit(torch.zeros(3, 2))
    normal = MAF(2, layers=1, hidden=[8], **NETWORK)
    assert normal.can_sample and normal.has_standard_noise
