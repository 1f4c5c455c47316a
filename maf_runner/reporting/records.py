"""Finding the records under a results folder."""

from pathlib import Path
from typing import Any

from maf_runner import record


def find(results: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Read every record under ``results``.

    Looks at ``runs/*/*/*/record.json`` (run folders) and ``records/**/*.json`` (compact records
    kept under version control). The same run in both places counts once.

    Returns:
        The records, and a complaint for each file that was left out.
    """
    paths = [
        *sorted((results / "runs").glob(f"*/*/*/{record.NAME}")),
        *sorted((results / "records").glob("**/*.json")),
    ]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    complaints = []
    for path in paths:
        try:
            entry = record.read(path)
        except record.UnreadableRecordError as error:
            complaints.append(f"left out: {error}")
            continue
        key = entry["run_id"], str(entry["data"].get("fingerprint"))
        found.setdefault(key, entry)
    return list(found.values()), complaints
