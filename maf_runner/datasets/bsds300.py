"""BSDS300: patches of 8x8 pixels from photographs.

Source: the Berkeley Segmentation Dataset (Martin et al. 2001; free for non-commercial research
and education), as ``BSDS300.hdf5`` of the authors' archive, which has the patches of Uria et al.
(NADE, JMLR 2016), or as the 200 training and 100 test pictures (``BSDS300-images.tgz``).

Preparation by Uria et al.: grey patches of 8x8 pixels at random places, uniform noise added,
divided by 256, the mean of the patch subtracted, the bottom-right pixel dropped, which the others
determine: 63 features in raster order; 1,000,000, 50,000 and 250,000 rows. The MAF authors used
them as they were stored, without scaling, and so does this.

Made from the pictures, their origin is ``redrawn``, since the places and the noise of the original
are not known. Here: pictures sorted by name, the first 180 for training, the last 20 for
validation; grey as Pillow's ``L`` (ITU-R 601); one RandomState(42), for each split in turn: the
pictures, then the places, then the noise.
"""

import io

import h5py
import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS, Paths, Rows, Splits
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.preparation import ARCHIVE, MB, Preparation, Variant
from maf_runner.datasets.untrusted import hdf5
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError

ROWS = 1000000, 50000, 250000
HDF5 = "BSDS300.hdf5"
TRAIN, TEST = "train/*.jpg", "test/*.jpg"
SIDE = 8
CHUNK = 50000  # patches cut at a time


def load(*, paths: Paths, download: bool) -> Splits:
    """Load BSDS300; see `store.load`."""
    return store.load(PREPARATION, paths, download=download)


def from_hdf5(files: Files) -> Splits:
    """From the authors' file, as stored."""
    name = files.names(HDF5)[0]
    try:
        with files.open(HDF5) as file, h5py.File(file, "r") as patches_file:
            found = hdf5.datasets(patches_file, SPLITS)
            train, validation, test = (
                Rows(np.asarray(found[split], dtype=np.float32)) for split in SPLITS
            )
    except (KeyError, OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} is not BSDS300's file: {error}") from error
    return Splits(train, validation, test, origin="")


def from_pictures(files: Files) -> Splits:
    """Cut patches from the pictures."""
    seen, unseen = pictures(files, TRAIN, 200), pictures(files, TEST, 100)
    rng = np.random.RandomState(42)
    train, validation, test = (
        Rows(patches(source, count, rng))
        for source, count in zip((seen[:180], seen[180:], unseen), ROWS, strict=True)
    )
    return Splits(train, validation, test, origin="")


def pictures(files: Files, pattern: str, count: int) -> list[NDArray[np.uint8]]:
    """Grey pictures [321, 481] or [481, 321], sorted by name.

    Raises:
        DataError: not ``count`` of them, or one that is damaged or of another size.
    """
    from PIL import Image, UnidentifiedImageError

    names = files.names(pattern)
    if len(names) != count:
        raise DataError(f"BSDS300 has {count} pictures {pattern}, found {len(names)}")
    result = []
    for index, name in enumerate(names):
        try:
            with Image.open(io.BytesIO(files.read(pattern, index)), formats=["JPEG"]) as picture:
                if sorted(picture.size) != [321, 481]:
                    raise DataError(f"{name} should have 321x481 pixels, has {picture.size}")
                result.append(np.asarray(picture.convert("L")))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise DataError(f"{name} is not a picture ({error})") from error
    return result


def patches(
    source: list[NDArray[np.uint8]], count: int, rng: np.random.RandomState
) -> NDArray[np.float32]:
    """Cut patches at random places and make rows [count, 63] of them."""
    size = source[0].size
    flat = np.concatenate([picture.ravel() for picture in source])
    widths = np.array([picture.shape[1] for picture in source])
    places = (321 - SIDE + 1) * (481 - SIDE + 1)
    chosen = rng.randint(len(source), size=count)
    row, column = np.divmod(rng.randint(places, size=count), widths[chosen] - SIDE + 1)
    corner = chosen * size + row * widths[chosen] + column
    inside = np.arange(SIDE)
    rows = np.empty((count, SIDE * SIDE - 1), dtype=np.float32)
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        lines = corner[part, None] + inside * widths[chosen[part], None]
        pixels = flat[lines[:, :, None] + inside].reshape(-1, SIDE * SIDE)
        unit = (pixels + rng.rand(*pixels.shape)) / 256
        rows[part] = (unit - unit.mean(axis=1, keepdims=True))[:, :-1]
    return rows


PREPARATION = Preparation(
    name="bsds300",
    version=1,
    features=63,
    rows=ROWS,
    variants=(
        Variant("authors", {HDF5: 1024 * MB}, from_hdf5),
        Variant("redrawn", {TRAIN: 64 * MB, TEST: 64 * MB}, from_pictures),
    ),
    downloads=(ARCHIVE,),
    manual="BSDS300-images.tgz from "
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/",
    licence="non-commercial research and education",
    cite="Martin et al. (2001), A database of human segmented natural images, ICCV",
    means={"redrawn": (1.12837e-05, 1.84471e-05, 1.20896e-05)},
)
