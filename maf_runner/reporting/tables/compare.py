"""Two runs beside each other: figures, the paired test, settings that differ, rows that do."""

import math
from typing import Any

import numpy as np

from maf_runner.records.entries import row_nats
from maf_runner.records.record import Record
from maf_runner.records.statistics import mean_and_error, outlier
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
        items = [left, right, difference or Item()]
        rows.append((name, items))
        data.append({"what": name})
        for column, item in zip(("a", "b", "difference"), items, strict=True):
            data[-1] |= {column: _number(item), f"{column}_error": item.error}

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
    add("validation", _validation(a.validation), _validation(b.validation))
    for name in ("accuracy",):
        if name in a.test and name in b.test:
            add(name, Item(f"{a.test[name]:.4f}"), Item(f"{b.test[name]:.4f}"))
    add("parameters", _count(a.parameters), _count(b.parameters))
    add("best epoch", _count(a.best_epoch or None), _count(b.best_epoch or None))
    minutes = [Item(NOTHING if r.seconds is None else f"{r.seconds / 60:.2f}") for r in (a, b)]
    add("minutes", *minutes)
    settings = [flat(r.settings) for r in (a, b)]
    for key in sorted(differing_keys(settings) - {"_target_"}):  # the name says the same
        add(key, *(Item(_words(own.get(key, NOTHING))) for own in settings))
    if nats_a is not None and nats_b is not None:
        order = np.argsort(nats_a - nats_b)
        for i in dict.fromkeys([*order[::-1][:ROWS], *order[:ROWS][::-1]]):
            left, right = float(nats_a[i]), float(nats_b[i])
            add(f"test row {i}", Item(f"{left:.2f}"), Item(f"{right:.2f}"),
                Item(f"{left - right:+.2f}"))  # fmt: skip
    headings = [(f"A: {a.title}",), (f"B: {b.title}",), ("A - B",)]
    return Grid("compare", "Two runs", CAPTION, headings, rows, notes, data, corner="", wordy=True)


def _figure(figures: dict[str, Any], kind: str = "") -> Item:
    value, error = figures.get(f"{kind}log_likelihood"), figures.get(f"{kind}error")
    if value is None or error is None or not math.isfinite(value):
        return Item()
    return Item.of(Figure(value, error), 3)


def _validation(figures: dict[str, Any]) -> Item:
    """Of a model given the class the marginal over classes, as the test figure is."""
    return _figure(figures, "marginal_" if "marginal_log_likelihood" in figures else "")


def _words(value: Any) -> str:
    """The value of a setting, in words between which a line may end; a hash in short."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return hash_in_short(as_typed(value))


def _number(item: Item) -> float | str | None:
    """What an item shows as data: a number where it is one."""
    if item.value is not None or item.text == NOTHING:
        return item.value
    for kind in (int, float):
        try:
            number = kind(item.text.replace(",", ""))
        except ValueError:
            continue
        return number if math.isfinite(number) else item.text
    return item.text


def _count(number: int | None) -> Item:
    return Item(NOTHING if number is None else f"{number:,}")
