"""Neural spline flows (Durkan et al. 2019), autoregressive and with couplings.

A step is a fixed random permutation, a linear layer and a layer of maps of one variable, whose
parameters come from a residual network; after the last step there are a permutation and a linear
layer more. The map is a rational-quadratic spline, or any other of `univariate`.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

from maf_runner.flows import bases, univariate
from maf_runner.flows.autoregressive import Autoregressive
from maf_runner.flows.base import Density, Flow, Transform
from maf_runner.flows.checks import MOST_LAYERS, one_of, positive
from maf_runner.flows.coupling import UnivariateCoupling
from maf_runner.flows.linear import LULinear, Permutation
from maf_runner.flows.made import block_widths
from maf_runner.flows.univariate import Map

LINEAR = ("lu", "permutation", "none")
PAPERS_MAP = "rational_quadratic"


class NSF(Flow):
    """Neural spline flow of autoregressive layers.

    Args:
        features: D.
        layers: number of steps.
        hidden: width of the residual blocks, once for each, as in [256,256] for two.
        dropout: share of hidden units left out in each block while training.
        linear: what stands before each layer, and after the last: ``lu`` (a permutation and a
            linear layer), ``permutation`` or ``none``.
        base: density of the noise; see `bases.chosen`.
        context: C; 0 for none.
        settings: of the map of one variable; see `univariate.Map`.
    """

    name = "NSF"

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        hidden: Sequence[int],
        dropout: float,
        linear: str,
        base: Density | str = "normal",
        context: int = 0,
        **settings: Unpack[Map],
    ) -> None:
        block_widths(hidden)
        network = _Net(dropout=dropout, context=context)
        transforms = steps(
            features,
            layers,
            linear,
            context,
            lambda number: self.layer(features, number, settings, hidden, **network),
        )
        noise = bases.chosen(base, features, hidden=hidden, context=context)
        super().__init__(transforms, noise, context)
        kind = settings["map"]
        other = "" if kind == PAPERS_MAP else f", {kind.replace('_', ' ')}"
        self.title = f"{self.name} ({layers}){other}"

    @staticmethod
    def layer(
        features: int, number: int, settings: Map, hidden: Sequence[int], **network: Unpack["_Net"]
    ) -> Transform:
        """The layer of maps of step 0, 1, 2, ..."""
        return Autoregressive(
            features,
            univariate.chosen(settings, temperature=hidden[0] ** 0.5),
            hidden=hidden,
            residual=True,
            activation="relu",
            degrees="sequential",
            mask="full_context",
            **network,
        )


class NSFCoupling(NSF):
    """Neural spline flow of couplings. Args: as `NSF`."""

    name = "NSF coupling"

    @staticmethod
    def layer(
        features: int, number: int, settings: Map, hidden: Sequence[int], **network: Unpack["_Net"]
    ) -> Transform:
        """The coupling of step 0, 1, 2, ...: the even features are changed first."""
        return UnivariateCoupling(
            features,
            univariate.chosen(settings, temperature=hidden[0] ** 0.5),
            univariate.chosen(settings),
            hidden=hidden,
            copy_odd=number % 2 == 0,
            **network,
        )


class _Net(TypedDict):
    dropout: float
    context: int


def steps(
    features: int, layers: int, linear: str, context: int, layer: Callable[[int], Transform]
) -> list[Transform]:
    """Layers 0, 1, 2, ..., with what ``linear`` says before each and after the last; see `NSF`."""
    one_of("linear", linear, LINEAR)
    kinds = {"lu": (Permutation, LULinear), "permutation": (Permutation,), "none": ()}[linear]
    transforms: list[Transform] = []
    for number in range(positive("layers", layers, MOST_LAYERS)):
        transforms += [kind(features, context=context) for kind in kinds]
        transforms.append(layer(number))
    return transforms + [kind(features, context=context) for kind in kinds]
