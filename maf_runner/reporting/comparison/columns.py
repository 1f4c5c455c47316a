"""Columns of the comparison: which records are of the same data, so that they may be compared."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from maf_runner.experiment.groups import FILES
from maf_runner.records.record import Record
from maf_runner.system.text import flat

ORIGINS = ("authors", "raw", "redrawn")  # the nearest to the paper first


class Column(NamedTuple):
    """Data that belong together: a dataset by name, what sets it apart, how it was made."""

    name: str
    apart: str = ""
    origin: str = ""  # where data of the same name have another origin, or other rows

    def __str__(self) -> str:
        label = f"{self.name} ({self.apart})" if self.apart else self.name
        return f"{label}, {self.origin}" if self.origin else label


def columns_of(records: Sequence[Record]) -> list[Column]:
    """The column of each record.

    Runs on data made by different settings, or in different ways, are never in one column; nor
    are those on other rows, which the fingerprint of the data tells.
    """
    settings = [flat(r.settings["dataset"]) for r in records]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for record, own in zip(records, settings, strict=True):
        by_name.setdefault(record.dataset, []).append(own)
    differing = {name: differing_keys(namesakes) for name, namesakes in by_name.items()}
    apart = []
    for record, own in zip(records, settings, strict=True):
        varied = {k: own[k] for k in own if k in differing[record.dataset]}
        words = [_setting(record, k, v) for k, v in varied.items() if v not in (None, [])]
        words = words or [d.removeprefix("dataset.") for d in departures_of(record, "dataset.")]
        if record.given:  # another quantity: never beside p(x)
            words = [f"given {', '.join(record.given)}", *(w for w in words if not _of_given(w))]
        apart.append((record.dataset, " ".join(words)))
    origins: dict[tuple[str, str], set[str]] = {}
    drawn: dict[tuple[str, str, str], set[str]] = {}
    for record, place in zip(records, apart, strict=True):
        origin = origin_of(record)
        origins.setdefault(place, set()).add(origin)
        drawn.setdefault((*place, origin), set()).add(rows_of(record))
    columns = []
    for record, place in zip(records, apart, strict=True):
        origin = origin_of(record)
        words = [origin] if len(origins[place]) > 1 else []
        if len(drawn[*place, origin]) > 1:
            words.append(f"rows {rows_of(record)}")
        columns.append(Column(*place, " ".join(words)))
    return columns


def of_one_origin(
    records: Sequence[Record], datasets: Sequence[str]
) -> tuple[list[Record], list[str]]:
    """Those of ``records`` that may stand in one column for each of the paper's ``datasets``.

    Likelihoods of other rows, or of rows made in another way, cannot be chosen from together. The
    authors' data come first, then what is nearest to them; of these, the rows with the most
    finished runs. Other records are left out.

    Returns:
        The records, and a complaint for each that is left out.
    """
    kept, complaints = [], []
    for name in datasets:
        of_paper = []
        for record in records:
            if record.dataset != name:
                continue
            changed = ", ".join(departures_of(record, "dataset."))
            if changed or origin_of(record) not in ORIGINS:
                reason = changed or f"of origin {origin_of(record)}"
                complaints.append(f"left out: {record.key} is of other data ({reason})")
            else:
                of_paper.append(record)
        nearest = min(map(origin_of, of_paper), key=ORIGINS.index, default="")
        of_nearest = [record for record in of_paper if origin_of(record) == nearest]
        finished = [record for record in of_nearest if record.finished]
        rows = Counter(map(rows_of, finished or of_nearest)).most_common(1)
        chosen = nearest, rows[0][0] if rows else ""
        for record in of_paper:
            made = origin_of(record), rows_of(record)
            if made == chosen:
                kept.append(record)
            else:
                of, shown = made[0], nearest
                if of == nearest:
                    of, shown = f"rows {made[1]}", f"rows {chosen[1]}"
                complaints.append(
                    f"left out: {record.key} is of other data ({name} {of}; the column shows "
                    f"{shown})"
                )
    return kept, complaints


def _of_given(words: str) -> bool:
    return words.startswith("context=")


def _setting(record: Record, key: str, value: Any) -> str:
    """A setting in a few words; a file by its name and the first digits of its hash."""
    if key not in FILES:
        return f"{key}={value}"
    digest = str(value).removeprefix("sha256:")
    first = next(iter(record.data.sources), "") if key == "path" else ""
    name = next((name for name, own in record.data.sources.items() if own == digest), first)
    words = f"{name} {digest[:8]}".strip()
    return words if key == "path" else f"{key}={words}"


def origin_of(record: Record) -> str:
    """Where the data of the run come from: ``authors``, ``raw``, ``redrawn`` or ``own``."""
    return str(record.data.recipe)


def rows_of(record: Record) -> str:
    """The first digits of the fingerprint of the data, where a record has it."""
    return (record.data.fingerprint or "unknown")[:8]


def departures_of(record: Record, group: str) -> list[str]:
    """The settings of a group, as ``dataset.``, that differ from their preset."""
    return [d for d in record.departures if d.startswith(group)]


def differing_keys(settings: Sequence[dict[str, Any]]) -> set[str]:
    """The keys under which flat settings are not all alike."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return {k for k in keys if any(one.get(k) != settings[0].get(k) for one in settings)}
