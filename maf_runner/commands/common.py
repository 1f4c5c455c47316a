"""What the commands that use a trained model share."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maf_runner.datasets.tables import TableSpace
from maf_runner.errors import DataError, UsageError, suggestion


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


def table_space(found: dict[str, Any]) -> TableSpace | None:
    """How the rows of the recorded run were made from a table; None if they were not."""
    table = found["data"].get("table")  # records of earlier versions have none
    if table is None:
        return None
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return TableSpace(**fields)


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
