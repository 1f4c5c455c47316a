"""A dataset from outside the package: what a user's function returns, checked in one place."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS, Rows, Splits
from maf_runner.system.errors import DataError
from maf_runner.system.outside import errors_of
from maf_runner.system.text import plain


def load(name: str, function: Callable[[], Any]) -> Splits:
    """The data that the function of this name returns, in arrays as `Rows` says.

    Numbers of other types are converted; what is not contiguous or cannot be written is copied.

    Raises:
        DataError: the function fails, or it returns something else.
    """
    with errors_of(name, DataError):
        splits = function()
    try:
        return _checked(splits)
    except ValueError as error:
        raise DataError(f"{name}: {plain(str(error))}") from None


def _checked(splits: Any) -> Splits:
    if not isinstance(splits, Splits):
        kind = type(splits).__name__
        raise ValueError(f"it must return Splits of maf_runner.datasets.base, got {kind}")
    classes = splits.classes
    if not isinstance(classes, (int, np.integer)) or isinstance(classes, bool) or classes < 0:
        raise ValueError(f"classes must be a whole number, 0 for no labels, got {classes!r:.100}")
    if splits.prior is not None:
        shares = np.asarray(splits.prior, dtype=np.float64)
        if shares.shape != (classes,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
            raise ValueError(
                f"prior must be the share of each of {classes} classes, 1 together, got "
                f"{splits.prior!r:.100}"
            )
    given = splits.context.width if splits.context else 0
    train, validation, test = parts = [
        _rows(split, getattr(splits, split), int(classes), given) for split in SPLITS
    ]
    if len({part.x.shape[1] for part in parts}) > 1:
        widths = (f"{part.x.shape[1]} in {name}" for name, part in zip(SPLITS, parts, strict=True))
        raise ValueError(f"the splits must have the same columns, got {', '.join(widths)}")
    return replace(splits, train=train, validation=validation, test=test, classes=int(classes))


def _rows(split: str, rows: Any, classes: int, given: int) -> Rows:
    """The rows of a split, checked; ``given`` is the number of columns of their context."""
    if not isinstance(rows, Rows):
        raise ValueError(f"{split} must be Rows, got {type(rows).__name__}")
    x = _array(f"{split}.x", rows.x, np.float32, "[N, D]")
    if not x.size:
        raise ValueError(f"{split}.x has no {'columns' if len(x) else 'rows'}")
    labels, weights, context = rows.labels, rows.weights, rows.context
    if labels is not None:
        found = _array(f"{split}.labels", labels, np.float64, "[N]", len(x))
        wrong = (found < 0) | (found >= classes) | (found != np.floor(found))
        if wrong.any():
            raise ValueError(
                f"{split}.labels must be whole numbers from 0 and below classes={classes}, got "
                f"{found[wrong][0]:g} in row {wrong.argmax()}"
            )
        labels = found.astype(np.int64)
    elif classes:
        raise ValueError(f"{split} has no labels, and classes={classes}")
    if weights is not None:
        weights = _array(f"{split}.weights", weights, np.float64, "[N]", len(x))
        if (weights <= 0).any():
            raise ValueError(f"{split}.weights must be above 0, got {weights.min():g}")
    if context is not None:
        context = _array(f"{split}.context", context, np.float32, "[N, C]", len(x))
    if given and (context is None or context.shape[1] != given):
        raise ValueError(f"{split}.context must have the {given} columns of the context")
    return Rows(x, labels, weights, context)


def _array(
    name: str, values: Any, dtype: type[np.floating], shape: str, rows: int | None = None
) -> NDArray[Any]:
    """``values`` if they are finite numbers of a shape as ``[N, D]``, as torch can take them."""
    if not isinstance(values, np.ndarray) or isinstance(values, np.ma.MaskedArray):
        kind = type(values).__name__
        raise ValueError(f"{name} must be a NumPy array {shape} without a mask, got {kind}")
    if values.ndim != shape.count(",") + 1 or values.dtype.kind not in "biuf":
        got = f"{list(values.shape)} of {values.dtype}"
        raise ValueError(f"{name} must be numbers {shape}, got {got}")
    if rows is not None and len(values) != rows:
        raise ValueError(f"{name} must be one for each of {rows} rows, got {len(values)}")
    with np.errstate(over="ignore"):
        values = np.require(values, dtype, ["C", "W", "A", "E"])
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        first = f"{(~finite).sum()} rows, the first is {finite.argmin()}"
        raise ValueError(f"{name} has values that are not finite as {dtype.__name__}, in {first}")
    return values
