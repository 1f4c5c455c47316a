"""Mathematics on tensors: the densities of the paper and what they are made of.

>>> import torch
>>> model = MAF(3, layers=2, hidden=[16], activation="tanh", degrees="sequential", mask="paper")
>>> model.eval().log_prob(torch.zeros(5, 3)).shape
torch.Size([5])
>>> model.sample(4).shape
torch.Size([4, 3])
"""

from maf_runner.flows.base import Density, Flow, Inverse, StandardNormal, Transform
from maf_runner.flows.binned import BinnedMADE
from maf_runner.flows.elementwise import Elementwise
from maf_runner.flows.gaussian import Gaussian
from maf_runner.flows.mixture import MADEMoG
from maf_runner.flows.models import IAF, MADE, MAF, MAFMoG, RealNVP
from maf_runner.flows.splineflow import NSF, NSFCoupling

__all__ = [
    "IAF",
    "MADE",
    "MAF",
    "NSF",
    "BinnedMADE",
    "Density",
    "Elementwise",
    "Flow",
    "Gaussian",
    "Inverse",
    "MADEMoG",
    "MAFMoG",
    "NSFCoupling",
    "RealNVP",
    "StandardNormal",
    "Transform",
]
