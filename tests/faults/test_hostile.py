"""Files from strangers: whatever is in them, nothing runs, and the user is told which file."""

import pickle

import hostile
import numpy as np
import pandas as pd
import pytest

from maf_runner.datasets import (
    bsds300,
    cifar10,
    files,
    gas,
    hepmass,
    miniboone,
    mnist,
    pickles,
    power,
    sources,
    store,
)
from maf_runner.errors import DataError

TABLE = {
    "columns": None,
    "label": None,
    "class_prior": "uniform",
    "fractions": [0.8, 0.1, 0.1],
    "seed": 0,
    "standardise": True,
    "missing": "refuse",
    "dequantise": [],
}


@pytest.fixture
def read_all(tmp_path, survived, amount, chance):
    """Read hostile files, all or a few, and look at what became of them."""

    def of_kind(kind, cases, read, refusals, *, few=25, ending="x"):
        cases = list(cases)
        tried = amount(chance.sample(cases, min(few, len(cases))), cases)
        wrong, refused = hostile.trials(tried, read, refusals, tmp_path)
        assert wrong == {}
        assert not list(tmp_path.rglob(hostile.MARKER))
        survived(f"hostile {kind}", len(tried))
        return refused

    return of_kind


def finished(pairs):
    """Of pickles without beginning and end, whole ones."""
    return [(name, b"\x80\x02" + content + b".") for name, content in pairs]


@pytest.mark.parametrize("load", [pickles.load, pickles.load_frame])
def test_pickles(read_all, load, chance, amount):
    good = pickle.dumps([(np.ones((2, 3), "f4"), np.zeros(2, "i8"))] * 2, protocol=2)
    if load is pickles.load_frame:
        good = dict(finished(hostile.frames()))["a frame of one value"]
    cases = [
        *hostile.programs(),
        *finished(hostile.pickles()),
        *finished(hostile.frames()),
        *hostile.fuzzed(good, 200, chance),
    ]
    read_all("pickles", cases, lambda c: load(c, "x.pkl"), {DataError: lambda c: "x.pkl"}, few=60)


def tables():
    """A good file of each format of tables."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    frame = pd.DataFrame(rows, columns=list("abc")).assign(kind=["x", "y"] * 20)
    splits = {"train": rows, "val": rows[:5], "test": rows[5:9], "train_labels": np.arange(40)}
    return {
        "x.csv": frame.to_csv(index=False).encode(),
        "x.parquet": hostile.written(frame.to_parquet),
        "x.npy": hostile.written(lambda file: np.save(file, rows)),
        "x.npz": hostile.written(lambda file: np.savez_compressed(file, **splits)),
        "x.h5": hostile.stored(lambda file: file.create_dataset("data", data=rows, chunks=(9, 3))),
    }


def crafted_tables():
    for name, content in hostile.texts():
        yield name, ("x.csv", content)
    for name, content in hostile.npys():
        yield f"npy {name}", ("x.npy", content)
        yield f"npz {name}", ("x.npz", hostile.packed([("data.npy", content)], "zip"))
    for name, fill in hostile.stores():
        yield f"h5 {name}", ("x.h5", hostile.stored(fill))
    zeros = hostile.npy("(33554432, 1)") + bytes(1 << 28)
    yield "npz zeros", ("x.npz", hostile.packed([("data.npy", zeros)], "zip"))
    yield "npz of no arrays", ("x.npz", hostile.packed([("a", b"1")], "zip"))
    many = pd.DataFrame({"a": np.zeros(1 << 26, "i1"), "b": 0.0})
    yield "parquet zeros", ("x.parquet", hostile.written(many.to_parquet))
    for kind, values in {
        "lists": [[1.0]] * 20,
        "structs": [{"a": 1}] * 20,
        "bytes": [b"\xff"] * 20,
        "times": list(pd.date_range("2020", periods=20, tz="UTC")),
        "large decimals": [__import__("decimal").Decimal(10) ** 37] * 20,
        "nothing": [None] * 20,
    }.items():
        frame = pd.DataFrame({"a": values, "b": np.arange(20.0)})
        yield f"parquet {kind}", ("x.parquet", hostile.written(frame.to_parquet))


@pytest.mark.parametrize("label", [None, "label", "kind"])
def test_tables(read_all, tmp_path, label, chance, amount):
    cases = list(crafted_tables()) if label is None else []
    for name, whole in tables().items():
        count = amount(6, 100)
        cases += [(f"{name} {n}", (name, c)) for n, c in hostile.fuzzed(whole, count, chance)]

    def read(case):
        (tmp_path / case[0]).write_bytes(case[1])
        files.load(paths=None, path=str(tmp_path / case[0]), **TABLE | {"label": label})

    read_all("tables", cases, read, {DataError: lambda case: case[0]})


def test_archives(read_all, tmp_path, chance, amount):
    raw = tmp_path / "raw"
    (raw / "set").mkdir(parents=True)
    cases = list(hostile.archives())
    for ending in ("tar", "tar.gz", "tar.xz", "tar.bz2", "zip"):
        whole = hostile.packed([("x/a", b"1"), ("x/b", b"2")], ending)
        fuzzed = hostile.fuzzed(whole, amount(6, 80), chance)
        cases += [(f"{ending} {n}", (f"x.{ending}", content)) for n, content in fuzzed]

    def read(case):
        for path in (raw / "set").iterdir():
            path.unlink()
        (raw / "set" / case[0]).write_bytes(case[1])
        try:
            with sources.find(raw, "set", {"a": 100}) as found:
                assert len(found.read("a")) <= 100
        except sources.MissingError:
            pass  # there is no plain file of this name in it

    read_all("archives", cases, read, {DataError: lambda case: case[0]})
    assert {p.name for p in tmp_path.iterdir()} == {"raw"}


def raw_files():
    """Small files in the forms that recipes read, by recipe and name."""
    rows = np.random.default_rng(0).normal(size=(60, 50)).round(3)

    def text(part, separator, header):
        return "\n".join([header, *(separator.join(map(str, row)) for row in part)]).encode()

    signal = "\n".join(["  36499  93565", *("  ".join(map(str, row)) for row in rows)]).encode()
    events = np.column_stack([np.ones(60), rows[:, :27]])
    minutes = "\n".join(
        [";".join(power.HEADER), *(f"1/1/2007;17:{i:02}:00;1;2;3;4;5;6;7" for i in range(60))]
    ).encode()
    npy = hostile.written(lambda file: np.save(file, rows[:, :43]))
    named = ",".join(f"f{i}" for i in range(28))
    patches = dict.fromkeys(("train", "validation", "test"), rows)
    frame = dict(finished(hostile.frames()))["a frame of one value"]
    batch = pickle.dumps({b"data": np.zeros((2, 3072), "u1"), b"labels": [0, 1]}, protocol=2)
    pairs = pickle.dumps([(rows.astype("f4"), np.zeros(60, "i8"))] * 3, protocol=2)
    return {
        (miniboone, "MiniBooNE_PID.txt"): signal,
        (miniboone, "data.npy"): npy,
        (miniboone, "train.npy"): npy,
        (power, power.TEXT): minutes,
        (power, "data.npy"): npy,
        (hepmass, hepmass.TRAIN): text(events, ",", named),
        (hepmass, hepmass.TEST): text(events, ",", named + ",g"),
        (gas, gas.TEXT): text(rows[:, :19], " ", "Time and the rest"),
        (gas, gas.PICKLE): frame,
        (bsds300, bsds300.HDF5): hostile.stored(lambda file: file.update(patches)),
        (cifar10, "data_batch_1"): batch,
        (mnist, mnist.PICKLE): pairs,
        (mnist, "train-images-idx3-ubyte"): bytes([0, 0, 8, 3, 0, 0, 0, 1]) + bytes(50),
    }


def test_raw_files(read_all, tmp_path, chance, amount):
    good = raw_files()
    cases = []
    for (room, name), whole in good.items():
        harmful = [("as it is", whole), ("nothing", b""), ("one line", whole[:20])]
        if name.endswith("npy"):
            harmful += hostile.npys()
        if name == bsds300.HDF5:
            harmful += [
                (kind, hostile.stored(lambda f, fill=fill: (fill(f), f.move("data", "train"))))
                for kind, fill in hostile.stores()
            ]
        if room in (mnist, cifar10, gas) and name != gas.TEXT:
            harmful += finished(hostile.pickles())
        harmful += hostile.fuzzed(whole, amount(3, 40), chance)
        cases += [(f"{name} {kind}", (room, name, content)) for kind, content in harmful]

    def read(case):
        room, name, content = case
        folder = tmp_path / "raw" / room.RECIPE.name
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for other, beside in good:
            if other is room and beside != name and room in (hepmass, cifar10):
                (folder / beside).write_bytes(good[other, beside])
        if room is cifar10:
            for member in cifar10.MEMBERS:
                (folder / member).write_bytes(b"")
        if room is mnist and name != mnist.PICKLE:
            for member in mnist.IDX:
                (folder / member).write_bytes(b"")
        if name == "train.npy":
            for other in ("val.npy", "test.npy"):
                (folder / other).write_bytes(content)
        (folder / name).write_bytes(content)
        store.make(room.RECIPE, tmp_path / "raw", **room.RECIPE.options)

    def named(case):
        return case[1].partition(".")[0] if case[0] is not hepmass else "1000_t"

    assert read_all("raw files", cases, read, {DataError: named}) > 0
