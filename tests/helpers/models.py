"""The one table of models that drives the tests of the mathematics."""

from functools import partial

from maf_runner.flows import IAF, MADE, MAF, Gaussian, MADEMoG, MAFMoG, RealNVP

NETWORK = {"activation": "tanh", "degrees": "sequential", "mask": "paper"}

# name -> constructor(features, context=C)
MODELS = {
    "gaussian": Gaussian,
    "made": partial(MADE, hidden=[17, 13], **NETWORK),
    "made-random": partial(MADE, hidden=[17, 13], **NETWORK | {"degrees": "random"}),
    "made-relu": partial(MADE, hidden=[24], **NETWORK | {"activation": "relu"}),
    "made-full-context": partial(MADE, hidden=[17, 13], **NETWORK | {"mask": "full_context"}),
    "made-narrow": partial(MADE, hidden=[2, 3, 2], **NETWORK),
    "maf": partial(MAF, layers=3, hidden=[16, 16], **NETWORK),
    "maf-random": partial(MAF, layers=2, hidden=[16, 16], **NETWORK | {"degrees": "random"}),
    "maf-full-context": partial(MAF, layers=2, hidden=[16], **NETWORK | {"mask": "full_context"}),
    "made-mog": partial(MADEMoG, components=3, hidden=[17, 13], **NETWORK),
    "made-mog-reversed": partial(MADEMoG, components=2, hidden=[9], reverse=True, **NETWORK),
    "maf-mog": partial(MAFMoG, layers=2, components=3, hidden=[16], **NETWORK),
    "iaf": partial(IAF, layers=2, hidden=[16, 16], **NETWORK),
    "realnvp": partial(RealNVP, layers=3, hidden=[16, 16]),
    "realnvp-plain": partial(RealNVP, layers=2, hidden=[16], batch_norm=False),
    "maf-plain": partial(MAF, layers=2, hidden=[16], batch_norm=False, **NETWORK),
}
