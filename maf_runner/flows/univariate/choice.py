"""Maps of one variable by name, as the setting ``map`` of a model chooses them."""

from collections.abc import Callable
from typing import TypedDict

from maf_runner.flows.checks import one_of
from maf_runner.flows.univariate.affine import Additive, Affine, BoundedAffine
from maf_runner.flows.univariate.base import Univariate
from maf_runner.flows.univariate.mixtures import DeepSigmoidal, GaussianMixture, LogisticMixture
from maf_runner.flows.univariate.splines import (
    LinearSpline,
    QuadraticSpline,
    RationalQuadraticSpline,
)

SPLINES: dict[str, type] = {
    "rational_quadratic": RationalQuadraticSpline,
    "quadratic": QuadraticSpline,
    "piecewise_linear": LinearSpline,
}
MIXTURES: dict[str, Callable[[int], Univariate]] = {
    "logistic_mixture": LogisticMixture,
    "gaussian_mixture": GaussianMixture,
    "deep_sigmoidal": DeepSigmoidal,
}
AFFINE: dict[str, Callable[[], Univariate]] = {
    "affine": Affine,
    "bounded_affine": BoundedAffine,
    "additive": Additive,
}
MAPS = (*SPLINES, *MIXTURES, *AFFINE)


class Map(TypedDict):
    """The settings of a map of one variable that models take by name.

    map: ``rational_quadratic``, ``quadratic`` or ``piecewise_linear`` (splines),
        ``logistic_mixture``, ``gaussian_mixture`` or ``deep_sigmoidal`` (distribution functions),
        ``affine``, ``bounded_affine`` or ``additive``.
    bins: of a spline; the components of a mixture or the units of ``deep_sigmoidal``.
    interval: B; a spline works from -B to B and is the identity outside.
    min_width: least width of a spline's bin, as a share of the interval.
    min_height: least height, in the same way.
    min_slope: least slope at a spline's knots.
    """

    map: str
    bins: int
    interval: float
    min_width: float
    min_height: float
    min_slope: float


def chosen(settings: Map, temperature: float = 1.0) -> Univariate:
    """The map with these settings; see `Map`.

    Args:
        settings: those that the map does not have are not looked at.
        temperature: see `splines.Spline`.

    Raises:
        ValueError: an impossible setting, by name.
    """
    name = one_of("map", settings["map"], MAPS)
    if name in AFFINE:
        return AFFINE[name]()
    if name in MIXTURES:
        return MIXTURES[name](settings["bins"])
    spline: Univariate = SPLINES[name](
        settings["bins"],
        interval=settings["interval"],
        min_width=settings["min_width"],
        min_height=settings["min_height"],
        min_slope=settings["min_slope"],
        temperature=temperature,
    )
    return spline
