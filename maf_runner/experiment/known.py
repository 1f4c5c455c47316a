"""Finds a finished run without loading the data or torch, so that it is reported at once."""

import logging
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from maf_runner import __version__
from maf_runner.datasets.base import Paths, Splits
from maf_runner.experiment.groups import FILES
from maf_runner.experiment.settings import build, from_config
from maf_runner.records.folder import RunFolder, run_folder
from maf_runner.records.identity import run_id
from maf_runner.records.record import Record
from maf_runner.system import logs
from maf_runner.system.errors import DataError, ShortageError

log = logging.getLogger("maf_runner")
LARGEST = 1 << 30  # bytes that are hashed in about a second
just_trained: dict[Path, str] = {}  # folders of runs that a stack has finished, and the outcome


def run_unless_finished(config: DictConfig) -> tuple[Record, RunFolder, str]:
    """The run that ``config`` describes, carried out now unless it is finished.

    Returns:
        Its record, its folder, and the outcome as `run.Result` has it.

    Raises:
        UsageError, DataError, BusyError, ShortageError, Interrupted: as `run.run`.
    """
    if just_trained:
        settings = from_config(config)
        folder = run_folder(settings, run_id(settings))
        if outcome := just_trained.pop(folder.path, None):
            return Record.read(folder.record), folder, outcome
    if found := finished(config):
        _say_untracked(config)
        return *found, "skipped"
    print(f"loading {config.dataset.name} ...", file=sys.stderr, flush=True)
    from maf_runner.experiment.run import run  # torch comes in here, not before

    result = run(config)
    if result.known:
        _say_untracked(config)
    return result.record, result.folder, result.outcome


def _say_untracked(config: DictConfig) -> None:
    if (tracker := config.tracker.name) != "csv":
        with logs.console():
            log.info("%s is not told of a run that is there: force=true trains it again", tracker)


def finished(config: DictConfig) -> tuple[Record, RunFolder] | None:
    """The record of the run that ``config`` describes, if it is finished and surely up to date.

    None where this cannot be told from the settings and the header of the prepared file; then the
    data have to be loaded.

    Raises:
        UsageError: impossible settings.
        DataError: a dataset from outside fails, or is not as it should be.
    """
    settings = from_config(config)
    if settings["force"] or not _is_quickly_read(settings["dataset"]):
        return None
    try:
        folder = run_folder(settings, run_id(settings))
        record = Record.read(folder.record)
    except (DataError, ShortageError):
        return None
    if not record.finished or record.run_id != folder.path.name:
        return None
    if not _of_these_data(record, settings):
        return None
    with logs.console():
        log.info("already there: %s", record.describe())
    return record, folder


def _is_quickly_read(dataset: dict[str, Any]) -> bool:
    """Whether the files of one's own that settings name, whose content is hashed, are small."""
    named = [Path(str(dataset[key])) for key in FILES if dataset.get(key)]
    return sum(path.stat().st_size for path in named if path.is_file()) < LARGEST


def _of_these_data(record: Record, settings: dict[str, Any]) -> bool:
    """Whether the data are those of now.

    A prepared file carries their fingerprint. The content of one's own file stands in the settings
    of the run, so that the program's version decides. What comes with the program or is drawn by
    it is loaded, which takes no time.
    """
    where = {key: Path(settings["paths"][f"{key}_dir"]) for key in ("raw", "prepared")}
    path = where["prepared"] / f"{record.dataset}.h5"
    if path.exists():
        from maf_runner.datasets.preparation.prepared import UnpreparedError, read_header

        try:
            return bool(read_header(path)["fingerprint"] == record.data.fingerprint)
        except UnpreparedError:
            return False
    if record.data.sources:
        this_version = record.environment.get("maf_runner") == __version__
        return this_version and record.data.recipe == "own"
    splits: Splits = build("dataset", settings["dataset"], paths=Paths(**where, mirror=None))
    return splits.fingerprint == record.data.fingerprint
