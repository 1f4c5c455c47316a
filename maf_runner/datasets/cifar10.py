"""CIFAR-10: 60,000 colour pictures of ten kinds of things, 32x32.

Source: ``cifar-10-python.tar.gz`` of Krizhevsky (no licence stated; cite Krizhevsky 2009,
"Learning Multiple Layers of Features from Tiny Images"), in ``<raw_dir>/cifar10/``: the archive
(gz, xz, bz2 or plain tar) or its six members.

Recipe of the authors: of the 50,000 training pictures the first 45,000 train and the last 5,000
validate; the 10,000 test pictures test; 3072 features, the red plane before green and blue.
(Pixel + noise) / 256 in float32, then the logit with alpha = 0.05, in float32 too. Then mirrored
copies of the training pictures are appended: 90,000 rows train.

Oddities kept: the noise is drawn once, not every epoch, from one RandomState(42) in the order
train, validation, test, and cast to float32; pictures are mirrored after the noise, so a picture
and its mirror share it; the logit has float32 precision only.

These are the very pictures and the very noise of the authors, so the recipe is called ``authors``.
"""

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets import pickles
from maf_runner.datasets.base import Paths, Rows, Splits
from maf_runner.datasets.images import LogitSpace
from maf_runner.datasets.members import read_members
from maf_runner.errors import DataError

HOW = (
    "Put cifar-10-python.tar.gz there (from https://www.cs.toronto.edu/~kriz/cifar.html), or say "
    "where it is with paths.raw_dir=DIR or MAF_RUNNER_RAW_DIR=DIR, where DIR/cifar10 holds it."
)
MEMBERS = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
VALIDATION = 5000


def load(*, paths: Paths, alpha: float) -> Splits:
    """Load CIFAR-10 from its pickles; takes about 5 GB of memory while it is made.

    Args:
        paths: the files are in ``paths.raw / "cifar10"``.
        alpha: how far from 0 and 1 the logit is kept.

    Raises:
        DataError: a file is missing or is not what it should be.
    """
    folder = paths.raw / "cifar10"
    contents = read_members(folder, MEMBERS, limit=64 << 20, dataset="CIFAR-10", how=HOW)
    batches = [_batch(name, contents.pop(name)) for name in MEMBERS]
    pictures = np.concatenate([data for data, _ in batches[:-1]])
    labels = np.concatenate([labels for _, labels in batches[:-1]])
    space = LogitSpace((3, 32, 32), levels=256, alpha=alpha)
    rng = np.random.RandomState(42)

    def rows(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Rows:
        return Rows(space.to_logits(dequantise(pixels, rng)), labels)

    train = rows(pictures[:-VALIDATION], labels[:-VALIDATION])
    mirrored = train.x.reshape(-1, 3, 32, 32)[..., ::-1].reshape(len(train), -1)
    assert train.labels is not None
    return Splits(
        train=Rows(np.concatenate([train.x, mirrored]), np.concatenate([train.labels] * 2)),
        validation=rows(pictures[-VALIDATION:], labels[-VALIDATION:]),
        test=rows(*batches[-1]),
        recipe="authors",
        classes=10,
        image=space,
    )


def dequantise(pixels: NDArray[np.uint8], rng: np.random.RandomState) -> NDArray[np.float32]:
    """Fill the steps between colour levels with noise: [N, 3072] in [0, 1), float32."""
    noise = rng.rand(*pixels.shape).astype(np.float32)
    noise += pixels
    noise /= np.float32(256)
    return noise


def _batch(name: str, content: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    value = pickles.load(content, f"CIFAR-10: {name}")
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
            f"CIFAR-10: {name} should hold bytes of shape [10000, 3072] and as many labels from "
            f"0 to 9. {HOW}"
        )
    return data, np.array(labels, dtype=np.int64)
