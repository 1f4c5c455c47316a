"""A model as plain numbers, as the native engine reads them.

A description is a list of whole numbers: dimensions, then the layers from the data to the noise,
then the density at the end. Parameters are named by their place in the flat buffer of all of them,
in the order of ``model.parameters()``; so the engine works on the optimiser's own buffers, and
checkpoints do not know who made them. ``src/engine.h`` reads the numbers in the order in which
they are written here.

What is not known exactly is not described: a subclass may compute something else.
"""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from maf_runner.flows.autoregressive import (
    AffineAutoregressive,
    Autoregressive,
    BoundedAutoregressive,
)
from maf_runner.flows.base import Conditioned, Density, Flow, StandardNormal
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.flows.coupling import BoundedCoupling, Coupling, _Network
from maf_runner.flows.made import MaskedLinear, MaskedNetwork
from maf_runner.flows.mixture import MADEMoG
from maf_runner.flows.models import MADE, MAF, MAFMoG, RealNVP

FLOWS = (Flow, MADE, MAF, MAFMoG, RealNVP)
AFFINE, BATCH_NORM, COUPLING, NORMAL, MIXTURE = 1, 2, 3, 10, 11
RELU, TANH = 0, 1
ACTIVATIONS = {"relu": RELU, "tanh": TANH}

# The order of a layer's rows, and the first column and last but one of each of them.
Staircase = tuple[list[int], tuple[list[int], list[int]]]
_found: WeakKeyDictionary[MaskedNetwork, tuple[object, list[Staircase]]] = WeakKeyDictionary()


class UnknownError(Exception):
    """The model holds something that the engine has no kernels for; the message names it."""


def describe(model: Density) -> list[int]:
    """The numbers that describe a model.

    Raises:
        UnknownError: the model has a part that is not known.

    >>> describe(Flow([], StandardNormal(4)))
    [4, 0, 1, 10]
    """
    try:
        return _Writer(model).numbers
    except UnknownError as error:
        raise UnknownError(str(error) or type(model).__name__) from None


def statistics(model: Density) -> Tensor:
    """Means and variances of all batch norms, as the description counts them."""
    norms = [m for m in model.modules() if type(m) is BatchNorm]
    parts = [part for norm in norms for part in (norm.mean, norm.variance)]
    return torch.cat([*parts, model.reference.new_zeros(1)])


class _Writer:
    """Writes the numbers of one model."""

    def __init__(self, model: Density) -> None:
        self.numbers: list[int] = []
        self.places: dict[int, int] = {}  # of each parameter in the flat buffer
        self.statistics = 0  # numbers of batch-norm statistics so far
        place = 0
        for parameter in model.parameters():
            _need(type(parameter) is nn.Parameter and parameter.requires_grad)
            self.places[id(parameter)] = place
            place += parameter.numel()
        _need(not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()))
        self.model(model)
        _need(not self.places)  # each has been used once

    def write(self, *numbers: int) -> None:
        self.numbers.extend(numbers)

    def place(self, parameter: Tensor | None) -> int:
        """Where a parameter begins. Each is used by one layer, or its gradient would be a sum."""
        _need(id(parameter) in self.places)
        return self.places.pop(id(parameter))

    def model(self, model: Density) -> None:
        if type(model) is MADEMoG:
            self.write(model.features, model.context, 1)
            self.mixture(model)
            return
        _need(type(model) in FLOWS, model)
        assert isinstance(model, Flow)
        self.write(model.features, model.context, len(model.chain) + 1)
        for transform in model.chain:
            _need(transform.features == model.features)
            self.transform(transform, model.context)
        if type(model.base) is MADEMoG:
            _need(model.base.context == model.context)
            self.mixture(model.base)
        else:
            _need(type(model.base) is StandardNormal, model.base)
            self.write(NORMAL)

    def transform(self, transform: Conditioned, context: int) -> None:
        bounded = type(transform) in (BoundedAutoregressive, BoundedCoupling)
        if type(transform) in (AffineAutoregressive, BoundedAutoregressive):
            assert isinstance(transform, Autoregressive)
            _need(transform.context == context and transform.network.outputs == 2)
            self.write(AFFINE, bounded)
            self.write(*transform.network.order.tolist())
            self.masked_network(transform.network)
        elif type(transform) is BatchNorm:
            size = transform.features
            self.write(BATCH_NORM, self.place(transform.log_gamma), self.place(transform.beta))
            self.write(self.statistics, self.statistics + size)
            self.statistics += 2 * size
        elif type(transform) in (Coupling, BoundedCoupling):
            assert isinstance(transform, Coupling)
            _need(transform.context == context)
            copied, changed = transform.copied.tolist(), transform.changed.tolist()
            _need(sorted([*copied, *changed]) == list(range(transform.features)))
            self.write(COUPLING, bounded, len(copied), *copied, *changed)
            self.network(transform.log_scale)
            self.network(transform.shift)
        else:
            raise UnknownError(type(transform).__name__)

    def mixture(self, mixture: MADEMoG) -> None:
        _need(mixture.network.outputs == 3 * mixture.components)
        self.write(MIXTURE, *mixture.network.order.tolist(), mixture.components)
        self.masked_network(mixture.network)

    def masked_network(self, network: MaskedNetwork) -> None:
        """Its outputs are put beside each other feature by feature, in the order of these."""
        _need(type(network) is MaskedNetwork, network)
        layers = network.linears
        _need(all(type(layer) is MaskedLinear and layer.bias is not None for layer in layers))
        self.write(ACTIVATIONS[network.activation], len(layers))
        for layer, (order, ranges) in zip(layers, _staircases(network), strict=True):
            self.linear(layer.weight, layer.bias, order, ranges)
        self.write(int(network.context > 0))
        if network.context:
            weight = network.context_weight
            assert weight is not None
            self.linear(weight, None, range(len(weight)), _full(weight))

    def network(self, network: _Network) -> None:
        _need(type(network) is _Network, network)
        self.write(ACTIVATIONS[network.activation], len(network.layers))
        for layer in network.layers:
            _need(type(layer) is nn.Linear)
            assert isinstance(layer, nn.Linear)
            self.linear(layer.weight, layer.bias, range(len(layer.weight)), _full(layer.weight))
        self.write(0)

    def linear(
        self,
        weight: Tensor,
        bias: Tensor | None,
        order: Iterable[int],
        ranges: tuple[list[int], list[int]],
    ) -> None:
        """A weight, with the order in which its rows are taken and the columns of each."""
        self.write(*weight.shape, self.place(weight))
        self.write(-1 if bias is None else self.place(bias))
        self.write(*order, *ranges[0], *ranges[1])


def _need(known: bool, part: nn.Module | None = None) -> None:
    if not known:
        raise UnknownError("" if part is None else type(part).__name__)


def _staircases(network: MaskedNetwork) -> list[Staircase]:
    """Of each layer; those of a network are found once, since that takes longer than all else."""
    fixed = [layer.mask for layer in network.linears]  # which the order follows from
    state = [(tensor.data_ptr(), tensor._version) for tensor in fixed]
    known = _found.get(network)
    if known is None or known[0] != state:
        last = network.linears[-1]
        by_parameter = torch.arange(len(last.mask)).view(network.outputs, -1)
        outputs = by_parameter[:, network.order.cpu()].mT.flatten()
        stairs = []
        for layer in network.linears:
            order = outputs if layer is last else torch.arange(len(layer.mask))
            stairs.append((order.tolist(), _ranges(layer.mask.cpu()[order])))
        known = _found[network] = state, stairs
    return known[1]


def _full(weight: Tensor) -> tuple[list[int], list[int]]:
    """The columns of a weight without a mask."""
    rows, columns = weight.shape
    return [0] * rows, [columns] * rows


def _ranges(mask: Tensor) -> tuple[list[int], list[int]]:
    """First column and last but one of each row of a mask, which must have no gaps between.

    >>> _ranges(torch.ones(3, 3).tril(-1))
    ([0, 0, 0], [0, 1, 2])
    """
    connected = mask.bool()
    counts = connected.sum(dim=1)
    low = connected.int().argmax(dim=1)  # the first of the largest
    high = low + counts
    places = torch.arange(mask.shape[1])
    _need(bool(((places >= low[:, None]) & (places < high[:, None]) == connected).all()))
    return low.tolist(), high.tolist()
