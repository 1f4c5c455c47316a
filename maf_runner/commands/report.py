"""``maf-report``: one HTML page of all results, to open from a file, without a network."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maf_runner.commands.arguments import (
    add_plugins,
    add_results,
    add_shipped,
    complain,
    guarded,
    parser_of,
    records_of,
)
from maf_runner.experiment import plugins
from maf_runner.system import output
from maf_runner.system.errors import DataError, UsageError

if TYPE_CHECKING:
    from maf_runner.records.record import Record

SAMPLES = 100  # drawn of each model


def main(argv: list[str] | None = None) -> int:
    """Write the page; return the exit code."""
    return guarded("maf-report", lambda: _work(_options(argv)))


EXAMPLES = """\
examples:
  maf-report                                results/report.html
  maf-report --no-samples --out page.html   without loading any model
"""


def _options(argv: list[str] | None) -> argparse.Namespace:
    meaning = "One HTML page of all results, to open from a file, without a network."
    arguments = parser_of("maf-report", meaning, EXAMPLES)
    add_results(arguments)
    add_shipped(arguments)
    add_plugins(arguments)
    arguments.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default DIR/report.html)"
    )
    arguments.add_argument(
        "--no-samples", action="store_true", help="do not load models to draw from them"
    )
    return arguments.parse_args(argv)


def _work(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from maf_runner.records.unfinished import unfinished
    from maf_runner.reporting.comparison.cells import comparison
    from maf_runner.reporting.page import report
    from maf_runner.system import logs

    plugins.load(plugins.named(options.plugin))
    records, complaints = records_of(options)
    samples = {}
    drawn = [] if options.no_samples else report.shown(comparison(records))
    print(f"maf-report: {len(records)} runs, samples of {len(drawn)} ...", file=sys.stderr)
    for record in tqdm(drawn, desc="samples", leave=False, disable=not logs.has_terminal()):
        try:
            content = _samples(record)
        except (DataError, UsageError) as error:
            complaints.append(f"no samples: {error}")
            continue
        if content is not None:
            samples[record.key] = content
    page = report.render(records, complaints, samples, unfinished(options.results))
    path = options.out or options.results / "report.html"
    try:
        output.write(path, page.encode(errors="replace"))
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror})") from error
    complain("maf-report", complaints)
    print(path)


def _samples(record: "Record") -> bytes | None:
    """A PNG of pictures that a run's model draws; None for other data, or without a model."""
    from maf_runner.records.folder import RunFolder

    if record.file is None or record.data.image is None:
        return None
    folder = RunFolder(record.file.parent)
    if not folder.best.is_file() or record.file != folder.record:
        return None
    from maf_runner.experiment.trained import TrainedRun
    from maf_runner.reporting.plots.pictures import sample_png

    run = TrainedRun.load(folder.path)
    if run.image is None:
        return None
    rows, _ = run.draw_samples(SAMPLES, seed=0)
    return sample_png(run.image.to_pictures(rows), run.grid_columns(SAMPLES), pixels=1)


if __name__ == "__main__":
    sys.exit(main())
