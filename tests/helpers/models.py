"""The one table of models that drives the tests of the mathematics, and what each of them is."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from maf_runner.engine.rows import refresh_statistics
from maf_runner.flows import (
    IAF,
    MADE,
    MAF,
    NSF,
    BinnedMADE,
    Density,
    Elementwise,
    Flow,
    Gaussian,
    MADEMoG,
    MAFMoG,
    NSFCoupling,
    RealNVP,
)

NETWORK = {"activation": "tanh", "degrees": "sequential", "mask": "paper"}
MAP = {"map": "rational_quadratic", "bins": 4, "interval": 3.0,
       "min_width": 1e-3, "min_height": 1e-3, "min_slope": 1e-3}  # fmt: skip
CLASSES = 3


@dataclass(frozen=True)
class Model:
    """A model of the table: ``make(features, context=C)``, and what the tests may expect of it."""

    make: Callable[..., Density]
    trained: bool = True  # by gradient steps, not in closed form
    flow: bool = False  # has transforms
    mixture: bool = False  # has a MADE MoG, alone or as its base
    autoregressive: bool = False  # has masked networks, used forwards, and batch norm at most
    masked: bool = False  # has a masked network, in whatever direction
    coupling: bool = False
    inverted: bool = False  # its density is the slow direction: a pass for each feature
    batch_norm: bool = False
    narrow: bool = False  # too narrow to fit anything
    random: bool = False  # its degrees are drawn, so that a unit may see little
    native: bool = True  # the native engine knows it, if it is trained and not inverted
    residual: bool = False  # made of residual networks, permutations and linear layers
    stepped: bool = False  # its density has steps, which a grid does not integrate
    reverse: bool = False  # its first network has the reversed order


def _made(make=MADE, **changes):
    kind = {"flow": make is MADE, "mixture": make is MADEMoG, "autoregressive": True}
    about = {key: changes.pop(key) for key in ("narrow",) if key in changes}
    about |= {"random": changes.get("degrees") == "random", "reverse": "reverse" in changes}
    network = {"hidden": [17, 13], **NETWORK, **changes}
    return Model(partial(make, **network), **kind, masked=True, **about)


def _maf(make=MAF, *, batch_norm=True, **changes):
    network = {"layers": 2, "hidden": [16, 16], **NETWORK, **changes}
    if not batch_norm:
        network["batch_norm"] = False
    return Model(
        partial(make, **network),
        flow=True,
        mixture=make is MAFMoG,
        autoregressive=make is not IAF,
        masked=True,
        inverted=make is IAF,
        batch_norm=batch_norm,
        random=changes.get("degrees") == "random",
        native=not {"base", "residual"} & set(changes),
    )


def _real_nvp(*, batch_norm=True, **changes):
    make = partial(RealNVP, **{"batch_norm": batch_norm, **changes})
    native = "base" not in changes
    return Model(make, flow=True, coupling=True, batch_norm=batch_norm, native=native)


def _nsf(make=NSF, **changes):
    settings = {"layers": 2, "hidden": [12, 12], "dropout": 0.0, "linear": "lu", **MAP, **changes}
    coupling = make is NSFCoupling
    make = partial(make, **settings)
    return Model(make, flow=True, masked=not coupling, residual=True, native=False)


def _elementwise(**changes):
    make = partial(Elementwise, **{"layers": 1, **MAP, **changes})
    return Model(make, flow=True, native=False, narrow=True)


def _binned(order=False, **changes):
    def make(features, **context):
        # A cycle, which is not its own inverse.
        cycle = {"order": [*range(1, features), 0]} if order else {}
        settings = {"bins": 6, "min_width": 0.0, "hidden": [12, 12], **cycle, **changes}
        return BinnedMADE(features, **settings, **context)

    return Model(
        make,
        masked=True,
        native=False,
        narrow=True,
        stepped=True,
        reverse=changes.get("reverse", False),
    )


def every_layer(features, context=0):
    """A flow with each kind of layer that there is, and a mixture as its base."""
    network = {"layers": 1, "hidden": [12, 12], "context": context}
    mog = MAFMoG(features, components=2, **network, **NETWORK)
    return Flow([*RealNVP(features, **network).transforms, *mog.transforms], mog.base, context)


MODELS = {
    "gaussian": Model(Gaussian, trained=False),
    "made": _made(),
    "made-random": _made(degrees="random"),
    "made-relu": _made(hidden=[24], activation="relu"),
    "made-full-context": _made(mask="full_context"),
    "made-narrow": _made(hidden=[2, 3, 2], narrow=True),
    "maf": _maf(layers=3),
    "maf-random": _maf(degrees="random"),
    "maf-full-context": _maf(hidden=[16], mask="full_context"),
    "made-mog": _made(MADEMoG, components=3),
    "made-mog-reversed": _made(MADEMoG, components=2, hidden=[9], reverse=True),
    "maf-mog": _maf(MAFMoG, components=3, hidden=[16]),
    "iaf": _maf(IAF),
    "realnvp": _real_nvp(layers=3, hidden=[16, 16]),
    "realnvp-plain": _real_nvp(layers=2, hidden=[16], batch_norm=False),
    "every-layer": Model(
        every_layer, flow=True, mixture=True, masked=True, coupling=True, batch_norm=True
    ),
    "maf-plain": _maf(hidden=[16], batch_norm=False),
    "maf-residual": _maf(residual=True, hidden=[12, 12], activation="relu", scale="bounded"),
    "maf-bounded": _maf(scale="bounded"),
    "maf-student": _maf(hidden=[16], base="student"),
    "realnvp-bounded": _real_nvp(layers=2, hidden=[16], scale="bounded"),
    "realnvp-logistic": _real_nvp(layers=2, hidden=[16], base="logistic"),
    "elementwise": _elementwise(map="affine", linear="lu"),
    "elementwise-cdf": _elementwise(map="logistic_mixture", linear="none", base="beta"),
    "binned-made": _binned(),
    "binned-made-reversed": _binned(reverse=True),
    "binned-made-order": _binned(order=True),
    "nsf": _nsf(),
    "nsf-coupling": _nsf(NSFCoupling),
    "nsf-gaussian-mixture": _nsf(map="gaussian_mixture", bins=3, hidden=[10], layers=1),
    "nsf-quadratic": _nsf(map="quadratic", bins=3),
    "nsf-coupling-sigmoidal": _nsf(NSFCoupling, map="deep_sigmoidal", linear="permutation"),
}


def names(**wanted):
    """The models with these capabilities: ``names(flow=True, inverted=False)``."""
    return [
        name
        for name, model in MODELS.items()
        if all(getattr(model, key) == value for key, value in wanted.items())
    ]


def build(name, features=5, context=0):
    """A model in float64 with statistics and parameters that are nothing special."""
    model = MODELS[name].make(features, context=context).double()
    model.look_at(rows(300, features, context)[0])
    if MODELS[name].trained:
        with torch.no_grad():
            for parameter in model.parameters():
                # Zeros of a mask stay zeros.
                parameter.add_(0.1 * torch.randn_like(parameter) * (parameter != 0))
                parameter.add_(0.1 * torch.randn_like(parameter) * (parameter.ndim == 1))
        refresh_statistics(model, *rows(300, features, context))
    else:
        model.fit(*rows(300, features, context))
    return model.eval()


def rows(n, features=5, context=0):
    """Rows [n, features] in float64, and their classes [n, context] or None."""
    x = torch.randn(n, features, dtype=torch.float64)
    labels = torch.arange(n) % CLASSES
    given = torch.nn.functional.one_hot(labels, CLASSES).double() if context else None
    return x + (labels[:, None] if context else 0), given
