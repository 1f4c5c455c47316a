"""What a recipe says of a dataset: its size, its files, where they come from, whom to thank."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from maf_runner.datasets.base import Splits
from maf_runner.datasets.fetch import Download

MB = 1 << 20


@dataclass(frozen=True)
class Variant:
    """One way to make the dataset.

    Attributes:
        recipe: ``authors``, ``raw`` or ``redrawn``, see `Splits`.
        limits: the files it needs, with the bytes each may have; see `sources.find`.
        make: from `sources.Files` and the recipe's options to `Splits`. Its files come from
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
        authors: SHA-256 of the authors' float32 arrays, by split, where they are known.
        means: over all entries of the three splits, by recipe and with the preset's options,
            where they are known.
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
    authors: Mapping[str, str] = field(default_factory=dict)
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
