"""Increasing maps of one variable, whose parameters a network gives for each variable."""

from maf_runner.flows.univariate.affine import Additive, Affine, BoundedAffine, to_data, to_noise
from maf_runner.flows.univariate.base import Univariate
from maf_runner.flows.univariate.splines import RationalQuadraticSpline

__all__ = [
    "Additive",
    "Affine",
    "BoundedAffine",
    "RationalQuadraticSpline",
    "Univariate",
    "to_data",
    "to_noise",
]
