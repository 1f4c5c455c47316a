"""``maf-table``: the results under a folder, beside the paper's figures and its successors'."""

import argparse
import sys

from maf_runner.commands.arguments import add_results, guarded
from maf_runner.records import entries
from maf_runner.reporting.tables.grid import FORMATS
from maf_runner.reporting.tables.table import TABLES, build
from maf_runner.system import atomic
from maf_runner.system.errors import DataError


def main(argv: list[str] | None = None) -> int:
    """Print the table and write it to ``<results>/tables/``; return the exit code."""
    return guarded("maf-table", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="maf-table", description=__doc__)
    parser.add_argument(
        "table",
        nargs="?",
        choices=TABLES,
        default=TABLES[0],
        help="comparison: all runs (default); table1, table2, bits: the paper's own; "
        "leaderboard: beside later published results; runs: one line for each run",
    )
    add_results(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="default text")
    return parser.parse_args(argv)


def _work(options: argparse.Namespace) -> None:
    records, complaints = entries.find(options.results)
    if records:
        table, left_out = build(options.table, records)
        complaints += left_out
    for complaint in complaints:
        print(f"maf-table: {complaint}", file=sys.stderr)
    if not records:
        raise DataError(f"no records under {options.results.absolute()}. {entries.HINT}")
    text = table.render(options.format)
    print(text, end="")
    path = options.results / "tables" / f"{options.table}.{FORMATS[options.format]}"
    try:
        path.parent.mkdir(exist_ok=True)
        atomic.write(path, text)
    except OSError as error:
        print(f"maf-table: not written to {path} ({error.strerror})", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
