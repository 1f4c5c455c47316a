"""Which settings make two runs the same run."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from maf_runner.experiment import plugins
from maf_runner.experiment.groups import FILES, GROUPS
from maf_runner.records.entries import record_of_model
from maf_runner.records.folder import RunFolder
from maf_runner.system import reading
from maf_runner.system.errors import DataError, ShortageError

# Settings that came into a group after runs had been made without them, and the value at which
# all is as it was before. At that value they are left out of the run id, so that a new setting
# renames no run. Of models and data from outside nothing is left out: only we know our defaults.
LATER_DEFAULTS: dict[str, dict[str, Any]] = {
    "model": {"scale": "exp", "base": "normal", "order": None},
    "trainer": {
        "width": None,
        "schedule": "constant",
        "warmup": 0.0,
        "fresh_noise": False,
        "averaging": 0.0,
        "prior_precision": 0.0,
        "optimiser": "paper",
        "clip": None,
        "validate_every": None,
    },
    "dataset": {
        "validation": None,
        "test": None,
        "split": None,
        "shuffle": True,
        "weight": None,
        "header": None,
        "separator": None,
        "decimal": ".",
        "thousands": None,
        "missing_markers": [],
        "context": [],
        "categorical": [],
        "bounded": None,
    },
}


def scientific(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of resolved ``settings`` that decides the result.

    Everything else (paths, device, threads, force, retry) says how it is reached.
    """
    science: dict[str, Any] = {}
    for name in ("dataset", "model", "trainer"):
        ours = str(settings[name].get("_target_", "maf_runner.")).startswith("maf_runner.")
        later = LATER_DEFAULTS.get(name, {}) if ours else {}
        science[name] = {
            key: value
            for key, value in settings[name].items()
            if key not in GROUPS[name].how and not (key in later and value == later[key])
        }
    for key in FILES & science["dataset"].keys():
        science["dataset"][key] = content_hash(Path(science["dataset"][key]), f"dataset.{key}")
    if "teachers" in science["trainer"]:
        science["trainer"]["teachers"] = _runs(science["trainer"]["teachers"])
    if used := plugins.used(science):
        science["plugins"] = used
    return science | {"seed": settings["seed"]}


def _runs(folders: list[str]) -> list[str]:
    """What stands for finished runs: their ids, wherever they lie and in whatever order.

    A folder that is gone counts by its name, which is the id, so that a run that was trained by it
    is still found.

    Raises:
        DataError: a folder has no run with a trained model.
    """
    try:
        return sorted(
            path.name
            if not path.exists() and re.fullmatch("[0-9a-f]{12}", path.name)
            else record_of_model(RunFolder(path)).run_id
            for path in map(Path, folders)
        )
    except DataError as error:
        raise DataError(f"trainer.teachers: {error}") from error


def content_hash(path: Path, setting: str) -> str:
    """What stands for the file of a setting: its content, wherever it lies.

    Raises:
        DataError: the file is missing, or is none.
        ShortageError: it cannot be read now.
    """
    try:
        with reading.opened(path) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except reading.OddFileError as error:
        raise DataError(f"{error}; see {setting}") from error
    except OSError as error:
        if reading.out_of_reach(error):
            raise ShortageError(f"{path}: {error.strerror}; see {setting}") from error
        raise DataError(f"{path} cannot be read ({error.strerror}); see {setting}") from error


def run_id(settings: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that name a run by its scientific settings.

    >>> one = {"dataset": {"name": "digits"}, "model": {"layers": 5}, "trainer": {}, "seed": 0}
    >>> run_id(one) == run_id({**one, "device": "cuda"}) != run_id({**one, "seed": 1})
    True
    """
    return digest(scientific(settings))


def digest(science: dict[str, Any]) -> str:
    """The run id of settings that `scientific` has picked out already."""
    canonical = json.dumps(science, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
