"""MNIST: 70,000 pictures of handwritten digits, 28x28.

Source: the four idx files of LeCun, Cortes & Burges (no licence stated; cite LeCun et al. 1998,
"Gradient-based learning applied to document recognition"), packed (.gz) or not; or
``mnist.pkl.gz`` of the authors' archive, which holds the same pictures, already cut in three.

Preparation by the authors: the first 50,000 training pictures train, the last 10,000 validate, the
10,000 test pictures test; 784 features. Pixels / 256 as float32, plus noise / 256, then the logit
with alpha = 1e-6; no centring or scaling.

Oddities kept: pixels are divided by 256 although their largest value is 255; the noise is drawn
once, not every epoch (unless the trainer draws fresh noise), from one RandomState(42) in the
order train, validation, test.

The idx files hold the pictures in the order of the authors' ``mnist.pkl.gz``, so these are the
very arrays they trained on, and their origin is ``authors``.
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

PICKLE = "mnist.pkl"
IDX = {
    "train-images-idx3-ubyte": (60000, 28, 28),
    "train-labels-idx1-ubyte": (60000,),
    "t10k-images-idx3-ubyte": (10000, 28, 28),
    "t10k-labels-idx1-ubyte": (10000,),
}
Unit = NDArray[np.float32]


def load(*, paths: Paths, alpha: float, download: bool) -> Splits:
    """Load MNIST.

    Args:
        paths: of raw and prepared files.
        alpha: distance from 0 and 1 before the logit is taken.
        download: download the idx files if they are missing.

    Raises:
        DataError: the raw files are missing or damaged.
    """
    return store.load(PREPARATION, paths, download=download, alpha=alpha)


def from_idx(files: Files, *, alpha: float) -> Splits:
    """From the four idx files."""
    pictures, labels, test, test_labels = (read_idx(files, name) for name in IDX)
    parts = [(pictures[:50000], labels[:50000]), (pictures[50000:], labels[50000:])]
    return authors_steps(
        [(scaled(x), y.astype(np.int64)) for x, y in [*parts, (test, test_labels)]], alpha
    )


def from_pickle(files: Files, *, alpha: float) -> Splits:
    """From the authors' pickle: three pairs of pictures [N, 784], over 256, and labels [N]."""
    name = files.names(PICKLE)[0]
    content = pickles.load(files.read(PICKLE), name)
    try:
        parts = [(x.astype(np.float32), y.astype(np.int64)) for x, y in content]
        counts = list(zip((50000, 10000, 10000), parts, strict=True))
    except (AttributeError, TypeError, ValueError) as error:  # no pairs, or not of arrays
        raise DataError(f"{name} should hold three pairs of pictures and labels") from error
    for count, (x, y) in counts:
        right = x.shape == (count, 784) and y.shape == (count,)
        if not right or not ((x >= 0) & (x < 1)).all() or not ((y >= 0) & (y < 10)).all():
            raise DataError(
                f"{name} should hold {count:,} pictures of 784 pixels in [0, 1) with labels from "
                f"0 to 9, and holds {list(x.shape)} with labels {list(y.shape)}"
            )
    return authors_steps(parts, alpha)


def authors_steps(parts: list[tuple[Unit, NDArray[np.int64]]], alpha: float) -> Splits:
    """The authors' steps on pictures in [0, 1) and labels of the three splits."""
    space = LogitSpace((28, 28), levels=256, alpha=alpha)
    rng = np.random.RandomState(42)

    def rows(unit: Unit, labels: NDArray[np.int64]) -> Rows:
        x = in_chunks(unit, lambda part: space.to_logits(dequantise(part, rng)))
        return Rows(x, labels)

    train, validation, test = (rows(*part) for part in parts)
    return Splits(train, validation, test, origin="", classes=10, image=space)


def scaled(pixels: NDArray[np.uint8]) -> Unit:
    """Flatten pictures [N, 28, 28] and divide them by 256, as they are in the authors' pickle."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(256)


def dequantise(unit: Unit, rng: np.random.RandomState) -> NDArray[np.float64]:
    """Fill the steps between the grey levels of pictures [N, 784] with noise."""
    return unit + rng.rand(*unit.shape) / 256


def read_idx(files: Files, name: str) -> NDArray[np.uint8]:
    """Read one idx file of bytes.

    Raises:
        DataError: cut short, not an idx file, or of another shape than it should be.
    """
    shape = IDX[name]
    content = files.read(name)
    header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    where = files.names(name)[0]
    if content[: len(header)] != header:
        raise DataError(
            f"{where} is not the file expected: its header should be that of an idx file of "
            f"bytes of shape {list(shape)}, and is {content[: len(header)].hex(' ')}"
        )
    size = len(header) + int(np.prod(shape))
    if len(content) != size:
        raise DataError(
            f"{where} should hold {size:,} bytes (unpacked) and holds {len(content):,}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape)


def _download(name: str, sha256: str, size: int) -> Download:
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    )
    return Download(
        path=f"mnist/{name}.gz",
        urls=tuple(f"{mirror}{name}.gz" for mirror in mirrors),
        checksum=f"sha256:{sha256}",
        size=size,
    )


PREPARATION = Preparation(
    name="mnist",
    version=1,
    features=784,
    rows=(50000, 10000, 10000),
    variants=(
        Variant("authors", {PICKLE: 256 * MB}, from_pickle),
        Variant("authors", dict.fromkeys(IDX, 48 * MB), from_idx),
    ),
    downloads=(
        _download(
            "train-images-idx3-ubyte",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9912422,
        ),
        _download(
            "train-labels-idx1-ubyte",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28881,
        ),
        _download(
            "t10k-images-idx3-ubyte",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1648877,
        ),
        _download(
            "t10k-labels-idx1-ubyte",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4542,
        ),
    ),
    manual="train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz (any MNIST mirror has them)",
    licence="none stated",
    cite="LeCun et al. (1998), Gradient-based learning applied to document recognition",
    options={"alpha": 1e-6},
    means={"authors": (-4.944777530, -4.964256197, -4.926746537)},
)
