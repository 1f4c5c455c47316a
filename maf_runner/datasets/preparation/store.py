"""Prepared datasets: arrays made once from the raw files, then read in the time a copy takes.

``<prepared>/<name>.h5`` holds ``train``, ``validation`` and ``test`` float32 [N, D], where there
are classes ``train_labels`` and so on, and attributes that say what it is: version of the recipe,
its options, the hashes of the files it was made from, statistics, and a fingerprint of the arrays
that is checked whenever they are read. It is written under another name and renamed when whole.
"""

import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS, Paths, Rows, Splits
from maf_runner.datasets.preparation.download import fetch
from maf_runner.datasets.preparation.recipe import Recipe
from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.untrusted import archives, hdf5
from maf_runner.system import atomic, shortage
from maf_runner.system.errors import DataError
from maf_runner.system.locks import alone

log = logging.getLogger("maf_runner")
FORMAT = 1  # of the file
ABOUT = ("name", "version", "options", "recipe", "sources", "classes", "image", "fingerprint")
# What reading a damaged file may raise.
DAMAGE = (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError)
TOLERANCE = 1e-5  # of a mean: how a logarithm is rounded differs between machines


class UnpreparedError(Exception):
    """There is no prepared file that could be used; the message says why, if there is one."""


def load(recipe: Recipe, paths: Paths, *, download: bool, **options: Any) -> Splits:
    """The splits of a dataset: as prepared, or prepared now.

    Args:
        recipe: which dataset.
        paths: of raw and prepared files.
        download: fetch the raw files if there are none.
        options: of the recipe.

    Raises:
        DataError: no raw files, or damaged ones.
        UsageError: more rows than the memory holds.
    """
    needed = sum(recipe.rows) * recipe.features * np.dtype(np.float32).itemsize
    shortage.require(needed, f"dataset={recipe.name}", "a machine with more is needed")
    try:
        return read(recipe, paths, options)
    except UnpreparedError:
        return prepare(recipe, paths, download=download, **options)


def prepare(
    recipe: Recipe, paths: Paths, *, download: bool = False, force: bool = False, **options: Any
) -> Splits:
    """Make the splits from raw files and keep them, unless another process has just done so.

    A prepared file of other options is left alone; then nothing is kept. So it is when the
    folder cannot be written to: the splits are given all the same.
    """
    there = (
        prepared_path(recipe, paths).exists()
        or archives.places(paths.raw, recipe.name)
        or archives.archives(paths.raw, recipe.name)
    )
    if not (there or download):
        return make(recipe, paths.raw, **options)  # which says what is missing; no folder is made
    with _alone(paths.prepared, recipe.name) as may_write:
        if not force:
            try:
                return read(recipe, paths, options)
            except UnpreparedError as why:
                if str(why):
                    log.warning("%s: making the arrays anew", why)
        splits = make(recipe, paths.raw, download=download, mirror=paths.mirror, **options)
        path = prepared_path(recipe, paths)
        if may_write and (force or not of_other_options(path, options)):
            try:
                write(path, recipe, options, splits)
                log.info("prepared %s: %s", recipe.name, path)
            except (OSError, RuntimeError) as error:  # the latter from h5py, on a full disk
                log.warning("%s is not kept: %s cannot be written (%s)", recipe.name, path, error)
    return splits


def make(
    recipe: Recipe,
    raw: Path,
    *,
    download: bool = False,
    mirror: str | None = None,
    **options: Any,
) -> Splits:
    """Make the splits from the first variant whose files are there.

    Raises:
        DataError: no raw files, or damaged ones, or such as give other arrays than is right.
    """
    missing: list[archives.MissingError] = []
    for attempt in (False, True) if download else (False,):
        if attempt:
            for wanted in recipe.downloads:
                fetch(wanted, raw, mirror=mirror)
        for variant in recipe.variants:
            try:
                with archives.find(raw, recipe.name, variant.limits) as files:
                    origin = sorted({n for p in variant.limits for n in files.names(p)[:1]})
                    log.info("preparing %s from %s", recipe.name, ", ".join(origin))
                    splits = variant.make(files, **options)
                    hashes = files.hashes()
            except archives.MissingError as error:
                missing.append(error)
                continue
            except (DataError, OSError) as error:
                raise DataError(
                    f"{recipe.name}: {error}. Replace or remove it. {how(recipe, raw)}"
                ) from error
            except Exception as error:  # files come from strangers, and hold almost anything
                raise DataError(
                    f"{recipe.name}: {', '.join(origin)} cannot be read ({error!s:.500}). Replace "
                    f"or remove it. {how(recipe, raw)}"
                ) from error
            check(recipe, splits, ", ".join(origin), raw)
            kind = _recipe(recipe, variant.recipe, splits, options, ", ".join(origin))
            return replace(splits, recipe=kind, sources=hashes)
    partly = [error for error in missing if error.found]
    told = f" ({partly[0]})" if partly else ""
    raise DataError(
        f"{recipe.name}: its files were not found{told}; looked in {raw / recipe.name} and "
        f"{raw / archives.AUTHORS_ARCHIVE}. {how(recipe, raw)}"
    )


def how(recipe: Recipe, raw: Path) -> str:
    """How to get the files of a dataset."""
    return (
        f"'maf-data fetch {recipe.name}' gets what is needed (or dataset.download=true); by hand, "
        f"put {recipe.manual} into {raw / recipe.name}. Files elsewhere: MAF_RUNNER_RAW_DIR=DIR, "
        "paths.raw_dir=DIR of maf-run, --raw-dir DIR of maf-data"
    )


def check(recipe: Recipe, splits: Splits, origin: str, raw: Path) -> None:
    """Raise DataError unless ``splits``, made from ``origin``, have the shapes they should."""
    parts = (splits.train, splits.validation, splits.test)
    found = [rows.x.shape for rows in parts]
    right = [(n, recipe.features) for n in recipe.rows]
    if found != right:
        raise DataError(
            f"{recipe.name}: {origin} is not the whole dataset, or not this one: it gives splits "
            f"of {_shapes(found)}, expected {_shapes(right)}. Replace or remove it. "
            f"{how(recipe, raw)}"
        )
    for name, rows in zip(SPLITS, parts, strict=True):
        if not np.isfinite(rows.x).all():
            raise DataError(
                f"{recipe.name}: {origin} gives values in the split {name} that are missing or "
                f"not finite. {how(recipe, raw)}"
            )


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(f"{n:,} x {d}" for n, d in shapes)


def _recipe(
    recipe: Recipe, kind: str, splits: Splits, options: Mapping[str, Any], origin: str
) -> str:
    """What the recipe is called, after a look at the arrays.

    Raises:
        DataError: they should be the authors', and are not.
    """
    if dict(recipe.options) != options:
        return "raw" if kind == "authors" else kind
    why = differs(recipe, "authors", splits)
    if kind == "authors" and why:
        raise DataError(f"{recipe.name}: {origin} is not this dataset: {why}")
    return "authors" if why == "" else kind


def differs(recipe: Recipe, kind: str, splits: Splits) -> str | None:
    """In what the means differ from those known of ``kind``; None where none are known."""
    means = recipe.means.get(kind)
    if means is None:
        return None
    for name, right in zip(SPLITS, means, strict=True):
        mean = statistics(getattr(splits, name).x)["mean"]
        if abs(mean - right) > TOLERANCE:
            return f"the mean of the split {name} should be {right:.6f}, and is {mean:.6f}"
    return ""


def prepared_path(recipe: Recipe, paths: Paths) -> Path:
    """Where the prepared file of a dataset is."""
    return paths.prepared / f"{recipe.name}.h5"


def write(path: Path, recipe: Recipe, options: dict[str, Any], splits: Splits) -> None:
    """Write a prepared file, atomically."""
    about = {
        "format": FORMAT,
        "name": recipe.name,
        "version": recipe.version,
        "options": options,
        "recipe": splits.recipe,
        "sources": splits.sources,
        "classes": splits.classes,
        "image": None if splits.image is None else asdict(splits.image),
        "fingerprint": splits.fingerprint,
        "statistics": {name: statistics(getattr(splits, name).x) for name in SPLITS},
    }

    size = sum(getattr(splits, name).x.nbytes + 16 * len(getattr(splits, name)) for name in SPLITS)

    def fill(temporary: Path) -> None:
        if hasattr(os, "posix_fallocate"):  # h5py can bring the process down when the disk fills
            with temporary.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size + (1 << 16))
        with h5py.File(temporary, "w") as file:
            # In the header itself: libhdf5 can search a damaged heap of strings forever.
            file.attrs["maf_runner"] = np.bytes_(json.dumps(about))
            for name in SPLITS:
                rows: Rows = getattr(splits, name)
                file.create_dataset(name, data=rows.x, **_compression(rows.x))
                if rows.labels is not None:
                    key = f"{name}_labels"
                    file.create_dataset(key, data=rows.labels, **_compression(rows.labels))

    atomic.write(path, fill)


def _compression(array: NDArray[Any]) -> dict[str, Any]:
    """Gzip where it halves the size: not for pixels with noise, but for labels."""
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


def about(path: Path) -> dict[str, Any]:
    """What a prepared file says of itself.

    Raises:
        UnpreparedError: it is missing (then without a message), damaged, or of another kind.
    """
    if not path.is_file():
        raise UnpreparedError
    try:
        with h5py.File(path, "r") as file:
            found = json.loads(file.attrs["maf_runner"])
        if found["format"] != FORMAT:
            raise UnpreparedError(
                f"{path} has format {found['format']!r:.50}, this version {FORMAT}"
            )
        for key in ABOUT:
            found[key]
    except DAMAGE as error:
        raise UnpreparedError(f"{path} is damaged, or not a prepared dataset ({error})") from error
    return found


def of_other_options(path: Path, options: dict[str, Any]) -> bool:
    """Whether a prepared file is there and was made with other options."""
    try:
        return about(path)["options"] != options
    except UnpreparedError:
        return False


def read(recipe: Recipe, paths: Paths, options: dict[str, Any]) -> Splits:
    """Read a prepared dataset; it takes no more memory than its arrays.

    Raises:
        UnpreparedError: it is not there, damaged, or of other options or another version.
    """
    path = prepared_path(recipe, paths)
    found = about(path)
    if (found["name"], found["version"]) != (recipe.name, recipe.version):
        raise UnpreparedError(f"{path} was made by another version of the recipe")
    if found["options"] != options:
        raise UnpreparedError(
            f"{path} was made with {found['options']!r:.200}, not {options}, and is left as it is"
        )
    try:
        image, classes = found["image"], found["classes"]
        if image is not None:
            image = LogitSpace(**{**image, "shape": tuple(image["shape"])})
        with h5py.File(path, "r") as file:
            train, validation, test = (
                _rows(file, name, (n, recipe.features), classes)
                for name, n in zip(SPLITS, recipe.rows, strict=True)
            )
        splits = Splits(
            train,
            validation,
            test,
            recipe=str(found["recipe"]),
            classes=classes,
            image=image,
            sources={str(name): str(digest) for name, digest in found["sources"].items()},
        )
        whole = splits.fingerprint == found["fingerprint"]
    except DAMAGE as error:
        raise UnpreparedError(f"{path} is damaged ({error})") from error
    if not whole:
        raise UnpreparedError(f"{path} is damaged (its fingerprint is wrong)")
    return splits


def _rows(file: h5py.File, name: str, shape: tuple[int, int], classes: int) -> Rows:
    """The rows of one split, and their labels where there are classes."""
    labelled = [f"{name}_labels"] if classes else []
    found = hdf5.datasets(file, [name, *labelled])
    x = found[name]
    if x.shape != shape or x.dtype != np.float32:
        raise ValueError(f"{name!r} holds {x.dtype} of shape {list(x.shape)}")
    labels = None
    for key in labelled:
        if found[key].shape != shape[:1] or found[key].dtype != np.int64:
            raise ValueError(f"{key!r} holds {found[key].dtype} of {list(found[key].shape)}")
        labels = found[key][()]
        if not ((labels >= 0) & (labels < classes)).all():
            raise ValueError(f"{key!r} holds other classes than {classes}")
    return Rows(x[()], labels)


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[bool]:
    """Be the only process that prepares ``name``; gives whether the folder can be written to."""
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            waiting = f"waiting: another process is preparing {name}"
            held.enter_context(alone(folder / f".{name}.lock", waiting))
        except OSError as error:
            log.warning("%s cannot be written (%s)", folder, error)
            yield False
            return
        for stale in folder.glob(f".{name}.h5.*.tmp"):  # of writers that were killed
            stale.unlink(missing_ok=True)
        yield True
