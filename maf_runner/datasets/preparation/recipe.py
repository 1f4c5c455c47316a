"""What a recipe says of a dataset: its size, its files, where they come from, whom to thank."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from maf_runner.datasets.base import Splits
from maf_runner.datasets.preparation.download import Download

MB = 1 << 20


@dataclass(frozen=True)
class Variant:
    """One way to make the dataset.

    Attributes:
        recipe: ``authors``, ``raw`` or ``redrawn``, see `Splits`.
        limits: the files it needs, with the bytes they may have; see `archives.find`.
        make: from `archives.Files` and the recipe's options to `Splits`. Its files come from
            strangers: damage is answered by DataError, and nothing in them is executed.
    """

    recipe: str
    limits: Mapping[str, int]
    make: Callable[..., Splits]


@dataclass(frozen=True)
class Recipe:
    """A dataset of the paper.

    Attributes:
        name: also of its folder of raw files.
        version: raised when the arrays made by it change.
        features: D.
        rows: of the training, validation and test split.
        variants: in the order they are tried.
        downloads: what ``maf-data fetch`` gets.
        manual: files to get by hand instead, and from where.
        licence: under which the data may be used.
        cite: the source to cite.
        options: the authors', where the recipe has options; with others it is not theirs.
        means: over all entries of the three splits, by recipe and with these options, where
            they are known: by them other data of the same shape are found out.
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
    urls=(
        "doi:10.5281/zenodo.1161203/data.tar.gz",
        "https://zenodo.org/records/1161203/files/data.tar.gz?download=1",
    ),
    checksum="md5:9b9c9b0375315ad270eba4ce80c093ab",
    size=857 * MB,
)
