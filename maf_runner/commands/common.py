"""What the commands that use a trained model share."""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.spaces.table import TableSpace
from maf_runner.records import record
from maf_runner.system.errors import DataError, UsageError, suggestion

if TYPE_CHECKING:
    import numpy as np

    from maf_runner.datasets.base import Splits
    from maf_runner.flows.base import Density


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """An argument parser that takes a run folder and a class label."""
    made = argparse.ArgumentParser(prog=program, description=description)
    made.add_argument("run", type=Path, metavar="RUN", help="run folder, as maf-run prints it")
    made.add_argument(
        "--label",
        metavar="Y",
        help="of a conditional model: this class, of your own table as it stands there",
    )
    return made


def guarded(program: str, work: Callable[[], None]) -> int:
    """Do the work; turn errors the user can mend into a line and an exit code."""
    try:
        work()
    except UsageError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except DataError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 3
    return 0


def loaded(run: Path) -> tuple["Density", dict[str, Any]]:
    """The trained model of a run, and its record, which describes its data as it should.

    Raises:
        DataError: not a run folder, not finished, or damaged.
    """
    from maf_runner.experiment.trained import load_with_record

    model, found = load_with_record(run)
    try:
        image, table, prior = image_space(found), table_space(found), class_prior(found)
        if image is not None and math.prod(image.shape) != model.features:
            raise ValueError(f"no pictures of {model.features} values have shape {image.shape}")
        if table is not None and len(table.columns) != model.features:
            raise ValueError(f"there are {model.features} features and other columns")
        if len(classes(found)) != model.context and model.context:
            raise ValueError(f"there are {model.context} classes and other names of them")
        if prior is not None and not _is_prior(prior, model.context):
            raise ValueError(f"the prior is no share for each of {model.context} classes")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{run}: its record does not describe its data as it should ({error!s:.500})"
        ) from error
    return model, found


def _is_prior(prior: Any, classes: int) -> bool:
    ok = isinstance(prior, list) and (not classes or len(prior) == classes)
    return (
        ok and all(isinstance(p, (int, float)) and 0 <= p <= 1 for p in prior) and sum(prior) > 0
    )


def table_space(found: dict[str, Any]) -> TableSpace | None:
    """How the rows of the recorded run were made from a table; None if they were not."""
    table = found["data"].get("table")  # records of earlier versions have none
    if table is None:
        return None
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return TableSpace(**fields)


def image_space(found: dict[str, Any]) -> LogitSpace | None:
    """How the rows of the recorded run were made from pictures; None if they were not."""
    image = found["data"].get("image")
    if image is None:
        return None
    return LogitSpace(tuple(image["shape"]), levels=image["levels"], alpha=image["alpha"])


def class_prior(found: dict[str, Any]) -> list[float] | None:
    """The recorded run's prior of the classes; None for equal ones."""
    return found["data"].get("class_prior")


def classes(found: dict[str, Any]) -> list[Any]:
    """The classes of a conditional model, as the user's own table has them, or else 0, 1, ..."""
    table = table_space(found)  # records of earlier versions do not say
    return list(table.classes if table and table.classes else range(found["context"]))


def label_code(label: str | None, found: dict[str, Any]) -> int | None:
    """The place among the classes of the one that ``--label`` names; None without it.

    Raises:
        UsageError: it is no class of the recorded model.
    """
    if label is None:
        return None
    if not found["context"]:
        raise UsageError("--label: this model is not conditional")
    known = classes(found)
    for code, value in enumerate(known):
        if label in (str(value), json.dumps(value)):  # True or true
            return code
    if known == list(range(len(known))):
        raise UsageError(f"--label must be a class from 0 to {len(known) - 1}, got {label}")
    near = suggestion(label, [str(value) for value in known])
    raise UsageError(f"--label must be a class of this run, got {label!r}{near}")


def draw_samples(
    model: "Density", found: dict[str, Any], n: int, *, seed: int, label: int | None = None
) -> tuple["np.ndarray", list[int] | None]:
    """Draw ``n`` rows [n, D] of a trained model.

    Args:
        model: as loaded.
        found: its record.
        n: how many.
        seed: of the draw.
        label: of a conditional model: this class; None: each by its share, in ascending order.

    Returns:
        The rows, and the class of each for a conditional model.
    """
    import torch

    from maf_runner.experiment.evaluation import one_hot

    codes = context = None
    if model.context:
        spread = _spread(n, model.context, class_prior(found))
        codes = spread if label is None else torch.full((n,), label)
        context = one_hot(codes, model.context, model.reference.dtype)
    generator = torch.Generator().manual_seed(seed)
    rows = model.sample(n, context, generator).numpy()
    return rows, None if codes is None else codes.tolist()


def _spread(n: int, classes: int, prior: list[float] | None) -> Any:
    """Labels [n] in ascending order, each class by its share, up to rounding."""
    import torch

    if prior is None:
        return torch.arange(n) * classes // n
    shares = torch.tensor(prior, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(shares, (torch.arange(n, dtype=torch.float64) + 0.5) / n, right=True)


def grid_columns(n: int, found: dict[str, Any]) -> int:
    """Columns of a grid of ``n`` samples: square, or a line for each class."""
    if found["context"] and n % found["context"] == 0:
        return n // found["context"]
    return max(1, round(n**0.5))


def data_of(
    run: Path, found: dict[str, Any], raw: Path | None = None, prepared: Path | None = None
) -> "Splits":
    """The data of a run, from where it had them or from the folders given.

    Raises:
        DataError: they, or the run's settings, are missing or damaged.
    """
    import yaml  # type: ignore[import-untyped]
    from omegaconf import OmegaConf

    from maf_runner.experiment.run import load_splits
    from maf_runner.records.folder import RunFolder

    path = RunFolder(run).config
    try:
        text = path.read_text(encoding="utf-8")
        deep = 0
        for token in yaml.scan(text):  # one after another: what is nested deep takes forever
            deep += token.id in ("[", "{", "<block mapping start>", "<block sequence start>")
            deep -= token.id in ("]", "}", "<block end>")
            if isinstance(token, yaml.AliasToken) or deep > record.DEPTH:
                raise ValueError("it has aliases, or is nested deep, as no settings are")
        settings: Any = OmegaConf.to_container(OmegaConf.create(text))
        given = {"raw_dir": raw, "prepared_dir": prepared}
        settings["dataset"] |= {"download": False} if "download" in settings["dataset"] else {}
        settings["paths"] |= {k: str(v.absolute()) for k, v in given.items() if v is not None}
        splits = load_splits(settings)
    except (UsageError, DataError):
        raise
    except Exception as error:  # missing, no YAML, or not the settings of a run
        raise DataError(
            f"{path} does not say where the data of this run are ({error!s:.500})"
        ) from error
    if splits.fingerprint != found["data"].get("fingerprint"):
        print(f"{run}: the data here are not those it was trained on", file=sys.stderr)
    return splits
