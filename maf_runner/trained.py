"""A trained model back from its run folder."""

from pathlib import Path
from typing import Any

from maf_runner import record
from maf_runner.errors import DataError, UsageError
from maf_runner.flows.base import Density
from maf_runner.folder import RunFolder
from maf_runner.settings import build
from maf_runner.training import DamagedCheckpointError
from maf_runner.training.checkpoint import load


def load_run(folder: str | Path, *, allow: tuple[str, ...] = ()) -> Density:
    """The trained model of a finished run, in evaluation mode, on the CPU.

    Args:
        folder: the run folder, as ``maf-run`` prints it.
        allow: prefixes of names outside ``maf_runner.`` that the run's settings may import, for
            models of your own. Nothing else from the folder is imported or executed.

    Raises:
        DataError: not a run folder, not finished, or damaged.
    """
    return load_with_record(folder, allow=allow)[0]


def load_with_record(
    folder: str | Path, *, allow: tuple[str, ...] = ()
) -> tuple[Density, dict[str, Any]]:
    """What `load_run` gives, and the run's record."""
    files = RunFolder(Path(folder))
    if not files.record.is_file():
        state = "is not finished" if files.last.exists() else "is not a run folder"
        raise DataError(
            f"{folder} {state}: it has no record.json. Give the folder that maf-run prints, of a "
            "run that has ended"
        )
    try:
        found = record.read(files.record)
    except record.UnreadableRecordError as error:
        raise DataError(str(error)) from error
    if found["status"] != "finished":
        raise DataError(f"{folder}: the run has no trained model, its status is {found['status']}")
    try:
        settings = found["settings"]["model"]
        model: Density = build(
            "model", settings, allow=allow, features=found["features"], context=found["context"]
        )
        best = load(files.best, {"run_id": found["run_id"]})
        model.load_state_dict(best["model"])
    except (
        DamagedCheckpointError,
        UsageError,
        KeyError,
        RuntimeError,
        TypeError,
        AttributeError,
    ) as error:
        raise DataError(f"{folder} cannot be loaded: {error}") from error
    return model.eval(), found
