"""Settings composed from ``conf/``, and of a trainer."""

from hydra import compose, initialize_config_dir

from tests.helpers import ROOT

CONF = ROOT / "conf"
TRAINER = {
    "learning_rate": 1e-2,
    "betas": (0.9, 0.999),
    "epsilon": 1e-8,
    "batch_size": 20,
    "l2": 1e-6,
    "patience": 3,
    "max_epochs": None,
    "max_updates": None,
}


def composed(*overrides):
    """The configuration of ``maf-run`` with these overrides."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", overrides=list(overrides))
