"""The prepared file of a dataset: how it is written, read and checked.

``<prepared>/<name>.h5`` holds ``train``, ``validation`` and ``test`` float32 [N, D] and, for a
dataset with classes, ``train_labels``, ``validation_labels`` and ``test_labels`` int64 [N]. Its
header is one JSON attribute: the version and options of the preparation, the origin of the arrays
(under the key ``recipe``), SHA-256 of the raw files, statistics, and a fingerprint of the arrays,
which is checked at every reading. The file is written under a temporary name and renamed when it
is complete.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS, Paths, Rows, Splits
from maf_runner.datasets.preparation.preparation import Preparation
from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.untrusted import hdf5
from maf_runner.system import atomic, reading

HEADER_FORMAT = 1  # raised when the layout of the file changes
HEADER_KEYS = (
    *("name", "version", "options", "recipe"),
    *("sources", "classes", "image", "fingerprint"),
)
# The exceptions that reading a damaged file may raise.
DAMAGE = (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError)


class UnpreparedError(Exception):
    """No prepared file can be used. The message says why; it is empty if there is no file."""


def prepared_path(preparation: Preparation, paths: Paths) -> Path:
    """The path of the prepared file of a dataset."""
    return paths.prepared / f"{preparation.name}.h5"


def write(path: Path, preparation: Preparation, options: dict[str, Any], splits: Splits) -> None:
    """Write a prepared file, atomically."""
    header = {
        "format": HEADER_FORMAT,
        "name": preparation.name,
        "version": preparation.version,
        "options": options,
        "recipe": splits.origin,
        "sources": splits.sources,
        "classes": splits.classes,
        "image": None if splits.image is None else splits.image.to_json(),
        "fingerprint": splits.fingerprint,
        "statistics": {name: statistics(getattr(splits, name).x) for name in SPLITS},
    }

    size = sum(getattr(splits, name).x.nbytes + 16 * len(getattr(splits, name)) for name in SPLITS)

    def fill(temporary: Path) -> None:
        if hasattr(os, "posix_fallocate"):  # on a full disk, h5py can crash the process
            with temporary.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size + (1 << 16))
        with h5py.File(temporary, "w") as file:
            # Bytes of fixed length: libhdf5 can search a damaged heap of strings forever.
            file.attrs["maf_runner"] = np.bytes_(json.dumps(header))
            for name in SPLITS:
                rows: Rows = getattr(splits, name)
                file.create_dataset(name, data=rows.x, **_compression(rows.x))
                if rows.labels is not None:
                    key = f"{name}_labels"
                    file.create_dataset(key, data=rows.labels, **_compression(rows.labels))

    atomic.write(path, fill)


def _compression(array: NDArray[Any]) -> dict[str, Any]:
    """Gzip, if it halves the size of the first MiB: true of labels, not of noisy pixels."""
    sample = np.ascontiguousarray(array[: max(1, (1 << 20) // max(1, array[:1].nbytes))])
    if len(zlib.compress(sample.data, 1)) > sample.nbytes / 2:
        return {}
    return {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def statistics(x: NDArray[np.float32]) -> dict[str, float]:
    """Mean, standard deviation, least and largest value of all entries, summed in float64."""
    total = squares = 0.0
    for start in range(0, len(x), 10000):
        part = x[start : start + 10000].astype(np.float64)
        total += float(part.sum())
        squares += float((part**2).sum())
    mean = total / x.size
    deviation = max(0.0, squares / x.size - mean**2) ** 0.5
    return {"mean": mean, "std": deviation, "min": float(x.min()), "max": float(x.max())}


def read_header(path: Path) -> dict[str, Any]:
    """The header of a prepared file, as `write` made it.

    Raises:
        UnpreparedError: the file is missing (then the message is empty) or damaged, or it has
            another format.
    """
    try:
        reading.opened(path).close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnpreparedError from error
    except reading.OddFileError as error:
        raise UnpreparedError(str(error)) from error
    try:
        with h5py.File(path, "r") as file:
            header = json.loads(file.attrs["maf_runner"])
        if header["format"] != HEADER_FORMAT:
            raise UnpreparedError(
                f"{path} has format {header['format']!r:.50}, "
                f"and this version reads format {HEADER_FORMAT}"
            )
        for key in HEADER_KEYS:
            header[key]
    except DAMAGE as error:
        _raise_if_out_of_reach(error, path)
        raise UnpreparedError(f"{path} is damaged, or not a prepared dataset ({error})") from error
    return header


def of_other_options(path: Path, options: dict[str, Any]) -> bool:
    """Whether a prepared file exists and was made with other options."""
    try:
        return read_header(path)["options"] != options
    except UnpreparedError:
        return False


def read(preparation: Preparation, paths: Paths, options: dict[str, Any]) -> Splits:
    """Read a prepared dataset. The memory needed is that of the arrays.

    Raises:
        UnpreparedError: the file is missing or damaged, or was made with other options or by
            another version.
    """
    path = prepared_path(preparation, paths)
    header = read_header(path)
    if (header["name"], header["version"]) != (preparation.name, preparation.version):
        raise UnpreparedError(f"{path} was made by another version of the preparation")
    if header["options"] != options:
        raise UnpreparedError(
            f"{path} was made with {header['options']!r:.200}, not {options}, and is left as it is"
        )
    try:
        image, classes = header["image"], header["classes"]
        if image is not None:
            image = LogitSpace.from_json(image)
        with h5py.File(path, "r") as file:
            train, validation, test = (
                _rows(file, name, (n, preparation.features), classes)
                for name, n in zip(SPLITS, preparation.rows, strict=True)
            )
        splits = Splits(
            train,
            validation,
            test,
            origin=str(header["recipe"]),
            classes=classes,
            image=image,
            sources={str(name): str(digest) for name, digest in header["sources"].items()},
        )
        intact = splits.fingerprint == header["fingerprint"]
    except DAMAGE as error:
        _raise_if_out_of_reach(error, path)
        raise UnpreparedError(f"{path} is damaged ({error})") from error
    if not intact:
        raise UnpreparedError(f"{path} is damaged (its fingerprint is wrong)")
    return splits


def _raise_if_out_of_reach(error: Exception, path: Path) -> None:
    """Raise the system's error where the file cannot be read now: it may be whole.

    Raises:
        OSError: of the system.
    """
    if (system := reading.out_of_reach(error)) is not None:
        system.filename = str(path)
        raise system from None


def _rows(file: h5py.File, name: str, shape: tuple[int, int], classes: int) -> Rows:
    """The rows of one split, with labels if the dataset has classes."""
    labelled = [f"{name}_labels"] if classes else []
    datasets = hdf5.datasets(file, [name, *labelled])
    x = datasets[name]
    if x.shape != shape or x.dtype != np.float32:
        raise ValueError(f"{name!r} holds {x.dtype} of shape {list(x.shape)}")
    labels = None
    for key in labelled:
        if datasets[key].shape != shape[:1] or datasets[key].dtype != np.int64:
            raise ValueError(f"{key!r} holds {datasets[key].dtype} of {list(datasets[key].shape)}")
        labels = datasets[key][()]
        if not ((labels >= 0) & (labels < classes)).all():
            raise ValueError(f"{key!r} holds labels that are not below {classes}")
    return Rows(x[()], labels)
