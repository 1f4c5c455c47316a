"""``maf-report``: one HTML page of all results, to open from a file, without a network."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maf_runner.commands.common import guarded
from maf_runner.system import atomic
from maf_runner.system.errors import DataError, UsageError

if TYPE_CHECKING:
    from maf_runner.records.entries import Entry

SAMPLES = 100  # drawn of each model


def main(argv: list[str] | None = None) -> int:
    """Write the page; return the exit code."""
    arguments = argparse.ArgumentParser(prog="maf-report", description=__doc__)
    arguments.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder with runs/ and records/ (default ./results)",
    )
    arguments.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default DIR/report.html)"
    )
    arguments.add_argument(
        "--no-samples", action="store_true", help="do not load models to draw from them"
    )
    options = arguments.parse_args(argv)
    return guarded("maf-report", lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    from maf_runner.records import entries
    from maf_runner.reporting.comparison.cells import comparison
    from maf_runner.reporting.page import report

    found, complaints = entries.find(options.results)
    if not found:
        for complaint in complaints:
            print(f"maf-report: {complaint}", file=sys.stderr)
        raise DataError(f"no records under {options.results.absolute()}. {entries.HINT}")
    samples = {}
    for entry in [] if options.no_samples else report.shown(comparison(found)):
        try:
            content = _samples(entry)
        except (DataError, UsageError) as error:
            complaints.append(f"no samples: {error}")
            continue
        if content is not None:
            samples[entries.key_of(entry)] = content
    page = report.render(found, complaints, samples)
    path = options.out or options.results / "report.html"
    try:
        atomic.write(path, page)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror})") from error
    for complaint in complaints:
        print(f"maf-report: {complaint}", file=sys.stderr)
    print(path)


def _samples(entry: "Entry") -> bytes | None:
    """A PNG of pictures that a run's model draws; None for other data, or without a model."""
    from maf_runner.commands.common import draw_samples, grid_columns, image_space, loaded
    from maf_runner.records.folder import RunFolder

    folder = RunFolder(entry["file"].parent)
    try:
        space = image_space(entry)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder.path}: the record describes no images ({error})") from error
    if space is None or not folder.best.is_file() or entry["file"] != folder.record:
        return None
    from maf_runner.reporting.plots.pictures import sample_png

    model, found = loaded(folder.path)
    rows, _ = draw_samples(model, found, SAMPLES, seed=0)
    return sample_png(space.to_pictures(rows), grid_columns(SAMPLES, found), pixels=1)


if __name__ == "__main__":
    sys.exit(main())
