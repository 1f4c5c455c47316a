"""Check the options of ``dataset=file``."""

import math
from collections import Counter
from typing import Any


def check(
    fractions: Any, seed: Any, missing: Any, standardise: Any, class_prior: Any, label: Any
) -> None:
    """Raise ValueError unless the options are valid."""
    ok = isinstance(fractions, list) and len(fractions) == 3
    if not ok or not all(isinstance(f, (int, float)) and 0 < f < 1 for f in fractions):
        raise ValueError(f"fractions must be three numbers between 0 and 1, got {fractions!r}")
    if abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must sum to 1, got {fractions!r}")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    if missing not in ("refuse", "drop", "indicator"):
        raise ValueError(f"missing must be refuse, drop or indicator, got {missing!r}")
    if not isinstance(standardise, bool):
        raise ValueError(f"standardise must be true or false, got {standardise!r}")
    if class_prior not in ("uniform", "empirical"):
        raise ValueError(f"class_prior must be uniform or empirical, got {class_prior!r}")
    if class_prior == "empirical" and label is None:
        raise ValueError(
            "class_prior=empirical needs class labels: name their column with label=COLUMN"
        )


def check_names(columns: Any, dequantise: Any, label: Any) -> None:
    """Raise ValueError unless the column names are lists without repeats or overlaps."""
    for setting, names in (("columns", columns), ("dequantise", dequantise)):
        if setting == "columns" and names is None:
            continue
        if not isinstance(names, list):
            raise ValueError(f"{setting} must be a list of names, as [a,b], got {names!r}")
        twice = [name for name, count in Counter(map(str, names)).items() if count > 1]
        if twice:
            raise ValueError(f"{setting} names {twice[0]!r} more than once")
    if columns == []:
        raise ValueError("columns is an empty list; columns=null takes all numeric columns")
    if label is not None and str(label) in map(str, columns or []):
        raise ValueError(
            f"{str(label)!r} is both in columns and the label: remove it from one of them"
        )


def check_splits(
    columns: Any, label: Any, split: Any, validation: Any, test: Any, shuffle: Any, weight: Any
) -> None:
    """Raise ValueError unless the options on splits and weights are valid together."""
    if not isinstance(shuffle, bool):
        raise ValueError(f"shuffle must be true or false, got {shuffle!r}")
    taken = {"label": label}
    for setting, name in (("split", split), ("weight", weight)):
        if name is None:
            continue
        if not isinstance(name, (str, int)) or isinstance(name, bool):
            raise ValueError(f"{setting} must be the name of a column, got {name!r}")
        if str(name) in map(str, columns or []):
            raise ValueError(f"{str(name)!r} is both in columns and the {setting}")
        for other, column in taken.items():
            if column is not None and str(column) == str(name):
                raise ValueError(f"{str(name)!r} is both the {other} and the {setting}")
        taken[setting] = name
    if split is not None and (validation is not None or test is not None):
        raise ValueError("split names a column of one file: leave out validation and test")


def check_context(
    context: Any, categorical: Any, taken: dict[str, Any], missing: str, class_prior: str
) -> None:
    """Raise ValueError unless the options on context columns are valid.

    ``taken`` are the columns of other settings, by setting: a name, a list of names or None.
    """
    for setting, names in (("context", context), ("categorical", categorical)):
        if not isinstance(names, list) or not all(type(name) in (str, int) for name in names):
            raise ValueError(f"{setting} must be a list of names, as [a,b], got {names!r}")
        twice = [name for name, count in Counter(map(str, names)).items() if count > 1]
        if twice:
            raise ValueError(f"{setting} names {twice[0]!r} more than once")
    for setting, names in taken.items():
        own = names if isinstance(names, list) else [] if names is None else [names]
        for name in own:
            if str(name) in map(str, context):
                raise ValueError(
                    f"{str(name)!r} is in both {setting} and context: a column is either modelled "
                    "or conditioned on"
                    if setting == "columns"
                    else f"{str(name)!r} is in both {setting} and context"
                )
    if missing == "indicator" and not context:
        raise ValueError("missing=indicator is for context columns: name them by context=[a,b]")
    if class_prior != "uniform" and context:
        raise ValueError(
            "class_prior is for a sum over classes, and with context columns there is none: "
            "the label is one of them"
        )


def check_bounded(bounded: Any, categorical: list[Any]) -> None:
    """Raise ValueError unless ``bounded`` gives one or two ends of each column it names."""
    if not isinstance(bounded, dict):
        raise ValueError(
            f"bounded must be as {{share: [0, 1], price: [0, null]}}, got {bounded!r}"
        )
    for name, ends in bounded.items():
        if str(name) in map(str, categorical):
            raise ValueError(f"{str(name)!r} is in both bounded and categorical")
        right = isinstance(ends, list) and len(ends) == 2 and any(e is not None for e in ends)
        right = right and all(
            e is None or (type(e) in (int, float) and math.isfinite(e)) for e in ends
        )
        if not right or (None not in ends and not ends[0] < ends[1]):
            raise ValueError(
                f"bounded: {name} needs a lower and an upper end, null where there is none, as "
                f"[0, 1] or [0, null]; got {ends!r}"
            )


def check_dialect(
    header: Any, separator: Any, decimal: Any, thousands: Any, missing_markers: Any
) -> None:
    """Raise ValueError unless the options say how a table of text can be written."""
    if header is not None and not isinstance(header, bool):
        raise ValueError(f"header must be true, false or null, got {header!r}")
    for name, sign in (("separator", separator), ("decimal", decimal), ("thousands", thousands)):
        optional = sign is None and name != "decimal"
        if not optional and not (isinstance(sign, str) and len(sign) == 1):
            raise ValueError(f"{name} must be one sign, got {sign!r}")
    if decimal == thousands:
        raise ValueError(f"decimal and thousands are both {decimal!r}")
    if separator is not None and separator in (decimal, thousands):
        raise ValueError(f"separator is {separator!r}, as decimal or thousands is")
    if missing_markers is not None and not isinstance(missing_markers, list):
        raise ValueError(f"missing_markers must be a list, as ['?'], got {missing_markers!r}")
