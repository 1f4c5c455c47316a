"""An HDF5 file gives what it holds, and nothing that lies elsewhere."""

import h5py
import numpy as np
import pytest

from maf_runner.datasets.untrusted.hdf5 import datasets
from maf_runner.system.errors import DataError
from tests.helpers.tables import read


@pytest.fixture
def store(tmp_path):
    secret = np.arange(8.0)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = secret
    secret.tofile(tmp_path / "secret.bin")
    layout = h5py.VirtualLayout((8,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (8,))
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["rows"] = np.ones((3, 2))
        file["words"] = ["a", "b"]
        file["flags"] = [True, False]
        file["group/rows"] = np.ones(2)
        file["soft"] = h5py.SoftLink("/rows")
        file["nowhere"] = h5py.SoftLink("/nothing")
        file["linked"] = h5py.ExternalLink("other.h5", "x")
        external = [(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("external", (8,), "f8", external=external)
        file.create_virtual_dataset("virtual", layout)
        file["references"] = np.array([file["rows"].ref], dtype=h5py.ref_dtype)
        file["pairs"] = np.zeros(2, dtype=[("a", "f8"), ("b", "f8")])
        file.create_dataset("ragged", (2,), h5py.vlen_dtype("f8"))
        file["type"] = np.dtype("f8")
    with h5py.File(tmp_path / "table.h5", "r") as file:
        yield file


def test_what_is_in_the_file_is_given(store):
    found = datasets(store, ["rows", "words", "flags"])
    assert list(found) == ["rows", "words", "flags"]
    assert found["rows"].shape == (3, 2) and list(found["words"]) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("soft", "is a link"),
        ("nowhere", "is a link"),
        ("linked", "is a link"),
        ("external", "are stored elsewhere"),
        ("virtual", "are stored elsewhere"),
        ("references", "expected numbers or strings"),
        ("pairs", "expected numbers or strings"),
        ("ragged", "expected numbers or strings"),
        ("group", "is not a dataset"),
        ("type", "is not a dataset"),
        ("group/rows", "is missing"),
        ("absent", "is missing"),
    ],
)
def test_all_else_is_refused_by_name(store, name, message):
    with pytest.raises(ValueError, match=f"'{name}'.* {message}"):
        datasets(store, [name])


def test_without_names_groups_are_passed_over_and_links_are_not(store, tmp_path):
    with pytest.raises(ValueError, match="external"):
        datasets(store)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["rows"], file["group/rows"] = np.ones(2), np.ones(2)
        assert list(datasets(file)) == ["rows"]


def test_a_table_that_is_a_link_is_refused(store, tmp_path):
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["data"] = h5py.ExternalLink("table.h5", "rows")
    with pytest.raises(
        DataError, match=r"linked\.h5 cannot be read as a table: .*'data' is a link"
    ):
        read(tmp_path / "linked.h5")
