"""``maf-score``: log densities, under a trained model, of the rows of a file."""

import argparse
import csv
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.commands.arguments import guarded, of_a_run
from maf_runner.commands.columns import FORMATS, Writer, of_one_type
from maf_runner.datasets.untrusted.dialect import bare_suffix
from maf_runner.experiment import plugins, scoring
from maf_runner.experiment.scoring import AT_ONCE, LIKELIEST, NATS, STANDARDISED
from maf_runner.system import output
from maf_runner.system.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from maf_runner.experiment.trained import TrainedRun

PERCENTILE = "percentile"
STDIN = "standard input"
ENDINGS = {  # of the file that standard input is, by its first bytes; else it is a CSV
    b"\x1f\x8b": ".csv.gz",
    b"BZh": ".csv.bz2",
    b"\xfd7zXZ": ".csv.xz",
    b"PAR1": ".parquet",
}
ARCHIVES = (".npz", ".h5", ".hdf5")
COMPARED = 20_000  # training rows, at most, among which a percentile is counted
EXAMPLES = """\
every row of FILE has a line, in its order: -inf where the density is below the smallest number. A
FILE with missing values is refused, or with --missing empty has empty lines for such rows. Texts
are written as they stand in FILE, also those that a spreadsheet takes for formulas or a terminal
for control characters.

examples:
  maf-score RUN new.csv                           scores.csv
  maf-score RUN new.csv --keep id,time --percentile
  maf-score RUN new.parquet --out scores.parquet
  maf-score RUN1 RUN2 new.csv                     of the uniform mixture of several runs
  zcat new.csv.gz | maf-score RUN - --out -       from one pipe into another
"""


def main(argv: list[str] | None = None) -> int:
    """Write log densities in nats, a line for each row; return the exit code."""
    return guarded("maf-score", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    arguments = of_a_run(
        "maf-score", "Log densities of the rows of a file.", EXAMPLES, several=True
    )
    arguments.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="of a run on your own table: any file that run could take, in the table's own units; "
        "columns are matched by name, or without names by their order; splits are scored one "
        "after another. Of any other run: .npy [rows, D] or .csv with a header and D columns (a "
        "column named label is left out), in the space maf-sample writes (images: logits). -: "
        "standard input, a CSV (also compressed) or, of your own table, Parquet",
    )
    arguments.add_argument(
        "--out",
        type=Path,
        default=Path("scores.csv"),
        metavar="FILE",
        help=".csv, .parquet, .npy (the log densities alone) or - (CSV to standard output); "
        "default scores.csv",
    )
    arguments.add_argument(
        "--keep",
        metavar="COLUMNS",
        help="columns of FILE to carry along, as id,time (a name with a comma in double quotes); "
        "every value as it stands in FILE",
    )
    arguments.add_argument(
        "--missing",
        choices=("refuse", "empty"),
        help="a row with a missing value: refuse the file, or leave its line empty (default: as "
        "dataset.missing of the run: refuse, or empty where it says drop)",
    )
    arguments.add_argument(
        "--percentile",
        action="store_true",
        help=f"of each score among those of the training rows (at most {COMPARED:,} of them; with "
        "--label those of the class); of a table of your own by log_prob_nats_standardised",
    )
    return arguments.parse_intermixed_args(argv)


def _work(options: argparse.Namespace) -> None:
    if options.out.suffix not in FORMATS and not output.is_special(options.out):
        raise UsageError(f"--out must end in {', '.join(FORMATS)}, or be -, got {options.out}")
    output.keep_apart(options.out, options.file)
    from maf_runner.experiment.mixture import load_trained

    plugins.load(plugins.named(options.plugin))
    run = load_trained(options.run)
    scorer = _Scorer(run, options)
    with _spooled(options.file) as file, Writer(options.out, of_one=NATS) as writer:
        for rows, context, kept in scorer.pieces(file):
            scores = scorer.scores(rows, context)
            if twice := next((name for name in kept if name in scores), None):
                raise UsageError(
                    f"--keep {twice}: the scores have a column of this name; rename it in FILE"
                )
            writer.write({**kept, **scores})
        if not scorer.rows:
            raise DataError(f"{scorer.name} has no rows")
    scorer.report(options.out)


class _Scorer:
    """Scores rows piece by piece, and counts what was odd about them."""

    def __init__(self, run: "TrainedRun", options: argparse.Namespace) -> None:
        self.run = run
        self.name = STDIN if options.file == output.STDOUT else str(options.file)
        code = run.label_code(options.label)
        self.labels = None if code is None else np.array([code])
        keep = next(csv.reader([options.keep], skipinitialspace=True)) if options.keep else []
        self.keep = list(dict.fromkeys(name.strip() for name in keep))
        dialect = scoring.dialect_of(run)
        self.label = None if run.context else dialect.label
        if self.label is not None:  # a column as others; of an archive an array beside the table
            dialect = replace(dialect, label=None, asides=(*dialect.asides, self.label))
        self.dialect = dialect
        drops = run.record.settings["dataset"].get("missing") == "drop"
        self.missing = options.missing or ("empty" if drops else "refuse")
        self.reference = _training_scores(run, self.labels) if options.percentile else None
        self.bounded = bool(run.table and run.table.bounds)
        self.rows = self.empty = self.lost = 0
        self.warned: set[str] = set()
        self.sums: dict[str, float] = {}

    def pieces(
        self, file: Path
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None, dict[str, Any]]]:
        """Rows [n, D] in the units of the file, their context, and the columns to carry along.

        Raises:
            DataError: the file does not fit the run.
        """
        from maf_runner.commands.carried import pieces_with
        from maf_runner.datasets.untrusted.first_lines import is_plain

        if self.run.table is None and bare_suffix(file) not in (".npy", ".csv"):
            raise UsageError(f"FILE must end in .npy or .csv, got {self.name}")
        dialect = self.dialect
        if dialect.of_text and is_plain(file, self.run.columns, dialect):
            dialect = replace(dialect, header=None, separator=None, decimal=".", thousands=None)
            print(
                f"maf-score: {self.name} is read as maf-sample writes it, with names in its first "
                "line, commas between fields and a point before decimals",
                file=sys.stderr,
            )
        for table, kept in pieces_with(self.keep, file, AT_ONCE, dialect):
            if bare_suffix(file) in ARCHIVES:
                table = table.drop(columns=[self.label], errors="ignore")
            rows, context = scoring.rows_of(self.run, table, file, self.keep)
            self._warn(table)
            yield rows, context, kept

    def _warn(self, table: "pd.DataFrame") -> None:
        """Say, once of each column of the context, that a value lies outside of training."""
        for column in self.run.context.columns if self.run.context else ():
            text = "" if column.name in self.warned else column.beyond(table[column.name])
            if text:
                self.warned.add(column.name)
                print(f"maf-score: outside of the training rows: {text}", file=sys.stderr)

    def scores(self, rows: NDArray[Any], context: NDArray[Any] | None) -> dict[str, Any]:
        """The columns to be written for rows [n, D], in the units of the file."""
        gone = scoring.missing(rows, context)
        if gone.any() and self.missing == "refuse":
            first = self.rows + int(np.flatnonzero(gone)[0])
            raise DataError(
                f"{self.name} has missing values, first in row {first} (from 0): --missing empty "
                "leaves the lines of such rows empty"
            )
        columns = scoring.densities(self.run, rows, context, self.labels)
        if LIKELIEST in columns:
            columns[LIKELIEST] = of_one_type(columns[LIKELIEST], self.run.classes)
        if self.reference is not None:
            standardised = columns.pop(STANDARDISED, None)
            scores = columns[NATS] if standardised is None else standardised
            place = np.searchsorted(self.reference, scores) / len(self.reference)
            columns[PERCENTILE] = np.where(gone, np.nan, 100 * place)
            if standardised is not None:
                columns[STANDARDISED] = standardised
        self.rows, self.empty = self.rows + len(rows), self.empty + int(gone.sum())
        self.lost += int((columns[NATS] == -np.inf).sum())
        for name in (NATS, STANDARDISED):
            if name in columns:
                finite = columns[name][np.isfinite(columns[name])]
                self.sums[name] = self.sums.get(name, 0.0) + float(finite.sum())
        return columns

    def report(self, out: Path) -> None:
        """Say what was written."""
        scored = self.rows - self.empty - self.lost
        text = f"{out}: {self.rows:,} rows"
        if scored:
            means = {name: total / scored for name, total in self.sums.items()}
            of = "" if scored == self.rows else f" of {scored:,}"
            text += f", mean{of} {means.pop(NATS):.3f} nats"
            for mean in means.values():
                text += f" in the table's units, {mean:.3f} standardised"
        if self.empty:
            text += f"; {self.empty:,} lines are empty, a value is missing"
        if self.lost:
            text += f"; {self.lost:,} are -inf: the density is too small for a number"
            text += ", or 0 outside of dataset.bounded" if self.bounded else ""
        print(text, file=sys.stderr)


def _training_scores(run: "TrainedRun", labels: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """The scores of training rows in ascending order, of some if there are many.

    Raises:
        DataError: the data of the run are not there.
    """
    train = run.data().train
    x, context = train.x, train.context if run.context else None
    if labels is not None and train.labels is not None:
        x = x[train.labels == labels[0]]
    if len(x) > COMPARED:
        chosen = np.sort(np.random.default_rng(0).choice(len(x), COMPARED, replace=False))
        x, context = x[chosen], None if context is None else context[chosen]
    return np.sort(scoring.log_densities(run, x.astype(np.float64), context, labels)[NATS])


@contextmanager
def _spooled(file: Path) -> Iterator[Path]:
    """The file, or for ``-`` a temporary one with all of standard input.

    Raises:
        DataError: from the work with the file; standard input has its name in the message.
    """
    if file != output.STDOUT:
        yield file
        return
    start = sys.stdin.buffer.read(len(max(ENDINGS, key=len)))
    suffix = next((end for magic, end in ENDINGS.items() if start.startswith(magic)), ".csv")
    with tempfile.NamedTemporaryFile(prefix="maf-score-", suffix=suffix) as copy:
        copy.write(start)
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        try:
            yield Path(copy.name)
        except DataError as error:
            raise DataError(str(error).replace(copy.name, STDIN)) from error


if __name__ == "__main__":
    sys.exit(main())
