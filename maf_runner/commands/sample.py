"""``maf-sample``: draw from a trained model, into files and pictures."""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.commands.arguments import guarded, of_a_run
from maf_runner.system import atomic, shortage
from maf_runner.system.errors import DataError, UsageError

if TYPE_CHECKING:
    from maf_runner.experiment.trained import TrainedRun


def main(argv: list[str] | None = None) -> int:
    """Write samples of a run; return the exit code."""
    return guarded("maf-sample", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    arguments = of_a_run("maf-sample", __doc__)
    arguments.add_argument("--n", type=int, default=64, help="number of samples (default 64)")
    arguments.add_argument(
        "--seed", type=int, default=0, help="seed of the random numbers (default 0)"
    )
    arguments.add_argument(
        "--out",
        type=Path,
        action="append",
        metavar="FILE",
        help=".npy or .csv: rows as the model sees them (images: logits; your own table: in its "
        "units); .png: a picture, of images or (standardised) points in the plane; may be "
        "given more than once (default: samples.npy, and samples.png where there can be one)",
    )
    arguments.add_argument(
        "--pixels", action="store_true", help="images: write pixels in [0, 1] instead of logits"
    )
    return arguments.parse_args(argv)


def _work(options: argparse.Namespace) -> None:
    if options.n < 1:
        raise UsageError(f"--n must be at least 1, got {options.n}")
    if not 0 <= options.seed < 2**63:
        raise UsageError(f"--seed must be a whole number of at least 0, got {options.seed}")
    for path in options.out or ():
        if path.suffix not in (".npy", ".csv", ".png"):
            raise UsageError(f"--out must end in .npy, .csv or .png, got {path}")
    from maf_runner.experiment.trained import TrainedRun

    run = TrainedRun.load(options.run)
    label = run.label_code(options.label)
    if options.pixels and run.image is None:
        raise UsageError("--pixels: this run's data are no images")
    drawable = run.image is not None or run.model.features == 2
    if not drawable and any(path.suffix == ".png" for path in options.out or ()):
        raise UsageError("--out .png: only images and points in the plane have a picture")

    needed = options.n * run.model.features * run.model.reference.itemsize
    shortage.require(needed, f"--n {options.n:,}", "draw fewer at once, each with another --seed")
    rows, codes = run.draw_samples(options.n, seed=options.seed, label=label)
    classes = run.classes
    labels = None if codes is None else [classes[code] for code in codes]
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        print(f"maf-sample: {bad} of {options.n} samples are not finite", file=sys.stderr)

    table = run.table
    header = [f"x{i + 1}" for i in range(rows.shape[1])] if table is None else [*table.columns]
    written = rows if table is None else table.to_table(rows)
    label_name = (table.label if table else None) or "label"
    if options.pixels and run.image is not None:
        written = run.image.to_unit(rows).astype(np.float32)
    files = options.out or [Path("samples.npy"), *([Path("samples.png")] if drawable else [])]
    for path in files:
        try:
            if path.suffix == ".png":
                _picture(path, rows, run)
            else:
                _write(path, written, header, labels, label_name)
        except UsageError as error:
            if options.out:
                raise
            print(f"maf-sample: no picture: {error}", file=sys.stderr)
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror})") from error
        print(path)


def _write(
    path: Path, rows: NDArray[Any], header: list[str], labels: list[Any] | None, label_name: str
) -> None:
    if path.suffix == ".npy":
        atomic.write_array(path, rows)
        return
    lines = rows.tolist()
    if labels is not None:
        header = [*header, label_name]
        lines = [[*line, y] for line, y in zip(lines, labels, strict=True)]
    text = io.StringIO()
    # Names in quotes are names even where they look like numbers.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([header, *lines])
    atomic.write(path, text.getvalue())


def _picture(path: Path, rows: NDArray[Any], run: "TrainedRun") -> None:
    from maf_runner.reporting.plots import pictures

    if run.image is not None:
        pictures.sample_grid(path, run.image.to_pictures(rows), run.grid_columns(len(rows)))
        return
    title = f"{run.record.model} on {run.record.dataset}"
    pictures.scatter(path, rows, run.log_prob, title=title)


if __name__ == "__main__":
    sys.exit(main())
