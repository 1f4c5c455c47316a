"""Programs that collect the curves and results of many runs: what they all are told."""

import logging
import math
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from maf_runner.records.record import Record
from maf_runner.system.text import flat
from maf_runner.tracking.history import History
from maf_runner.training.state import State

log = logging.getLogger("maf_runner")
CURVE = ("train_nats", "validation_nats", "learning_rate", "seconds")


class Service(History):
    """Tells a service about a run, beside ``history.csv``. A service that fails ends no run.

    A run that goes on after a stop goes on in its curve.

    Args:
        folder: the run folder.
    """

    name = "the service"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._works = True
        self._begun = False

    def validated(self, state: State) -> None:
        """Note one more validation."""
        super().validated(state)
        last = state.history[-1]
        curve = {name: float(last[name]) for name in CURVE if name in last}

        def tell() -> None:
            self._begin_once(fresh=state.epoch == 1)
            self.curve({n: v for n, v in curve.items() if math.isfinite(v)}, state.epoch)

        self._try(tell)

    def recorded(self, record: Record) -> None:
        """Note the result."""

        def tell() -> None:
            self._begin_once(fresh=not record.epochs)  # a closed form has no validations
            self.result(figures(record), record)

        self._try(tell)

    def close(self) -> None:
        """The run is over, or stopped."""
        if self._begun:
            self._try(self.end)

    def settings(self) -> dict[str, Any]:
        """The resolved settings of the run, with dotted names."""
        return flat(OmegaConf.to_container(OmegaConf.load(self.folder.config)))

    @property
    def title(self) -> str:
        """Dataset, model and id of the run."""
        return "/".join(self.folder.path.absolute().parts[-3:])

    @abstractmethod
    def begin(self, *, fresh: bool) -> None:
        """Open the run; ``fresh`` if nothing of it is to be continued."""

    @abstractmethod
    def curve(self, values: dict[str, float], epoch: int) -> None:
        """Take the values of one validation."""

    @abstractmethod
    def result(self, values: dict[str, float], record: Record) -> None:
        """Take the figures of the finished run, and its picture."""

    @abstractmethod
    def end(self) -> None:
        """Close the run."""

    def _begin_once(self, *, fresh: bool) -> None:
        if not self._begun:
            self.begin(fresh=fresh)
            self._begun = True

    def _try(self, tell: Callable[[], None]) -> None:
        if not self._works:
            return
        try:
            tell()
        except Exception as error:  # a network, a server, a disk: of no concern to the run
            self._works = False
            log.warning("%s is told no more of this run: %.300s", self.name, error)


def figures(record: Record) -> dict[str, float]:
    """The finite figures of a record by name."""
    pairs = {
        "test_nats": (record.test or {}).get("log_likelihood"),
        "test_error": (record.test or {}).get("error"),
        "validation_nats_best": (record.validation or {}).get("log_likelihood"),
        "total_seconds": record.seconds,
    }
    return {name: float(v) for name, v in pairs.items() if v is not None and math.isfinite(v)}
