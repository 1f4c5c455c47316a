"""Neural spline flows (Durkan et al. 2019), autoregressive and with couplings.

A step is a fixed random permutation, a linear layer and a layer of maps of one variable, whose
parameters come from a residual network; after the last step there are a permutation and a linear
layer more. The map is a rational-quadratic spline, or any other of `univariate`.
"""

from collections.abc import Sequence

from maf_runner.flows.autoregressive import Autoregressive
from maf_runner.flows.base import Density, Flow, StandardNormal, Transform
from maf_runner.flows.checks import MOST_LAYERS, one_of, positive
from maf_runner.flows.linear import LULinear, Permutation
from maf_runner.flows.made import block_widths
from maf_runner.flows.univariate import RationalQuadraticSpline

LINEAR = ("lu", "permutation", "none")


class NSF(Flow):
    """Neural spline flow of autoregressive layers.

    Args:
        features: D.
        layers: number of steps.
        hidden: width of the residual blocks, once for each, as in [256,256] for two.
        dropout: share of hidden units left out in each block while training.
        linear: what stands between the layers: ``lu`` (a permutation and a linear layer),
            ``permutation`` or ``none``.
        base: density of the noise; None: N(0, I).
        context: C; 0 for none.
    """

    name = "NSF"

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        hidden: Sequence[int],
        bins: int,
        interval: float,
        min_width: float,
        min_height: float,
        min_slope: float,
        dropout: float,
        linear: str,
        base: Density | None = None,
        context: int = 0,
    ) -> None:
        width, _ = block_widths(hidden)
        univariate = RationalQuadraticSpline(
            bins,
            interval=interval,
            min_width=min_width,
            min_height=min_height,
            min_slope=min_slope,
            temperature=width**0.5,
        )
        transforms: list[Transform] = []
        for number in range(positive("layers", layers, MOST_LAYERS)):
            transforms += linear_layers(linear, features, context)
            transforms.append(
                Autoregressive(
                    features,
                    univariate,
                    hidden=hidden,
                    dropout=dropout,
                    activation="relu",
                    degrees="sequential",
                    mask="full_context",
                    residual=True,
                    context=context,
                )
            )
        transforms += linear_layers(linear, features, context)
        super().__init__(transforms, base or StandardNormal(features), context)
        self.title = f"NSF ({layers})"


def linear_layers(linear: str, features: int, context: int) -> list[Transform]:
    """What stands before a layer: see `NSF`."""
    one_of("linear", linear, LINEAR)
    kinds = {"lu": (Permutation, LULinear), "permutation": (Permutation,), "none": ()}[linear]
    return [kind(features, context=context) for kind in kinds]
