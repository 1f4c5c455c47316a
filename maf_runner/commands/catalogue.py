"""The datasets of the paper: list them, show their state, download, prepare and verify them."""

import sys
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from maf_runner.datasets.base import Paths
from maf_runner.datasets.preparation import making, prepared, store
from maf_runner.datasets.preparation.download import fetch, is_there
from maf_runner.datasets.preparation.preparation import Preparation
from maf_runner.datasets.untrusted import archives
from maf_runner.experiment import presets
from maf_runner.experiment.settings import arguments, target
from maf_runner.system.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """The preparation of a dataset, and its options in the preset."""

    preparation: Preparation
    options: dict[str, Any]


def datasets() -> dict[str, Dataset]:
    """The datasets that have a preparation, by name."""
    known = {}
    for option in presets.options("dataset"):
        node = presets.settings("dataset", option)
        load = target("dataset", node)
        preparation = getattr(sys.modules[load.__module__], "PREPARATION", None)
        if preparation is not None:
            options = arguments("dataset", node, load)
            options.pop("download")
            known[preparation.name] = Dataset(preparation, options)
    return known


def overview(known: dict[str, Dataset], paths: Paths) -> str:
    """A table of all datasets with size and state, and their paths below it; reads no data."""
    lines, places, missing = [], [], []
    for name, dataset in known.items():
        preparation = dataset.preparation
        size = 4 * sum(preparation.rows) * preparation.features
        condition, where = state(dataset, paths)
        rows = " / ".join(f"{n:,}" for n in preparation.rows)
        lines.append([name, rows, preparation.features, f"{size / 1e6:,.0f} MB", condition])
        if condition == "missing":
            missing.append(name)
        else:
            places.append([name, where])
    headers = ["dataset", "rows: train / validation / test", "D", "size", "state"]
    align = ("left", "right", "right", "right", "left")
    parts = [tabulate(lines, headers, tablefmt="simple", colalign=align, disable_numparse=True)]
    if places:
        parts.append(tabulate(places, tablefmt="plain", disable_numparse=True))
    if missing:
        parts.append(
            f"Missing files are looked for in {paths.raw / '<dataset>'}. To get them: "
            f"maf-data fetch {' '.join(missing)}"
        )
    parts.append("digits and toy/… need no files.")
    return "\n\n".join(parts)


def state(dataset: Dataset, paths: Paths) -> tuple[str, str]:
    """The state of a dataset in one word, and its path or its error if any; reads no data."""
    preparation, name = dataset.preparation, dataset.preparation.name
    path = prepared.prepared_path(preparation, paths)
    try:
        header = prepared.read_header(path)
        if (header["version"], header["options"]) == (preparation.version, dataset.options):
            return "prepared", f"{path} ({header['recipe']})"
        return "outdated", f"{path}: maf-data prepare {name} --force"
    except prepared.UnpreparedError as why:
        if str(why):
            return "corrupt", str(why)
    for variant in preparation.variants:
        try:
            with archives.find(paths.raw, name, variant.limits, look_inside=False) as files:
                return "found", f"{files.names(next(iter(variant.limits)))[0]} ({variant.origin})"
        except archives.MissingError:
            continue
    packed = archives.archives(paths.raw, name)
    if packed:
        return "found", f"{packed[0]} (an archive, not opened yet)"
    return "missing", ""


def get(dataset: Dataset, paths: Paths) -> str:
    """Download the missing files; return their paths, the licence and the citation.

    Raises:
        DataError: a download fails, or a different file exists at its path.
    """
    preparation = dataset.preparation
    for download in preparation.downloads:
        fetch(download, paths.raw, mirror=paths.mirror)
    where = ", ".join(str(paths.raw / download.path) for download in preparation.downloads)
    return f"{where} (licence: {preparation.licence}; cite: {preparation.cite})"


def prepare(dataset: Dataset, paths: Paths, *, force: bool = False) -> str:
    """Make the arrays with the options of the preset, unless they exist; return their path.

    Raises:
        DataError: the raw files are missing or damaged, or the arrays cannot be saved.
    """
    path = prepared.prepared_path(dataset.preparation, paths)
    force = force or prepared.of_other_options(path, dataset.options)
    splits = store.prepare(dataset.preparation, paths, force=force, **dataset.options)
    if not path.is_file():
        raise DataError(f"{path} could not be written; the warning above says why")
    return f"{path} ({splits.origin})"


def verify(dataset: Dataset, paths: Paths) -> str:
    """Check the files that exist; return what was checked.

    Raises:
        DataError: files are missing, damaged or different from what they should be.
    """
    preparation = dataset.preparation
    checked = [
        f"{download.path} has the published checksum"
        for download in preparation.downloads
        if is_there(paths.raw / download.path, download.checksum)
    ]
    path = prepared.prepared_path(preparation, paths)
    try:
        splits = prepared.read(preparation, paths, dataset.options)
    except prepared.UnpreparedError as why:
        if str(why):
            raise DataError(
                f"{why}. Make it again: maf-data prepare {preparation.name} --force"
            ) from why
        if not checked:
            raise DataError(
                f"{preparation.name} is not prepared: {path} not found. Prepare it: "
                f"maf-data prepare {preparation.name}"
            ) from why
        return f"{'; '.join(checked)}; not prepared yet"
    making.check(preparation, splits, str(path), paths.raw)
    checked.append(f"{path} has the right row counts and fingerprint")
    difference = making.differs(preparation, splits.origin, splits)
    if difference:
        raise DataError(f"{path}: {difference}: the raw files are different, or damaged")
    if difference is not None:
        checked.append("the means agree with the known means")
    return f"{'; '.join(checked)} ({splits.origin})"
