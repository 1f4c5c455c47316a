"""The learning curve for TensorBoard."""

from pathlib import Path
from typing import Any

from maf_runner.system.errors import UsageError, extra
from maf_runner.tracking.history import History
from maf_runner.training.state import State


class TensorBoard(History):
    """Writes event files to ``tensorboard/`` in the run folder: nats by epoch.

    A run that goes on after a stop goes on in its curve: what was written of later epochs is
    dropped.

    Args:
        folder: the run folder.

    Raises:
        UsageError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                f"tracker=tensorboard needs tensorboard: {extra('tensorboard')}"
            ) from error
        self._open = SummaryWriter
        self._writer: Any = None

    def validated(self, state: State) -> None:
        """Note one more validation."""
        super().validated(state)
        last = state.history[-1]
        if self._writer is None:  # only now is it known where the run goes on
            self._writer = self._open(str(self.folder.tensorboard), purge_step=state.epoch)
        for name in ("train_nats", "validation_nats", "seconds"):
            self._writer.add_scalar(name, last[name], state.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
