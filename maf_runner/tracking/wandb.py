"""Curves, settings, results and pictures for Weights & Biases."""

import os
from pathlib import Path
from typing import Any

from maf_runner.records.record import Record
from maf_runner.system.errors import UsageError, extra
from maf_runner.tracking.service import Service


class WandB(Service):
    """Writes to ``wandb/`` in the run folder; sends it only with ``mode=online``.

    Args:
        folder: the run folder.
        project: the name of the project.
        entity: the user or team; None: the default of the account.
        mode: ``offline`` (``wandb sync`` sends it later), ``online`` or ``disabled``.

    Raises:
        UsageError: wandb is not installed, or there is no such mode.
    """

    name = "Weights & Biases"

    def __init__(self, folder: Path, project: str, entity: str | None, mode: str) -> None:
        super().__init__(folder)
        if mode not in ("offline", "online", "disabled"):
            raise UsageError(f"tracker.mode must be offline, online or disabled, got {mode!r}")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        try:
            import wandb
        except ImportError as error:
            raise UsageError(f"tracker=wandb needs wandb: {extra('wandb')}") from error
        self._wandb = wandb
        self._place: dict[str, Any] = {"project": project, "entity": entity, "mode": mode}
        self._run: Any = None

    def begin(self, *, fresh: bool) -> None:
        """Open the run, under the id of its folder."""
        self._run = self._wandb.init(
            **self._place,
            id=self.folder.path.name,
            name=self.title,
            dir=str(self.folder.path),
            config=self.settings(),
            resume="never" if fresh and self._place["mode"] == "offline" else "allow",
            settings=self._wandb.Settings(silent=True, console="off"),
        )

    def curve(self, values: dict[str, float], epoch: int) -> None:
        """Log one point of each curve."""
        self._run.log(values, step=epoch)

    def result(self, values: dict[str, float], record: Record) -> None:
        """Log the figures and the picture of the density."""
        self._run.summary.update({**values, "status": record.status})
        if self.folder.density.exists():
            self._run.log({"density": self._wandb.Image(str(self.folder.density))})

    def end(self) -> None:
        """Close the run."""
        self._run.finish()
