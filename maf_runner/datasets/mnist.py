"""MNIST: 70,000 pictures of handwritten digits, 28x28.

Source: the four idx files of LeCun, Cortes & Burges (no licence stated; cite LeCun et al. 1998,
"Gradient-based learning applied to document recognition"), packed (.gz) or not, in
``<raw_dir>/mnist/``.

Recipe of the authors: the first 50,000 training pictures train, the last 10,000 validate, the
10,000 test pictures test; 784 features. Pixels / 256 as float32, plus noise / 256, then the logit
with alpha = 1e-6; no centring or scaling.

Oddities kept: pixels are divided by 256 although their largest value is 255; the noise is drawn
once, not every epoch, from one RandomState(42) in the order train, validation, test.

The idx files hold the pictures in the order of the authors' ``mnist.pkl.gz``, so these are the
very arrays they trained on, and the recipe is called ``authors``.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.base import Paths, Rows, Splits
from maf_runner.datasets.images import LogitSpace
from maf_runner.errors import DataError

HOW = (
    "Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz there (any MNIST mirror has them), or say where they are with "
    "paths.raw_dir=DIR or MAF_RUNNER_RAW_DIR=DIR, where DIR/mnist holds the files."
)


def load(*, paths: Paths, alpha: float) -> Splits:
    """Load MNIST from its idx files.

    Args:
        paths: the files are in ``paths.raw / "mnist"``.
        alpha: how far from 0 and 1 the logit is kept.

    Raises:
        DataError: a file is missing or is not what it should be.
    """
    folder = paths.raw / "mnist"
    pictures = read_idx(folder, "train-images-idx3-ubyte", (60000, 28, 28))
    labels = read_idx(folder, "train-labels-idx1-ubyte", (60000,))
    test = read_idx(folder, "t10k-images-idx3-ubyte", (10000, 28, 28))
    test_labels = read_idx(folder, "t10k-labels-idx1-ubyte", (10000,))
    space = LogitSpace((28, 28), levels=256, alpha=alpha)
    rng = np.random.RandomState(42)

    def rows(pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Rows:
        x = space.to_logits(dequantise(pixels, rng)).astype(np.float32)
        return Rows(x, labels.astype(np.int64))

    return Splits(
        train=rows(pictures[:50000], labels[:50000]),
        validation=rows(pictures[50000:], labels[50000:]),
        test=rows(test, test_labels),
        recipe="authors",
        classes=10,
        image=space,
    )


def dequantise(pixels: NDArray[np.uint8], rng: np.random.RandomState) -> NDArray[np.float64]:
    """Flatten pictures [N, 28, 28] and fill the steps between grey levels with noise: [N, 784]."""
    flat = pixels.reshape(len(pixels), -1)
    return flat.astype(np.float32) / np.float32(256) + rng.rand(*flat.shape) / 256


def read_idx(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read one idx file of bytes, packed or not.

    Raises:
        DataError: missing, cut short, not an idx file, or of another shape than ``shape``.
    """
    candidates = [folder / f"{name}.gz", folder / name]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        raise DataError(f"MNIST: {name}.gz not found; looked in {folder}. {HOW}")
    size = 4 + 4 * len(shape) + int(np.prod(shape))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"MNIST: {path} is damaged ({error}). Get it anew. {HOW}") from error
    header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    if content[: len(header)] != header:
        raise DataError(
            f"MNIST: {path} is not the file expected: its header should be that of an idx file of "
            f"bytes of shape {list(shape)}, and is {content[: len(header)].hex(' ')}. {HOW}"
        )
    if len(content) != size:
        found = "more" if len(content) > size else f"{len(content):,}"
        raise DataError(
            f"MNIST: {path} should hold {size:,} bytes (unpacked) and holds {found}. {HOW}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape)
