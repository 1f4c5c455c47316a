"""The launcher of ``maf-run -m launch=stacked``: jobs that share their shapes train as one model.

Hydra takes launchers from packages under ``hydra_plugins`` only. The settings are in
``conf/hydra/launcher/stacked.yaml``.
"""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from maf_runner.experiment.stacks import train_stacks
from maf_runner.system.errors import UsageError


class Stacked(BasicLauncher):
    """Hydra's launcher for one process, after what can be stacked was trained.

    Args:
        most: runs in a stack at most; it bounds the memory that a stack takes.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise UsageError(f"hydra.launcher.most must be a whole number from 1, got {most!r}")
        self.most = most

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Train the stacks, then let every job report its run, or carry it out."""
        numbered = enumerate(job_overrides, initial_job_idx)
        composed = [self._composed(words, number) for number, words in numbered]
        train_stacks([config for config in composed if config is not None], self.most)
        return super().launch(job_overrides, initial_job_idx)

    def _composed(self, words: Sequence[str], number: int) -> DictConfig | None:
        """The configuration of a job; None if it cannot be resolved, which the job will say."""
        assert self.hydra_context is not None and self.config is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(words))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
            HydraConfig.instance().set_config(config)
            del config["hydra"]
        try:
            OmegaConf.resolve(config)
        except OmegaConfBaseException:
            return None
        return config
