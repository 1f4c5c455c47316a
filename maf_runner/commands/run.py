"""``maf-run``: the Hydra entry, and the one place that decides on exit codes.

0 done; 1 a bug, a failed job, a busy run, no room on the disk or in memory; 2 usage; 3 data; 4
diverged; 130 and 143 on SIGINT and SIGTERM. A sweep: 1 if any job failed or did not finish, else 4
if any diverged, else 0. The task itself never exits: Hydra would stop the remaining jobs.
"""

import math
import os
import sys
import traceback
from contextlib import redirect_stdout
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maf_runner import __version__
from maf_runner.commands import help
from maf_runner.commands.arguments import (
    DIVERGED,
    DONE,
    FAILED,
    USAGE,
    exit_code,
    without_numpy_warnings,
)
from maf_runner.experiment import overrides
from maf_runner.records import jobs as sweep
from maf_runner.system import parent, streams
from maf_runner.system.conf_path import CONF, OWN
from maf_runner.system.errors import USER_ERRORS, Interrupted
from maf_runner.system.interrupts import Interrupts
from maf_runner.system.text import plain_lines

CODES = {"failed": FAILED, "unfinished": FAILED, "diverged": DIVERGED}

_interrupts = Interrupts()  # of this process
_code = DONE  # of the job of this process, where there is but one
_sweep: Path | None = None  # its folder, in the process that gives out the jobs


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


# Here, not in main: processes that carry out jobs only import this module.
OmegaConf.register_new_resolver("absolute", _absolute, replace=True)


class SweepFolder(Callback):
    """Notes the folder in which the jobs of a sweep write their status files; minds the queue."""

    def on_multirun_start(self, config: DictConfig, **details: Any) -> None:
        """Called by Hydra before any job, in the process that gives them out."""
        global _sweep
        _sweep = Path(config.hydra.sweep.dir)
        if str(config.hydra.launcher.get("_target_")).endswith(".SlurmLauncher"):
            from maf_runner.commands import queue

            queue.watch()


def job(config: DictConfig) -> float:
    """One job; returns the validation log-likelihood in nats, -inf where there is none."""
    global _code
    hydra_config = HydraConfig.get()
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    parent.follow()
    if in_sweep:
        from maf_runner.system import logs  # not above: --help needs none of what it imports

        logs.warn_once()
    score, outcome, text, folder = -math.inf, "failed", "", ""
    without_numpy_warnings()
    try:
        overrides.check(hydra_config)
        from maf_runner.experiment import known

        with redirect_stdout(sys.stderr):  # what code from outside prints; ours is the folder
            record, run_folder, outcome = known.run_unless_finished(config)
        folder = str(run_folder.path)
        score, text = record.score, record.describe()
        _code = CODES.get(outcome, DONE)
    except Exception as error:  # kept, not raised: Hydra would print a report of its own
        _interrupts.act()
        if in_sweep:
            print(f"maf-run {' '.join(overrides.words(hydra_config))}:", file=sys.stderr)
        _code = _report(error)
        text = f"{error or type(error).__name__}"
    if in_sweep:
        words = overrides.words(hydra_config)
        place = Path(hydra_config.sweep.dir)
        try:
            sweep.Job(hydra_config.job.num, words, outcome, text, folder).write(place)
        except OSError as error:  # it stays what it was there: unfinished
            print(f"maf-run: {place} cannot be written ({error.strerror})", file=sys.stderr)
    elif folder:
        print(folder)
    return score


def main() -> int:
    """Run ``maf-run`` with the arguments of the process, and return its exit code."""
    streams.settle()
    return streams.finish("maf-run", _main())


def _main() -> int:
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help.text(CONF), end="")
        return DONE
    if "--version" in sys.argv[1:]:
        print(f"maf-run {__version__} (Hydra {hydra.__version__})")
        return DONE
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us, not to Hydra's report
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a folder of any name can be printed
    code = DONE
    sys.argv[1:] = overrides.flags_first(sys.argv[1:])
    OWN[:] = _config_dirs(sys.argv[1:])
    try:
        overrides.check_flags(sys.argv[1:])
        overrides.check_own(OWN)
        overrides.check_options(sys.argv[1:])
        sys.argv[1:] = overrides.of_several_datasets(sys.argv[1:])
        _register_plugins()
        with _interrupts:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
    except Interrupted as signal:
        print("maf-run: interrupted; the same command goes on from here", file=sys.stderr)
        return 128 + signal.signum
    except KeyboardInterrupt:
        return 130
    except (HydraException, OmegaConfBaseException) as error:
        print(f"maf-run: {overrides.explained(str(error), sys.argv[1:])}", file=sys.stderr)
        return USAGE
    except USER_ERRORS as error:
        return _report(error)
    except BrokenPipeError as error:
        return streams.lost_output("maf-run", error)
    except OSError as error:  # the folder of a sweep cannot be made
        print(
            f"maf-run: {error.filename} cannot be written ({error.strerror}): choose another "
            "folder with paths.results_dir=DIR",
            file=sys.stderr,
        )
        return USAGE
    except Exception as error:  # a launcher that lost its processes
        traceback.print_exception(error)
        code = FAILED
    closed = _close(_sweep) if _sweep else _code
    return code or closed


def _config_dirs(words: list[str]) -> list[Path]:
    """The folders that ``--config-dir`` names."""
    found = []
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            found.append(Path(value if equals else following).expanduser().absolute())
    return found


def _register_plugins() -> None:
    """Hydra looks into folders for plugins, and so misses those of an editable install."""
    plugins = Plugins.instance()
    from hydra_plugins.maf_runner_search import Search  # now: the search loads modules anew
    from hydra_plugins.maf_runner_stacked import Stacked

    plugins.register(Search)
    plugins.register(Stacked)


def _close(folder: Path) -> int:
    """Print folders and outcomes of the jobs of a sweep; return its exit code."""
    jobs = sweep.read(folder)
    for done in jobs:
        if done.folder:
            print(done.folder)
    print(sweep.closing_list(jobs), file=sys.stderr)
    codes = {CODES.get(done.outcome, DONE) for done in jobs}
    return FAILED if FAILED in codes else max(codes, default=DONE)


def _report(error: Exception) -> int:
    if not isinstance(error, USER_ERRORS):
        traceback.print_exception(error)
        return FAILED
    print(f"maf-run: {plain_lines(str(error))}", file=sys.stderr)
    return exit_code(error)
