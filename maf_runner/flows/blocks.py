"""Masked layers without their zeros: the same densities, for about half of the work.

Units are sorted by degree, so the zeros of every mask of MADE lie on one side of a staircase.
`BlockLinear` cuts the rows of a weight into a few pieces and keeps of each piece only the columns
up to its step of the stairs. `in_blocks` gives a model such layers where they pay; what is
written with plain masked layers stays as it is, and is the oracle in the tests.
"""

import copy
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from maf_runner.flows.base import Conditioned
from maf_runner.flows.made import MaskedLinear

PIECES = 4  # of each staircase
MOST = 256  # pieces of a mask; one that has more is no staircase
WIDE = 1024  # inputs or outputs: products of narrower layers gain nothing from being cut

M = TypeVar("M", bound=Conditioned)


class Block(NamedTuple):
    """Rows and columns of a weight; in the columns of ``edge`` only some rows are connected."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    edge: tuple[int, int]


def cut(mask: Tensor, pieces: int = PIECES) -> list[Block]:
    """The blocks that hold every connection of a mask [out, in], a staircase or several.

    >>> [(b.rows, b.columns) for b in cut(torch.ones(4, 4).tril(), 2)]
    [((0, 2), (0, 2)), ((2, 4), (0, 4))]
    """
    connected = mask.bool().cpu()
    lengths = connected.sum(dim=1)
    falls = (lengths.diff().abs() > connected.shape[1] // 2).nonzero().flatten() + 1
    blocks = []
    for start, end in pairwise([0, *falls.tolist(), len(connected)]):  # one staircase
        height = -(-(end - start) // pieces)
        for first in range(start, end, height):
            rows = first, min(first + height, end)
            piece = connected[slice(*rows)]
            columns = _span(piece.any(dim=0))
            if columns[1] > columns[0]:
                low, high = _span(~piece[:, slice(*columns)].all(dim=0))
                blocks.append(Block(rows, columns, (low, high)))
    if len(blocks) > MOST:
        return [Block((0, mask.shape[0]), (0, mask.shape[1]), (0, mask.shape[1]))]
    return blocks


def _span(flags: Tensor) -> tuple[int, int]:
    """From the first to behind the last place that is set."""
    places = flags.nonzero().flatten().tolist()
    return (places[0], places[-1] + 1) if places else (0, 0)


class _Product(torch.autograd.Function):
    """x W^T + b over the blocks of W, with the gradient of each block masked."""

    @staticmethod
    def forward(
        x: Tensor, bias: Tensor, blocks: tuple[Block, ...], edges: list[Tensor], *weights: Tensor
    ) -> Tensor:
        y = bias.expand(len(x), -1).clone()
        for (rows, columns, _), weight in zip(blocks, weights, strict=True):
            y[:, slice(*rows)].addmm_(x[:, slice(*columns)], weight.mT)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, _, ctx.blocks, edges, *weights = inputs
        ctx.save_for_backward(x, *edges, *weights)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple:
        x, *rest = ctx.saved_tensors
        edges, weights = rest[: len(ctx.blocks)], rest[len(ctx.blocks) :]
        back = torch.zeros_like(x)
        gradients = []
        for (rows, columns, edge), mask, weight in zip(ctx.blocks, edges, weights, strict=True):
            part = slope[:, slice(*rows)]
            gradient = part.mT @ x[:, slice(*columns)]
            gradient[:, slice(*edge)].mul_(mask)
            gradients.append(gradient)
            if ctx.needs_input_grad[0]:
                back[:, slice(*columns)].addmm_(part, weight)
        return back, slope.sum(dim=0), None, None, *gradients


class BlockLinear(nn.Module):
    """What a `MaskedLinear` computes, from the blocks of its weight; they share the bias."""

    def __init__(self, linear: MaskedLinear) -> None:
        super().__init__()
        self.blocks = tuple(cut(linear.mask))
        self.bias = linear.bias
        self.weights = nn.ParameterList(
            linear.weight.detach()[slice(*rows), slice(*columns)].clone()
            for rows, columns, _ in self.blocks
        )
        self.edges = [
            linear.mask[slice(*rows), slice(*columns)][:, slice(*edge)].clone()
            for rows, columns, edge in self.blocks
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, in] to [B, out]."""
        return _Product.apply(x, self.bias, self.blocks, self.edges, *self.weights)

    @torch.no_grad()
    def copy_to(self, linear: MaskedLinear) -> None:
        """Put the blocks into the weight they were cut from."""
        for (rows, columns, _), weight in zip(self.blocks, self.weights, strict=True):
            linear.weight[slice(*rows), slice(*columns)] = weight


def in_blocks(model: M) -> M:
    """A model with `BlockLinear` for each wide masked layer; other tensors are the model's own.

    ``model`` itself is given where it has no such layer, or is on a GPU, where more products
    cost more than their zeros.
    """
    if model.reference.device.type != "cpu":
        return model
    wide = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, MaskedLinear) and max(layer.mask.shape) >= WIDE
    }
    if not wide:
        return model
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    twin = copy.deepcopy(model, shared)
    for name, layer in wide.items():
        twin.set_submodule(name, BlockLinear(layer))
    return twin


def copy_back(twin: nn.Module, model: nn.Module) -> None:
    """Bring what the blocks of ``twin`` have learned into ``model``, from which it was made."""
    for name, layer in twin.named_modules():
        if isinstance(layer, BlockLinear):
            layer.copy_to(model.get_submodule(name))  # type: ignore[arg-type]
