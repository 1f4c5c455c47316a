"""Increasing maps of one variable, whose parameters a network gives for each variable."""

from maf_runner.flows.univariate.affine import Additive, Affine, BoundedAffine, to_data, to_noise
from maf_runner.flows.univariate.base import Univariate
from maf_runner.flows.univariate.choice import MAPS, Map, chosen
from maf_runner.flows.univariate.mixtures import DeepSigmoidal, GaussianMixture, LogisticMixture
from maf_runner.flows.univariate.splines import (
    LinearSpline,
    QuadraticSpline,
    RationalQuadraticSpline,
    Spline,
)

__all__ = [
    "MAPS",
    "Additive",
    "Affine",
    "BoundedAffine",
    "DeepSigmoidal",
    "GaussianMixture",
    "LinearSpline",
    "LogisticMixture",
    "Map",
    "QuadraticSpline",
    "RationalQuadraticSpline",
    "Spline",
    "Univariate",
    "chosen",
    "to_data",
    "to_noise",
]
