"""``maf-score``: log densities, under a trained model, of the rows of a file."""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.commands.arguments import guarded, of_a_run
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.system import atomic
from maf_runner.system.errors import DataError, UsageError

if TYPE_CHECKING:
    from maf_runner.experiment.trained import TrainedRun


def main(argv: list[str] | None = None) -> int:
    """Write log densities in nats, a line for each row; return the exit code."""
    return guarded("maf-score", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    arguments = of_a_run("maf-score", __doc__)
    arguments.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="of a run on your own table: any file that run could take, in the table's own units; "
        "columns are matched by name, or without names by their order; splits are scored one "
        "after another. Of any other run: .npy [rows, D] or .csv with a header and D columns (a "
        "column named label is left out), in the space maf-sample writes (images: logits)",
    )
    arguments.add_argument(
        "--out", type=Path, default=Path("scores.csv"), metavar="FILE", help="default scores.csv"
    )
    return arguments.parse_args(argv)


def _work(options: argparse.Namespace) -> None:
    from maf_runner.experiment.trained import TrainedRun

    run = TrainedRun.load(options.run)
    label, table = run.label_code(options.label), run.table
    rows = _read(options.file) if table is None else _read_table(options.file, table)
    _check(options.file, rows, run.model.features)
    columns = _scores(run, rows if table is None else table.to_model(rows), label)
    names = [name for name in columns if name.startswith("log_prob")]
    lost = np.flatnonzero(np.isnan([columns[name] for name in names]).any(axis=0))
    if len(lost):
        raise DataError(
            f"{options.file}: the density of {len(lost)} of {len(rows)} rows cannot be computed, "
            f"their values are too large; first in row {lost[0]} (from 0)"
        )
    mean = ""
    if table is not None:
        standardised = columns["log_prob_nats"]
        columns |= {name: columns[name] + table.log_det for name in names}
        columns["log_prob_nats_standardised"] = standardised
        mean = f" in the table's units, {standardised.mean():.3f} standardised"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    try:
        atomic.write(options.out, text.getvalue())
    except OSError as error:
        raise DataError(f"{options.out} cannot be written ({error.strerror})") from error
    mean = f"mean {columns['log_prob_nats'].mean():.3f} nats{mean}"
    print(f"{options.out}: {len(rows):,} rows, {mean}")


def _check(path: Path, rows: NDArray[Any], features: int) -> None:
    """Refuse rows that the model of the run cannot take."""
    if rows.ndim != 2 or rows.shape[1] != features:
        raise DataError(
            f"{path} must have {features} columns as the data of this run, "
            f"and has shape {list(rows.shape)}"
        )
    if len(rows) == 0:
        raise DataError(f"{path} has no rows")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(
            f"{path} has values that are missing or not finite in {len(bad)} of "
            f"{len(rows)} rows, first in row {bad[0]} (from 0)"
        )


def _scores(run: "TrainedRun", rows: NDArray[Any], label: int | None) -> dict[str, NDArray[Any]]:
    """The columns to be written, for rows [N, D] as the model takes them.

    Log densities in nats [N]; of a conditional model without ``label`` the class marginal, the
    likeliest class, and the log density given each class.
    """
    import torch

    from maf_runner.engine.rows import log_prob_of_rows
    from maf_runner.experiment.conditioning import context_of
    from maf_runner.experiment.evaluation import class_joint, class_log_probs, class_marginal

    model = run.model
    x = torch.from_numpy(rows).to(model.reference.dtype)
    if not model.context or label is not None:
        context = context_of(model, torch.tensor([label or 0]))
        return {"log_prob_nats": log_prob_of_rows(model, x, context).numpy()}
    by_class = class_log_probs(model, x, model.context)
    classes = np.array(run.classes, dtype=object)
    return {
        "log_prob_nats": class_marginal(by_class, run.prior).numpy(),
        "likeliest_class": classes[class_joint(by_class, run.prior).argmax(1).numpy()],
        **{f"log_prob_nats_class_{v}": by_class[:, y].numpy() for y, v in enumerate(classes)},
    }


def _read(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".csv"):
        raise UsageError(f"FILE must end in .npy or .csv, got {path}")
    try:
        if suffix == ".npy":
            rows = np.load(path, allow_pickle=False)
        else:
            from maf_runner.datasets.untrusted.tables import read_csv

            rows = read_csv(path).drop(columns="label", errors="ignore").to_numpy()
        return np.asarray(rows, dtype=np.float64)
    except FileNotFoundError as error:
        raise DataError(f"{path} not found") from error
    except Exception as error:  # each library has its own for a damaged file
        raise DataError(f"{path} cannot be read as rows of numbers: {error}") from error


def _read_table(path: Path, space: TableSpace) -> NDArray[Any]:
    """Rows [N, D] of the run's columns, in the table's units, in the order of the run."""
    import pandas as pd

    from maf_runner.datasets.untrusted.tables import need, numbers, read_table

    table = pd.concat(read_table(path, "FILE").values(), ignore_index=True)
    columns, numbered = list(space.columns), [str(i) for i in range(len(space.columns))]
    if list(table.columns) == numbered:  # an array without names, as maf-sample writes it
        if columns != numbered and set(columns) == set(numbered):
            raise DataError(
                f"{path}: the run has its columns in the order {', '.join(columns)}, and these "
                "may be in it or not; give a CSV that names them"
            )
        table.columns = columns
    for column in columns:
        need(column, table, "a column of this run", path)
    return numbers(table[columns], path)


if __name__ == "__main__":
    sys.exit(main())
