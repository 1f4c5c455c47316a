"""Degrees and masks of MADE (Germain et al. 2015), as the authors of MAF draw them.

Every input has a degree 1..D, its place in the order of the autoregression; a hidden unit of
degree k sees the inputs of degree up to k; the output of degree d sees hidden units of degree
below d, and so the inputs before d and no other.

Hidden units are sorted by degree. The authors leave theirs in cyclic order; the units of a layer
are exchangeable, so this changes no model, and it makes the zeros of every mask contiguous.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from maf_runner.flows.checks import one_of, widths

DEGREES = ("sequential", "random")
MASKS = ("paper", "full_context")


def input_degrees(features: int, *, reverse: bool) -> Tensor:
    """Degrees of the inputs [D]: 1..D in natural order, or D..1 reversed.

    >>> input_degrees(4, reverse=True).tolist()
    [4, 3, 2, 1]
    """
    degrees = torch.arange(1, features + 1)
    return degrees.flip(0) if reverse else degrees


def hidden_degrees(
    features: int, hidden: Sequence[int], *, degrees: str, lowest: int = 1
) -> list[Tensor]:
    """Degrees of the hidden units, one sorted tensor [H] a layer.

    Args:
        features: D.
        hidden: widths of the hidden layers.
        degrees: ``sequential`` cycles through lowest..D-1, the same in each layer; ``random``
            draws them from the smallest degree of the layer before (at most D-1) up to D-1, with
            torch's global generator: the authors' choice on CIFAR-10, where H < D.
        lowest: 1, or 0 for units that see the context alone.

    >>> [d.tolist() for d in hidden_degrees(4, [7], degrees="sequential")]
    [[1, 1, 1, 2, 2, 3, 3]]
    """
    one_of("degrees", degrees, DEGREES)
    top = features - 1
    floor = min(lowest, top)
    layers = []
    for width in widths(hidden):
        if degrees == "sequential":
            layer = torch.arange(width) % max(1, top - floor + 1) + floor
        else:
            layer = torch.randint(floor, features, (width,))
            floor = min(int(layer.min()), top)
        layers.append(layer.sort().values)
    return layers


def hidden_mask(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Which connections into a hidden layer exist, bool [out, in]: degree in <= degree out.

    >>> hidden_mask(torch.tensor([1, 2]), torch.tensor([1, 2])).int().tolist()
    [[1, 0], [1, 1]]
    """
    return inputs[None, :] <= outputs[:, None]


def output_mask(hidden: Tensor, outputs: Tensor) -> Tensor:
    """Which connections into the outputs exist, bool [out, in]: degree in < degree out."""
    return hidden[None, :] < outputs[:, None]
