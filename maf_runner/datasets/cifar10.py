"""CIFAR-10: 60,000 colour pictures of ten kinds of things, 32x32.

Source: ``cifar-10-python.tar.gz`` of Krizhevsky (no licence stated; cite Krizhevsky 2009,
"Learning Multiple Layers of Features from Tiny Images"): that archive, any other tar or zip of
its six members, the members themselves, or those in the authors' archive.

Preparation by the authors: of the 50,000 training pictures the first 45,000 train and the last
5,000 validate; the 10,000 test pictures test; 3072 features, the red plane before green and blue.
(Pixel + noise) / 256 in float32, then the logit with alpha = 0.05, in float32 too. Then mirrored
copies of the training pictures are appended: 90,000 rows train.

Oddities kept: the noise is drawn once, not every epoch (unless the trainer draws fresh noise),
from one RandomState(42) in the order train, validation, test, and cast to float32; pictures are
mirrored after the noise, so a picture and its mirror share it; the logit has float32 precision
only.

These are the very pictures and the very noise of the authors, so their origin is ``authors``.
"""

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import Paths, Rows, Splits
from maf_runner.datasets.preparation import store
from maf_runner.datasets.preparation.download import Download
from maf_runner.datasets.preparation.preparation import MB, Preparation, Variant
from maf_runner.datasets.spaces.images import LogitSpace, in_chunks
from maf_runner.datasets.untrusted import pickles
from maf_runner.datasets.untrusted.archives import Files
from maf_runner.system.errors import DataError

MEMBERS = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
VALIDATION = 5000


def load(*, paths: Paths, alpha: float, download: bool) -> Splits:
    """Load CIFAR-10.

    Args:
        paths: of raw and prepared files.
        alpha: distance from 0 and 1 before the logit is taken.
        download: download the archive if it is missing.

    Raises:
        DataError: the raw files are missing or damaged.
    """
    return store.load(PREPARATION, paths, download=download, alpha=alpha)


def from_batches(files: Files, *, alpha: float) -> Splits:
    """From the six pickles; takes about 2 GB of memory."""
    batches = [read_batch(files, name) for name in MEMBERS]
    pictures = np.concatenate([data for data, _ in batches[:-1]])
    labels = np.concatenate([labels for _, labels in batches[:-1]])
    space = LogitSpace((3, 32, 32), levels=256, alpha=alpha)
    rng = np.random.RandomState(42)
    end = len(pictures) - VALIDATION

    def rows(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Rows:
        x = in_chunks(pixels, lambda part: space.to_logits(dequantise(part, rng)))
        return Rows(x, labels)

    train = rows(pictures[:end], labels[:end])
    mirrored = train.x.reshape(-1, 3, 32, 32)[..., ::-1].reshape(end, -1)
    return Splits(
        train=Rows(np.concatenate([train.x, mirrored]), np.concatenate([labels[:end]] * 2)),
        validation=rows(pictures[end:], labels[end:]),
        test=rows(*batches[-1]),
        origin="",
        classes=10,
        image=space,
    )


def dequantise(pixels: NDArray[np.uint8], rng: np.random.RandomState) -> NDArray[np.float32]:
    """Fill the steps between colour levels with noise: [N, 3072] in [0, 1), float32."""
    noise = rng.rand(*pixels.shape).astype(np.float32)
    noise += pixels
    noise /= np.float32(256)
    return noise


def read_batch(files: Files, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures [10000, 3072] and labels [10000] of one of the pickles.

    Raises:
        DataError: it holds something else.
    """
    where = files.names(name)[0]
    value = pickles.load(files.read(name), where)
    data = value.get(b"data") if isinstance(value, dict) else None
    labels = value.get(b"labels") if isinstance(value, dict) else None
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape != (10000, 3072)
        or not isinstance(labels, list)
        or len(labels) != 10000
        or not all(isinstance(y, int) and 0 <= y < 10 for y in labels)
    ):
        raise DataError(
            f"{where} should hold bytes of shape [10000, 3072] and as many labels from 0 to 9"
        )
    return data, np.array(labels, dtype=np.int64)


PREPARATION = Preparation(
    name="cifar10",
    version=1,
    features=3072,
    rows=(90000, 5000, 10000),
    variants=(Variant("authors", dict.fromkeys(MEMBERS, 64 * MB), from_batches),),
    downloads=(
        Download(
            path="cifar10/cifar-10-python.tar.gz",
            urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            checksum="md5:c58f30108f718f92721af3b95e74349a",
            size=170498071,
        ),
    ),
    manual="cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated",
    cite="Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images",
    options={"alpha": 0.05},
    means={"authors": (-0.097890240, -0.099516171, -0.083229445)},
)
