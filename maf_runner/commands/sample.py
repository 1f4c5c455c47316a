"""``maf-sample``: draw from a trained model, into files and pictures."""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.commands import given
from maf_runner.commands.arguments import Several, guarded, of_a_run
from maf_runner.commands.columns import FORMATS, Writer, of_one_type
from maf_runner.experiment import plugins
from maf_runner.experiment.sampling import Draws, draws, draws_given, encoded
from maf_runner.system import memory, output
from maf_runner.system.errors import UsageError

if TYPE_CHECKING:
    from maf_runner.experiment.trained import TrainedRun

PICTURE = ".png"
SHOWN = 10_000  # samples in a picture, at most
DIGITS = 19  # characters of a number in CSV, about
EXAMPLES = """\
classes, categories and names are written as the table has them, also texts that a spreadsheet
takes for formulas or a terminal for control characters.

examples:
  maf-sample RUN --n 1000                         a table: samples.csv; other data: samples.npy
  maf-sample RUN --n 1000 --out a.parquet --out a.png
  maf-sample RUN --given "rpm=1500,load=0.3"      of p(y | rpm, load)
  maf-sample RUN --given new.csv --n 100          100 for each row of new.csv
  maf-sample RUN1 RUN2 --n 1000                   each row of one of the runs, chosen at random
  maf-sample RUN --n 10000000 --out - | gzip > samples.csv.gz
"""


def main(argv: list[str] | None = None) -> int:
    """Write samples of a run; return the exit code."""
    return guarded("maf-sample", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    arguments = of_a_run("maf-sample", "Draw from a trained model.", EXAMPLES, several=True)
    arguments.add_argument(
        "--n",
        type=int,
        default=64,
        help="number of samples (default 64); with --given for each of its rows",
    )
    arguments.add_argument("--given", metavar="VALUES", action=Several, help=given.HELP)
    arguments.add_argument(
        "--seed", type=int, default=0, help="seed of the random numbers (default 0)"
    )
    arguments.add_argument(
        "--out",
        type=Path,
        action="append",
        metavar="FILE",
        help=".csv, .parquet, .npy or - (CSV to standard output): rows as the model sees them "
        "(images: logits; your own table: in its units, dequantised columns with "
        "the values of the table); .png: a picture, of images or (standardised) points in the "
        "plane; may be given more than once "
        "(default: samples.csv of your own table, else samples.npy, and samples.png where there "
        "can be one)",
    )
    arguments.add_argument(
        "--pixels", action="store_true", help="images: write pixels in [0, 1] instead of logits"
    )
    return arguments.parse_intermixed_args(argv)


def _work(options: argparse.Namespace) -> None:
    if options.n < 1:
        raise UsageError(f"--n must be at least 1, got {options.n}")
    if not 0 <= options.seed < 2**63:
        raise UsageError(f"--seed must be a whole number of at least 0, got {options.seed}")
    for path in options.out or ():
        output.keep_apart(path, *([Path(options.given)] if options.given else []))
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file in it")
        if path.suffix not in (*FORMATS, PICTURE) and not output.is_special(path):
            raise UsageError(f"--out must end in .csv, .parquet, .npy or .png, got {path}")
    from maf_runner.experiment.mixture import load_trained

    plugins.load(plugins.named(options.plugin))
    run = load_trained(options.run)
    label = run.label_code(options.label)
    conditions = given.given_rows(options.given, run)
    if options.pixels and run.image is None:
        raise UsageError("--pixels: this run's data are no images")
    drawable = (run.image is not None or run.model.features == 2) and conditions is None
    if not drawable and any(path.suffix == PICTURE for path in options.out or ()):
        raise UsageError("--out .png: only images and points in the plane have a picture")
    if any(path.suffix == ".npy" for path in options.out or ()):
        _refuse_texts(run)
    plain = Path("samples.csv" if run.table else "samples.npy")
    files = options.out or [plain, *([Path("samples.png")] if drawable else [])]
    count = options.n * (1 if conditions is None else len(conditions))
    _require_room(files, count, run)
    if conditions is None:
        drawn = draws(run, options.n, seed=options.seed, label=label, pixels=options.pixels)
    else:
        assert run.context is not None
        context = encoded(conditions, run.context, "--given")
        for text in run.context.beyond(conditions):
            print(f"maf-sample: outside of the training rows: {text}", file=sys.stderr)
        conditions = given.as_the_table_has_them(conditions, run.context)
        drawn = draws_given(run, conditions, context, options.n, seed=options.seed)
    shown = _write(run, drawn, count, [path for path in files if path.suffix != PICTURE])
    for path in files:
        if path.suffix == PICTURE:
            try:
                _picture(path, shown, run)
            except UsageError as error:
                if options.out:
                    raise
                print(f"maf-sample: no picture: {error}", file=sys.stderr)
                continue
        if not output.is_special(path):
            print(path)


def _write(
    run: "TrainedRun", drawn: Iterator[Draws], total: int, files: list[Path]
) -> NDArray[Any]:
    """Write ``total`` samples as they are drawn; returns the first of them, for a picture."""
    whole = run.table.whole_numbers if run.table else ()
    shown: list[NDArray[Any]] = []
    bad = count = 0
    with ExitStack() as stack:
        writers = {
            path: stack.enter_context(Writer(path, rows=total, quoted=True, whole=whole))
            for path in files
        }
        for part in drawn:
            bad += int((~np.isfinite(part.rows)).any(axis=1).sum())
            if count < SHOWN:
                shown.append(part.rows[: SHOWN - count])
            count += len(part.rows)
            classes = {name: of_one_type(own, run.classes) for name, own in part.classes.items()}
            for path, writer in writers.items():
                is_plain = path.suffix == ".npy"
                writer.write(part.values if is_plain else {**part.columns, **classes})
    if bad:
        print(f"maf-sample: {bad:,} of {total:,} samples are not finite", file=sys.stderr)
    return np.concatenate(shown)


def _refuse_texts(run: "TrainedRun") -> None:
    """Raise UsageError where a column of the samples has texts, which an array cannot hold."""
    table = run.table
    for name, known in zip(table.columns, table.categories, strict=False) if table else ():
        if any(isinstance(value, str) for value in known):
            raise UsageError(
                f"--out .npy: column {name!r} has texts, and an array holds numbers alone: write "
                ".csv or .parquet"
            )


def _require_room(files: list[Path], n: int, run: "TrainedRun") -> None:
    """Refuse, before the first sample, what the disk cannot hold.

    Raises:
        UsageError: there is less room.
    """
    numbers = n * run.model.features
    bytes_of = {".npy": 8 if run.table else 4, ".parquet": 2, ".csv": DIGITS // 2}
    needed: dict[Path, int] = {}
    for path in files:
        folder = path.absolute().parent
        if path.suffix in bytes_of and folder.is_dir() and (path.is_file() or not path.exists()):
            needed[folder] = needed.get(folder, 0) + numbers * bytes_of[path.suffix]
    for folder, size in needed.items():
        free = shutil.disk_usage(folder).free
        if size > free:
            raise UsageError(
                f"--n {n:,} needs about {memory.in_words(size)} in {folder}, and "
                f"{memory.in_words(free)} are free there: draw fewer, or write elsewhere"
            )


def _picture(path: Path, rows: NDArray[Any], run: "TrainedRun") -> None:
    from maf_runner.reporting.plots import pictures

    if run.image is not None:
        pictures.sample_grid(path, run.image.to_pictures(rows), run.grid_columns(len(rows)))
        return
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise UsageError("no sample is finite")
    title = f"{run.record.model} on {run.record.dataset}"
    pictures.scatter(path, pictures.Drawn(rows, run.log_prob), title=title)


if __name__ == "__main__":
    sys.exit(main())
