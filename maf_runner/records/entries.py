"""Finds records, and reads what lies beside them: learning curve, densities of rows, a picture."""

import csv
import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maf_runner.records.checks import LARGEST as LARGEST_FIGURE
from maf_runner.records.checks import is_figure
from maf_runner.records.folder import (
    DENSITY,
    HISTORY,
    RECORD,
    TEST_NATS,
    VALIDATION_NATS,
    RunFolder,
    run_folders,
)
from maf_runner.records.record import Record, UnreadableRecordError
from maf_runner.system import reading
from maf_runner.system.errors import DataError, UsageError

LARGEST = 64 * reading.MB  # bytes of a picture or a learning curve
NATS = {"test": TEST_NATS, "validation": VALIDATION_NATS}
HINT = "One experiment makes one, for example: maf-run model=gaussian dataset=digits"


def record_of_model(folder: RunFolder) -> Record:
    """The record of a run that has a trained model.

    Raises:
        DataError: the folder is none of a run, or the run is not finished or has no model.
    """
    record = record_in(folder)
    if not record.finished and not record.rows_not_finite:
        raise DataError(
            f"{folder.path}: the run has no trained model, its status is {record.status}"
        )
    return record


def record_in(folder: RunFolder) -> Record:
    """The record of a run that has ended.

    Raises:
        DataError: the folder is none of a run, the run has not ended, or its record is damaged.
    """
    if not folder.record.is_file():
        state = "is not finished" if folder.last.exists() else "is not a run folder"
        raise DataError(
            f"{folder.path} {state}: it has no {folder.record.name}. Give the folder that maf-run "
            "prints, of a run that has ended"
        )
    return Record.read(folder.record)


def place(name: str | Path, results: Path) -> Path:
    """Where a run lies that is named by its folder, or by its run id or the beginning of one.

    Of a run whose folder is not under ``results`` it is the compact record, if that is there.
    A name that can be no run id comes back as it is.

    Raises:
        UsageError: no run has an id that begins so, or several have.
    """
    path = Path(name)
    if path.exists() or not re.fullmatch("[0-9a-f]{1,12}", str(name)):
        return path
    folders = [p for p in (results / "runs").glob(f"*/*/{name}*") if p.is_dir()]
    found = folders or list((results / "records").glob(f"**/{name}*.json"))
    if len(found) != 1:
        raise not_named(name, len(found))
    return found[0]


def not_named(name: str | Path, runs: int = 0) -> UsageError:
    """The error of a name that is no folder, and the beginning of the ids of so many runs."""
    many = f"{runs} runs have ids that begin so" if runs else "no run has this id"
    return UsageError(f"{name}: no such folder, and {many}; maf-table runs lists them")


def find(results: Path, *, shipped: bool = True) -> tuple[list[Record], list[str]]:
    """Read every record under ``results``.

    Looks at ``runs/*/*/*/record.json`` (run folders) and, if ``shipped``, at ``records/**/*.json``
    (compact records kept under version control). The same run in both places counts once.

    Returns:
        The records, and a complaint for each file that was left out.
    """
    own = [folder.record for folder in run_folders(results)]
    return read([*own, *(shipped_records(results) if shipped else ())])


def shipped_records(results: Path) -> list[Path]:
    """The compact records under ``results``."""
    return sorted((results / "records").glob("**/*.json"))


def read(paths: list[Path]) -> tuple[list[Record], list[str]]:
    """Read the records ``paths``: run folders, or files; the same run twice counts once.

    Of several records of one run the first that is finished is kept, else the first.

    Returns:
        The records, and a complaint for each that was left out.
    """
    records: dict[tuple[str, str], Record] = {}
    complaints = []
    for path in paths:
        try:
            record = Record.read(path / RECORD if path.is_dir() else path)
        except UnreadableRecordError as error:
            complaints.append(f"left out: {error}")
            continue
        key = record.run_id, str(record.data.fingerprint)
        if key not in records or (record.finished and not records[key].finished):
            records[key] = record
    return list(records.values()), complaints


def picture(record: Record) -> bytes | None:
    """The picture of the density that a run on points in the plane keeps, a PNG; or None."""
    path = _beside(record, DENSITY)
    try:
        if path is None or path.suffix != ".png":
            return None
        with reading.opened(path, LARGEST) as file:
            content = file.read()
    except (OSError, reading.OddFileError):
        return None
    return content if content.startswith(b"\x89PNG\r\n") else None


def history(record: Record) -> dict[str, NDArray[np.float64]] | None:
    """The learning curve, a column for each quantity; None where none was kept.

    A validation that was not finite is NaN.

    Raises:
        UnreadableRecordError: it is damaged.
    """
    path = _beside(record, HISTORY)
    if path is None:
        return None
    try:
        rows = list(csv.DictReader(reading.read_text(path, LARGEST).splitlines()))
        curve = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
        nats = curve["validation_nats"]
        nats[~np.isfinite(nats)] = np.nan
        if not (abs(curve["epoch"]) < LARGEST_FIGURE).all() or np.isnan(nats).all():
            raise ValueError("an epoch in it, or every validation, is not finite")
        if (abs(nats) >= LARGEST_FIGURE).any():
            raise ValueError("a figure in it is too large")
    except (OSError, ValueError, TypeError, KeyError, IndexError, csv.Error) as error:
        raise UnreadableRecordError(f"{path} is no learning curve ({error!s:.200})") from error
    return curve


def row_nats(record: Record, split: str = "test") -> NDArray[np.float64] | None:
    """The log density in nats of each row [N] of a split; None where none were kept.

    Of a model given the class that is the class marginal. None also where the rows are weighted:
    the weights are not kept. Earlier versions kept the test rows only.

    Args:
        record: of the run.
        split: ``test`` or ``validation``.

    Raises:
        UnreadableRecordError: they are damaged, or not those of this record.
    """
    path = _beside(record, NATS[split])
    if path is None or record.weighted:
        return None
    try:
        with reading.opened(path) as file:
            nats = np.asarray(np.load(file, allow_pickle=False), dtype=np.float64)
    except Exception as error:  # numpy has many for a damaged header
        raise UnreadableRecordError(f"{path} cannot be read ({error!s:.200})") from error
    figures = record.test if split == "test" else record.validation
    name, counted = "log_likelihood", nats
    if split == "validation" and "marginal_log_likelihood" in figures:
        name = "marginal_log_likelihood"
    if "rows_not_finite" in figures:  # the record has the mean of the other rows alone
        name, counted = "log_likelihood_of_others", nats[np.isfinite(nats)]
    figure = figures.get(name, math.nan)
    if (
        nats.ndim != 1
        or not is_figure(figure)
        or not math.isclose(counted.mean(), figure, rel_tol=1e-5, abs_tol=1e-4)
    ):
        raise UnreadableRecordError(f"{path} does not hold the rows behind the record's figure")
    return nats


def _beside(record: Record, name: str) -> Path | None:
    """A file of the run: of this name in a run folder, with its ending beside a compact record."""
    file = record.file
    if file is None:
        return None
    if file.name == RECORD:
        path = file.with_name(name)
    else:
        path = file.with_suffix(
            ".validation.npy" if name == VALIDATION_NATS else Path(name).suffix
        )
    return path if path.is_file() else None
