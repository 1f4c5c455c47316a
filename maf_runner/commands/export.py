"""``maf-export``: a trained model as a file for other programs."""

import argparse
import sys
from pathlib import Path

from maf_runner.commands.arguments import guarded, of_a_run
from maf_runner.experiment import plugins
from maf_runner.system import output
from maf_runner.system.errors import UsageError

ENDINGS = {"torch": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}
EXAMPLES = """\
programs take rows [N, D] and give their log densities [N] in nats, both float64. Rows are in the
units of your own table (a dequantised value plus half its step; a category is its code from 0,
plus 0.5, and a code that is none is not refused), logits for images; of a model
given the class it is log p(x), summed over the classes. A model given columns takes a context
[N, C] too, whose places are printed: numbers in the units of the table, categories one-hot, and
with dataset.missing=indicator a flag after each column: 1 where its value is missing (which is
then 0 in the other places), else 0. The record of the run is in every file.

examples:
  maf-export RUN --format torch                   model.pt2, for torch.export.load; where samples
                                                  take one pass also model_sample.pt2, from normal
                                                  noise [N, D] (and classes [N]) to rows
  maf-export RUN --format onnx --out maf.onnx     input rows, output log_prob
  maf-export RUN --format safetensors             model.safetensors, model.record.json beside it
"""


def main(argv: list[str] | None = None) -> int:
    """Write the model of a run; return the exit code."""
    return guarded("maf-export", lambda: _work(_options(argv)))


def _options(argv: list[str] | None) -> argparse.Namespace:
    about = "Write a trained model as a file for other programs."
    arguments = of_a_run("maf-export", about, EXAMPLES, label=False)
    arguments.add_argument(
        "--format",
        choices=ENDINGS,
        required=True,
        help="torch: a program of torch.export; onnx: for ONNX runtimes; safetensors: the "
        "parameters alone. The last two need the extra export",
    )
    arguments.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="a name with the ending of the format: .pt2, .onnx or .safetensors; - is standard "
        "output, which takes the first file alone (default: model with that ending)",
    )
    return arguments.parse_args(argv)


def _work(options: argparse.Namespace) -> None:
    ending = ENDINGS[options.format]
    out: Path = options.out or Path(f"model{ending}")
    if out.is_dir():
        raise UsageError(f"{out} is a folder: name a file in it")
    special = out == output.STDOUT or (out.exists() and not out.is_file())
    if out.suffix != ending and not special:
        raise UsageError(f"--out must end in {ending} for --format {options.format}, got {out}")
    from maf_runner.experiment import export
    from maf_runner.experiment.trained import TrainedRun

    plugins.load(plugins.named(options.plugin))
    run = TrainedRun.load(options.run)
    make = {
        "torch": export.torch_program,
        "onnx": export.onnx_program,
        "safetensors": export.safetensors,
    }
    _write(out, make[options.format](run))
    if run.context is not None and options.format != "safetensors":
        places = [place for column in run.context.columns for place in column.places]
        print(f"context [N, {len(places)}]: {', '.join(places)}", file=sys.stderr)
    if special:
        return
    if options.format == "safetensors":
        _write(out.with_suffix(".record.json"), export.record_text(run).encode())
    if options.format == "torch":
        try:
            sampler = export.torch_sampler(run)
        except UsageError as error:
            print(f"maf-export: {error}", file=sys.stderr)
        else:
            _write(out.with_stem(f"{out.stem}_sample"), sampler)


def _write(path: Path, content: bytes) -> None:
    output.write(path, content)
    if path != output.STDOUT and path.is_file():
        print(path)


if __name__ == "__main__":
    sys.exit(main())
