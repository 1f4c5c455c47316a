"""The text of ``maf-run --help``; the options and their meaning come from the files in ``conf/``.

The files are read as text, since composing them with Hydra takes as long as a small run.
"""

import textwrap
from pathlib import Path

from maf_runner.experiment.groups import GROUPS
from maf_runner.experiment.presets import options

HEAD = """\
maf-run: experiments of "Masked Autoregressive Flow for Density Estimation"
(NeurIPS 2017).

usage   maf-run [GROUP=OPTION ...] [KEY=VALUE ...]
        maf-run model=made dataset=mnist      one experiment
        maf-run -m model=made,maf seed=0,1,2  every combination
        maf-table                             the results beside the paper's
        maf-plot WHAT RUN ..., maf-report     pictures; everything on one page
        maf-sample RUN, maf-score RUN FILE    use a trained model
        maf-export RUN                        for other programs, as ONNX
        maf-data list                         the datasets, and how to get them

The same command twice trains once: a finished run is reported, an interrupted
one goes on.
"""

TAIL = """\
SETTINGS MOST OFTEN CHANGED
  model.layers=10           MADEs or couplings in a flow
  model.size=0              one of the dataset's searched widths (default: last)
  model.hidden=[512,512]    widths of the hidden layers, instead of model.size
  model.conditional=true    given the class label
  trainer.max_epochs=100    stop there at the latest (null: no limit)
  seed=1                    initial weights and order of the batches
  device=cpu                auto, cpu, cuda, cuda:1, auto:1 (that GPU, in turn)
  engine=eager              how updates are computed: auto, native, eager
  threads=1                 CPU threads (null: by the width of the network)
  force=true                train anew although a finished run is there
  retry=true                train anew after an attempt that failed
  wait=true                 wait while another process is at the same run
  paths.results_dir=DIR     where runs and tables go (default ./results)
  paths.raw_dir=DIR         where the data files are (default ./data/raw, or
                            MAF_RUNNER_RAW_DIR)
  dataset.download=true     get the files of a dataset if there are none

See all settings of a run:  maf-run model=made --cfg job --resolve
More of Hydra:              maf-run --hydra-help
Shell completion:           eval "$(maf-run -sc install=bash)"
Exit codes: 0 done, 1 failed, 2 usage, 3 data missing or damaged, 4 diverged,
            129, 130, 143 interrupted
"""


def text(conf: Path) -> str:
    """The help, with each option of each group and the first line of its file."""
    parts = [HEAD]
    for name, group in GROUPS.items():
        parts.append(wrapped(f"{name}: ", group.meaning))
        for option in options(name, conf):
            comment = _comment(conf / name / f"{option}.yaml")
            parts.append(wrapped(f"  {option:<20} ", comment))
        parts.append("")
    return "\n".join([*parts, TAIL])


def wrapped(start: str, text: str) -> str:
    """``text`` behind ``start``, in lines of at most 80 letters."""
    return textwrap.fill(text, 80, initial_indent=start, subsequent_indent=" " * len(start))


def _comment(path: Path) -> str:
    """The first comment of a file that is not an instruction to Hydra."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line.removeprefix("# ")
    return ""
