"""``maf-run``: the Hydra entry, and the one place that decides on exit codes.

0 done; 1 a bug, a failed job or a busy run; 2 usage; 3 data; 4 diverged; 130 and 143 on SIGINT
and SIGTERM. A sweep: 1 if any job failed, else 4 if any diverged, else 0. The task itself never
exits: Hydra would stop the remaining jobs of a sweep.
"""

import math
import os
import re
import sys
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maf_runner import __version__, help
from maf_runner.conf_path import CONF
from maf_runner.errors import BusyError, DataError, Interrupted, UsageError, suggestion

DONE, FAILED, USAGE, DATA, DIVERGED = 0, 1, 2, 3, 4

USER_ERRORS = (UsageError, DataError, BusyError)
_statuses: list[str] = []  # of the jobs of this process
_errors: list[Exception] = []  # why jobs failed
_in_sweep = False


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _task(config: DictConfig) -> float:
    """One job; returns the validation log-likelihood in nats, -inf where there is none."""
    global _in_sweep
    _in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        _check_choices()
        from maf_runner.run import run  # torch comes in here, not before

        result = run(config)
    except Exception as error:  # kept, not raised: Hydra would print a report of its own
        _errors.append(error)
        if _in_sweep:
            print(f"maf-run {' '.join(HydraConfig.get().overrides.task)}:", file=sys.stderr)
            _report(error)
        return -math.inf
    _statuses.append(result.status)
    print(result.folder.path)
    return result.score


def _check_choices() -> None:
    """Refuse choices of a group that Hydra lets pass, and names that belong to another option."""
    hydra_config = HydraConfig.get()
    for group in ("dataset", "model", "trainer"):
        choice = hydra_config.runtime.choices.get(group)
        named = [o for o in hydra_config.overrides.task if o.lstrip("+~").startswith(f"{group}=")]
        if not isinstance(choice, str) or any(o.partition("=")[2][:1] in "[{" for o in named):
            raise UsageError(f"{group} must name one option{suggestion('', _options(group))}")
        for override in hydra_config.overrides.task:
            if override.lstrip("+").startswith(f"{group}.name=") and choice != "file":
                raise UsageError(f"{group}.name belongs to {group}={choice} and cannot be changed")


def main() -> int:
    """Run ``maf-run`` with the arguments of the process, and return its exit code."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help.text(CONF), end="")
        return DONE
    if "--version" in sys.argv[1:]:
        print(f"maf-run {__version__} (Hydra {hydra.__version__})")
        return DONE
    OmegaConf.register_new_resolver("absolute", _absolute, replace=True)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us, not to Hydra's report
    try:
        _task()
    except Interrupted as signal:
        print("maf-run: interrupted; the same command goes on from here", file=sys.stderr)
        return 128 + signal.signum
    except KeyboardInterrupt:
        return 130
    except (HydraException, OmegaConfBaseException) as error:
        print(f"maf-run: {_explained(str(error))}", file=sys.stderr)
        return USAGE
    except OSError as error:  # Hydra's own folder for a sweep cannot be made
        print(f"maf-run: {error}", file=sys.stderr)
        return USAGE
    if _errors and not _in_sweep:
        return _report(_errors[0])
    if _errors or "failed" in _statuses:
        return FAILED
    return DIVERGED if "diverged" in _statuses else DONE


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _report(error: Exception) -> int:
    if not isinstance(error, USER_ERRORS):
        traceback.print_exception(error)
        return FAILED
    print(f"maf-run: {error}", file=sys.stderr)
    if isinstance(error, UsageError):
        return USAGE
    return DATA if isinstance(error, DataError) else FAILED


def _explained(message: str) -> str:
    """Hydra's message, with the near miss named."""
    option = re.search(r"Could not find '([^']+)'", message)
    if option:
        group, _, name = option[1].rpartition("/")
        return f"there is no {group}={name}{suggestion(name, _options(group))}"
    key = re.search(r"Could not override '([^']+)'", message)
    if key:
        if key[1] == "sweep":
            return f"a sweep is added: +sweep=NAME{suggestion('', _options('sweep'))}"
        known = [name for name in _settings(key[1]) if name != key[1]]
        return f"there is no setting {key[1]} here{suggestion(key[1], known)}"
    return message


def _options(group: str) -> list[str]:
    folder = CONF / group
    return [p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml")]


def _settings(key: str) -> list[str]:
    """The settings there are where ``key`` was looked for."""
    group, dot, _ = key.rpartition(".")
    if not dot:
        groups = [p.name for p in CONF.iterdir() if p.is_dir()]
        return [*groups, *_keys(CONF / "config.yaml")]
    files = (CONF / group).glob("**/*.yaml") if "/" not in group else []
    return sorted({f"{group}.{name}" for path in files for name in _keys(path)})


def _keys(path: Path) -> list[str]:
    return [str(k) for k in OmegaConf.load(path) if k not in ("defaults", "hydra", "_target_")]
