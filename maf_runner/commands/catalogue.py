"""The datasets of the paper as they are here: which there are, in what state, and getting them."""

import sys
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from maf_runner.datasets.base import Paths
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.download import fetch, is_there
from maf_runner.datasets.preparation.recipe import Recipe
from maf_runner.datasets.untrusted import archives
from maf_runner.experiment import presets
from maf_runner.experiment.settings import arguments, target
from maf_runner.system.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """A recipe, and the options its preset gives it."""

    recipe: Recipe
    options: dict[str, Any]


def datasets() -> dict[str, Dataset]:
    """The datasets that have a recipe, by name."""
    known = {}
    for option in presets.options("dataset"):
        node = presets.settings("dataset", option)
        load = target("dataset", node)
        recipe = getattr(sys.modules[load.__module__], "RECIPE", None)
        if recipe is not None:
            options = arguments("dataset", node, load)
            options.pop("download")
            known[recipe.name] = Dataset(recipe, options)
    return known


def overview(known: dict[str, Dataset], paths: Paths) -> str:
    """A table of all datasets: size, state and place; reads no data."""
    lines = []
    for name, dataset in known.items():
        recipe = dataset.recipe
        size = 4 * sum(recipe.rows) * recipe.features
        condition, where = state(dataset, paths)
        rows = " / ".join(f"{n:,}" for n in recipe.rows)
        lines.append([name, rows, recipe.features, f"{size / 1e6:,.0f} MB", condition, where])
    headers = ["dataset", "rows: train / validation / test", "D", "size", "state", "where"]
    align = ("left", "right", "right", "right", "left", "left")
    table = tabulate(lines, headers, tablefmt="simple", colalign=align, disable_numparse=True)
    missing = [line[0] for line in lines if line[4] == "missing"]
    notes = ["", "digits and toy/… need no files."]
    if missing:
        notes.append(f"To get what is missing: maf-data fetch {' '.join(map(str, missing))}")
    return "\n".join([table, *notes])


def state(dataset: Dataset, paths: Paths) -> tuple[str, str]:
    """One word on a dataset, and where it is or what is wrong with it; reads no data."""
    recipe = dataset.recipe
    path = store.prepared_path(recipe, paths)
    try:
        found = store.about(path)
        if (found["version"], found["options"]) == (recipe.version, dataset.options):
            return "prepared", f"{path} ({found['recipe']})"
        return "outdated", f"{path}: maf-data prepare {recipe.name} --force"
    except store.UnpreparedError as why:
        if str(why):
            return "corrupt", str(why)
    for variant in recipe.variants:
        try:
            with archives.find(paths.raw, recipe.name, variant.limits, look_inside=False) as files:
                return "found", f"{files.names(next(iter(variant.limits)))[0]} ({variant.recipe})"
        except archives.MissingError:
            continue
    packed = archives.archives(paths.raw, recipe.name)
    if packed:
        return "found", f"{packed[0]} (an archive, not opened yet)"
    return "missing", f"not in {paths.raw / recipe.name}"


def get(dataset: Dataset, paths: Paths) -> str:
    """Download what is missing; returns the licence and what to cite.

    Raises:
        DataError: no address gives a file, or another file has its name.
    """
    recipe = dataset.recipe
    for download in recipe.downloads:
        fetch(download, paths.raw, mirror=paths.mirror)
    where = ", ".join(str(paths.raw / download.path) for download in recipe.downloads)
    return f"{where} (licence: {recipe.licence}; cite: {recipe.cite})"


def prepare(dataset: Dataset, paths: Paths, *, force: bool = False) -> str:
    """Make the arrays, with the preset's options, unless they are there; returns where they are.

    Raises:
        DataError: no raw files, or damaged ones; or the arrays could not be kept.
    """
    path = store.prepared_path(dataset.recipe, paths)
    force = force or store.of_other_options(path, dataset.options)
    splits = store.prepare(dataset.recipe, paths, force=force, **dataset.options)
    if not path.is_file():
        raise DataError(f"{path} is not there: see above")
    return f"{path} (recipe {splits.recipe})"


def verify(dataset: Dataset, paths: Paths) -> str:
    """Check what is there; returns what was checked.

    Raises:
        DataError: something is missing or not as it should be.
    """
    recipe = dataset.recipe
    checked = [
        f"{download.path} has the published checksum"
        for download in recipe.downloads
        if is_there(paths.raw / download.path, download.checksum)
    ]
    path = store.prepared_path(recipe, paths)
    try:
        splits = store.read(recipe, paths, dataset.options)
    except store.UnpreparedError as why:
        if str(why):
            raise DataError(f"{why}; maf-data prepare {recipe.name} --force") from why
        if not checked:
            raise DataError(
                f"{recipe.name} is not prepared: {path} not found. maf-data prepare {recipe.name}"
            ) from why
        return f"{'; '.join(checked)}; not prepared yet"
    store.check(recipe, splits, str(path), paths.raw)
    checked.append(f"{path} has its counts and its fingerprint")
    difference = store.differs(recipe, splits.recipe, splits)
    if difference:
        raise DataError(f"{path}: {difference}: the raw files are others, or damaged")
    if difference is not None:
        checked.append("the means are those known of the right arrays")
    return f"{'; '.join(checked)} (recipe {splits.recipe})"
