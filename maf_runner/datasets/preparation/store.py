"""Prepared datasets: the arrays are made once from the raw files, and read from then on.

`prepared` says what the file holds, `making` how its arrays are made.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from maf_runner.datasets.base import Paths, Splits
from maf_runner.datasets.preparation.making import make
from maf_runner.datasets.preparation.preparation import Preparation
from maf_runner.datasets.preparation.prepared import (
    UnpreparedError,
    of_other_options,
    prepared_path,
    read,
    write,
)
from maf_runner.datasets.untrusted import archives
from maf_runner.system import shortage
from maf_runner.system.locks import alone

log = logging.getLogger("maf_runner")
_writes = ContextVar("writes", default=True)  # whether prepared files are written


@contextmanager
def without_writing() -> Iterator[None]:
    """Inside, datasets are read, or made in memory; nothing is written or downloaded."""
    token = _writes.set(False)
    try:
        yield
    finally:
        _writes.reset(token)


def load(preparation: Preparation, paths: Paths, *, download: bool, **options: Any) -> Splits:
    """Load the splits of a dataset from its prepared file; make that file first if needed.

    Args:
        preparation: of the dataset.
        paths: of raw and prepared files.
        download: download the raw files if they are missing.
        options: of the preparation.

    Raises:
        DataError: the raw files are missing or damaged.
        UsageError: the arrays do not fit into memory.
    """
    needed = sum(preparation.rows) * preparation.features * np.dtype(np.float32).itemsize
    shortage.require(needed, f"dataset={preparation.name}", "a machine with more is needed")
    try:
        return read(preparation, paths, options)
    except UnpreparedError:
        if not _writes.get():
            return make(preparation, paths.raw, **options)
        return prepare(preparation, paths, download=download, **options)


def prepare(
    preparation: Preparation,
    paths: Paths,
    *,
    download: bool = False,
    force: bool = False,
    **options: Any,
) -> Splits:
    """Make the splits from raw files and write the prepared file.

    If another process has just written it, it is read instead. A prepared file with other
    options is not overwritten. If the folder cannot be written to, the splits are returned
    without being saved.

    Args:
        preparation: of the dataset.
        paths: of raw and prepared files.
        download: download the raw files if they are missing.
        force: make the arrays even if a prepared file exists, and overwrite it.
        options: of the preparation.

    Raises:
        DataError: the raw files are missing or damaged.
    """
    has_files = (
        prepared_path(preparation, paths).exists()
        or archives.places(paths.raw, preparation.name)
        or archives.archives(paths.raw, preparation.name)
    )
    if not (has_files or download):
        return make(preparation, paths.raw, **options)  # raises, and creates no folder
    with _alone(paths.prepared, preparation.name) as may_write:
        if not force:
            try:
                return read(preparation, paths, options)
            except UnpreparedError as why:
                if str(why):
                    log.warning("%s. The arrays are made again", why)
        splits = make(preparation, paths.raw, download=download, mirror=paths.mirror, **options)
        path = prepared_path(preparation, paths)
        if may_write and (force or not of_other_options(path, options)):
            try:
                write(path, preparation, options, splits)
                log.info("prepared %s: %s", preparation.name, path)
            except (OSError, RuntimeError) as error:  # h5py raises the latter on a full disk
                log.warning(
                    "%s is not saved: %s cannot be written (%s)", preparation.name, path, error
                )
    return splits


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[bool]:
    """Be the only process that prepares ``name``; yields whether the folder is writable."""
    with ExitStack() as locks:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            waiting = f"waiting: another process is preparing {name}"
            locks.enter_context(alone(folder / f".{name}.lock", waiting))
        except OSError as error:
            log.warning("%s cannot be written (%s)", folder, error)
            yield False
            return
        for stale in folder.glob(f".{name}.h5.*.tmp"):  # left by processes that were killed
            stale.unlink(missing_ok=True)
        yield True
