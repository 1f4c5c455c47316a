"""``maf-plot``: pictures of results and of trained models, as PNG, PDF or SVG."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maf_runner.commands.arguments import add_plugins, add_results, guarded
from maf_runner.experiment import plugins
from maf_runner.system.errors import DataError, UsageError

if TYPE_CHECKING:
    from maf_runner.experiment.trained import TrainedRun
    from maf_runner.records.record import Record
    from maf_runner.reporting.comparison.cells import Cell

WHAT = {
    "curves": "learning curves of the runs the tables show",
    "comparison": "their figures as dots with error bars, beside the paper's",
    "noise": "does u look Gaussian? histogram and Q-Q plot of dimensions of u on the test rows",
    "samples": "what models draw: images beside real ones, or points in the plane",
    "density": "densities of points in the plane, a row for each dataset",
}
OUTSIDE = 1e9  # stands for noise that is not finite: out of every picture


def main(argv: list[str] | None = None) -> int:
    """Write a picture; return the exit code."""
    return guarded("maf-plot", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    arguments = argparse.ArgumentParser(
        prog="maf-plot",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:<12}{meaning}" for name, meaning in WHAT.items()),
    )
    arguments.add_argument("what", choices=WHAT, metavar="WHAT", help=f"{', '.join(WHAT)}: below")
    arguments.add_argument(
        "runs",
        nargs="*",
        default=[],  # or Python before 3.13 calls it required where WHAT is missing
        type=Path,
        metavar="RUN",
        help="run folders, as maf-run prints them; curves and comparison take records too, and "
        "without any all under --results",
    )
    arguments.add_argument(
        "--out",
        type=Path,
        action="append",
        metavar="FILE",
        help=".png, .pdf or .svg; may be given more than once (default WHAT.png)",
    )
    add_results(arguments)
    add_plugins(arguments)
    arguments.add_argument(
        "--n", type=int, default=100, help="number of samples of each run (default 100)"
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
    from maf_runner.reporting.plots import drawing

    plugins.load(plugins.named(options.plugin))
    files = options.out or [Path(f"{options.what}.png")]
    for path in files:
        if path.suffix not in drawing.FORMATS:
            raise UsageError(f"--out must end in {' or '.join(drawing.FORMATS)}, got {path}")
    if options.n < 1:
        raise UsageError(f"--n must be at least 1, got {options.n}")
    drawing.pyplot()
    of_records = {"curves": _curves, "comparison": _comparison}
    of_models = {"noise": _noise, "samples": _samples, "density": _density}
    draw: Callable[[Path], None]
    if options.what in of_records:
        draw = of_records[options.what](_cells(options))
    elif not options.runs:
        raise UsageError(f"maf-plot {options.what} needs at least one run folder")
    else:
        draw = of_models[options.what](options)
    for path in files:
        try:
            draw(path)
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror})") from error
        print(path)


def _cells(options: argparse.Namespace) -> list["Cell"]:
    """The cells of the runs that are named, or of all."""
    from maf_runner.records import entries
    from maf_runner.reporting.comparison.cells import comparison

    records, complaints = (
        entries.read(options.runs) if options.runs else entries.find(options.results)
    )
    for complaint in complaints:
        print(f"maf-plot: {complaint}", file=sys.stderr)
    if not records:
        where = "among these" if options.runs else f"under {options.results.absolute()}"
        raise DataError(f"no records {where}. {entries.HINT}")
    if options.what == "curves" and options.runs:
        return _each(records)
    return comparison(records)


def _each(records: list["Record"]) -> list["Cell"]:
    """A cell for each run, with a name of its own."""
    from maf_runner.reporting.comparison.cells import comparison, size

    cells = [cell for record in records for cell in comparison([record]) if cell.record]
    names = [(cell.dataset, cell.conditional, cell.model) for cell in cells]
    return [
        replace(cell, model=f"{cell.model}, {size(cell.record)} seed={cell.record.seed}")
        if cell.record and names.count(name) > 1
        else cell
        for cell, name in zip(cells, names, strict=True)
    ]


def _curves(cells: list["Cell"]) -> Callable[[Path], None]:
    from maf_runner.reporting.plots import curves
    from maf_runner.reporting.plots.drawing import drawing, save

    panels, complaints = curves.curves_of(cells)
    for complaint in complaints:
        print(f"maf-plot: {complaint}", file=sys.stderr)
    if not panels:
        raise DataError("none of these runs has a learning curve (a Gaussian has none)")

    def draw(path: Path) -> None:
        with drawing(*curves.size(len(panels))) as figure:
            curves.draw(figure, panels, curves.labels_of(panels))
            save(figure, path)

    return draw


def _comparison(cells: list["Cell"]) -> Callable[[Path], None]:
    from maf_runner.reporting.plots import dots
    from maf_runner.reporting.plots.drawing import drawing, save

    panels = dots.panels(cells)
    if not panels:
        raise DataError("none of these runs has finished")

    def draw(path: Path) -> None:
        with drawing(*dots.size(panels)) as figure:
            dots.draw(figure, panels)
            save(figure, path)

    return draw


def _loaded(options: argparse.Namespace) -> dict[str, "TrainedRun"]:
    """The runs that are named, each under a title of its own."""
    from maf_runner.experiment.trained import TrainedRun
    from maf_runner.reporting.comparison.cells import size

    runs = [TrainedRun.load(folder) for folder in dict.fromkeys(options.runs)]
    records = [run.record for run in runs]
    titles = [record.title for record in records]
    for apart in (lambda r: f"{size(r)} seed {r.seed}".strip(), lambda r: r.run_id):
        if len(set(titles)) < len(titles):
            titles = [f"{record.title},\n{apart(record)}" for record in records]
    return dict(zip(titles, runs, strict=True))


def _noise(options: argparse.Namespace) -> Callable[[Path], None]:
    import numpy as np
    import torch

    from maf_runner.engine.rows import noise_of_rows
    from maf_runner.experiment.conditioning import context_of
    from maf_runner.reporting.plots import normality
    from maf_runner.reporting.plots.drawing import drawing, save

    noises = []
    for title, run in _loaded(options).items():
        test = run.data(options.raw_dir, options.prepared_dir).test
        x = torch.from_numpy(test.x).to(run.model.reference.dtype)
        noise = noise_of_rows(run.model, x, context_of(run.model, test.labels)).numpy()
        noises.append((title, np.nan_to_num(noise, nan=OUTSIDE, posinf=OUTSIDE, neginf=-OUTSIDE)))
    shown = [normality.chosen(noise) for _, noise in noises]
    heights = [normality.size(len(dimensions))[1] for dimensions in shown]

    def draw(path: Path) -> None:
        width = normality.size(1)[0]
        with drawing(width, sum(heights)) as figure:
            parts = figure.subfigures(len(noises), 1, squeeze=False, height_ratios=heights)[:, 0]
            for part, (title, noise), dimensions in zip(parts, noises, shown, strict=True):
                normality.draw(part, noise, dimensions, title)
            save(figure, path)

    return draw


def _samples(options: argparse.Namespace) -> Callable[[Path], None]:
    from maf_runner.reporting.plots import pictures

    runs = _loaded(options)
    first = next(iter(runs.values()))
    space = first.image
    if any(run.image != space for run in runs.values()):
        raise UsageError("maf-plot samples: the runs must be of images of one size, or of points")
    if space is None and any(run.model.features != 2 for run in runs.values()):
        raise UsageError("maf-plot samples: only images and points in the plane have a picture")
    drawn = {
        title: run.draw_samples(options.n, seed=options.seed)[0] for title, run in runs.items()
    }
    if space is None:
        points = {title: (drawn[title], run.log_prob) for title, run in runs.items()}
        return lambda path: pictures.scatters(path, points)
    grids = {}
    try:
        test = first.data(options.raw_dir, options.prepared_dir).test
        grids[f"{first.record.dataset}, test"] = space.to_pictures(test.x[: options.n])
    except DataError as error:
        print(f"maf-plot: no real images beside them: {error}", file=sys.stderr)
    grids |= {title: space.to_pictures(rows) for title, rows in drawn.items()}
    columns = max(run.grid_columns(options.n) for run in runs.values())
    return lambda path: pictures.sample_grids(path, grids, columns)


def _density(options: argparse.Namespace) -> Callable[[Path], None]:
    from maf_runner.reporting.plots import pictures

    runs = _loaded(options)
    if any(run.model.features != 2 for run in runs.values()):
        raise UsageError("maf-plot density: only data with two features have a picture")
    rows: dict[tuple[str, str], pictures.Learned] = {}
    for title, run in runs.items():
        name = run.record.dataset
        data = name, run.record.data.fingerprint or str(run.folder.path)
        if data not in rows:
            points = run.data(options.raw_dir, options.prepared_dir).train.x
            rows[data] = pictures.Learned(name, points, {})
        # The dataset stands over the points already.
        rows[data].densities[title.replace(f" on {name}", "")] = run.log_prob
    return lambda path: pictures.densities(path, list(rows.values()))


if __name__ == "__main__":
    sys.exit(main())
