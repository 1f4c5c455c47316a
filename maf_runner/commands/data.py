"""``maf-data``: list, download, prepare and verify the datasets of the paper."""

import argparse
import logging
import sys
from pathlib import Path

from maf_runner.commands.arguments import default_paths, guarded, parser_of
from maf_runner.system.errors import DataError, UsageError, suggestion

log = logging.getLogger("maf_runner")


def main(argv: list[str] | None = None) -> int:
    """Do what is asked of the datasets; return the exit code."""
    return guarded("maf-data", lambda: _work(_options(argv)))


EXAMPLES = """\
examples:
  maf-data list                  what is here, where, and how to get the rest
  maf-data fetch mnist           download into data/raw, and check it
  maf-data prepare power         make the arrays now; maf-run does so on first use
  maf-data verify mnist          hashes, counts, statistics
"""


def _options(argv: list[str] | None) -> argparse.Namespace:
    paths = default_paths()
    parser = parser_of("maf-data", "The datasets of the paper.", EXAMPLES)
    folders = argparse.ArgumentParser(add_help=False)
    folders.add_argument(
        "--raw-dir",
        type=Path,
        default=Path(paths["raw_dir"]),
        metavar="DIR",
        help="folder of the raw files (default MAF_RUNNER_RAW_DIR, else ./data/raw or what your "
        "settings say: %(default)s)",
    )
    folders.add_argument(
        "--prepared-dir",
        type=Path,
        default=Path(paths["prepared_dir"]),
        metavar="DIR",
        help="folder of the prepared arrays (default %(default)s)",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, meaning: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=meaning, description=meaning, parents=[folders])
        if name != "list":
            made.add_argument("names", nargs="+", metavar="NAME", help="datasets, or all")
        return made

    action("list", "list the datasets with size, state and path")
    getting = action("fetch", "download the raw files of a dataset, and check them")
    getting.add_argument(
        "--mirror",
        metavar="URL",
        default=paths["mirror"],
        help="try URL/<path under the raw folder> first (default MAF_RUNNER_MIRROR)",
    )
    making = action("prepare", "make the arrays from the raw files, unless they exist")
    making.add_argument("--force", action="store_true", help="make them even if they exist")
    action("verify", "check the checksums, row counts and means of existing files")
    return parser.parse_args(argv)


def _work(options: argparse.Namespace) -> None:
    from maf_runner.commands import catalogue
    from maf_runner.datasets.base import Paths
    from maf_runner.system import logs

    raw, prepared = (p.expanduser().absolute() for p in (options.raw_dir, options.prepared_dir))
    paths = Paths(raw, prepared, getattr(options, "mirror", None))
    known = catalogue.datasets()
    if options.action == "list":
        print(catalogue.overview(known, paths))
        return
    names = list(known) if options.names == ["all"] else options.names
    for name in names:
        if name not in known:
            near = suggestion(name, list(known))
            raise UsageError(f"there is no dataset {name!r} to {options.action}{near}")
    failures = []
    with logs.console():
        for name in names:
            try:
                if options.action == "fetch":
                    said = catalogue.get(known[name], paths)
                elif options.action == "prepare":
                    said = catalogue.prepare(known[name], paths, force=options.force)
                else:
                    said = catalogue.verify(known[name], paths)
                print(f"{name}: {said}")
            except DataError as error:
                if len(names) == 1:
                    raise
                log.error("maf-data: %s", error)
                failures.append(name)
    if failures:
        raise DataError(f"failed: {', '.join(failures)}")


if __name__ == "__main__":
    sys.exit(main())
