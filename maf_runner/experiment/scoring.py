"""Log densities, under a finished run, of rows of tables in the units of its data.

``maf-score`` and `maf_runner.load` share it. torch and pandas are imported when they are used.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.untrusted.dialect import Dialect
from maf_runner.system.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from maf_runner.experiment.trained import TrainedRun

NATS, STANDARDISED = "log_prob_nats", "log_prob_nats_standardised"
LIKELIEST = "likeliest_class"
AT_ONCE = 50_000  # rows whose values and densities are in memory


def dialect_of(run: "TrainedRun") -> Dialect:
    """How tables for a run are written: as its own, and words of its context are no numbers."""
    own = Dialect.of(run.record.settings["dataset"])
    columns = run.context.columns if run.context else ()
    words = (c.name for c in columns if any(isinstance(v, str) for v in c.categories))
    return replace(own, words=tuple(name for name in words if name not in own.categorical))


def rows_of(
    run: "TrainedRun", table: "pd.DataFrame", source: Path, beside: Collection[str] = ()
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The rows [N, D] of ``table`` in its units, and the context [N, C] of a model given columns.

    Values of dequantised columns are put into the middle of their steps.

    Columns are matched by their names, or by their order where those of the data have none. Other
    columns are ignored.

    Args:
        run: the run.
        table: its column names are texts.
        source: of the table, for messages.
        beside: columns that may stand beside those of data that have no names.

    Raises:
        DataError: a column lacks, is not numeric, or has a category that no training row has.
    """
    from maf_runner.datasets.untrusted.tables import numbers

    context = None
    if run.context is not None:
        context = run.context.encode(table, str(source))
        table = table.drop(columns=list(run.context.names))
    chosen = _chosen(run, table, source, beside)
    if run.table is not None:
        chosen = run.table.numbers_of(chosen)
    rows = np.require(numbers(chosen, source), requirements="W")  # for torch, without a warning
    if rows.shape[1] != run.model.features:
        raise DataError(
            f"{source} must have {run.model.features} columns as the data of this run, and has "
            f"shape {list(rows.shape)}"
        )
    if run.table is not None:
        rows = run.table.in_the_middle(rows)
    return rows, context


def _chosen(
    run: "TrainedRun", table: "pd.DataFrame", source: Path, beside: Collection[str]
) -> "pd.DataFrame":
    """The columns that the model takes, in its order."""
    from maf_runner.datasets.untrusted.tables import need

    columns = list(run.columns)
    if run.table is None:
        if set(columns) <= set(table):  # as maf-sample names them
            return table[columns]
        own = [name for name in table if name != run.label_name]
        is_right = len(own) == run.model.features  # those beside are among them
        return table[own if is_right else [name for name in own if name not in beside]]
    numbered = [str(i) for i in range(len(columns))]
    if list(table.columns) == numbered:  # an array without names, as maf-sample writes it
        if columns != numbered and set(columns) == set(numbered):
            raise DataError(
                f"{source}: the run has its columns in the order {', '.join(columns)}, and these "
                "may be in it or not; give a CSV that names them"
            )
        return table.set_axis(columns, axis=1)
    for column in columns:
        need(column, table, "a column of this run", source)
    return table[columns]


def missing(
    rows: NDArray[np.float64], context: NDArray[np.float64] | None = None
) -> NDArray[np.bool_]:
    """Which rows [N] have a missing value, in ``rows`` [N, D] or in their ``context`` [N, C]."""
    both = rows if context is None else np.hstack([rows, context])
    return np.asarray(np.isnan(both).any(axis=1))


def densities(
    run: "TrainedRun",
    rows: NDArray[np.float64],
    context: NDArray[np.float64] | None = None,
    labels: NDArray[np.int64] | None = None,
) -> dict[str, NDArray[Any]]:
    """Columns of log densities in nats, float64, for ``rows`` [N, D] in the units of the data.

    They are -inf where the density is too small for a number, and NaN where a value is missing.

    Args:
        run: the run.
        rows: as `rows_of` gives them.
        context: of a model given columns, [N, C].
        labels: of a model given the class: those of the rows, [N], or [1] for one of all rows.
            Without them the density is that of all classes together, and there are columns for
            the likeliest class (None where there is no density) and for the density of each.

    Returns:
        `NATS` first; of a user's table `STANDARDISED` last, which the run's own figures count.
    """
    table, gone = run.table, missing(rows, context)
    with np.errstate(all="ignore"):
        inside = rows if table is None else table.to_model(rows)
        columns = log_densities(run, inside, context, labels)
    names = [name for name in columns if name.startswith(NATS)]
    for name in names:  # of a value that is no float32 a model makes anything
        columns[name] = np.where(np.isfinite(columns[name]), columns[name], -np.inf)
        columns[name][gone] = np.nan
    standardised = columns[NATS]
    if LIKELIEST in columns:
        columns[LIKELIEST][~np.isfinite(standardised)] = None
    if table is not None:
        with np.errstate(all="ignore"):  # outside of bounds, where the density is 0
            log_det = np.where(np.isfinite(standardised), table.log_det(rows), 0.0)
        columns |= {name: columns[name] + log_det for name in names}
        columns[STANDARDISED] = standardised
    return columns


def log_densities(
    run: "TrainedRun",
    rows: NDArray[Any],
    context: NDArray[Any] | None = None,
    labels: NDArray[np.int64] | None = None,
) -> dict[str, NDArray[Any]]:
    """As `densities`, of rows [N, D] as the model takes them, and whatever the model gives."""
    import torch

    from maf_runner.engine.rows import log_prob_of_rows
    from maf_runner.experiment.conditioning import context_of
    from maf_runner.experiment.evaluation import class_joint, class_log_probs, class_marginal

    model = run.model
    if context is not None:
        return {NATS: run.log_prob(rows, context)}
    x = torch.from_numpy(rows).to(model.reference.dtype)
    if not model.context or labels is not None:
        return {NATS: log_prob_of_rows(model, x, context_of(model, labels)).numpy()}
    by_class = class_log_probs(model, x, model.context)
    classes = np.array(run.classes, dtype=object)
    return {
        NATS: class_marginal(by_class, run.prior).numpy(),
        LIKELIEST: classes[class_joint(by_class, run.prior).argmax(1).numpy()],
        **{f"{NATS}_class_{v}": by_class[:, y].numpy() for y, v in enumerate(classes)},
    }
