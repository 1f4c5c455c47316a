"""Two runs beside each other: figures, the paired test, settings that differ, rows that do."""

import math
from typing import Any

import numpy as np

from maf_runner.records.entries import row_nats
from maf_runner.records.record import Record
from maf_runner.records.statistics import mean_and_error, outlier
from maf_runner.reporting.comparison.columns import differing_keys
from maf_runner.reporting.comparison.published import Figure
from maf_runner.reporting.comparison.significance import p_value
from maf_runner.reporting.tables.grid import NOTHING, Grid, Item
from maf_runner.system.errors import DataError
from maf_runner.system.text import flat

CAPTION = (
    "Two runs: figures in nats ± 2 standard errors; the difference is counted row by row over the "
    "same test rows."
)
ROWS = 5  # test rows that differ most, of either sign


def compare(a: Record, b: Record) -> Grid:
    """Both runs, and what sets them apart.

    Raises:
        DataError: they were tested on different rows.
    """
    if a.data.fingerprint != b.data.fingerprint:
        raise DataError("these two runs were made on different data, so nothing can be compared")
    rows: list[tuple[str, list[Item]]] = []
    notes: list[str] = []
    data: list[dict[str, Any]] = []

    def add(name: str, left: Item, right: Item, difference: Item | None = None) -> None:
        rows.append((name, [left, right, difference or Item()]))
        data.append({"what": name, "a": str(left), "b": str(right),
                     "difference": str(difference or NOTHING)})  # fmt: skip

    nats_a, nats_b = row_nats(a), row_nats(b)
    difference = None
    if nats_a is not None and nats_b is not None:
        apart = nats_a - nats_b
        difference = Item.of(Figure(*mean_and_error(apart)), 3)
        p = p_value(nats_a, nats_b)
        verdict = "a difference" if p < 0.05 else "no significant difference"
        notes.append(f"paired t-test over {len(apart):,} test rows: p = {p:.2g}, {verdict}")
        if one := outlier(apart):
            notes.append(f"of the difference, {one}")
    else:
        notes.append("no paired test: one of them keeps no test rows")
    add("test", _figure(a.test), _figure(b.test), difference)
    add("validation", _figure(a.validation), _figure(b.validation))
    for name in ("accuracy",):
        if name in a.test and name in b.test:
            add(name, Item(f"{a.test[name]:.4f}"), Item(f"{b.test[name]:.4f}"))
    add("parameters", _count(a.parameters), _count(b.parameters))
    add("best epoch", _count(a.best_epoch or None), _count(b.best_epoch or None))
    minutes = [Item(NOTHING if r.seconds is None else f"{r.seconds / 60:.2f}") for r in (a, b)]
    add("minutes", *minutes)
    settings = [flat(r.settings) for r in (a, b)]
    for key in sorted(differing_keys(settings) - {"_target_"}):  # the name says the same
        add(key, *(Item(str(own.get(key, NOTHING))) for own in settings))
    if nats_a is not None and nats_b is not None:
        order = np.argsort(nats_a - nats_b)
        for i in dict.fromkeys([*order[::-1][:ROWS], *order[:ROWS][::-1]]):
            left, right = float(nats_a[i]), float(nats_b[i])
            add(f"test row {i}", Item(f"{left:.2f}"), Item(f"{right:.2f}"),
                Item(f"{left - right:+.2f}"))  # fmt: skip
    headings = [(f"A: {a.title}",), (f"B: {b.title}",), ("A - B",)]
    return Grid("compare", "Two runs", CAPTION, headings, rows, notes, data, corner="")


def _figure(figures: dict[str, Any]) -> Item:
    value, error = figures.get("log_likelihood"), figures.get("error")
    if value is None or error is None or not math.isfinite(value):
        return Item()
    return Item.of(Figure(value, error), 3)


def _count(number: int | None) -> Item:
    return Item(NOTHING if number is None else f"{number:,}")
