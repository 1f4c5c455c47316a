"""``maf-sample``: draw from a trained model, into files and pictures."""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maf_runner import atomic
from maf_runner.commands.common import (
    class_prior,
    classes,
    guarded,
    label_code,
    parser,
    table_space,
)
from maf_runner.datasets.images import LogitSpace
from maf_runner.errors import DataError, UsageError


def main(argv: list[str] | None = None) -> int:
    """Write samples of a run; return the exit code."""
    arguments = parser("maf-sample", __doc__)
    arguments.add_argument("--n", type=int, default=64, help="how many (default 64)")
    arguments.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
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
    options = arguments.parse_args(argv)
    return guarded("maf-sample", lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    if options.n < 1:
        raise UsageError(f"--n must be at least 1, got {options.n}")
    if not 0 <= options.seed < 2**63:
        raise UsageError(f"--seed must be a whole number of at least 0, got {options.seed}")
    for path in options.out or ():
        if path.suffix not in (".npy", ".csv", ".png"):
            raise UsageError(f"--out must end in .npy, .csv or .png, got {path}")
    from maf_runner.trained import load_with_record

    model, found = load_with_record(options.run)
    label = label_code(options.label, found)
    image = (found.get("data") or {}).get("image")
    if options.pixels and image is None:
        raise UsageError("--pixels: this run's data are no images")
    drawable = image is not None or found["features"] == 2
    if not drawable and any(path.suffix == ".png" for path in options.out or ()):
        raise UsageError("--out .png: only images and points in the plane have a picture")

    import torch

    from maf_runner.evaluation import one_hot

    labels = context = None
    if model.context:
        spread = _spread(options.n, model.context, class_prior(found))
        codes = spread if label is None else torch.full((options.n,), label)
        context = one_hot(codes, model.context, model.reference.dtype)
        known = classes(found)
        labels = [known[code] for code in codes.tolist()]
    generator = torch.Generator().manual_seed(options.seed)
    rows = model.sample(options.n, context, generator).numpy()
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        print(f"maf-sample: {bad} of {options.n} samples are not finite", file=sys.stderr)

    table = table_space(found)
    header = [f"x{i + 1}" for i in range(rows.shape[1])] if table is None else [*table.columns]
    written = rows if table is None else table.to_table(rows)
    label_name = (table.label if table else None) or "label"
    if options.pixels:
        written = _space(image).to_unit(rows).astype(np.float32)
    files = options.out or [Path("samples.npy"), *([Path("samples.png")] if drawable else [])]
    for path in files:
        try:
            if path.suffix == ".png":
                _picture(path, rows, found, model)
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


def _spread(n: int, classes: int, prior: list[float] | None) -> Any:
    """Labels [n] in ascending order, each class by its share, up to rounding."""
    import torch

    if prior is None:
        return torch.arange(n) * classes // n
    shares = torch.tensor(prior, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(shares, (torch.arange(n, dtype=torch.float64) + 0.5) / n, right=True)


def _space(image: Any) -> LogitSpace:
    return LogitSpace(tuple(image["shape"]), levels=image["levels"], alpha=image["alpha"])


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


def _picture(path: Path, rows: NDArray[Any], found: dict[str, Any], model: Any) -> None:
    from maf_runner.reporting import pictures

    image = found["data"]["image"]
    if image is not None:
        columns = max(1, round(len(rows) ** 0.5))
        if found["context"] and len(rows) % found["context"] == 0:
            columns = len(rows) // found["context"]  # a line for each class
        pictures.sample_grid(path, _space(image).to_pictures(rows), columns)
        return
    from maf_runner.evaluation import log_prob_function

    title = f"{found['model']} on {found['dataset']}"
    pictures.scatter(path, rows, log_prob_function(model, class_prior(found)), title=title)


if __name__ == "__main__":
    sys.exit(main())
