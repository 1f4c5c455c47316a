"""A trained model back from its run folder."""

from pathlib import Path
from typing import Any

from maf_runner.experiment.settings import build
from maf_runner.flows.base import Density
from maf_runner.records import record
from maf_runner.records.folder import RunFolder
from maf_runner.system.errors import DataError
from maf_runner.training.checkpoint import load


def load_run(folder: str | Path, *, allow: tuple[str, ...] = ()) -> Density:
    """The trained model of a finished run, in evaluation mode, on the CPU.

    Also of a run whose only fault is that rows of its own test split have no finite density.

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
    if found["status"] != "finished" and not record.rows_not_finite(found):
        raise DataError(f"{folder}: the run has no trained model, its status is {found['status']}")
    try:
        best = load(files.best, {"run_id": found["run_id"]})["model"]
        settings, given = (
            found["settings"]["model"],
            {k: found[k] for k in ("features", "context")},
        )
        held = sum(tensor.untyped_storage().nbytes() for tensor in best.values())
        if (largest := max(_numbers([settings, given]))) > held:
            raise ValueError(f"{files.best} holds no model of size {largest:,}")
        model: Density = build("model", settings, allow=allow, **given)
        if not isinstance(model, Density) or model.title != found["model"]:
            raise ValueError(f"{files.record} has the settings of another model than it names")
        model.load_state_dict(best)
        if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
            raise ValueError(f"{files.best} holds parameters that are not finite")
    except Exception as error:  # whatever a strange record and checkpoint may lead to
        raise DataError(f"{folder} cannot be loaded: {error!s:.500}") from error
    return model.eval(), found


def _numbers(value: Any) -> list[int]:
    """The whole numbers among nested values, and 0."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for entry in value for number in _numbers(entry)]
    return [value] if isinstance(value, int) else [0]
