"""The learning curve, the settings and the result for TensorBoard."""

from pathlib import Path
from typing import Any

from maf_runner.records.record import Record
from maf_runner.system.errors import UsageError, extra
from maf_runner.tracking.service import Service


class TensorBoard(Service):
    """Writes event files to ``tensorboard/`` in the run folder: curves, and a row of HPARAMS.

    What was written of epochs after the one at which a run goes on is dropped.

    Args:
        folder: the run folder.

    Raises:
        UsageError: tensorboard is not installed.
    """

    name = "TensorBoard"

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

    def begin(self, *, fresh: bool) -> None:
        """Wait: only the first validation says where the run goes on."""

    def curve(self, values: dict[str, float], epoch: int) -> None:
        """Write one point of each curve."""
        if self._writer is None:
            self._writer = self._open(str(self.folder.tensorboard), purge_step=epoch)
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def result(self, values: dict[str, float], record: Record) -> None:
        """Write a row of the HPARAMS tab, and the picture of the density."""
        from torch.utils.tensorboard.summary import hparams

        if self._writer is None:
            self._writer = self._open(str(self.folder.tensorboard))
        plain = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in self.settings().items()
        }
        for summary in hparams(plain, values):
            self._writer.file_writer.add_summary(summary)
        for name, value in values.items():
            self._writer.add_scalar(name, value)
        if self.folder.density.exists():
            import numpy as np
            from PIL import Image

            picture = np.asarray(Image.open(self.folder.density).convert("RGB"))
            self._writer.add_image("density", picture, dataformats="HWC")

    def end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
