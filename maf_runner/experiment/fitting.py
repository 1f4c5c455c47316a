"""`maf_runner.fit`: a run on a DataFrame, by the road of ``maf-run``."""

import io
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from maf_runner.experiment import known, overrides, plugins, presets
from maf_runner.experiment.fitted import FittedDensity
from maf_runner.experiment.frames import categorical, source_of, table_of, used, write
from maf_runner.experiment.groups import BUILT, FILES, GROUPS, NODES
from maf_runner.experiment.settings import escaped
from maf_runner.experiment.trained import TrainedRun
from maf_runner.system import logs
from maf_runner.system.errors import DataError, Interrupted, UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FOLDER = "frames"  # under results_dir: the tables that were fitted
ONE_AT_A_TIME = threading.RLock()  # threads share torch's random numbers, warnings and stderr


def fit(
    data: "pd.DataFrame | np.ndarray",
    model: str | Mapping[str, Any] = "maf",
    *,
    context: str | int | Iterable[str | int] | None = None,
    label: str | int | None = None,
    results_dir: str | Path | None = None,
    config_dir: str | Path | None = None,
    quiet: bool = False,
    **settings: Any,
) -> FittedDensity:
    """Train a model on a table, or go on, or find it finished: as ``maf-run dataset=file``.

    The run has the same folder, record and settings as one of ``maf-run``. The same call again
    gives the finished run at once; one that was interrupted goes on. Calls in several threads wait
    for each other; processes train side by side.

    Args:
        data: a DataFrame, or an array [N, D] whose columns are named x0, x1, ... The index of a
            DataFrame is ignored. A Series is a table by its ``to_frame()``.
        model: one of the models, or a dict of its settings: ``{"name": "maf", "layers": 2}``. For
            one of your own give ``config_dir`` and ``plugins=["my_flows"]``.
        context: names of the columns that the model is given: p(the others | context). Names that
            are numbers may be given as numbers.
        label: name of the column with the classes. The model is given the class, unless
            ``model.conditional`` is false.
        results_dir: where runs are kept; None: the setting ``paths.results_dir``, ./results.
        config_dir: a folder with YAML files of your own, as ``maf-run --config-dir``.
        quiet: say nothing on standard error; the run's ``run.log`` has it all the same.
        settings: those of ``maf-run``: ``seed=1``; ``trainer="tuned"`` for an option of a group;
            ``trainer={"name": "tuned", "max_epochs": 20}`` for several settings of one; and with
            their full names ``**{"dataset.missing": "drop"}``.

    Raises:
        UsageError: impossible settings.
        DataError: data unfit, or the training left no model.
        BusyError: another process is at this run.
        ShortageError: no room on the disk or in memory; the same call goes on.
        KeyboardInterrupt: what was done is saved; the same call goes on.
    """
    if not isinstance(context, (str, int, Iterable, type(None))):
        raise UsageError(f"context must be names of columns, got {context!r}")
    for name, folder in {"results_dir": results_dir, "config_dir": config_dir}.items():
        if not isinstance(folder, (str, Path, type(None))):
            raise UsageError(f"{name} must be a folder, got {folder!r}")
    if context is None:
        context = ()
    groups = {"model": model, **settings}
    own = {
        "dataset.context": ([context] if isinstance(context, (str, int)) else _listed(context))
        or None,
        "dataset.label": label,
        "paths.results_dir": results_dir,
        "model.conditional": None if label is None else True,
    }
    with (
        ONE_AT_A_TIME,
        redirect_stderr(io.StringIO()) if quiet else nullcontext(),
        _as_it_was(),
        nullcontext() if config_dir is None else _beside(config_dir),
    ):
        config = _composed(groups, {k: v for k, v in own.items() if v is not None})
        plugins.require_unchanged(str(config[group].get("_target_")) for group in BUILT)
        file = _written(data, config)
        try:
            record, run, _ = known.run_unless_finished(config)
        except (DataError, UsageError) as error:
            said = str(error).replace(str(file), str(source_of(data)))
            raise type(error)(said) from None
        if not (record.finished or record.rows_not_finite):
            raise DataError(f"{run.path}: {record.describe()}")
        return FittedDensity(TrainedRun.load(run.path))


def _beside(folder: str | Path) -> AbstractContextManager[None]:
    """The options of the user's own in ``folder``.

    Raises:
        UsageError: there is no such folder, or what is in it cannot be.
    """
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise UsageError(f"there is no folder {path}; see config_dir")
    overrides.check_own([path])
    return presets.beside(path)


def _composed(groups: Mapping[str, Any], own: Mapping[str, Any]) -> DictConfig:
    """The configuration of ``maf-run dataset=file`` with these settings; it has no file yet.

    Raises:
        UsageError: an unknown option or setting, or one that cannot be changed.
    """
    choices, values = _sorted(groups)
    if twice := sorted(own.keys() & values.keys() - {"model.conditional"}):
        raise UsageError(f"{twice[0]} is given twice")
    options = [f"{group}={option}" for group, option in choices.items()]
    try:
        config = presets.composed("config", options)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(overrides.explained(str(error))) from None
    for key, value in {**own, **values}.items():
        try:
            OmegaConf.update(config, key, escaped(_plain(value)))
        except (AttributeError, KeyError):  # OmegaConf's, for a key that is not there
            said = overrides.explained(f"Could not override '{key}'", options)
            raise UsageError(said) from None
        except OmegaConfBaseException:
            raise UsageError(f"{key} cannot be {value!r:.100}") from None
    return config


def _sorted(groups: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The options of groups that are chosen, and the settings by their full names."""
    choices, values = {"dataset": "file"}, {}
    if groups["model"] is None:
        raise UsageError("model must be one of the models, or a dict of its settings, got None")
    for key, value in groups.items():
        if key not in GROUPS:
            values[key] = value
        elif key not in NODES and key != "debug":
            raise UsageError(f"{key} is for maf-run: fit carries out one run")
        elif isinstance(value, Mapping):
            named = dict(value)
            if key != "dataset" and "name" in named:
                choices[key] = named.pop("name")
            values |= {f"{key}.{name}": own for name, own in named.items()}
        elif key == "dataset":
            raise UsageError('the dataset is what is fitted: dataset={"name": ...} sets options')
        elif value is not None:
            choices[key] = value
    for key, name in choices.items():
        if not isinstance(name, str | int | float):
            raise UsageError(f"{key} must be the name of one of ours, got {name!r:.80}")
        if name not in presets.options(key):
            raise UsageError(overrides.explained(f"Could not find '{key}/{name}'"))
    for key in values:
        if key in {f"dataset.{name}" for name in FILES}:
            raise UsageError(f"{key}: the rows are those that are fitted")
        if key in {f"{group}.name" for group in BUILT if group != "dataset"}:
            group = key.partition(".")[0]
            raise UsageError(f"{key} cannot be changed: choose an option by {group}=...")
    return choices, values


def _plain(value: Any) -> Any:
    """A setting in plain containers: NumPy's numbers, tuples and paths are translated."""
    if isinstance(value, Mapping):
        return {name: _plain(own) for name, own in value.items()}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(own) for own in _listed(value)]
    return value


def _listed(values: Iterable[Any]) -> list[Any]:
    """The values in a list; of a set, whose order is another in each process, sorted."""
    return sorted(values, key=str) if isinstance(values, (set, frozenset)) else [*values]


def _written(data: Any, config: DictConfig) -> Path:
    """Write the table that the run takes into a file, and name it in ``config``."""
    source, node = source_of(data), config.dataset
    options: Any = OmegaConf.to_container(node, resolve=True)
    with logs.console():
        table = used(table_of(data), options, source)
    file = write(table, Path(config.paths.results_dir).expanduser().absolute() / FOLDER, source)
    node.path, node.categorical = str(file), escaped(categorical(table, options))
    return file


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Leave the process as it was: threads and random numbers of torch, warnings, signals."""
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore", RuntimeWarning)  # what is not finite is reported
            yield
    except Interrupted as error:
        print("interrupted; the same call goes on from here", file=sys.stderr)
        if error.signum == signal.SIGINT:
            raise KeyboardInterrupt from None
        signal.raise_signal(error.signum)  # as if it came now: the end
        raise
    finally:
        torch.set_num_threads(threads)
