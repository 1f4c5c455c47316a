"""The models of the paper's comparison, by the names its tables use."""

from collections.abc import Sequence

from maf_runner.flows.autoregressive import AffineAutoregressive
from maf_runner.flows.base import Flow, StandardNormal, Transform, positive
from maf_runner.flows.batchnorm import BatchNorm


class MADE(Flow):
    """MADE with Gaussian conditionals, in natural order (Germain et al. 2015).

    Args:
        features: D.
        hidden: widths of the hidden layers.
        activation: ``relu`` or ``tanh``.
        degrees: ``sequential`` or ``random``.
        mask: ``paper`` or ``full_context``.
        context: C; 0 for none.
    """

    title = "MADE"

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int],
        activation: str,
        degrees: str,
        mask: str,
        context: int = 0,
    ) -> None:
        layer = AffineAutoregressive(
            features,
            hidden=hidden,
            activation=activation,
            degrees=degrees,
            mask=mask,
            context=context,
        )
        super().__init__([layer], StandardNormal(features), context)


class MAF(Flow):
    """Masked autoregressive flow: MADEs in alternating order, batch norm after every one.

    The first MADE, next to the data, has the natural order. The flow does not start at the
    identity.

    Args:
        features: D.
        layers: number of MADEs.
        hidden: widths of the hidden layers of each.
        activation: ``relu`` or ``tanh``.
        degrees: ``sequential`` or ``random``, drawn anew for each MADE.
        mask: ``paper`` or ``full_context``.
        batch_norm: whether there is batch norm.
        context: C; 0 for none.
    """

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        hidden: Sequence[int],
        activation: str,
        degrees: str,
        mask: str,
        batch_norm: bool = True,
        context: int = 0,
    ) -> None:
        transforms: list[Transform] = []
        for number in range(positive("layers", layers)):
            transforms.append(
                AffineAutoregressive(
                    features,
                    hidden=hidden,
                    activation=activation,
                    degrees=degrees,
                    mask=mask,
                    reverse=number % 2 == 1,
                    context=context,
                )
            )
            if batch_norm:
                transforms.append(BatchNorm(features))
        super().__init__(transforms, StandardNormal(features), context)
        self.title = f"MAF ({layers})"
