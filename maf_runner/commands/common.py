"""What the commands that use a trained model share."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maf_runner.datasets.tables import TableSpace
from maf_runner.errors import DataError, UsageError


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """An argument parser that takes a run folder and a class label."""
    made = argparse.ArgumentParser(prog=program, description=description)
    made.add_argument("run", type=Path, metavar="RUN", help="run folder, as maf-run prints it")
    made.add_argument("--label", type=int, metavar="Y", help="of a conditional model: this class")
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
    return None if table is None else TableSpace(**{k: tuple(v) for k, v in table.items()})


def class_prior(found: dict[str, Any]) -> list[float] | None:
    """The recorded run's prior of the classes; None for equal ones."""
    return found["data"].get("class_prior")


def check_label(label: int | None, found: dict[str, Any]) -> None:
    """Raise UsageError where ``label`` is no class of the recorded model."""
    classes = found["context"]
    if label is None:
        return
    if not classes:
        raise UsageError("--label: this model is not conditional")
    if not 0 <= label < classes:
        raise UsageError(f"--label must be a class from 0 to {classes - 1}, got {label}")
