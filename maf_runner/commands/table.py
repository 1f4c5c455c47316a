"""``maf-table``: the results under a folder, beside the paper's figures and its successors'."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from maf_runner.commands.arguments import (
    add_results,
    add_shipped,
    complain,
    guarded,
    parser_of,
    records_of,
)
from maf_runner.records import entries
from maf_runner.records.folder import RunFolder
from maf_runner.records.record import Record
from maf_runner.records.unfinished import unfinished
from maf_runner.reporting.tables.compare import compare
from maf_runner.reporting.tables.grid import FORMATS, Grid
from maf_runner.reporting.tables.mixture import mixture
from maf_runner.reporting.tables.table import TABLES, Choice, build
from maf_runner.system import atomic
from maf_runner.system.errors import DataError

COMPARE, MIXTURE = "compare", "mixture"
NAMED = COMPARE, MIXTURE  # the tables whose runs are named
NARROWEST = 40  # columns of text
EVERY = 5  # seconds between two looks of --watch
EXAMPLES = """\
examples:
  maf-table                          your runs beside the paper's figures
  maf-table --shipped                and the records that come with the project
  maf-table table1 --format latex    the paper's Table 1 with your figures
  maf-table --dataset power --model maf made
  maf-table --seeds mean             mean and standard deviation over seeds
  maf-table --mixtures               and the mixture of the seeds as one model
  maf-table runs --sort test         every run, finished or not; --watch looks again and again
  maf-table compare RUN RUN          two runs: paired test, settings and rows that differ
  maf-table mixture RUN RUN ...      several runs, of any models, as one density
"""


def main(argv: list[str] | None = None) -> int:
    """Print the table and write it to ``<results>/tables/``; return the exit code."""
    return guarded("maf-table", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    meaning = "The results under a folder, beside the figures of the paper and later ones."
    parser = parser_of("maf-table", meaning, EXAMPLES)
    parser.add_argument(
        "table",
        nargs="?",
        choices=(*TABLES, COMPARE, MIXTURE),
        default=TABLES[0],
        metavar="TABLE",
        help="comparison: the best run of each model (default); table1, table2, bits: the "
        "paper's own; leaderboard: beside later published results; runs: one line for each run; "
        "compare: two runs; mixture: two or more runs as one density",
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="for compare and mixture: folders or run ids"
    )
    add_results(parser)
    add_shipped(parser)
    for name in ("dataset", "model", "trainer"):
        parser.add_argument(f"--{name}", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="only columns of these names; not for csv, json",
    )
    parser.add_argument(
        "--sort", metavar="COLUMN", help="order of the rows: a column, or model; not for csv, json"
    )
    parser.add_argument(
        "--seeds",
        choices=("best", "mean"),
        default="best",
        help="of several seeds the best on validation (default), or mean ± standard deviation (n)",
    )
    parser.add_argument(
        "--mixtures",
        action="store_true",
        help="also the uniform mixture of the seeds of each setting shown, as one model; from the "
        "test rows that runs keep",
    )
    parser.add_argument(
        "--width",
        type=_columns,
        metavar="N",
        help="width of text; a wider table is cut into blocks (default: the terminal's, or 100)",
    )
    parser.add_argument("--watch", action="store_true", help="runs: again every few seconds")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default text")
    options = parser.parse_intermixed_args(argv)  # runs may follow options
    if options.runs and options.table not in NAMED:
        parser.error("runs are named for compare and mixture, and for no other table")
    if options.table == COMPARE and len(options.runs) != 2:
        parser.error("compare needs two runs: maf-table compare RUN RUN")
    if options.table == MIXTURE and len(options.runs) < 2:
        parser.error("mixture needs two runs or more: maf-table mixture RUN RUN ...")
    if options.mixtures and options.table in ("runs", *NAMED):
        parser.error("--mixtures is for tables of models")
    filters = options.dataset or options.model or options.trainer or options.seeds != "best"
    if filters and options.table in NAMED:
        parser.error(
            "--dataset, --model, --trainer and --seeds are for tables whose runs are not named"
        )
    if options.seeds != "best" and options.table in ("leaderboard", "runs"):
        parser.error(f"--seeds mean is not for the {options.table}, which shows single runs")
    if (options.columns or options.sort) and options.format in ("csv", "json"):
        parser.error(
            f"--columns and --sort are not for {options.format}, which has all of the table"
        )
    if options.shipped and options.table in NAMED:
        parser.error("--shipped is for tables whose runs are not named")
    if options.watch and options.table != "runs":
        parser.error("--watch is for the table of runs")
    return options


def _columns(text: str) -> int:
    number = int(text)
    if number < NARROWEST:
        raise argparse.ArgumentTypeError(f"at least {NARROWEST} columns, got {number}")
    return number


def _work(options: argparse.Namespace) -> None:
    while options.watch:
        text = _text(options)
        print(f"\033[2J\033[H{text}", end="", flush=True)
        time.sleep(EVERY)
    text = _text(options)
    print(text, end="")
    path = options.results / "tables" / f"{options.table}.{FORMATS[options.format]}"
    try:
        path.parent.mkdir(exist_ok=True)
        atomic.write(path, text)
    except OSError as error:
        print(f"maf-table: not written to {path} ({error.strerror})", file=sys.stderr)


def _text(options: argparse.Namespace) -> str:
    table = _named_runs(options) if options.table in NAMED else _table(options)
    if options.columns:
        table = table.only(options.columns)
    if options.sort:
        table = table.sorted_by(options.sort)
    return table.render(
        options.format, options.width or shutil.get_terminal_size((100, 24)).columns
    )


def _table(options: argparse.Namespace) -> Grid:
    waiting = unfinished(options.results) if options.table == "runs" else []
    records, complaints = records_of(options, waiting)
    named = options.dataset, options.model, options.trainer
    choice = Choice(*named, options.seeds == "mean", options.mixtures)
    if not choice.of(records) and not choice.of_unfinished(waiting):
        there = choice.there(records, waiting)
        raise DataError(f"no run has that dataset, model and trainer: {there}")
    complaints += choice.not_there(records, waiting)
    table, left_out = build(options.table, records, choice, waiting)
    complain("maf-table", complaints + left_out)
    return table


def _named_runs(options: argparse.Namespace) -> Grid:
    records = [_named(name, options.results) for name in options.runs]
    return compare(*records) if options.table == COMPARE else mixture(records)


def _named(name: str, results: Path) -> Record:
    """The record of a run folder, of a record's file, or of a run id or the beginning of one."""
    path = entries.place(name, results)
    if path.is_dir():
        return entries.record_in(RunFolder(path))
    if path.exists():
        return Record.read(path)
    raise entries.not_named(name)


if __name__ == "__main__":
    sys.exit(main())
