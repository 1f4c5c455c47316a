"""Which settings make two runs the same run."""

import hashlib
import json
from pathlib import Path
from typing import Any

from maf_runner.system.errors import DataError

# The scientific groups; all else (paths, device, threads, force, retry) is how, not what.
SCIENTIFIC = ("dataset", "model", "trainer", "seed")
# Inside them, what does not change the result: menus whose choice stands resolved elsewhere
# (model.hidden, model.activation, model.degrees, trainer.learning_rate), and how data arrives.
OPERATIONAL = {
    "dataset": {"sizes", "activation", "degrees", "download"},
    "model": {"size", "paper_rate"},
    "trainer": {"compile"},
}


def scientific(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of resolved ``settings`` that decides the result."""
    kept: dict[str, Any] = {}
    for group in SCIENTIFIC:
        value = settings[group]
        if isinstance(value, dict):
            left_out = OPERATIONAL.get(group, set())
            value = {k: v for k, v in value.items() if k not in left_out}
            if group == "dataset" and "path" in value:
                value["path"] = content_hash(Path(value["path"]))
        kept[group] = value
    return kept


def content_hash(path: Path) -> str:
    """What stands for a file in the settings: its content, wherever it lies.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); see dataset.path") from error


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
