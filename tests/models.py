"""The one table of models that drives the tests of the mathematics."""

from functools import partial

from maf_runner.flows import MADE, MAF, Gaussian

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
    "maf-plain": partial(MAF, layers=2, hidden=[16], batch_norm=False, **NETWORK),
}
