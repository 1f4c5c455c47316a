"""``maf-table``: the comparison of all runs under a results folder, beside the paper's figures."""

import argparse
import sys
from pathlib import Path

from maf_runner import atomic
from maf_runner.reporting import records
from maf_runner.reporting.table import FORMATS, comparison, render


def main(argv: list[str] | None = None) -> int:
    """Print the table and write it to ``<results>/tables/``; return the exit code."""
    parser = argparse.ArgumentParser(prog="maf-table", description=__doc__)
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with runs/ and records/ (default ./results)",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="default text")
    options = parser.parse_args(argv)
    found, complaints = records.find(options.results)
    for complaint in complaints:
        print(f"maf-table: {complaint}", file=sys.stderr)
    if not found:
        print(
            f"maf-table: no records under {options.results.absolute()}. One experiment makes one, "
            "for example: maf-run model=gaussian dataset=digits",
            file=sys.stderr,
        )
        return 3
    text = render(comparison(found), options.format)
    print(text, end="")
    path = options.results / "tables" / f"comparison.{FORMATS[options.format]}"
    try:
        path.parent.mkdir(exist_ok=True)
        atomic.write(path, text)
    except OSError as error:
        print(f"maf-table: not written to {path} ({error.strerror})", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
