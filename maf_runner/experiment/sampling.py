"""Samples of a finished run as columns in the units of its data.

``maf-sample`` and `maf_runner.load` share it. torch is imported by the run alone.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.system.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from maf_runner.experiment.trained import TrainedRun

GIVEN_ROW = "given_row"  # the column with the number of the row that was given, from 0


@dataclass(frozen=True, eq=False)
class Draws:
    """Some samples.

    Attributes:
        rows: as the model has them, [m, D].
        values: the columns of the data, in their units; of images logits or pixels.
        given: the columns that the model was given: `GIVEN_ROW` and those of the context.
        classes: of a model given the class, the column of the classes [m].
    """

    rows: NDArray[Any]
    values: dict[str, NDArray[Any]]
    given: dict[str, NDArray[Any]]
    classes: dict[str, list[Any]]

    @property
    def columns(self) -> dict[str, Any]:
        """All columns, in the order in which a table has them."""
        return {**self.given, **self.values, **self.classes}


def draws(
    run: "TrainedRun",
    n: int,
    *,
    seed: int,
    label: int | None = None,
    pixels: bool = False,
) -> Iterator[Draws]:
    """Draw ``n`` samples, some thousands at a time.

    Args:
        run: the run. Its model is not given columns.
        n: how many.
        seed: of the draw.
        label: of a model given the class: the index of the one; None: each class by its share.
        pixels: of images, values in [0, 1] instead of logits.

    Raises:
        UsageError: the model has no way to draw samples.
    """
    for rows, codes in run.samples(n, seed=seed, label=label):
        values, classes = _values(run, rows, pixels=pixels), {}
        if codes is not None:
            classes = {run.label_name: [run.classes[code] for code in codes]}
        yield Draws(rows, values, {}, classes)


def draws_given(
    run: "TrainedRun", conditions: "pd.DataFrame", context: NDArray[Any], n: int, *, seed: int
) -> Iterator[Draws]:
    """Draw ``n`` samples for each row of ``conditions``, as `draws`.

    ``context`` [M, C] is what the model is given for them, as by `encoded`.
    """
    given = {name: conditions[name].values for name in conditions}  # of pandas' own types too
    for rows, numbers in run.samples_given(context, n, seed=seed):
        own = {name: values[numbers] for name, values in given.items()}
        values = _values(run, rows)
        yield Draws(rows, values, {_unused(GIVEN_ROW, {**own, **values}): numbers, **own}, {})


def _unused(name: str, taken: Container[str]) -> str:
    """The name, with underscores behind it if a column has it already."""
    while name in taken:
        name += "_"
    return name


def encoded(table: "pd.DataFrame", space: ContextSpace, source: str) -> NDArray[np.float64]:
    """The context [N, C] of ``table``.

    Raises:
        DataError: a column lacks, or a value is unknown.
        UsageError: a value is missing, or there are no rows.
    """
    if table.empty:
        raise UsageError(f"{source} has no rows")
    context = space.encode(table, source)
    gone = np.flatnonzero(np.isnan(context).any(axis=1))
    if len(gone):
        names = [name for name in space.names if table[name].isna().iloc[gone[0]]]
        raise UsageError(
            f"{source}: {', '.join(names) or 'a value'} is missing or not finite in row {gone[0]} "
            "(from 0)"
        )
    return context


def _values(run: "TrainedRun", rows: NDArray[Any], *, pixels: bool = False) -> dict[str, Any]:
    """Samples [m, D] as columns: of a table in its units, of pictures logits or pixels."""
    if run.table is not None:
        return run.table.values_of(rows)
    if pixels and run.image is not None:
        rows = run.image.to_unit(rows).astype(np.float32)
    return dict(zip(run.columns, rows.T, strict=True))
