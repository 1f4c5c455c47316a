"""CIFAR-10: against fingerprints of the real arrays, and against files that are not."""

import hashlib
import pickle

import numpy as np
import pytest

from maf_runner.datasets import cifar10
from maf_runner.datasets.untrusted import pickles
from maf_runner.datasets.untrusted.archives import find
from maf_runner.system.errors import DataError

LIMITS = cifar10.PREPARATION.variants[0].limits


@pytest.fixture(scope="module")
def files(raw_dir):
    with find(raw_dir, "cifar10", LIMITS) as files:
        yield files


def test_cifar10_is_the_authors(files):
    splits = cifar10.from_batches(files, alpha=0.05)
    for rows, count, mean, std in (
        (splits.train, 90000, -0.09789024, 1.13984323),
        (splits.validation, 5000, -0.09951617, 1.12789451),
        (splits.test, 10000, -0.08322945, 1.13497826),
    ):
        assert rows.x.shape == (count, 3072) and rows.x.dtype == np.float32
        assert rows.x.mean(dtype=float) == pytest.approx(mean, abs=2e-7)
        assert rows.x.std(dtype=float) == pytest.approx(std, abs=2e-7)
    assert splits.train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    first = [-1.05253494, -1.35831547, -1.21762502]
    np.testing.assert_allclose(splits.train.x[0, :3], first, rtol=1e-6)
    # a picture and its mirror share the noise
    picture, mirror = splits.train.x[[7, 45007]].reshape(2, 3, 32, 32)
    assert np.array_equal(picture[..., ::-1], mirror)
    constant = splits.image.bits_per_pixel(np.zeros(10000), splits.test.x).mean()
    assert constant == pytest.approx(5.741358, abs=1e-6)


def test_cifar10_dequantised_to_the_last_bit(files):
    batches = [cifar10.read_batch(files, name)[0] for name in cifar10.MEMBERS]
    pictures = np.concatenate(batches[:-1])
    rng = np.random.RandomState(42)
    hashes = [
        hashlib.sha256(cifar10.dequantise(pixels, rng).tobytes()).hexdigest()
        for pixels in (pictures[:45000], pictures[45000:], batches[-1])
    ]
    assert hashes == [
        "8f4c149d7be928cade40f2d70a6ebaca8f96ef113c25dae1072a407db14a822d",
        "3367cd64f7e47ec9b50b1e073c1dcdaa510b3ae06d63975fe241e4502cd0b67b",
        "43b351c281d8ca166494c055511307aaeab0cca709a78768cb7d3457a172e635",
    ]


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(Evil()), pickle.dumps(len)])
def test_pickles_that_are_programs_are_refused(content, capsys):
    with pytest.raises(DataError, match=r"x\.pkl is not a pickle of plain arrays"):
        pickles.load(content, "x.pkl")
    assert "executed" not in capsys.readouterr().out


def test_pickled_arrays_of_any_protocol_are_read():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for protocol in range(5):
        value = pickles.load(pickle.dumps({"data": array}, protocol=protocol), "x.pkl")
        assert np.array_equal(next(iter(value.values())), array)
    endless = []
    endless.append(endless)
    with pytest.raises(DataError, match="not a pickle of plain arrays"):
        pickles.load(pickle.dumps(endless), "x.pkl")
    objects = pickle.dumps(np.array([{}], dtype=object), protocol=2)
    with pytest.raises(DataError, match="holds objects"):
        pickles.load(objects, "x.pkl")


def test_a_batch_of_the_wrong_shape_is_named(tmp_path):
    good = {b"data": np.zeros((10000, 3072), dtype=np.uint8), b"labels": [0] * 10000}
    for change in ({b"labels": [10] * 10000}, {b"data": np.zeros((5, 3072), np.uint8)}, {}):
        value = {**good, **change} if change else [1]
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        (tmp_path / "cifar10" / "data_batch_1").write_bytes(pickle.dumps(value, protocol=2))
        with (
            find(tmp_path, "cifar10", {"data_batch_1": 64 << 20}) as files,
            pytest.raises(DataError, match="data_batch_1 should hold bytes of shape"),
        ):
            cifar10.read_batch(files, "data_batch_1")
