"""Make the splits of a dataset from its raw files, and check them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from maf_runner.datasets.base import SPLITS, Splits
from maf_runner.datasets.preparation.download import fetch
from maf_runner.datasets.preparation.preparation import Preparation, Variant
from maf_runner.datasets.preparation.prepared import statistics
from maf_runner.datasets.untrusted import archives
from maf_runner.system.errors import DataError

log = logging.getLogger("maf_runner")
MEAN_TOLERANCE = 1e-5  # machines round logarithms differently


def make(
    preparation: Preparation,
    raw: Path,
    *,
    download: bool = False,
    mirror: str | None = None,
    **options: Any,
) -> Splits:
    """Make the splits by the first variant whose raw files are present.

    Args:
        preparation: of the dataset.
        raw: the folder of raw data.
        download: download the raw files if no variant has all of its files.
        mirror: an address to try first; see `fetch`.
        options: of the preparation.

    Raises:
        DataError: the raw files are missing or damaged, or belong to another dataset.
    """
    missing: list[archives.MissingError] = []
    for after_download in (False, True) if download else (False,):
        if after_download:
            for wanted in preparation.downloads:
                fetch(wanted, raw, mirror=mirror)
        for variant in preparation.variants:
            try:
                return _by(variant, preparation, raw, options)
            except archives.MissingError as error:
                missing.append(error)
    partly = [error for error in missing if error.present]
    details = f" ({partly[0]})" if partly else ""
    raise DataError(
        f"{preparation.name}: its files were not found{details}. They were searched for in "
        f"{raw / preparation.name} and {raw / archives.AUTHORS_ARCHIVE}. {how(preparation, raw)}"
    )


def _by(
    variant: Variant, preparation: Preparation, raw: Path, options: Mapping[str, Any]
) -> Splits:
    """Make the splits by one variant.

    Raises:
        MissingError: not all of its raw files are present.
        DataError: they are damaged, or belong to another dataset.
    """
    name, sources = preparation.name, ""
    try:
        with archives.find(raw, name, variant.limits) as files:
            sources = ", ".join(sorted({n for p in variant.limits for n in files.names(p)[:1]}))
            log.info("preparing %s from %s", name, sources)
            splits = variant.make(files, **options)
            hashes = files.hashes()
    except archives.MissingError:
        raise
    except (DataError, OSError) as error:
        raise DataError(
            f"{name}: {error}. Replace or remove the file. {how(preparation, raw)}"
        ) from error
    except Exception as error:  # a hostile or damaged file can raise almost anything
        raise DataError(
            f"{name}: {sources} cannot be read ({error!s:.500}). Replace or remove the file. "
            f"{how(preparation, raw)}"
        ) from error
    check(preparation, splits, sources, raw)
    origin = _origin(preparation, variant, splits, options, sources)
    return replace(splits, origin=origin, sources=hashes)


def how(preparation: Preparation, raw: Path) -> str:
    """How a user gets the raw files of a dataset."""
    name = preparation.name
    return (
        f"To download what is needed: 'maf-data fetch {name}', or dataset.download=true. By hand: "
        f"put {preparation.manual} into {raw / name}. If the raw files are in another folder: "
        "MAF_RUNNER_RAW_DIR=DIR, or paths.raw_dir=DIR (maf-run), or --raw-dir DIR (maf-data)"
    )


def check(preparation: Preparation, splits: Splits, sources: str, raw: Path) -> None:
    """Raise DataError unless the splits have the right shapes and finite values.

    Args:
        preparation: of the dataset.
        splits: the arrays to check.
        sources: the files they were made from, for the message.
        raw: the folder of raw data, for the message.
    """
    parts = (splits.train, splits.validation, splits.test)
    shapes = [rows.x.shape for rows in parts]
    expected = [(n, preparation.features) for n in preparation.rows]
    if shapes != expected:
        raise DataError(
            f"{preparation.name}: {sources} is not the whole dataset, or is another dataset: it "
            f"gives splits of {_listed(shapes)}, expected {_listed(expected)}. Replace or remove "
            f"the file. {how(preparation, raw)}"
        )
    for name, rows in zip(SPLITS, parts, strict=True):
        if not np.isfinite(rows.x).all():
            raise DataError(
                f"{preparation.name}: {sources} gives values in the split {name} that are "
                f"missing or not finite. {how(preparation, raw)}"
            )


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(f"{n:,} x {d}" for n, d in shapes)


def _origin(
    preparation: Preparation,
    variant: Variant,
    splits: Splits,
    options: Mapping[str, Any],
    sources: str,
) -> str:
    """The origin of the splits: that of the variant, corrected by the options and the means.

    Raises:
        DataError: the variant should give the authors' arrays, and the means are different.
    """
    if dict(preparation.options) != options:
        return "raw" if variant.origin == "authors" else variant.origin
    difference = differs(preparation, "authors", splits)
    if variant.origin == "authors" and difference:
        raise DataError(f"{preparation.name}: {sources} is not this dataset: {difference}")
    return "authors" if difference == "" else variant.origin


def differs(preparation: Preparation, origin: str, splits: Splits) -> str | None:
    """How the means of the splits differ from the known means of the arrays of ``origin``.

    Returns:
        the first difference in words, empty if there is none; None if no means are known.
    """
    means = preparation.means.get(origin)
    if means is None:
        return None
    for name, expected in zip(SPLITS, means, strict=True):
        mean = statistics(getattr(splits, name).x)["mean"]
        if abs(mean - expected) > MEAN_TOLERANCE:
            return f"the mean of the split {name} should be {expected:.6f}, and is {mean:.6f}"
    return ""
