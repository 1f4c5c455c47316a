"""POWER, GAS, HEPMASS and MINIBOONE from files of their original formats, oddity by oddity.

The expected arrays are made here a second time, in the manner of the authors' own program: with
pandas where they used pandas, with counters, with whole-array operations.
"""

import gzip
import hashlib
import io
import lzma
import pickle
import sys
import types
import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from maf_runner.datasets import gas, hepmass, miniboone, power
from maf_runner.datasets.base import Paths
from maf_runner.datasets.preparation import making
from maf_runner.datasets.preparation.npy import ready_made
from maf_runner.datasets.preparation.splitting import (
    cut,
    repeats_smallest,
    standardised,
)
from maf_runner.datasets.untrusted import pickles
from maf_runner.datasets.untrusted.archives import find
from maf_runner.system.errors import DataError


def rows(n):
    test = int(0.1 * n)
    validation = int(0.1 * (n - test))
    return n - test - validation, validation, test


def made(recipe, raw, *counts):
    return making.make(replace(recipe, rows=counts), raw)


def every(splits):
    return [r.x for r in (splits.train, splits.validation, splits.test)]


def same(splits, *expected):
    for x, right in zip(every(splits), expected, strict=True):
        np.testing.assert_array_equal(x, np.asarray(right, dtype=np.float32))


def put(raw, name, content):
    path = raw / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# POWER


def power_table(n=205):
    table = np.random.default_rng(0).random((n, 8))
    table[:, 7] = np.arange(n)
    return table


def power_by_hand(table):
    rng = np.random.RandomState(42)
    data = table.copy()
    rng.shuffle(data)
    n = len(data)
    data = np.delete(np.delete(data, 3, axis=1), 1, axis=1)
    voltage, active, meters = 0.01 * rng.rand(n, 1), 0.001 * rng.rand(n, 1), rng.rand(n, 3)
    data += np.hstack((active, voltage, meters, np.zeros((n, 1))))
    test = data[-int(0.1 * n) :]
    rest = data[: -int(0.1 * n)]
    validation, train = rest[-int(0.1 * len(rest)) :], rest[: -int(0.1 * len(rest))]
    mean, deviation = rest.mean(axis=0), rest.std(axis=0)
    return [(part - mean) / deviation for part in (train, validation, test)]


def test_power_from_the_authors_array(tmp_path):
    put(tmp_path, "power/data.npy", npy(power_table()))
    splits = made(power.PREPARATION, tmp_path, *rows(205))
    same(splits, *power_by_hand(power_table()))
    assert splits.origin == "authors" and list(splits.sources) == ["data.npy"]
    seen = np.vstack(every(splits)[:2]).astype(float)
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(seen.std(axis=0), 1, atol=1e-6)


POWER_TEXT = (
    "Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;"
    "Sub_metering_1;Sub_metering_2;Sub_metering_3\r\n"
    "16/12/2006;17:24:00;4.216;0.418;234.840;18.400;0.000;1.000;17.000 \r\n"
    "16/12/2006;17:25:00;5.360;0.436;233.630;23.000;0.000;1.000;16.000\r\n"
    "28/4/2007;00:21:00;?;?;?;?;?;?;\r\n"
    "28/4/2007;00:22:00;0.230;0.052;243.750;1.000;0.000;0.000;0.000"
)


def test_power_text_with_its_gaps_blanks_and_carriage_returns():
    table = power.parse(io.BytesIO(POWER_TEXT.encode()), "x")
    assert table.tolist() == [
        [4.216, 0.418, 234.84, 18.4, 0, 1, 17, 17 * 60 + 24],
        [5.36, 0.436, 233.63, 23, 0, 1, 16, 17 * 60 + 25],
        [0.23, 0.052, 243.75, 1, 0, 0, 0, 22],
    ]


def test_power_from_text_is_called_raw_and_has_noise_on_the_time(tmp_path):
    lines = POWER_TEXT.split("\r\n")
    text = "\r\n".join([lines[0]] + lines[1:3] * 50)
    with zipfile.ZipFile(put(tmp_path, "power/household.zip", b""), "w") as pack:
        pack.writestr("household_power_consumption.txt", text)
    splits = made(power.PREPARATION, tmp_path, *rows(100))
    assert splits.origin == "raw"
    time = np.concatenate(every(splits))[:, 5]
    assert len(np.unique(time)) == 100


def test_power_from_the_genuine_file(raw_dir, tmp_path):
    packed = raw_dir / "power" / "household_power_consumption.txt.xz"
    with lzma.open(packed) as file:
        lines = [file.readline() for _ in range(40_000)]
    table = power.parse(io.BytesIO(b"".join(lines)), "x")
    measured = [line for line in lines[1:] if line.strip() and b"?" not in line]
    assert len(table) == len(measured) < len(lines) - 1
    for i in (0, 1000, -1):
        fields = measured[i].split(b";")
        hour, minute, _ = map(int, fields[1].split(b":"))
        assert table[i].tolist() == [*map(float, fields[2:]), 60 * hour + minute]
    put(tmp_path, "power/household_power_consumption.txt", b"".join(lines))
    with pytest.raises(DataError, match=r"not the whole dataset.*expected 1,659,917 x 6"):
        power.load(paths=Paths(tmp_path, tmp_path / "p"), download=False)
    assert not (tmp_path / "p" / "power.h5").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not POWER's text"),
        ("a;b\n1;2\n", "its header is"),
        (POWER_TEXT.replace("4.216", "4,216"), "not POWER's text"),
        (POWER_TEXT.replace("17:24:00", "noon"), "not POWER's text"),
    ],
)
def test_what_is_not_powers_text(text, message):
    with pytest.raises(DataError, match=message):
        power.parse(io.BytesIO(text.encode()), "x")


# GAS


def gas_frame(n=200):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(n, 5))
    near = base[:, [0]] + 0.01 * rng.normal(size=(n, 2))
    sensors = np.column_stack([base[:, 0], near, -base[:, 1], base[:, 1:]])
    table = np.column_stack([np.arange(n), rng.random((n, 2)), 10 + 3 * sensors])
    names = ["Time", "Meth", "Eth", *(f"R{i}" for i in range(1, sensors.shape[1] + 1))]
    return pd.DataFrame(table, columns=names)


def gas_by_hand(frame):
    data = frame.drop(columns=["Meth", "Eth", "Time"])
    while ((data.corr() > 0.98).to_numpy().sum(axis=1) > 1).any():
        first = np.where((data.corr() > 0.98).to_numpy().sum(axis=1) > 1)[0][0]
        data = data.drop(columns=data.columns[first])
    data = ((data - data.mean()) / data.std()).to_numpy()
    test, rest = data[-int(0.1 * len(data)) :], data[: -int(0.1 * len(data))]
    return rest[: -int(0.1 * len(rest))], rest[-int(0.1 * len(rest)) :], test


class _FakePandas:
    """Pickles a frame as pandas 0.20 under Python 2 did: names of modules, state of managers."""

    def __init__(self, monkeypatch, index_module="pandas.core.indexes.base"):
        def module(name, **members):
            made = types.ModuleType(name)
            for key, value in members.items():
                value.__module__, value.__qualname__ = name, key
                setattr(made, key, value)
            monkeypatch.setitem(sys.modules, name, made)

        class DataFrame:
            def __reduce__(self):
                return copyreg_new, (DataFrame,), self.state

        class BlockManager(DataFrame):
            def __reduce__(self):
                return copyreg_new, (BlockManager,), self.state

        class Index:
            def __reduce__(self):
                return _new_Index, (type(self), self.state)

        class RangeIndex(Index):
            pass

        class Int64Index(Index):
            pass

        def _new_Index(kind, state):
            raise AssertionError

        copyreg_new = __import__("copyreg").__newobj__
        Index.__reduce__.__globals__["_new_Index"] = _new_Index
        module("pandas.core.frame", DataFrame=DataFrame)
        module("pandas.core.internals", BlockManager=BlockManager)
        kinds = {"Index": Index, "RangeIndex": RangeIndex, "Int64Index": Int64Index}
        module(index_module, _new_Index=_new_Index, **kinds)
        self.DataFrame, self.BlockManager = DataFrame, BlockManager
        self.Index, self.RangeIndex, self.Int64Index = Index, RangeIndex, Int64Index

    def dumps(self, frame, *, split=None, labels=np.array, protocol=2):
        columns = self.Index()
        names = labels(list(frame.columns), dtype=object)
        columns.state = {"data": names, "name": None}
        index = self.Int64Index()
        index.state = {"data": np.random.default_rng(1).permutation(len(frame)), "name": None}
        values = np.ascontiguousarray(frame.to_numpy().T)
        width = frame.shape[1]
        if split is None:
            blocks = [{"values": values, "mgr_locs": slice(0, width, 1)}]
        else:
            others = np.setdiff1d(np.arange(width), split)
            blocks = [{"values": values[p], "mgr_locs": np.array(p)} for p in (split, others)]
        manager = self.BlockManager()
        axes = [columns, index]
        old = [b["values"] for b in blocks], [columns for _ in blocks]
        manager.state = (axes, *old, {"0.14.1": {"axes": axes, "blocks": blocks}})
        whole = self.DataFrame()
        whole.state = {"_data": manager, "_typ": "dataframe", "_metadata": []}
        content = pickle._dumps(whole, protocol=protocol)
        return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.mark.parametrize(
    "module", ["pandas.core.index", "pandas.indexes.base", "pandas.core.indexes.base"]
)
def test_frames_of_old_pandas_are_read_without_it(monkeypatch, module):
    fake = _FakePandas(monkeypatch, module)
    frame = gas_frame()
    for split in (None, [0, 3, 4]):
        content = fake.dumps(frame, split=split)
        assert module.encode() in content and b"BlockManager" in content
        read = pickles.load_frame(content, "x")
        pd.testing.assert_frame_equal(read, frame)


def test_gas_from_the_authors_frame(tmp_path, monkeypatch):
    content = _FakePandas(monkeypatch).dumps(gas_frame())
    monkeypatch.undo()
    put(tmp_path, "data/gas/ethylene_CO.pickle", content)
    splits = made(replace(gas.PREPARATION, features=6), tmp_path, *rows(200))
    for x, right in zip(every(splits), gas_by_hand(gas_frame()), strict=True):
        np.testing.assert_allclose(x, right, rtol=1e-5, atol=1e-6)
    assert splits.origin == "authors"
    # Columns that mirror each other stay, the first of a pair goes, nothing is shuffled, and the
    # scaling sees every row.
    frame = gas_frame()
    kept = frame[["R3", "R4", "R5", "R6", "R7", "R8"]].to_numpy()
    table = np.concatenate(every(splits)).astype(float)
    assert np.corrcoef(table[:, 1], table[:, 2])[0, 1] < -0.98
    np.testing.assert_allclose(table[:, 0], (kept[:, 0] - kept[:, 0].mean()) / kept[:, 0].std(
        ddof=1), rtol=1e-5, atol=1e-6)  # fmt: skip


def test_gas_from_text_is_called_redrawn(tmp_path):
    frame = gas_frame(800)
    wide = np.column_stack([frame.to_numpy(), np.random.default_rng(1).random((800, 8))])
    lines = ["Time (seconds), CO conc (ppm), Ethylene conc (ppm), sensor readings (16 channels)"]
    lines += ["  ".join(f"{v:.8f}" for v in row) + " " for row in wide]
    put(tmp_path, "gas/ethylene_CO.txt", "\r\n".join(lines).encode())
    splits = made(replace(gas.PREPARATION, features=14), tmp_path, *rows(200))
    assert splits.origin == "redrawn"
    order = np.random.RandomState(42).permutation(800)[:200]
    third = wide[order, 5]
    expected = (third - third.mean()) / third.std(ddof=1)
    np.testing.assert_allclose(np.concatenate(every(splits))[:, 0], expected, atol=1e-5)


def test_gas_files_that_are_not(tmp_path, monkeypatch):
    def refused(message, content, name="ethylene_CO.pickle"):
        put(tmp_path, f"gas/{name}", content)
        with pytest.raises(DataError, match=message):
            making.make(gas.PREPARATION, tmp_path)
        (tmp_path / "gas" / name).unlink()

    fake = _FakePandas(monkeypatch)
    good = fake.dumps(gas_frame(40))
    without = fake.dumps(gas_frame(40).drop(columns="Eth"))
    few = fake.dumps(gas_frame(40))
    monkeypatch.undo()
    refused("it names builtins.print|it names __builtin__.print", pickle.dumps(print, protocol=2))
    refused("it names os.system|it names posix.system", b"cos\nsystem\n(S'true'\ntR.")
    refused("it names pandas", pickle.dumps(gas_frame(), protocol=2))  # of today's pandas
    refused("not a frame of numbers", good[:-40])
    refused("not a frame of numbers", pickle.dumps({"a": 1}, protocol=2))
    refused("no column 'Eth'", without)
    refused("not the whole dataset", few)
    refused("expected rows of 19 numbers", b"header\n1 2 3\n", "ethylene_CO.txt")
    refused("not GAS's text", b"header\n" + b"x " * 19 + b"\n", "ethylene_CO.txt")


# HEPMASS


def hepmass_frames(n=120):
    """As the real files: 27 values after the class, the last of which the authors lose."""
    features = 27
    rng = np.random.default_rng(0)

    def frame(count):
        values = rng.normal(size=(count, features))
        values[:, 3] = rng.integers(0, 3, count)  # its smallest value occurs often: dropped
        # Its smallest value occurs once, another often: kept, although it repeats.
        values[:, 5] = np.where(np.arange(count) % 2, 7.0, values[:, 5])
        values[:, 5][:4] = 7.0
        label = rng.integers(0, 2, count).astype(float)
        names = ["# label", *(f"f{i}" for i in range(features))]
        return pd.DataFrame(np.column_stack([label, values]), columns=names)

    return frame(n), frame(n // 2)


def hepmass_files(raw, train, test, *, packed=True):
    text = test.to_csv(index=False, float_format="%.18e")
    files = {  # the header of the training file has a name less than there are values
        "1000_train.csv": train.to_csv(index=False, float_format="%.18e").replace(",f26", "", 1),
        "1000_test.csv": text,
    }
    for name, content in files.items():
        data = content.encode()
        put(raw, f"hepmass/{name}.gz" if packed else f"hepmass/{name}",
            gzip.compress(data) if packed else data)  # fmt: skip


def hepmass_by_hand(train, test):
    train, test = (f[f["# label"] == 1].iloc[:, 1:27] for f in (train, test))
    mean, deviation = train.mean(), train.std()
    train, test = ((f - mean) / deviation for f in (train, test))
    kept = [
        i
        for i, column in enumerate(train.to_numpy().T)
        if sorted(Counter(column).items())[0][1] <= 5
    ]
    train, test = train.to_numpy()[:, kept], test.to_numpy()[:, kept]
    n = int(0.1 * len(train))
    return kept, (train[:-n], train[-n:], test)


@pytest.mark.parametrize("packed", [True, False])
def test_hepmass_loses_the_last_value_of_each_row(tmp_path, packed):
    train, test = hepmass_frames()
    hepmass_files(tmp_path, train, test, packed=packed)
    kept, expected = hepmass_by_hand(train, test)
    assert len(kept) == 25 and 5 in kept and 3 not in kept
    splits = made(replace(hepmass.PREPARATION, features=25), tmp_path, *map(len, expected))
    for x, right in zip(every(splits), expected, strict=True):
        np.testing.assert_allclose(x, right, rtol=1e-6, atol=1e-7)
    assert splits.origin == "authors"


@pytest.mark.parametrize("header", ["", ",f26", ",f26, mass "])
@pytest.mark.parametrize("last_value", [True, False])
def test_hepmass_goes_by_position(tmp_path, header, last_value):
    train, test = hepmass_frames()
    hepmass_files(tmp_path, train, test, packed=False)
    _, expected = hepmass_by_hand(train, test)
    for name in ("train", "test"):
        path = tmp_path / "hepmass" / f"1000_{name}.csv"
        names, *rows_ = path.read_text().splitlines()
        names = names.removesuffix(",f26") + header
        rows_ = rows_ if last_value else [row.rpartition(",")[0] for row in rows_]
        path.write_text("\ufeff" * (name == "test") + "\r\n".join([names, *rows_]))
    splits = made(replace(hepmass.PREPARATION, features=25), tmp_path, *map(len, expected))
    for x, right in zip(every(splits), expected, strict=True):
        np.testing.assert_allclose(x, right, rtol=1e-6, atol=1e-7)


def test_hepmass_files_that_are_not(tmp_path):
    def refused(message, **changes):
        train, test = hepmass_frames()
        hepmass_files(tmp_path, train, test, packed=False)
        for name, change in changes.items():
            path = tmp_path / "hepmass" / f"1000_{name}.csv"
            path.write_text(change(path.read_text()))
        with pytest.raises(DataError, match=message):
            making.make(hepmass.PREPARATION, tmp_path)

    def without_columns(text):
        return "\n".join(",".join(line.split(",")[:26]) for line in text.splitlines())

    def cut_in_a_row(text):
        return text[: text.rindex(",")]

    refused("expected 315,123 x 21")
    refused("27 or 28 values in each row, and has 26 and 26", test=without_columns)
    refused("and has 26 and 28", train=lambda t: t.replace(",f25", "", 1))
    refused("and has 30 and 28", test=lambda t: t.replace(",f26", ",f26,a,b", 1))
    refused("1000_test.csv names column 4 'x', where .*1000_train.csv has 'f2'",
            test=lambda t: t.replace("f2", "x", 1))  # fmt: skip
    refused("1000_train.csv lacks values", train=cut_in_a_row)
    refused("not a table of numbers", train=lambda t: t.replace("e+00", "x", 1))
    refused("not a table of numbers", test=lambda t: "")
    (tmp_path / "hepmass" / "1000_test.csv").unlink()
    with pytest.raises(DataError, match=r"1000_test\.csv not found"):
        making.make(hepmass.PREPARATION, tmp_path)


def test_the_real_head_of_hepmass(raw_dir, tmp_path):
    """Its signal rows are those of arrays that others have made from the whole file."""
    real = raw_dir / "hepmass" / "1000_train.head.csv.xz"
    put(tmp_path, "hepmass/1000_train.csv.xz", real.read_bytes())
    with find(tmp_path, "hepmass", {hepmass.TRAIN: 10 << 20}) as files:
        names, signal = hepmass.parse(files, hepmass.TRAIN)
    assert names == ["# label", *(f"f{i}" for i in range(26))] and signal.shape == (503, 26)
    with np.load(raw_dir / "hepmass" / "hepmass_partial.npz") as partial:
        right = partial["train"][:503]
    kept = signal[:, ~repeats_smallest(signal)]
    np.testing.assert_allclose(kept, right, rtol=1e-12, atol=1e-14)


# MINIBOONE


def test_miniboone_from_the_authors_array(tmp_path):
    table = np.random.default_rng(0).normal(3, 2, size=(100, 43))
    put(tmp_path, "miniboone/data.npy", npy(table))
    splits = made(replace(miniboone.PREPARATION, means={}), tmp_path, *rows(100))
    seen = table[:90]
    scaled = (table - seen.mean(axis=0)) / seen.std(axis=0)
    same(splits, scaled[:81], scaled[81:90], scaled[90:])
    assert splits.origin == "authors"


def miniboone_text(signal, background=2):
    lines = [f" {len(signal)} {background}"]
    lines += ["".join(f"  {v:.6E}" for v in event) for event in signal]
    lines += ["".join(f"  {v:.6E}" for v in np.ones(50)) for _ in range(background)]
    return "\n".join(lines).encode()


def miniboone_signal(n=120):
    signal = np.random.default_rng(0).normal(3, 1, size=(n, 50))
    signal[[4, 9]] = -1000
    signal[:, 7] = np.arange(n) % 4  # repeats its smallest value: dropped
    signal[:, 8] = np.where(np.arange(n) % 2, 9.0, signal[:, 8])  # repeats its largest: kept
    return np.array([[float(f"{v:.6E}") for v in event] for event in signal])


def test_miniboone_from_text(tmp_path, monkeypatch):
    signal = miniboone_signal()
    monkeypatch.setattr(miniboone, "SIGNAL", len(signal))
    put(tmp_path, "miniboone/MiniBooNE_PID.txt", miniboone_text(signal))
    recipe = replace(miniboone.PREPARATION, features=49)
    splits = made(recipe, tmp_path, *rows(118))
    assert splits.origin == "raw"  # not the authors' rows
    table = np.delete(np.delete(signal, [4, 9], axis=0), 7, axis=1)
    seen = table[: sum(rows(118)[:2])]
    np.testing.assert_allclose(
        np.concatenate(every(splits)), (table - seen.mean(0)) / seen.std(0), rtol=1e-4, atol=1e-5
    )
    means = tuple(float(x.mean(dtype=float)) for x in every(splits))
    known = replace(recipe, means={"authors": means})
    assert made(known, tmp_path, *rows(118)).origin == "authors"  # the very rows


def test_other_rows_of_the_same_shape_are_not_called_the_authors(tmp_path):
    put(tmp_path, "miniboone/data.npy", npy(np.random.default_rng(0).normal(size=(36488, 43))))
    with pytest.raises(DataError, match=r"data\.npy is not this dataset: the mean of the split"):
        making.make(miniboone.PREPARATION, tmp_path)


def test_miniboone_prefix_of_the_genuine_file(raw_dir, tmp_path, monkeypatch):
    """The first events, cleaned, are the first rows of the authors' array."""
    packed = (raw_dir / "miniboone" / "MiniBooNE_PID.head.txt.xz").read_bytes()
    put(tmp_path, "miniboone/MiniBooNE_PID.txt.xz", packed)
    with pytest.raises(DataError, match="a line is not 50 numbers"):  # cut in the middle of one
        making.make(miniboone.PREPARATION, tmp_path)
    lines = lzma.decompress(packed).rpartition(b"\n")[0]
    events = miniboone.parse(lines, "x")
    assert events.shape == (1121, 50)
    dropped = [5, 13, 22, 26, 34, 44, 45]  # of the whole file
    assert set(np.flatnonzero(repeats_smallest(events))) <= set(dropped)
    whole = npy_of(raw_dir)
    cleaned = np.delete(events[events[:, 0] >= -100], dropped, axis=1)
    np.testing.assert_allclose(cleaned, whole[: len(cleaned)], rtol=1e-12)
    with pytest.raises(DataError, match="not the whole dataset"):
        making.check(miniboone.PREPARATION, standardised(*cut(events)), "x", tmp_path)


def npy_of(raw_dir):
    """The authors' array of MINIBOONE."""
    with lzma.open(raw_dir / "miniboone" / "data.npy.xz") as file:
        return np.load(file)


def test_miniboone_is_the_authors(raw_dir, tmp_path):
    splits = making.make(miniboone.PREPARATION, raw_dir)
    assert splits.origin == "authors"
    hashes = [hashlib.sha256(x.tobytes()).hexdigest() for x in every(splits)[1:]]
    assert hashes == [
        "3f8464516c2e175976966bd4a80637911645f9bf9fc2569a9e0f60f88ed619ef",
        "99a3d20513965ddfde36f5b58848404e6b4b364d64cfd4d27e9370fbf418a65f",
    ]
    means = [x.mean(dtype=float) for x in every(splits)]
    assert miniboone.PREPARATION.means["authors"] == pytest.approx(means, abs=1e-8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "should begin with the number of signal events"),
        (b" 12 7\n", "should begin with the number of signal events, 36499"),
        (b" 36499 93565\n 1 2 3\n", "a line is not 50 numbers"),
        (b" 36499 93565\n" + b" x" * 50, "a line is not 50 numbers"),
    ],
)
def test_what_is_not_miniboones_text(content, message):
    with pytest.raises(DataError, match=message):
        miniboone.parse(content, "x")


# All of them


@pytest.mark.parametrize("module", [power, gas, hepmass, miniboone])
def test_splits_that_somebody_has_stored_are_checked_by_shape(tmp_path, module):
    recipe = replace(module.PREPARATION, rows=(8, 2, 3), means={})
    rng = np.random.default_rng(0)
    arrays = [rng.random((n, recipe.features)) for n in recipe.rows]
    variant = next(v for v in recipe.variants if "*train.npy" in v.limits)
    own = replace(recipe, variants=(ready_made(recipe.features, recipe.rows),))
    assert variant.origin == "raw"
    for name, array in zip(("train", "val", "test"), arrays, strict=True):
        put(tmp_path, f"{recipe.name}/{recipe.name}_{name}.npy", npy(array))
    splits = making.make(own, tmp_path)
    same(splits, *arrays)
    assert splits.origin == "raw"
    put(tmp_path, f"{recipe.name}/{recipe.name}_test.npy", npy(arrays[0]))
    with pytest.raises(DataError, match=r"should be numbers of shape \[3, "):
        making.make(own, tmp_path)
    put(tmp_path, f"{recipe.name}/test.npy", npy(arrays[2]))
    with pytest.raises(DataError, match=r"both match .*Remove one of them"):
        making.make(own, tmp_path)


def test_arrays_that_are_not(tmp_path):
    def refused(message, content):
        put(tmp_path, "power/data.npy", content)
        with pytest.raises(DataError, match=message):
            making.make(power.PREPARATION, tmp_path)

    refused("not an npy file", b"")
    refused("not an npy file", b"\x93NUMPY rubbish")
    refused("not an npy file", npy(power_table())[:-100])
    refused(r"should be numbers of shape \[any, 8\]", npy(np.zeros((5, 7))))
    refused("should be numbers", npy(np.zeros(5)))
    refused("should be numbers", npy(np.array([["a"] * 8])))
    objects = io.BytesIO()
    np.save(objects, np.array([[{}] * 8], dtype=object), allow_pickle=True)
    refused("not an npy file", objects.getvalue())
    table = power_table()
    table[3, 2] = np.nan
    put(tmp_path, "power/data.npy", npy(table))
    with pytest.raises(DataError, match="missing or not finite"):
        made(power.PREPARATION, tmp_path, *rows(205))
