"""Masked layers without their zeros: the same densities for about half of the work.

Units are sorted by degree, so the zeros of every mask of MADE lie on one side of a staircase. The
mask of the output layer repeats the staircase of one parameter of the conditionals for each of
them: these are the copies. `BlockLinear` cuts the staircase into a few pieces, and stores of each
piece only the columns up to its step; the same piece of all copies is one product. `in_blocks`
makes a copy of a model with such layers where they pay. The model itself keeps its plain masked
layers, with which the tests compare the blocks.
"""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from maf_runner.engine.width import worth_cutting
from maf_runner.flows.base import Conditioned, inverts
from maf_runner.flows.made import MaskedLinear

PIECES = 4  # into which each staircase is cut

M = TypeVar("M", bound=Conditioned)


class Block(NamedTuple):
    """Rows of each copy, and columns. Only in the columns of ``edge`` are there zeros."""

    rows: slice
    columns: slice
    edge: slice


def copies_of(mask: Tensor) -> int:
    """The number of equal parts, one below the other, that make up a mask [out, in].

    >>> copies_of(torch.ones(4, 4).tril().repeat(3, 1))
    3
    """
    lengths = mask.sum(dim=1)
    for copies in (n for n in range(len(mask), 1, -1) if len(mask) % n == 0):
        if (lengths == lengths.roll(len(mask) // copies)).all():  # compared first, being few
            parts = mask.unflatten(0, (copies, -1))
            if (parts == parts[0]).all():
                return copies
    return 1


def cut(stairs: Tensor, pieces: int = PIECES) -> list[Block]:
    """The blocks that hold every connection of a mask [out, in], which is usually a staircase.

    >>> [(b.rows, b.columns) for b in cut(torch.ones(4, 4).tril(), 2)]
    [(slice(0, 2, None), slice(0, 2, None)), (slice(2, 4, None), slice(0, 4, None))]
    """
    connected = stairs.bool().cpu()
    height = -(-len(connected) // pieces)
    blocks = []
    for first in range(0, len(connected), height):
        rows = slice(first, min(first + height, len(connected)))
        columns = _span(connected[rows].any(dim=0))
        if columns.stop > columns.start:
            edge = _span(~connected[rows, columns].all(dim=0))
            blocks.append(Block(rows, columns, edge))
    return blocks


def _span(flags: Tensor) -> slice:
    """The slice from the first to the last flag that is set."""
    places = flags.nonzero().flatten().tolist()
    return slice(places[0], places[-1] + 1) if places else slice(0, 0)


class _Product(torch.autograd.Function):
    """x W^T + b over the blocks of W, with the gradient of each block masked."""

    @staticmethod
    def forward(
        x: Tensor,
        bias: Tensor,
        copies: int,
        blocks: list[Block],
        edges: list[Tensor],
        *weights: Tensor,
    ) -> Tensor:
        y = bias.expand(len(x), -1).clone()
        by_copy = y.unflatten(1, (copies, -1))
        for (rows, columns, _), weight in zip(blocks, weights, strict=True):
            product = x[:, columns] @ weight.mT
            by_copy[:, :, rows] += product.unflatten(1, (copies, -1))
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, _, ctx.copies, ctx.blocks, edges, *weights = inputs
        ctx.save_for_backward(x, *edges, *weights)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple:
        x, *rest = ctx.saved_tensors
        edges, weights = rest[: len(ctx.blocks)], rest[len(ctx.blocks) :]
        by_copy = slope.unflatten(1, (ctx.copies, -1))
        back = torch.zeros_like(x)
        gradients = []
        for (rows, columns, edge), mask, weight in zip(ctx.blocks, edges, weights, strict=True):
            part = by_copy[:, :, rows].flatten(1)
            gradient = part.mT @ x[:, columns]
            gradient.unflatten(0, (ctx.copies, -1))[:, :, edge].mul_(mask)
            gradients.append(gradient)
            if ctx.needs_input_grad[0]:
                back[:, columns].addmm_(part, weight)
        return back, slope.sum(dim=0), None, None, None, *gradients


class BlockLinear(nn.Module):
    """Computes the same as a `MaskedLinear`, from the blocks of its weight; it shares the bias."""

    def __init__(self, linear: MaskedLinear) -> None:
        super().__init__()
        self.copies = copies_of(linear.mask)
        stairs = linear.mask[: len(linear.mask) // self.copies]
        self.blocks = cut(stairs)
        self.bias = linear.bias
        by_copy = linear.weight.detach().unflatten(0, (self.copies, -1))
        self.weights = nn.ParameterList(
            torch.empty_like(by_copy[:, rows, columns].flatten(0, 1))
            for rows, columns, _ in self.blocks
        )
        self.copy_from(linear)
        self.edges = [stairs[rows, columns][:, edge] for rows, columns, edge in self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` [B, in] to [B, out]."""
        return _Product.apply(x, self.bias, self.copies, self.blocks, self.edges, *self.weights)

    @torch.no_grad()
    def copy_to(self, linear: MaskedLinear) -> None:
        """Copy the blocks to the weight of the layer they were cut from."""
        by_copy = linear.weight.unflatten(0, (self.copies, -1))
        for (rows, columns, _), weight in zip(self.blocks, self.weights, strict=True):
            by_copy[:, rows, columns] = weight.unflatten(0, (self.copies, -1))

    @torch.no_grad()
    def copy_from(self, linear: MaskedLinear) -> None:
        """Copy the blocks from the weight of such a layer."""
        by_copy = linear.weight.unflatten(0, (self.copies, -1))
        for (rows, columns, _), weight in zip(self.blocks, self.weights, strict=True):
            weight.copy_(by_copy[:, rows, columns].flatten(0, 1))


def in_blocks(model: M) -> M:
    """A copy of a model with `BlockLinear` for each wide masked layer.

    It shares all other tensors with ``model``. Returns ``model`` itself in three cases: it has no
    such layer; it is an IAF, whose density needs whole weights (`flows.inversion`); or it is on a
    GPU, where additional products cost more than the zeros.
    """
    if inverts(model) or model.reference.device.type != "cpu":
        return model
    wide = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, MaskedLinear) and worth_cutting(layer.mask)
    }
    if not wide:
        return model
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    twin = copy.deepcopy(model, shared)
    for name, layer in wide.items():
        twin.set_submodule(name, BlockLinear(layer))
    return twin


def copy_back(twin: nn.Module, model: nn.Module) -> None:
    """Copy the blocks of ``twin`` to ``model``, from which it was made."""
    for block, linear in _pairs(twin, model):
        block.copy_to(linear)


def copy_over(model: nn.Module, twin: nn.Module) -> None:
    """Copy the weights of ``model`` to the blocks of ``twin``, which was made from it."""
    for block, linear in _pairs(twin, model):
        block.copy_from(linear)


def _pairs(twin: nn.Module, model: nn.Module) -> Iterator[tuple[BlockLinear, MaskedLinear]]:
    for name, layer in twin.named_modules():
        if isinstance(layer, BlockLinear):
            yield layer, cast(MaskedLinear, model.get_submodule(name))
