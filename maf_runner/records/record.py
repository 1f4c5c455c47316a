"""The record of a run: one JSON file, written last, from which every table is made."""

import json
import math
from pathlib import Path
from typing import Any

from maf_runner.system import atomic

SCHEMA = 1
NAME = "record.json"
STATUSES = ("finished", "diverged", "failed")
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "run_id": str,
    "dataset": str,
    "model": str,
    "conditional": bool,
    "seed": int,
    "settings": dict,
    "data": dict,
}
# What else is read of a record where it is there; all other values may be anything.
OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "features": int,
    "context": int,
    "epochs": int,
    "best_epoch": int,
    "stop_reason": str,
    "seconds": (int, float),
    "divergence": dict,
    "environment": dict,
}
DEPTH = 20  # of nested values
LARGEST = 1e38  # of a figure: models compute in 32 bits
NEEDED = {"test": ("log_likelihood", "error"), "validation": ("log_likelihood",)}


class UnreadableRecordError(Exception):
    """A file that is not a record this version can read; the message says why."""


def write(path: Path, record: dict[str, Any]) -> None:
    """Write ``record`` to ``path`` atomically; NaN and infinities become null."""
    content = {"schema": SCHEMA, **record}
    atomic.write(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        UnreadableRecordError: missing, not JSON, of another schema, or not a record at all.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        _check_values(record)
    except OSError as error:
        raise UnreadableRecordError(f"{path} cannot be opened ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableRecordError(f"{path} is not JSON, perhaps cut short ({error})") from error
    if not isinstance(record, dict) or "schema" not in record:
        raise UnreadableRecordError(f"{path} is not a record of maf_runner")
    if record["schema"] != SCHEMA:
        raise UnreadableRecordError(
            f"{path} has schema {record['schema']!r:.50}; this version reads schema {SCHEMA}"
        )
    for key, kind in REQUIRED.items():
        if not isinstance(record.get(key), kind):
            raise UnreadableRecordError(f"{path} has no valid {key!r}")
    for key, kind in OPTIONAL.items():
        if record.get(key) is not None and not isinstance(record[key], kind):
            raise UnreadableRecordError(f"{path} has no valid {key!r}")
    for group in ("dataset", "model", "trainer"):
        if not isinstance(record["settings"].get(group), dict):
            raise UnreadableRecordError(f"{path} has no valid settings.{group}")
    if record["status"] not in STATUSES:
        raise UnreadableRecordError(f"{path} has an unknown status {record['status']!r:.50}")
    departures = record.get("departures", [])
    if not isinstance(departures, list) or not all(isinstance(d, str) for d in departures):
        raise UnreadableRecordError(f"{path} has no valid 'departures'")
    if record["status"] == "finished":
        for part, needed in NEEDED.items():
            figures = record.get(part)
            if not isinstance(figures, dict):
                figures = {}
            for name in dict.fromkeys([*needed, *figures]):
                if not _is_figure(figures.get(name)):
                    raise UnreadableRecordError(
                        f"{path} is finished but has no finite {part}.{name}"
                    )
                if "error" in name and figures[name] < 0:
                    raise UnreadableRecordError(f"{path} has a negative {part}.{name}")
    return record


def _is_figure(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST < value < LARGEST


def _check_values(value: Any, depth: int = 0) -> None:
    """Raise ValueError where values are nested too deep, or cannot be written anywhere."""
    if depth > DEPTH:
        raise ValueError(f"values nested more than {DEPTH} deep")
    if isinstance(value, str):
        value.encode()
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError("a number of more than 38 digits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number that is not finite")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for entry in value:
            _check_values(entry, depth + 1)


def title(found: dict[str, Any]) -> str:
    """Which model on which data."""
    given = " given the class" if found["conditional"] else ""
    redrawn = " (redrawn)" if found["data"].get("recipe") == "redrawn" else ""
    trainer = found["settings"]["trainer"].get("name", "paper")
    tuned = "" if trainer == "paper" else f", {trainer},"
    return f"{found['model']}{tuned}{given} on {found['dataset']}{redrawn}"


def describe(found: dict[str, Any]) -> str:
    """One line that says what a run came to."""
    name = title(found)
    if found["status"] == "failed":
        return f"{name}: failed, {found.get('error')} (retry=true tries again)"
    if found["status"] == "diverged":
        return f"{name}: {_no_figure(found)}"
    test = found["test"]
    text = f"{name}: test {test['log_likelihood']:.2f} ± {test['error']:.2f} nats"
    if "bits_per_pixel" in test:
        text += f", {test['bits_per_pixel']:.3f} ± {test['bits_per_pixel_error']:.3f} bits/pixel"
    entropy = found["data"].get("entropy")
    if entropy is not None:
        text += f" (no model can beat {-entropy:.3f})"
    if "accuracy" in test:
        text += f", accuracy {100 * test['accuracy']:.2f} ± {100 * test['accuracy_error']:.2f} %"
    if found["stop_reason"] == "closed_form":
        return f"{text}; closed form"
    ended = f"stopped by {found['stop_reason']}"
    if found["stop_reason"] == "diverged":
        ended = f"then {_divergence(found)}"
    return (
        f"{text}; {found['epochs']} epochs, best {found['best_epoch']}, "
        f"{ended}, {found['seconds']:.0f} s"
    )


def rows_not_finite(found: dict[str, Any]) -> str:
    """The test rows, else the validation rows, without a finite log density; else nothing."""
    for split in ("test", "validation"):
        figures = found.get(split)
        rows = figures.get("rows_not_finite") if isinstance(figures, dict) else None
        if isinstance(rows, int) and isinstance(figures, dict):
            text = f"the log density of {rows:,} {split} row{'s' * (rows != 1)} is not finite"
            text += f" (the first is row {figures.get('first_not_finite')})"
            mean, error = figures.get("log_likelihood_of_others"), figures.get("error_of_others")
            if _is_figure(mean) and _is_figure(error):
                text += f"; the mean of the others is {mean:.2f} ± {error:.2f} nats"
            return text
    return ""


def _no_figure(found: dict[str, Any]) -> str:
    """Why a run has no test figure, and what may help."""
    if text := rows_not_finite(found):
        return text
    divergence = found.get("divergence") or {}
    text = _divergence(found)
    if not divergence:
        return text
    if divergence.get("of") == "validation":
        return f"{text} (validation rows may lie far from all training rows)"
    if divergence.get("falling"):
        return (
            f"{text} (the density grew without bound: look for values that repeat, "
            "and see dataset.dequantise)"
        )
    return f"{text} (a lower trainer.learning_rate may help)"


def _divergence(found: dict[str, Any]) -> str:
    """Where training diverged."""
    divergence = found.get("divergence")
    if not divergence:
        return "diverged on the test rows"  # an earlier version did not say which
    if divergence.get("of") == "validation":
        return f"diverged: none of {found.get('epochs')} validations was finite"
    loss = divergence.get("last_finite_loss")
    last = f", last finite loss {loss:.3f} nats" if _is_figure(loss) else ""
    return f"diverged at update {divergence.get('update')}{last}"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
