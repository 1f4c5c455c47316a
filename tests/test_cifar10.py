"""CIFAR-10: against fingerprints of the real arrays, and against files that are not."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest

from maf_runner.datasets import cifar10, pickles
from maf_runner.datasets.base import Paths
from maf_runner.datasets.members import read_members
from maf_runner.errors import DataError


def test_cifar10_is_the_authors(raw_dir):
    splits = cifar10.load(paths=Paths(raw=raw_dir, prepared=raw_dir), alpha=0.05)
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


def test_cifar10_dequantised_to_the_last_bit(raw_dir):
    contents = read_members(
        raw_dir / "cifar10", cifar10.MEMBERS, limit=64 << 20, dataset="CIFAR-10", how=""
    )
    batches = [cifar10._batch(name, contents[name])[0] for name in cifar10.MEMBERS]
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
    objects = pickle.dumps(np.array([{}], dtype=object), protocol=2)
    with pytest.raises(DataError, match="holds objects"):
        pickles.load(objects, "x.pkl")


def archive(path, mode, **members):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"somewhere/{name}")
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def read(folder, names=("a", "b"), limit=100):
    return read_members(folder, names, limit=limit, dataset="X", how="Get it.")


def test_members_in_archives_and_folders(tmp_path):
    for suffix, mode in ((".tar.gz", "w:gz"), (".tar.xz", "w:xz"), (".tar", "w")):
        folder = tmp_path / suffix
        (folder / "deep").mkdir(parents=True)
        archive(folder / f"x{suffix}", mode, a=b"1", b=b"2")
        assert read(folder) == {"a": b"1", "b": b"2"}
        (folder / "deep" / "a").write_bytes(b"3")
        assert read(folder) == {"a": b"3", "b": b"2"}  # a file before an archive
    assert sorted(p.name for p in folder.iterdir()) == ["deep", "x.tar"]


def test_archives_that_are_not_what_they_should_be(tmp_path):
    with pytest.raises(DataError, match=r"a, b not found; looked in .* Get it\."):
        read(tmp_path)
    archive(tmp_path / "x.tar.gz", "w:gz", a=b"1", b=None)
    with pytest.raises(DataError, match="b not found"):  # links are not followed
        read(tmp_path)
    archive(tmp_path / "x.tar.gz", "w:gz", a=b"1", b=bytes(101))
    with pytest.raises(DataError, match="101 bytes, 100 at most are right"):
        read(tmp_path)
    whole = (tmp_path / "x.tar.gz").read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 4):
        (tmp_path / "x.tar.gz").write_bytes(whole[:cut])
        with pytest.raises(DataError, match="X: "):
            read(tmp_path)


def test_a_batch_of_the_wrong_shape_is_named(tmp_path):
    good = {b"data": np.zeros((10000, 3072), dtype=np.uint8), b"labels": [0] * 10000}
    for change in ({b"labels": [10] * 10000}, {b"data": np.zeros((5, 3072), np.uint8)}, {}):
        value = {**good, **change} if change else [1]
        with pytest.raises(DataError, match="data_batch_1 should hold bytes of shape"):
            cifar10._batch("data_batch_1", pickle.dumps(value, protocol=2))
