"""The options of a group, and the settings that each gives before anything is changed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from maf_runner.system import conf_path
from maf_runner.system.conf_path import CONF, OWN


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Inside of the block the options in a folder of the user's own stand beside ours."""
    before = OWN[:]
    OWN[:] = [folder]
    preset.cache_clear()  # the files may have changed
    try:
        yield
    finally:
        OWN[:] = before
        preset.cache_clear()


def options(group: str, conf: Path = CONF) -> list[str]:
    """The names of the options of a group, as ``dataset=NAME`` takes them, sorted."""
    return conf_path.names(group, conf, *OWN)


@cache
def preset(group: str, option: str, conf: Path = CONF) -> DictConfig:
    """The node of a group under one of its options; interpolations are not resolved.

    Only a file with a defaults list is composed by Hydra: any other is what it says, and reading
    it takes a hundredth of the time. Do not change what is returned.
    """
    file = Path(group, f"{option}.yaml")
    root = next((root for root in (conf, *OWN) if (root / file).is_file()), conf)
    node = OmegaConf.load(root / file)
    if "defaults" in node:
        node = composed(f"{group}/{option}", conf=conf)[group]
    assert isinstance(node, DictConfig)
    return node


def settings(group: str, option: str, conf: Path = CONF) -> dict[str, Any]:
    """As `preset`, as plain containers."""
    plain = OmegaConf.to_container(preset(group, option, conf))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def composed(name: str, overrides: Sequence[str] = (), conf: Path = CONF) -> DictConfig:
    """A configuration, such as ``config``, as Hydra composes it with ``overrides``.

    It has no settings of Hydra itself. It can be composed anywhere, also where Hydra runs already,
    as in maf-run.

    Raises:
        HydraException: an override that does not fit.
    """
    # Not Hydra's own `compose`, which holds a state of the whole process.
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.plugins import Plugins
    from hydra.types import RunMode
    from omegaconf import open_dict

    Plugins.instance()  # they can read files of configuration
    places = create_config_search_path(str(conf))
    for folder in OWN:
        places.append("own", f"file://{folder}", anchor=SearchPathQuery(provider="main"))
    loader = ConfigLoaderImpl(places)
    config = loader.load_configuration(name, list(overrides), RunMode.RUN)
    with open_dict(config):
        config.pop("hydra", None)
    return config
