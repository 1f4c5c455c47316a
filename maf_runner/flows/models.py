"""The models of the paper's comparison, by the names its tables use."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Unpack

from maf_runner.flows import bases
from maf_runner.flows.autoregressive import AffineAutoregressive, BoundedAutoregressive
from maf_runner.flows.base import Density, Flow, Inverse, Transform
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.flows.checks import MOST_LAYERS, one_of, positive
from maf_runner.flows.coupling import BoundedCoupling, Coupling
from maf_runner.flows.made import Network
from maf_runner.flows.mixture import MADEMoG

SCALES = ("exp", "bounded")


class MADE(Flow):
    """MADE with Gaussian conditionals, in natural order (Germain et al. 2015).

    Args:
        features: D.
        scale: of each conditional; see `MAF`.
        base: density of the noise; see `bases.chosen`.
        network: see `Network`.
    """

    title = "MADE"

    def __init__(
        self,
        features: int,
        *,
        scale: str = "exp",
        base: Density | str = "normal",
        **network: Unpack[Network],
    ) -> None:
        hidden, context = network["hidden"], network.get("context", 0)
        mades = list(_mades(features, 1, scale, **network))
        noise = bases.chosen(base, features, hidden=hidden, context=context)
        super().__init__(mades, noise, context)


class MAF(Flow):
    """Masked autoregressive flow: MADEs in alternating order, batch norm after every one.

    The first MADE, next to the data, has the natural order. The flow does not start at the
    identity.

    Args:
        features: D.
        layers: number of MADEs.
        batch_norm: whether there is batch norm.
        scale: of the maps: ``exp``, as in the paper, or ``bounded``; see `BoundedAffine`.
        base: density of the noise; see `bases.chosen`.
        network: of each MADE; see `Network`.
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
        batch_norm: bool = True,
        scale: str = "exp",
        base: Density | str = "normal",
        **network: Unpack[Network],
    ) -> None:
        hidden, context = network["hidden"], network.get("context", 0)
        steps = map(self.layer, _mades(features, layers, scale, **network))
        transforms = list(_with_batch_norm(steps) if batch_norm else steps)
        noise = bases.chosen(base, features, hidden=hidden, context=context)
        super().__init__(transforms, noise, context)
        self.title = f"{self.name} ({layers})"


class MAFMoG(MAF):
    """A MAF whose base is a MADE MoG, its order reversed once more; trained jointly.

    Args:
        features: D.
        layers: number of MADEs before the base.
        components: number of Gaussians in each mixture of the base.
        batch_norm: whether there is batch norm.
        scale: of the maps; see `MAF`.
        network: of each MADE and of the base, which sees the context too; see `Network`.
    """

    name = "MAF MoG"

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        components: int,
        batch_norm: bool = True,
        scale: str = "exp",
        **network: Unpack[Network],
    ) -> None:
        super().__init__(features, layers=layers, batch_norm=batch_norm, scale=scale, **network)
        # The base comes last, since its weights are drawn after those of the MADEs.
        reverse = layers % 2 == 1
        self.base = MADEMoG(features, components=components, reverse=reverse, **network)


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
        scale: of the couplings: ``exp``, as in the paper, or ``bounded``; see `BoundedCoupling`.
        base: density of the noise; see `bases.chosen`.
        context: C; 0 for none.
    """

    def __init__(
        self,
        features: int,
        *,
        layers: int,
        hidden: Sequence[int],
        batch_norm: bool = True,
        scale: str = "exp",
        base: Density | str = "normal",
        context: int = 0,
    ) -> None:
        kind = BoundedCoupling if one_of("scale", scale, SCALES) == "bounded" else Coupling
        couplings = [
            kind(features, hidden=hidden, copy_odd=number % 2 == 0, context=context)
            for number in range(positive("layers", layers, MOST_LAYERS))
        ]
        transforms = _with_batch_norm(couplings) if batch_norm else couplings
        noise = bases.chosen(base, features, hidden=hidden, context=context)
        super().__init__(transforms, noise, context)
        self.title = f"Real NVP ({layers})"


def _mades(
    features: int, layers: int, scale: str, **network: Unpack[Network]
) -> Iterator[Transform]:
    """MADEs as transforms, the first in natural order, each next one reversed."""
    bounded = one_of("scale", scale, SCALES) == "bounded"
    kind = BoundedAutoregressive if bounded else AffineAutoregressive
    for number in range(positive("layers", layers, MOST_LAYERS)):
        yield kind(features, reverse=number % 2 == 1, **network)


def _with_batch_norm(transforms: Iterable[Transform]) -> Iterator[Transform]:
    """The transforms with a batch norm after every one, the last included."""
    for transform in transforms:
        yield transform
        yield BatchNorm(transform.features)
