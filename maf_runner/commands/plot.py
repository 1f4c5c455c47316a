"""``maf-plot``: pictures of results and of trained models, as PNG, PDF or SVG."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maf_runner.commands.arguments import (
    Several,
    add_plugins,
    add_results,
    add_shipped,
    complain,
    guarded,
    parser_of,
    records_of,
)
from maf_runner.experiment import plugins
from maf_runner.system.errors import DataError, UsageError

if TYPE_CHECKING:
    from maf_runner.records.record import Record
    from maf_runner.reporting.comparison.cells import Cell

WHAT = {
    "curves": "learning curves of the runs the tables show",
    "comparison": "their figures as dots with error bars, beside the paper's",
    "noise": "does u look Gaussian? histogram and Q-Q plot of dimensions of u on the test rows",
    "layers": "what each layer of a flow does to points in the plane",
    "samples": "what models draw: images beside real ones, or points in the plane",
    "density": "densities of one column or two, a row for each dataset; of a model that is given "
    "columns: with --given, a panel for each of its rows (at most 12)",
    "pairs": "samples of one run against its test rows, each pair of columns (at most 10)",
    "calibration": "do densities mean what they say? histograms of the PIT of test values, and "
    "how many test rows the regions of highest density hold; also as --out FILE.csv",
}
CALIBRATION = "calibration"
EXAMPLES = """
examples:
  maf-plot curves                                      of all runs under --results
  maf-plot density RUN --given "rpm=1500,load=0.3"     p(y | rpm, load)
  maf-plot density RUN --given new.csv --out a.pdf     a panel for each row of new.csv
  maf-plot pairs RUN --columns a,b,c
  maf-plot calibration RUN --out a.png --out a.csv
"""


def main(argv: list[str] | None = None) -> int:
    """Write a picture; return the exit code."""
    return guarded("maf-plot", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    meanings = "\n".join(f"  {name:<13}{text}" for name, text in WHAT.items())
    arguments = parser_of(
        "maf-plot",
        "Pictures of results and of trained models, as PNG, PDF or SVG.",
        f"pictures:\n{meanings}\n\n{EXAMPLES}",
    )
    arguments.add_argument(
        "what", choices=tuple(WHAT), metavar="WHAT", help=f"{', '.join(WHAT)}: below"
    )
    arguments.add_argument(
        "runs",
        nargs="*",
        default=[],  # or Python before 3.13 calls it required where WHAT is missing
        metavar="RUN",
        help="run folders, as maf-run prints them, or run ids; curves and comparison take records "
        "too, and without any all under --results",
    )
    arguments.add_argument(
        "--out",
        type=Path,
        action="append",
        metavar="FILE",
        help=".png, .pdf or .svg; calibration also .csv, with the numbers; may be given more than "
        "once (default WHAT.png)",
    )
    add_results(arguments)
    add_shipped(arguments)
    add_plugins(arguments)
    arguments.add_argument(
        "--given",
        metavar="VALUES",
        action=Several,
        help="density, pairs: of a model that is conditioned on columns: their values, as "
        "rpm=1500,load=0.3, or a file of rows that has these columns",
    )
    arguments.add_argument(
        "--columns",
        metavar="NAMES",
        help="pairs: the columns that are shown, as a,b,c (default: the first 10)",
    )
    arguments.add_argument(
        "--n",
        type=int,
        help="number of samples: of each run (samples: 100 if not said, pairs: 2000), or for each "
        "test row (calibration: 199)",
    )
    arguments.add_argument("--seed", type=int, default=0, help="seed of the samples (default 0)")
    arguments.add_argument(
        "--raw-dir",
        type=Path,
        metavar="DIR",
        help="folder of the raw files, if they have moved since the run",
    )
    arguments.add_argument(
        "--prepared-dir",
        type=Path,
        metavar="DIR",
        help="folder of the prepared arrays, if they have moved",
    )
    return arguments.parse_intermixed_args(argv)


def _work(options: argparse.Namespace) -> None:
    from maf_runner.records import entries
    from maf_runner.reporting.plots import drawing

    plugins.load(plugins.named(options.plugin))
    files = options.out or [Path(f"{options.what}.png")]
    formats = drawing.FORMATS + ((".csv",) if options.what == CALIBRATION else ())
    for path in files:
        if path.suffix not in formats:
            raise UsageError(f"--out must end in {' or '.join(formats)}, got {path}")
    if options.n is not None and options.n < 1:
        raise UsageError(f"--n must be at least 1, got {options.n}")
    if options.given is not None and options.what not in ("density", "pairs"):
        raise UsageError("--given is for maf-plot density and pairs")
    if options.shipped and (options.runs or options.what not in ("curves", "comparison")):
        raise UsageError("--shipped is for curves and comparison without named runs")
    if options.columns is not None and options.what != "pairs":
        raise UsageError("--columns is for maf-plot pairs")
    if any(path.suffix != ".csv" for path in files):
        drawing.pyplot()
    options.runs = [entries.place(run, options.results) for run in options.runs]
    of_records = {"curves": _curves, "comparison": _comparison}
    draw: Callable[[Path], None]
    if options.what in of_records:
        draw = of_records[options.what](_cells(options))
    elif not options.runs:
        raise UsageError(f"{options.what} needs at least one run folder")
    else:
        from maf_runner.commands import model_plots

        draw = model_plots.PLOTS[options.what](options)
    for path in files:
        try:
            draw(path)
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror})") from error
        print(path)


def _cells(options: argparse.Namespace) -> list["Cell"]:
    """The cells of the runs that are named, or of all that ``maf-table`` would show."""
    from maf_runner.records import entries
    from maf_runner.reporting.comparison.cells import comparison

    records, complaints = entries.read(options.runs) if options.runs else records_of(options)
    if len(options.runs) > len(records) + len(complaints):
        complaints.append("a run that is named more than once is drawn once")
    complain("maf-plot", complaints)
    if not records:
        raise DataError(f"no records among these. {entries.HINT}")
    if options.what == "curves" and options.runs:
        return _each(records)
    cells = comparison(records)
    if options.runs and (hidden := len(records) - sum(bool(cell.runs) for cell in cells)):
        text = "left out, since only the run best on validation is drawn of each model"
        complain("maf-plot", [f"{text}: {hidden} of {len(records)}"])
    return cells


def _each(records: list["Record"]) -> list["Cell"]:
    """A cell for each run, with a name of its own, in the column that it has among the others."""
    from maf_runner.reporting.comparison.cells import comparison, size
    from maf_runner.reporting.comparison.columns import columns_of

    cells = [
        replace(cell, dataset=str(column))
        for record, column in zip(records, columns_of(records), strict=True)
        for cell in comparison([record])
        if cell.trained
    ]
    names = [(cell.dataset, cell.conditional, cell.model) for cell in cells]
    return [
        replace(cell, model=f"{cell.model}, {size(cell.trained)} seed={cell.trained.seed}")
        if cell.trained and names.count(name) > 1
        else cell
        for cell, name in zip(cells, names, strict=True)
    ]


def _curves(cells: list["Cell"]) -> Callable[[Path], None]:
    from maf_runner.reporting.plots import curves
    from maf_runner.reporting.plots.drawing import drawing, in_order, save

    panels, complaints = curves.curves_of(cells)
    complain("maf-plot", complaints)
    if not panels:
        raise DataError("none of these runs has a learning curve (a Gaussian has none)")

    def draw(path: Path) -> None:
        with drawing(*curves.size(len(panels))) as figure:
            curves.draw(figure, panels, in_order(cell.model for cell in cells))
            save(figure, path)

    return draw


def _comparison(cells: list["Cell"]) -> Callable[[Path], None]:
    from maf_runner.reporting.plots import dots
    from maf_runner.reporting.plots.drawing import drawing, save

    without = [cell for cell in cells if cell.runs and not cell.ours]
    complain("maf-plot", [f"no figure of {cell.place}: {cell.status}" for cell in without])
    panels = dots.panels(cells)
    if not panels:
        raise DataError("none of these runs has finished")

    def draw(path: Path) -> None:
        with drawing(*dots.size(panels)) as figure:
            dots.draw(figure, panels)
            save(figure, path)

    return draw


if __name__ == "__main__":
    sys.exit(main())
