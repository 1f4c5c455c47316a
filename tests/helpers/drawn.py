"""A small dataset, whose rows are drawn from the number in its one raw file."""

import numpy as np

from maf_runner.datasets.base import Paths, Rows, Splits
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.preparation import Preparation, Variant
from maf_runner.datasets.spaces.images import LogitSpace

ROWS = 40, 5, 6


def draw(files, *, alpha=0.1):
    """Rows that depend on the file's content and the option, with labels."""
    seed = int(files.read("raw.txt"))
    rng = np.random.default_rng(seed)
    parts = [
        Rows((alpha + rng.random((n, 4))).astype(np.float32), rng.integers(0, 3, n)) for n in ROWS
    ]
    return Splits(*parts, origin="", classes=3, image=LogitSpace((2, 2), 256, alpha))


PREPARATION = Preparation(
    name="drawn",
    version=1,
    features=4,
    rows=ROWS,
    variants=(Variant("raw", {"raw.txt": 100}, draw),),
    downloads=(),
    manual="raw.txt from nowhere",
    licence="none",
    cite="nobody",
)


def paths_in(folder):
    """Paths with the raw file in place."""
    (folder / "raw" / "drawn").mkdir(parents=True)
    (folder / "raw" / "drawn" / "raw.txt").write_text("7")
    return Paths(folder / "raw", folder / "prepared")


def load(paths, preparation=PREPARATION, **options):
    """Prepare or read it."""
    return store.load(preparation, paths, download=False, **{"alpha": 0.1, **options})
