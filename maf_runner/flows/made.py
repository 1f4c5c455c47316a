"""The masked network of MADE (Germain et al. 2015): all conditionals of a row in one pass."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NotRequired, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maf_runner.flows.base import Conditioned
from maf_runner.flows.checks import one_of, real, widths
from maf_runner.flows.masks import MASKS, hidden_degrees, hidden_mask, input_degrees, output_mask


def tanh_bound(dtype: torch.dtype) -> float:
    """Where the argument of tanh is clipped, as in Theano: there is no gradient beyond."""
    return 19.0 if dtype == torch.float64 else 9.0


def clipped_tanh(x: Tensor) -> Tensor:
    """Tanh of ``x`` clipped to `tanh_bound`."""
    bound = tanh_bound(x.dtype)
    return torch.tanh(x.clamp(-bound, bound))


# relu_ works in place: its input is not used again. Its slope at exactly 0 is 0; in the authors'
# program it is 1/2, which moves no figure: at the paper's sizes no unit starts there.
ACTIVATIONS = {"relu": torch.relu_, "tanh": clipped_tanh}


class _MaskGradient(torch.autograd.Function):
    """The identity, whose gradient is masked."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, mask: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    def setup_context(
        ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor
    ) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple:
        (mask,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient * mask, None


class MaskedLinear(nn.Module):
    """A linear layer with some connections missing.

    The weight is born with zeros where the mask has them and its gradient is masked, so they
    stay zero under any optimiser that works element by element, and the forward pass is a plain
    product.

    Args:
        mask: bool [out, in]; True where there is a connection.

    Initialisation [authors' code]: weights N(0, 1/(in + 1)) with the unmasked number of inputs,
    biases zero.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        outputs, inputs = mask.shape
        self.weight = nn.Parameter(initial_weight(outputs, inputs) * mask)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, in] to [B, out]."""
        masked = torch.is_grad_enabled()  # else there is no gradient to mask
        weight = _MaskGradient.apply(self.weight, self.mask) if masked else self.weight
        return F.linear(x, weight, self.bias)

    def remask(self, mask: Tensor) -> None:
        """Take another mask of the same shape (after degrees were loaded)."""
        self.mask.copy_(mask)


class Network(TypedDict):
    """The settings of a `MaskedNetwork` that every model made of such networks takes by name.

    hidden: widths of the hidden layers.
    activation: ``relu`` or ``tanh``.
    degrees: ``sequential`` or ``random`` hidden degrees (see `masks.hidden_degrees`); random ones
        are drawn anew for each network.
    mask: ``paper``: the first variable sees nothing, not even the context, as in the authors'
        code; ``full_context``: hidden units of degree 0, which see the context alone, let the
        first variable see it too.
    context: C, 0 for none. It enters the first hidden layer only, unmasked.
    residual: true: residual blocks, one for each width in ``hidden``; see `ResidualMaskedNetwork`.
    dropout: the share of hidden units that a residual block leaves out while training.
    """

    hidden: Sequence[int]
    activation: str
    degrees: str
    mask: str
    context: NotRequired[int]
    residual: NotRequired[bool]
    dropout: NotRequired[float]


def masked_network(
    features: int,
    *,
    outputs: int,
    reverse: bool = False,
    residual: bool = False,
    dropout: float = 0.0,
    **network: Any,
) -> "MaskedNetwork":
    """The masked network with these settings; see `Network` and `MaskedNetwork`.

    Raises:
        ValueError: an impossible setting, by name.
    """
    if residual:
        return ResidualMaskedNetwork(
            features, outputs=outputs, reverse=reverse, dropout=dropout, **network
        )
    if dropout:
        raise ValueError(f"dropout needs residual=true, got dropout={dropout!r}")
    return MaskedNetwork(features, outputs=outputs, reverse=reverse, **network)


class MaskedNetwork(Conditioned):
    """From a row to the parameters of all its conditionals, each seeing only what comes before.

    Args:
        features: D.
        outputs: parameters of each conditional (2 for a Gaussian).
        reverse: the order of the autoregression: natural, or reversed.
        columns: of the input for each feature: its value, or several that encode it.
        hidden, activation, degrees, mask, context: see `Network`.
    """

    def __init__(
        self,
        features: int,
        *,
        outputs: int,
        reverse: bool = False,
        hidden: Sequence[int],
        activation: str,
        degrees: str,
        mask: str,
        columns: int = 1,
        context: int = 0,
    ) -> None:
        super().__init__(features, context)
        one_of("mask", mask, MASKS)
        self.outputs = outputs
        self.columns = columns
        self.reverse = reverse
        self.activation = one_of("activation", activation, ACTIVATIONS)
        lowest = 0 if mask == "full_context" and context else 1
        drawn = hidden_degrees(features, hidden, degrees=degrees, lowest=lowest)
        chain = [input_degrees(features, reverse=reverse).repeat_interleave(columns), *drawn]
        for number, layer in enumerate(chain):
            self.register_buffer(f"degrees_{number}", layer)
        masks = self._masks()
        self.layers = nn.ModuleList(MaskedLinear(mask) for mask in masks)
        self.context_weight = (
            nn.Parameter(initial_weight(len(chain[1]), context)) if context else None
        )
        self._counts: list[list[int]] | None = None
        self.register_load_state_dict_post_hook(_rebuild_masks)

    @property
    def degrees(self) -> list[Tensor]:
        """Degrees of the columns of the input [D] and of each hidden layer [H]."""
        return [getattr(self, f"degrees_{i}") for i in range(len(self._buffers))]

    @property
    def order(self) -> Tensor:
        """The features [D] in the order of the autoregression."""
        return self._feature_degrees.argsort()

    @property
    def _feature_degrees(self) -> Tensor:
        return self.degrees[0][:: self.columns]

    @property
    def counts(self) -> list[list[int]]:
        """``counts[l][t]``: columns of the input (l = 0) or units of layer l of degree up to t."""
        if self._counts is None:
            upto = torch.arange(self.features + 1)
            ordered = [d.cpu().sort().values for d in self.degrees]
            self._counts = [torch.searchsorted(d, upto, right=True).tolist() for d in ordered]
        return self._counts

    @property
    def linears(self) -> list[MaskedLinear]:
        """The layers, from the input to the parameters."""
        return cast(list[MaskedLinear], list(self.layers))

    def _masks(self) -> list[Tensor]:
        chain = self.degrees
        into_hidden = [hidden_mask(a, b) for a, b in pairwise(chain)]
        output = output_mask(chain[-1], self._feature_degrees)
        return [*into_hidden, output.repeat(self.outputs, 1)]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters [B, outputs, D] of the conditionals of rows ``x`` [B, D columns]."""
        activate = ACTIVATIONS[self.activation]
        first, *rest = self.linears
        h = first(x)
        if context is not None and self.context_weight is not None:
            if context.stride(0) == 0:  # expanded: the same in every row
                context = context[:1]
            h = h + F.linear(context, self.context_weight)
        for layer in rest:
            h = layer(activate(h))
        return h.unflatten(1, (self.outputs, self.features))


class ResidualMaskedNetwork(MaskedNetwork):
    """ResMADE (Durkan & Nash 2019): a masked network of residual blocks.

    A linear layer leads from the row to H units, and another from these to the parameters. Each
    block in between adds to its input: relu, linear, relu, dropout, linear. All hidden layers
    have the same degrees, so that a sum sees no more than its terms.

    Initialisation [authors' code]: weights and biases from U(-1/sqrt(in), 1/sqrt(in)), the last
    layer of each block from U(-1e-3, 1e-3).

    Args:
        features: D.
        hidden: H once for each block, as in [256,256] for two.
        dropout: the share of units left out in each block while training.
        outputs, reverse, columns, activation, degrees, mask, context: as `MaskedNetwork`.
    """

    def __init__(
        self, features: int, *, hidden: Sequence[int], dropout: float = 0.0, **network: Any
    ) -> None:
        width, blocks = block_widths(hidden)
        one_of("degrees of a residual network", network["degrees"], ["sequential"])
        one_of("activation of a residual network", network["activation"], ["relu"])
        super().__init__(features, hidden=[width] * (1 + 2 * blocks), **network)
        self.dropout = nn.Dropout(real("dropout", dropout, at_least=0, below=1))
        first, *inside, last = self.linears
        with torch.no_grad():
            for layer in (first, *inside[::2], last):
                residual_start(layer, layer.weight.shape[1] ** -0.5)
                layer.weight.mul_(layer.mask)
            for layer in inside[1::2]:
                residual_start(layer, 1e-3)
                layer.weight.mul_(layer.mask)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters [B, outputs, D] of the conditionals of rows ``x`` [B, D columns]."""
        first, *inside, last = self.linears
        h = first(x)
        if context is not None and self.context_weight is not None:
            h = h + F.linear(context, self.context_weight)
        for one, two in zip(inside[::2], inside[1::2], strict=True):
            h = h + two(self.dropout(one(h.relu()).relu_()))
        return last(h).unflatten(1, (self.outputs, self.features))


class ResidualNetwork(nn.Module):
    """As `ResidualMaskedNetwork`, without masks.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        hidden: H once for each block.
        dropout: the share of units left out in each block while training.
    """

    def __init__(
        self, inputs: int, outputs: int, *, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        width, blocks = block_widths(hidden)
        self.dropout = nn.Dropout(real("dropout", dropout, at_least=0, below=1))
        sizes = [inputs, *[width] * (1 + 2 * blocks), outputs]
        here = torch.get_default_device()
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, a, b, device=here) for a, b in pairwise(sizes)
        )
        for number, layer in enumerate(self.linears):
            ends_block = number % 2 == 0 and 0 < number < len(self.layers) - 1
            residual_start(layer, 1e-3 if ends_block else max(1, layer.in_features) ** -0.5)

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers, from the input to the output."""
        return cast(list[nn.Linear], list(self.layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, inputs] to [B, outputs]."""
        first, *inside, last = self.layers
        h = first(x)
        for one, two in zip(inside[::2], inside[1::2], strict=True):
            h = h + two(self.dropout(one(h.relu()).relu_()))
        return last(h)


def block_widths(hidden: Sequence[int]) -> tuple[int, int]:
    """The width H of residual blocks, and their number, from H once for each.

    >>> block_widths([256, 256])
    (256, 2)
    """
    sizes = widths(hidden)
    if len(set(sizes)) > 1:
        raise ValueError(
            f"hidden must give one width for all residual blocks, as in [256,256], got {hidden}"
        )
    return sizes[0], len(sizes)


def residual_start(layer: nn.Module, bound: float) -> None:
    """Draw the weight and bias of a layer from U(-bound, bound)."""
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound)


def initial_weight(outputs: int, inputs: int) -> Tensor:
    """A weight [out, in] drawn from N(0, 1/(in + 1)), as in the authors' code."""
    return torch.randn(outputs, inputs) / (inputs + 1) ** 0.5


def _rebuild_masks(network: MaskedNetwork, incompatible_keys: object) -> None:
    network._counts = None
    for layer, mask in zip(network.linears, network._masks(), strict=True):
        layer.remask(mask)
