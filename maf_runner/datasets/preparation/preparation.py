"""How a dataset of the paper is prepared: raw files, their sources, and the steps to arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from maf_runner.datasets.base import Splits
from maf_runner.datasets.preparation.download import Download

MB = 1 << 20


@dataclass(frozen=True)
class Variant:
    """One way to make the arrays of a dataset.

    Attributes:
        origin: ``authors``, ``raw`` or ``redrawn``; see `Splits`.
        limits: for each raw file needed, the most bytes it may have; see `archives.find`.
        make: takes `archives.Files` and the options of the preparation, returns `Splits`. The
            files are not trusted: it raises DataError where they are damaged, and executes
            nothing in them.
    """

    origin: str
    limits: Mapping[str, int]
    make: Callable[..., Splits]


@dataclass(frozen=True)
class Preparation:
    """How the arrays of a dataset are made from raw files.

    Attributes:
        name: of the dataset, and of its folder of raw files.
        version: raised whenever the arrays change.
        features: D.
        rows: of the training, validation and test split.
        variants: the ways to make the arrays, tried in this order.
        downloads: the files that ``maf-data fetch`` downloads.
        manual: the files that can be downloaded by hand instead, and their source.
        licence: of the data.
        cite: the publication to cite.
        options: the authors' values of the options. With other values, the arrays are not
            the authors'.
        means: for each origin where they are known, the mean over all entries of each of the
            three splits, with the authors' options. They tell this dataset from other data of
            the same shape.
    """

    name: str
    version: int
    features: int
    rows: tuple[int, int, int]
    variants: tuple[Variant, ...]
    downloads: tuple[Download, ...]
    manual: str
    licence: str
    cite: str
    options: Mapping[str, Any] = field(default_factory=dict)
    means: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


ARCHIVE = Download(
    path="data.tar.gz",
    urls=("https://zenodo.org/records/1161203/files/data.tar.gz?download=1",),
    checksum="md5:9b9c9b0375315ad270eba4ce80c093ab",
    size=857 * MB,
)
