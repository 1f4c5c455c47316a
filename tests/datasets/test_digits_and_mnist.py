"""Recipes: against fingerprints of the arrays, and against damaged files."""

import gzip
import hashlib
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from maf_runner.datasets import digits, mnist
from maf_runner.datasets.base import Paths
from maf_runner.datasets.preparation import making
from maf_runner.datasets.spaces.images import LogitSpace
from maf_runner.datasets.untrusted.archives import find
from maf_runner.records.statistics import mean_and_error
from maf_runner.system.errors import DataError


def bytes_of(name, shape=None):
    shape = shape or mnist.IDX[name]
    header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return header + bytes(int(np.prod(shape)))


def test_digits_are_those_of_the_recipe():
    splits = digits.load(paths=None, alpha=0.01)
    assert [r.x.shape for r in (splits.train, splits.validation, splits.test)] == [
        (1439, 64),
        (179, 64),
        (179, 64),
    ]
    assert splits.test.labels[:10].tolist() == [5, 0, 5, 3, 6, 9, 1, 1, 8, 4]
    assert splits.train.x.dtype == np.float32
    whole = np.concatenate([r.labels for r in (splits.train, splits.validation, splits.test)])
    order = np.random.RandomState(42).permutation(1797)
    bunch = load_digits()
    assert (whole == bunch.target[order]).all()
    unit = splits.image.to_unit(splits.test.x)
    pixels = np.floor(unit * 17)
    assert (pixels == bunch.data[order[-179:]]).all()
    assert pixels.min() >= 0 and pixels.max() <= 16
    means = [r.x.mean(dtype=float) for r in (splits.train, splits.validation, splits.test)]
    assert means == pytest.approx([-1.31066350, -1.28718467, -1.26585023], abs=1e-6)
    constant = splits.image.bits_per_pixel(np.zeros(179), splits.test.x).mean()
    assert constant == pytest.approx(0.18959, abs=1e-5)


def test_fingerprint_is_of_rows_and_labels():
    one = digits.load(paths=None, alpha=0.01)
    assert one.fingerprint == digits.load(paths=None, alpha=0.01).fingerprint
    assert one.fingerprint != digits.load(paths=None, alpha=0.02).fingerprint


def test_logit_space_and_its_jacobian():
    """Bits per pixel count the change of variables: by a numerical derivative."""
    space = LogitSpace((2, 2), levels=256, alpha=0.05)
    unit = np.random.default_rng(0).random((3, 4))
    x = space.to_logits(unit)
    np.testing.assert_allclose(space.to_unit(x), unit, rtol=1e-12)
    step = 1e-6
    slope = (space.to_logits(unit + step) - space.to_logits(unit - step)) / (2 * step)
    expected = np.log(slope).sum(axis=1) - 7.0
    np.testing.assert_allclose(space.log_prob_of_unit(np.full(3, -7.0), x), expected, rtol=1e-7)
    # A uniform density over the unit cube costs 8 bits for each pixel, whatever the logits are.
    uniform = -np.log(slope).sum(axis=1)
    np.testing.assert_allclose(space.bits_per_pixel(uniform, x), 8, rtol=1e-6)


def test_mnist_is_the_authors(raw_dir, tmp_path):
    paths = Paths(raw=raw_dir, prepared=tmp_path)
    splits = mnist.load(paths=paths, alpha=1e-6, download=False)
    for rows, count, mean in zip(
        (splits.train, splits.validation, splits.test),
        mnist.PREPARATION.rows,
        mnist.PREPARATION.means["authors"],
        strict=True,
    ):
        assert rows.x.shape == (count, 784)
        assert rows.x.mean(dtype=float) == pytest.approx(mean, abs=1e-7)
    assert splits.train.x[0, :2].tolist() == pytest.approx([-6.5250874, -5.5917302], abs=1e-6)
    assert splits.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert splits.origin == "authors" and set(splits.sources) == set(mnist.IDX)
    constant = splits.image.bits_per_pixel(np.zeros(10000), splits.test.x).mean()
    assert constant == pytest.approx(-0.502224, abs=1e-6)
    again = mnist.load(paths=Paths(tmp_path, tmp_path), alpha=1e-6, download=False)
    assert again.fingerprint == splits.fingerprint  # as prepared, without the raw files


def test_mnist_from_the_authors_pickle_is_the_same(raw_dir, tmp_path):
    """Their pickle holds the pictures over 256 in float32, and was written by Python 2."""
    with find(raw_dir, "mnist", dict.fromkeys(mnist.IDX, 1 << 26)) as files:
        pictures, labels, test, test_labels = (mnist.read_idx(files, name) for name in mnist.IDX)
        expected = mnist.from_idx(files, alpha=1e-6)
    parts = (pictures[:50000], labels[:50000]), (pictures[50000:], labels[50000:])
    content = [
        ((x.reshape(-1, 784) / 256).astype(np.float32), y.astype(np.int64))
        for x, y in (*parts, (test, test_labels))
    ]
    (tmp_path / "mnist").mkdir()
    with gzip.open(tmp_path / "mnist" / "mnist.pkl.gz", "wb", compresslevel=1) as file:
        pickle.dump(tuple(content), file, protocol=2)
    splits = making.make(mnist.PREPARATION, tmp_path, alpha=1e-6)
    assert splits.fingerprint == expected.fingerprint and list(splits.sources) == ["mnist.pkl"]


def test_mnist_dequantised_to_the_last_bit(raw_dir):
    """Before the logit every operation is exact IEEE arithmetic, so a hash is portable."""
    with find(raw_dir, "mnist", dict.fromkeys(mnist.IDX, 1 << 26)) as files:
        pictures = mnist.read_idx(files, "train-images-idx3-ubyte")
        test = mnist.read_idx(files, "t10k-images-idx3-ubyte")
    rng = np.random.RandomState(42)
    hashes = [
        hashlib.sha256(mnist.dequantise(mnist.scaled(pixels), rng).tobytes()).hexdigest()
        for pixels in (pictures[:50000], pictures[50000:], test)
    ]
    assert hashes == [
        "63c43e9fda938dac0264ec64b8c7b773d5d43035187badc483c516a28b31c477",
        "17db8265ae78c465d0ab3d359e52c507ec0b76aa6328071c2824c6cd46ef352f",
        "d8367c18d58f85cf0c8a88a3a47a169fd7caff47b3b45bec74238d56f7d8e2ab",
    ]


def test_other_pictures_in_the_same_files_are_not_mnist(tmp_path):
    """Fashion-MNIST has the same names, shapes and headers."""
    (tmp_path / "mnist").mkdir()
    for name in mnist.IDX:
        (tmp_path / "mnist" / name).write_bytes(bytes_of(name))
    with pytest.raises(DataError, match=r"is not this dataset: the mean of the split train"):
        mnist.load(paths=Paths(tmp_path, tmp_path), alpha=1e-6, download=False)
    other = mnist.load(paths=Paths(tmp_path, tmp_path), alpha=0.1, download=False)
    assert other.origin == "raw"  # with another alpha they are not the authors' arrays anyway


LABELS = "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda good: b"not gzip", "is damaged"),
        (lambda good: gzip.compress(good)[:-20], "is damaged"),
        (lambda good: gzip.compress(good[:-1]), "should hold 10,008 bytes .* holds 10,007"),
        (lambda good: gzip.compress(good + b"x"), "holds 10,009"),
        (lambda good: gzip.compress(bytes(100_000)), "expected at most 20,000"),
        (lambda good: gzip.compress(b"\x00\x00\x09\x01" + good[4:]), "its header should be"),
        (lambda good: gzip.compress(b""), "its header should be"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, damage, message):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / f"{LABELS}.gz").write_bytes(damage(bytes_of(LABELS)))
    with (
        find(tmp_path, "mnist", {LABELS: 20_000}) as files,
        pytest.raises(DataError, match=rf"{LABELS}.*{message}"),
    ):
        mnist.read_idx(files, LABELS)


def test_idx_files_packed_or_not_and_in_folders(tmp_path):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / LABELS).write_bytes(bytes_of(LABELS))
    with find(tmp_path, "mnist", {LABELS: 20_000}) as files:
        assert mnist.read_idx(files, LABELS).shape == (10000,)


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path):
    with pytest.raises(DataError) as error:
        mnist.load(paths=Paths(tmp_path, tmp_path), alpha=1e-6, download=False)
    for words in (
        "searched for in",
        "maf-data fetch mnist",
        "dataset.download=true",
        "raw_dir=DIR",
    ):
        assert words in str(error.value)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / LABELS).write_bytes(bytes_of(LABELS))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte, .* not found"):
        mnist.load(paths=Paths(tmp_path, tmp_path), alpha=1e-6, download=False)


def test_error_bar_is_two_standard_errors():
    mean, error = mean_and_error(np.array([1.0, 2.0, 6.0]))
    assert mean == 3.0
    assert error == pytest.approx(2 * np.std([1, 2, 6]) / np.sqrt(3))
