"""The training loop, its settings, the order of the batches, the checkpoint."""

from maf_runner.training.checkpoint import Checkpoint, DamagedCheckpointError
from maf_runner.training.loop import fit
from maf_runner.training.settings import TrainerSettings
from maf_runner.training.state import Outcome

__all__ = [
    "Checkpoint",
    "DamagedCheckpointError",
    "Outcome",
    "TrainerSettings",
    "fit",
]
