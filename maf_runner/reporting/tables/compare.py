"""Two runs beside each other: figures, the paired test, settings that differ, rows that do."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.checks import finite, is_figure
from maf_runner.records.entries import row_nats
from maf_runner.records.record import Record
from maf_runner.records.statistics import mean_and_error, not_finite, outlier
from maf_runner.reporting.comparison.cells import hash_in_short
from maf_runner.reporting.comparison.columns import differing_keys
from maf_runner.reporting.comparison.published import Figure
from maf_runner.reporting.comparison.significance import p_value
from maf_runner.reporting.tables.grid import NOTHING, Grid, Item
from maf_runner.system.errors import DataError
from maf_runner.system.text import as_typed, flat

CAPTION = (
    "Two runs: figures in nats ± 2 standard errors; the difference is counted row by row over the "
    "same test rows."
)
ROWS = 5  # test rows that differ most, of either sign


class Entry(NamedTuple):
    """What stands in a place of the table: as it is shown, and as plain data."""

    item: Item
    data: float | str | None


EMPTY = Entry(Item(), None)


def compare(a: Record, b: Record) -> Grid:
    """Both runs, and what sets them apart.

    Raises:
        DataError: they were tested on different rows, or it is not known on which.
    """
    if a.data.fingerprint != b.data.fingerprint:
        raise DataError("these two runs were made on different data, so nothing can be compared")
    if a.data.fingerprint is None:
        raise DataError("neither record says on which data it was made: nothing can be compared")
    rows: list[tuple[str, list[Item]]] = []
    notes: list[str] = []
    data: list[dict[str, Any]] = []

    def add(name: str, left: Entry, right: Entry, difference: Entry = EMPTY) -> None:
        entries = [left, right, difference]
        rows.append((name, [entry.item for entry in entries]))
        data.append({"what": name})
        for column, entry in zip(("a", "b", "difference"), entries, strict=True):
            data[-1] |= finite({column: entry.data, f"{column}_error": entry.item.error})

    nats_a, nats_b = row_nats(a), row_nats(b)
    if nats_a is not None and nats_b is not None and len(nats_a) != len(nats_b):
        raise DataError(
            f"these two runs keep {len(nats_a):,} and {len(nats_b):,} test rows of the same data: "
            "one of the records is damaged"
        )
    add("run", *(Entry(Item(r.run_id), r.run_id) for r in (a, b)))
    difference = EMPTY
    if nats_a is not None and nats_b is not None:
        mean, error = mean_and_error(nats_a - nats_b)
        difference = _figure(mean, error)
        notes += _tested(nats_a, nats_b)
    else:
        weighted = a.weighted or b.weighted
        reason = "the test rows have weights" if weighted else "one of them keeps no test rows"
        notes.append(f"no paired test: {reason}")
    left, right = (_figure(r.test.get("log_likelihood"), r.error_of()) for r in (a, b))
    add("test", left, right, difference)
    add("validation", *(_figure(r.validation_mean, r.validation_error) for r in (a, b)))
    for name in ("accuracy",):
        if name in a.test and name in b.test:
            add(name, *(_number(r.test[name], 4) for r in (a, b)))
    add("parameters", *(_number(r.parameters, 0, ",") for r in (a, b)))
    best = "best validation" if any(r.counts_validations for r in (a, b)) else "best epoch"
    add(best, *(_number(r.best_epoch or None, 0, ",") for r in (a, b)))
    add("minutes", *(_number(r.seconds and r.seconds / 60, 2) for r in (a, b)))
    settings = [flat(r.settings) for r in (a, b)]
    for key in sorted(differing_keys(settings) - {"_target_"}):  # the name says the same
        add(key, *(_setting(own.get(key, NOTHING)) for own in settings))
    if nats_a is not None and nats_b is not None:
        order = np.argsort(nats_a - nats_b)
        for i in dict.fromkeys([*order[::-1][:ROWS], *order[:ROWS][::-1]]):
            in_a, in_b = float(nats_a[i]), float(nats_b[i])
            apart = _number(in_a - in_b, 2, "+")
            add(f"test row {i}", _number(in_a, 2), _number(in_b, 2), apart)
    headings = [(f"A: {a.title}",), (f"B: {b.title}",), ("A - B",)]
    return Grid("compare", "Two runs", CAPTION, headings, rows, notes, data, corner="", wordy=True)


def _tested(a: NDArray[np.float64], b: NDArray[np.float64]) -> list[str]:
    """Notes on the paired test of the test rows ``a`` and ``b`` [N], or on why there is none."""
    gain = a - b
    if bad := not_finite(gain):
        return [
            f"no paired test: {bad.rows:,} test rows have no finite log density in one of them or "
            f"in both (the first is row {bad.first})"
        ]
    p = p_value(a, b)
    if math.isnan(p):
        return ["no paired test: there is a single test row"]
    verdict = "a difference" if p < 0.05 else "no significant difference"
    notes = [f"paired t-test over {len(gain):,} test rows: p = {p:.2g}, {verdict}"]
    if one := outlier(gain):
        notes.append(f"of the difference, {one}")
    return notes


def _figure(value: float | None, error: float | None) -> Entry:
    if value is None or not math.isfinite(value):
        return EMPTY
    return Entry(Item.of(Figure(value, error), 3), value)


def _number(value: float | None, places: int, option: str = "") -> Entry:
    """A number rounded, with an ``option`` of Python's formats; as data a text if not finite."""
    if value is None:
        return EMPTY
    text = f"{value:{option}.{places}f}"
    return Entry(Item(text), round(value, places) if math.isfinite(value) else text)


def _setting(value: Any) -> Entry:
    """A setting in words between which a line may end, a hash in short; a number also as data."""
    if value == NOTHING:
        return EMPTY
    listed = isinstance(value, list) and all(isinstance(part, str) for part in value)
    text = ", ".join(value) if listed else hash_in_short(as_typed(value))
    return Entry(Item(text), value if is_figure(value) else text)
