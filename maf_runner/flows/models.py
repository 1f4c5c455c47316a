"""The models of the paper's comparison, by the names its tables use."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict, Unpack

from maf_runner.flows.autoregressive import AffineAutoregressive
from maf_runner.flows.base import MOST_LAYERS, Flow, Inverse, StandardNormal, Transform, positive
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.flows.coupling import Coupling
from maf_runner.flows.mixture import MADEMoG


class Network(TypedDict):
    """Settings of the network of every MADE.

    hidden: widths of the hidden layers; activation: ``relu`` or ``tanh``; degrees:
    ``sequential`` or ``random`` (drawn anew for each MADE); mask: ``paper`` or
    ``full_context``; context: C, 0 for none.
    """

    hidden: Sequence[int]
    activation: str
    degrees: str
    mask: str
    context: int


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
        layers = _mades(
            features,
            1,
            hidden=hidden,
            activation=activation,
            degrees=degrees,
            mask=mask,
            context=context,
        )
        super().__init__(layers, StandardNormal(features), context)


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

    name = "MAF"

    @staticmethod
    def layer(made: Transform) -> Transform:
        """How a MADE stands in the flow."""
        return made

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
        mades = _mades(
            features,
            layers,
            hidden=hidden,
            activation=activation,
            degrees=degrees,
            mask=mask,
            context=context,
        )
        steps = map(self.layer, mades)
        transforms = _with_batch_norm(steps) if batch_norm else steps
        super().__init__(transforms, StandardNormal(features), context)
        self.title = f"{self.name} ({layers})"


class MAFMoG(Flow):
    """A MAF whose base is a MADE MoG, its order reversed once more; trained jointly.

    Args:
        features: D.
        layers: number of MADEs before the base.
        components: of each mixture of the base.
        hidden: widths of the hidden layers of each.
        activation: ``relu`` or ``tanh``.
        degrees: ``sequential`` or ``random``, drawn anew for each MADE.
        mask: ``paper`` or ``full_context``.
        batch_norm: whether there is batch norm.
        context: C; 0 for none. The base sees it too.
    """

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        components: int,
        hidden: Sequence[int],
        activation: str,
        degrees: str,
        mask: str,
        batch_norm: bool = True,
        context: int = 0,
    ) -> None:
        network: Network = {
            "hidden": hidden,
            "activation": activation,
            "degrees": degrees,
            "mask": mask,
            "context": context,
        }
        mades = list(_mades(features, layers, **network))
        base = MADEMoG(features, components=components, reverse=layers % 2 == 1, **network)
        super().__init__(_with_batch_norm(mades) if batch_norm else mades, base, context)
        self.title = f"MAF MoG ({layers})"


class IAF(MAF):
    """Inverse autoregressive flow (Kingma et al. 2016) as a density estimator.

    MAF with each of its MADEs used backwards: sampling is one pass, and a density takes a step
    for each feature. It is exact either way; while training, the steps are differentiated.

    Args: as `MAF`.
    """

    name = "IAF"

    @staticmethod
    def layer(made: Transform) -> Transform:
        """A MADE, backwards."""
        return Inverse(made)


class RealNVP(Flow):
    """Real NVP for vectors: coupling layers, batch norm after every one.

    The even features (from 0) are transformed first, then the odd ones, and so on. Not to be
    compared with the convolutional Real NVP for images, as the paper says.

    Args:
        features: D.
        layers: number of couplings.
        hidden: widths of the hidden layers of both networks of a coupling.
        batch_norm: whether there is batch norm.
        context: C; 0 for none.
    """

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        hidden: Sequence[int],
        batch_norm: bool = True,
        context: int = 0,
    ) -> None:
        couplings = [
            Coupling(features, hidden=hidden, copy_odd=number % 2 == 0, context=context)
            for number in range(positive("layers", layers, MOST_LAYERS))
        ]
        transforms = _with_batch_norm(couplings) if batch_norm else couplings
        super().__init__(transforms, StandardNormal(features), context)
        self.title = f"Real NVP ({layers})"


def _mades(features: int, layers: int, **network: Unpack[Network]) -> Iterator[Transform]:
    """MADEs as transforms, the first in natural order, each next one reversed."""
    for number in range(positive("layers", layers, MOST_LAYERS)):
        yield AffineAutoregressive(features, reverse=number % 2 == 1, **network)


def _with_batch_norm(transforms: Iterable[Transform]) -> Iterator[Transform]:
    """The transforms with a batch norm after every one, the last included."""
    for transform in transforms:
        yield transform
        yield BatchNorm(transform.features)
