"""Digits: scikit-learn's bundled pictures of handwritten digits, the default dataset.

Source: ``sklearn.datasets.load_digits``, the test part of "Optical Recognition of Handwritten
Digits" (Alpaydin & Kaynak 1998, UCI repository, CC BY 4.0): 1797 pictures of 8x8 pixels with the
values 0..16, ten classes. Nothing is downloaded.

Preparation, with one RandomState(42): a permutation of the rows, then uniform noise [1797, 64];
(pixel + noise) / 17, then the logit with alpha = 0.01. Rows 0..1438 train, the next 179 validate,
the last 179 test; 64 features. The paper has no such set: this preparation is the project's own.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from maf_runner.datasets.base import Paths, Rows, Splits
from maf_runner.datasets.spaces.images import LogitSpace

TRAIN, VALIDATION = 1439, 179


def load(*, paths: Paths, alpha: float) -> Splits:
    """Load the digits.

    Args:
        paths: not used, nothing is read or written.
        alpha: distance from 0 and 1 before the logit is taken.
    """
    table = np.loadtxt(_file(), delimiter=",")
    pixels, digit = table[:, :-1], table[:, -1].astype(np.int64)
    rng = np.random.RandomState(42)
    order = rng.permutation(len(pixels))
    unit = (pixels[order] + rng.rand(*pixels.shape)) / 17
    space = LogitSpace((8, 8), levels=17, alpha=alpha)
    x = space.to_logits(unit).astype(np.float32)
    labels = digit[order]
    ends = TRAIN, TRAIN + VALIDATION
    train, validation, test = map(Rows, np.split(x, ends), np.split(labels, ends))
    return Splits(train, validation, test, origin="raw", classes=10, image=space)


def _file() -> Path:
    """The file that ``load_digits`` reads; importing scikit-learn would take seconds."""
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
