"""Parsed JSON held against what a record may be: records may come from strangers."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

DEEPEST = 20  # how deep values may be nested
LARGEST = 1e38  # the largest figure: models compute in 32 bits
NOT_IN_JSON = ("unknown", "file")  # fields of Record and Data
FIGURES = {"test": ("log_likelihood", "error"), "validation": ("log_likelihood",)}


def is_figure(value: Any) -> bool:
    """Whether ``value`` is a finite number that a table can show."""
    return type(value) in (int, float) and -LARGEST < value < LARGEST


@cache
def _schema(part: type[Any]) -> dict[str, tuple[tuple[type, ...], bool]]:
    """For each field of `Record` or `Data` in JSON: its types, and whether it must be there."""
    hints = get_type_hints(part)
    return {
        f.name: (_types(hints[f.name]), f.default is MISSING and f.default_factory is MISSING)
        for f in fields(part)
        if f.name not in NOT_IN_JSON
    }


def known(part: Any) -> dict[str, Any]:
    """The fields that this version knows."""
    return {name: getattr(part, name) for name in _schema(part.__class__)}


def arguments(part: type, content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The arguments of ``part``, which is `Record` or `Data`, from parsed JSON.

    Raises:
        ValueError: a field is missing, or of another type than its annotation says.
    """
    schema = _schema(part)
    for name, (types, required) in schema.items():
        if name not in content and not required:
            continue
        if not isinstance(content.get(name), types):
            raise ValueError(f"has no valid '{prefix}{name}'")
    values = {name: content[name] for name in schema if name in content}
    unknown = {name: value for name, value in content.items() if name not in schema}
    return {**values, "unknown": unknown}


def _types(hint: Any) -> tuple[type, ...]:
    """The types that a value from JSON may have where a field is annotated with ``hint``."""
    if isinstance(hint, UnionType):
        return tuple(kind for part in get_args(hint) for kind in _types(part))
    kind = get_origin(hint) or hint
    return (int, float) if kind is float else (kind,)


def plus_minus(error: float | None, places: int = 2) -> str:
    """An error as text behind its figure; empty where there is none.

    >>> plus_minus(0.125), plus_minus(None)
    (' ± 0.12', '')
    """
    return "" if error is None else f" ± {error:.{places}f}"


def check_figures(split: str, figures: Mapping[str, Any], rows: int | None) -> None:
    """Raise ValueError where a finished run lacks a figure, or has one that cannot be.

    ``rows`` is the size of the split: the mean of a single row has no error.
    """
    needed = [name for name in FIGURES[split] if rows != 1 or name != "error"]
    for name in dict.fromkeys([*needed, *figures]):
        if not is_figure(figures.get(name)):
            raise ValueError(f"is finished but has no finite {split}.{name}")
        if "error" in name and figures[name] < 0:
            raise ValueError(f"has a negative {split}.{name}")


def check_values(value: Any, depth: int = 0) -> None:
    """Raise ValueError where values are nested too deep, or cannot be written anywhere."""
    if depth > DEEPEST:
        raise ValueError(f"values nested more than {DEEPEST} deep")
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
            check_values(entry, depth + 1)


def finite(value: Any) -> Any:
    """The same nested values with None for NaN and infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return value
