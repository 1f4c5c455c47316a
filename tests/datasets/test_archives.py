"""Files of datasets in folders and archives, whole, damaged and hostile."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from maf_runner.datasets.untrusted.archives import MissingError, find
from maf_runner.system.errors import DataError


def tar(path, mode, **members):
    with tarfile.open(path, mode) as pack:
        for name, content in members.items():
            info = tarfile.TarInfo(f"somewhere/{name}")
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                pack.addfile(info)
            else:
                info.size = len(content)
                pack.addfile(info, io.BytesIO(content))


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in members.items():
            pack.writestr(f"somewhere/{name}", content)


def read(raw, names=("a", "b"), limit=100):
    with find(raw, "set", dict.fromkeys(names, limit)) as files:
        return [files.read(name) for name in names]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set" / "deep").mkdir(parents=True)
    return tmp_path / "set"


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar", ".zip"])
def test_members_of_archives(folder, suffix):
    pack = folder / "deep" / f"x{suffix}"
    if suffix == ".zip":
        zipped(pack, a=b"1", b=b"2")
    else:
        tar(pack, {"tgz": "w:gz", "tar": "w"}.get(s := suffix.split(".")[-1], f"w:{s}"),
            a=b"1", b=b"2")  # fmt: skip
    assert read(folder.parent) == [b"1", b"2"]
    (folder / "a").write_bytes(b"3")
    assert read(folder.parent) == [b"3", b"2"]  # a file before an archive
    assert sorted(p.name for p in folder.rglob("*")) == ["a", "deep", pack.name]  # left as it was


def test_packed_files_in_folders_and_in_archives(folder):
    (folder / "a.gz").write_bytes(gzip.compress(b"1"))
    (folder / "b.xz").write_bytes(lzma.compress(b"2"))
    (folder / "c.bz2").write_bytes(bz2.compress(b"3"))
    zipped(folder / "x.zip", **{"d.gz": gzip.compress(b"4")})
    assert read(folder.parent, "abcd") == [b"1", b"2", b"3", b"4"]


def test_patterns_take_every_file_sorted_by_name_and_folders_count(folder):
    members = {"TEST/9.jpg": b"9", "test/10.jpg": b"10", "train/1.jpg": b"", "test/._9.jpg": b""}
    tar(folder / "x.tgz", "w:gz", **members)
    with find(folder.parent, "set", {"test/*.jpg": 10}) as files:
        assert [files.read("test/*.jpg", i) for i in range(2)] == [b"10", b"9"]
        assert len(files.names("test/*.jpg")) == 2
        hashes = files.hashes()
    with find(folder.parent, "set", {"test/*.jpg": 10}) as files:
        assert files.hashes() == hashes


def test_the_authors_archive_packed_and_unpacked(tmp_path):
    """Its folders are named after the datasets, in letters of either case."""
    members = {"data/OTHER/a": b"0", "data/SET/a": b"1", "data/SET/b": b"2"}
    tar(tmp_path / "data.tar.gz", "w:gz", **members)
    assert read(tmp_path) == [b"1", b"2"]
    (tmp_path / "data" / "SET").mkdir(parents=True)
    (tmp_path / "data" / "SET" / "a").write_bytes(b"3")
    assert read(tmp_path) == [b"3", b"2"]


def test_what_is_missing_and_what_was_found(folder):
    with pytest.raises(MissingError, match="a, b not found"):
        read(folder.parent)
    (folder / "a").write_bytes(b"1")
    with pytest.raises(MissingError, match="b not found") as error:
        read(folder.parent)
    assert error.value.present == [str(folder / "a")]


def test_links_and_foreign_paths_in_archives_lead_nowhere(folder, tmp_path):
    tar(folder / "x.tar.gz", "w:gz", a=b"1", b=None)
    with pytest.raises(MissingError, match="b not found"):
        read(folder.parent)
    tar(folder / "x.tar.gz", "w:gz", **{"../../../../tmp/maf_a/a": b"1", "/b": b"2"})
    before = sorted(tmp_path.rglob("*"))
    assert read(folder.parent) == [b"1", b"2"]
    assert sorted(tmp_path.rglob("*")) == before


def test_bombs_are_not_unpacked(folder):
    def refused(message):
        with pytest.raises(DataError, match=message):
            read(folder.parent, "a")
        for path in folder.glob("*.*"):
            path.unlink()

    tar(folder / "x.tar.gz", "w:gz", a=bytes(101))
    refused("a in .* expected at most 100")
    zipped(folder / "x.zip", a=bytes(101))
    refused("a in .* expected at most 100")
    (folder / "a.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    refused("a.gz .* expected at most 100")
    tar(folder / "x.tar", "w", **{"a.gz": gzip.compress(bytes(5000))})
    refused("a.gz in .* expected at most 100")
    (folder / "a.txt").write_bytes(bytes(101))
    with pytest.raises(DataError, match="expected at most 100"):
        read(folder.parent, ["a.txt"])


def test_many_files_that_fill_the_disk_together_are_not_unpacked(folder):
    tar(folder / "x.tar", "w", **{f"p/{i}.jpg": bytes(60) for i in range(5)})
    with (
        pytest.raises(DataError, match="has at least 60 bytes, expected at most 40"),
        find(folder.parent, "set", {"p/*.jpg": 100}),
    ):
        pass


def test_headers_that_fill_the_memory_are_not_read(folder):
    with tarfile.open(folder / "x.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as pack:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"comment": "x" * (1 << 21)}
        pack.addfile(info)
    with pytest.raises(DataError, match=r"x\.tar\.gz is damaged.*a header of more than 1,"):
        read(folder.parent)


def test_archives_cut_at_any_place_are_named(folder):
    for name, make in (("x.tar.gz", lambda p: tar(p, "w:gz", a=b"1", b=b"2")),
                       ("x.zip", lambda p: zipped(p, a=b"1", b=b"2"))):  # fmt: skip
        make(folder / name)
        whole = (folder / name).read_bytes()
        for cut in (0, 1, len(whole) // 2, len(whole) - 5):
            (folder / name).write_bytes(whole[:cut])
            with pytest.raises(DataError, match=f"{name} is damaged"):
                read(folder.parent)
        (folder / name).unlink()


def test_an_encrypted_zip_is_named(folder):
    zipped(folder / "x.zip", a=b"1", b=b"2")
    content = bytearray((folder / "x.zip").read_bytes())
    content[6] |= 1  # the flag of the first entry
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (folder / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        read(folder.parent)
