"""The user's own table, in every format, good and bad."""

import hashlib
import json
import sys

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from maf_runner.system.errors import DataError
from tests.helpers.tables import read, saved, table


@pytest.fixture
def said(monkeypatch):
    """What is logged."""
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(
            f"maf_runner.datasets.user_table.rows.log.{level}",
            lambda *a: lines.append(a[0] % a[1:]),
        )
    return lines


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy", ".npz", ".h5"])
def test_every_format_gives_the_same(tmp_path, suffix):
    splits = read(saved(tmp_path, suffix))
    assert splits.fingerprint == read(saved(tmp_path, ".csv")).fingerprint
    assert [len(r) for r in (splits.train, splits.validation, splits.test)] == [160, 20, 20]
    x = splits.train.x.astype(float)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-6)


def test_standardisation_is_from_the_training_rows_and_the_split_loses_no_row(tmp_path):
    path = saved(tmp_path, ".csv")
    raw, scaled = read(path, standardise=False), read(path)
    train = raw.train.x.astype(float)
    expected = (raw.test.x - train.mean(axis=0)) / train.std(axis=0)
    np.testing.assert_allclose(scaled.test.x, expected, atol=1e-5)
    every = np.concatenate([raw.train.x, raw.validation.x, raw.test.x])
    numbers = table().select_dtypes("number").to_numpy().astype(np.float32)
    assert sorted(map(tuple, every)) == sorted(map(tuple, numbers))
    assert read(path, seed=1).fingerprint != scaled.fingerprint


def test_labels_and_columns_by_name(tmp_path):
    splits = read(saved(tmp_path, ".csv"), columns=["weight"], label="kind")
    assert splits.features == 1 and splits.classes == 2
    every = np.concatenate([r.labels for r in (splits.train, splits.validation, splits.test)])
    assert np.bincount(every).tolist() == table()["kind"].value_counts().sort_index().tolist()


def test_the_prior_is_the_shares_of_the_training_rows(tmp_path, said):
    path = saved(tmp_path, ".csv")
    assert read(path, label="kind").prior is None
    splits = read(path, label="kind", class_prior="empirical")
    assert splits.prior == tuple(np.bincount(splits.train.labels) / 160)
    names = ("train", "validation", "test")
    kinds = {f"{name}_labels": np.array(["a", "c", "c"]) for name in names}
    kinds["test_labels"][0] = "b"
    rows = {name: np.random.default_rng(0).normal(size=(3, 2)) + i for i, name in enumerate(names)}
    np.savez(tmp_path / "x.npz", **rows, **kinds)
    splits = read(tmp_path / "x.npz", label="label", class_prior="empirical")
    assert splits.prior == (1 / 3, 0, 2 / 3)
    assert any("no training row has the class b: their prior is 0" in text for text in said)
    assert read(tmp_path / "x.npz", label="label").prior is None
    assert any(
        "no training row has the class b: their prior is that of the others" in t for t in said
    )


def test_splits_of_the_file_are_kept(tmp_path):
    arrays = {n: np.random.default_rng(i).normal(size=(5 + i, 2)) for i, n in enumerate("abc")}
    names = dict(zip(("train", "val", "test"), arrays.values(), strict=True))
    labels = {f"{name}_labels": np.arange(len(array)) % 2 for name, array in names.items()}
    np.savez(tmp_path / "x.npz", **names, **labels)
    splits = read(tmp_path / "x.npz", standardise=False)
    assert splits.features == 2 and splits.classes == 0
    assert read(tmp_path / "x.npz", label="label").train.labels.tolist() == [0, 1, 0, 1, 0]
    np.testing.assert_allclose(splits.validation.x, arrays["b"], rtol=1e-6)
    assert [len(r) for r in (splits.train, splits.validation, splits.test)] == [5, 6, 7]


def test_dequantise_fills_the_steps(tmp_path):
    frame = table().assign(count=np.arange(200) % 7)
    path = saved(tmp_path, ".csv", frame)
    filled = read(path, dequantise=["count"], standardise=False).train.x[:, 2]
    assert set(np.floor(filled)) == set(range(7)) and len(set(filled)) == 160


def test_a_column_that_is_left_out_says_why(tmp_path, said):
    frame = table().astype({"weight": object})
    frame.loc[7:150, "weight"] = "abc"
    path = saved(tmp_path, ".csv", frame)
    assert read(path).features == 1
    assert said[0].endswith(
        "non-numeric columns skipped: weight ('abc' in row 7), kind ('tall' in row 0)"
    )
    with pytest.raises(DataError, match=r"non-numeric columns: weight \('abc' in row 7\)"):
        read(path, columns=["height", "weight"])


def test_a_few_words_do_not_drop_a_column_of_numbers(tmp_path):
    frame = table().astype({"weight": object})
    frame.loc[7, "weight"] = "?"
    path = saved(tmp_path, ".csv", frame)
    found = (
        r"199 of 200 values of column 'weight' are numbers, .*\('\?' in row 7\)\. Correct these"
    )
    with pytest.raises(DataError, match=found):
        read(path)
    assert read(path, columns=["height"]).features == 1
    frame["weight"] = frame["weight"].where(frame.index % 2 == 0, "?")
    with pytest.raises(DataError, match=r"100 of 200 values of column 'weight'"):
        read(saved(tmp_path, ".csv", frame))
    texts = table().assign(weight=lambda t: t["weight"].astype(str))
    with pytest.raises(DataError, match=r"200 of 200 .* it is read as text\. Correct these"):
        read(saved(tmp_path, ".parquet", texts))


def test_truth_values_are_numbers_and_dates_and_complex_numbers_are_not(tmp_path, said):
    days = pd.date_range("2020-01-01", periods=200)
    frame = table().assign(
        old=np.arange(200) % 2 == 0, day=days, since=days - days[0], size=table()["kind"]
    )
    frame = frame.astype({"size": "category"})
    path = saved(tmp_path, ".parquet", frame)
    assert read(path).table.columns == ("height", "weight", "old")
    assert "day ('2020-01-01' in row 0), since ('0 days' in row 0), size" in said[0]
    assert set(read(path, columns=["old"], standardise=False).train.x[:, 0]) == {0, 1}
    for column in ("day", "since"):
        with pytest.raises(DataError, match=f"non-numeric columns: {column} "):
            read(path, columns=["height", column])
    gaps = frame.astype({"old": object})
    gaps.loc[3, "old"] = None
    path = saved(tmp_path, ".csv", gaps)
    with pytest.raises(DataError, match=r"row 3 .*column 'old'"):
        read(path)
    assert read(path, missing="drop").features == 3
    np.save(tmp_path / "x.npy", np.ones((20, 2)) * 1j)
    with pytest.raises(DataError, match="its values are complex"):
        read(tmp_path / "x.npy")


def test_a_constant_column_keeps_its_scale(tmp_path):
    space = read(saved(tmp_path, ".csv", table().assign(always=0.1))).table
    assert space.deviation[2] == 1


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.where(np.arange(200) % 2, "cat", "dog"), ("cat", "dog")),
        (np.arange(200) % 3 * 5, (0, 5, 10)),
        (np.arange(200) % 2 / 2, (0.0, 0.5)),
        (np.array([1e-9, 2e-9] * 100), (1e-9, 2e-9)),
        (np.arange(200) % 2 == 0, (False, True)),
        (pd.Categorical(np.where(np.arange(200) % 2, "cat", "dog")), ("cat", "dog")),
        (pd.to_datetime(["2020-01-01", "2021-01-01"] * 100), ("2020-01-01", "2021-01-01")),
    ],
)
def test_the_classes_are_those_of_the_table(tmp_path, labels, classes):
    path = saved(tmp_path, ".parquet", table().assign(kind=labels))
    space = read(path, label="kind").table
    assert (space.label, space.classes) == ("kind", classes)
    assert list(map(type, space.classes)) == list(map(type, classes))
    assert json.loads(json.dumps(space.classes)) == list(classes)
    assert read(path).table.classes == ()


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_words_in_archives_are_words(tmp_path, suffix):
    arrays = {"data": np.random.default_rng(0).normal(size=(20, 2)), "labels": [b"a", b"b"] * 10}
    path = tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as store:
            store.update(arrays)
    assert read(path, label="label").table.classes == ("a", "b")


def test_labels_of_two_kinds_are_refused(tmp_path):
    rows = {n: np.random.default_rng(0).normal(size=(3, 2)) for n in ("train", "val", "test")}
    labels = {"train_labels": ["a", "b", "a"], "val_labels": [0, 1, 0], "test_labels": [0, 1, 0]}
    np.savez(tmp_path / "x.npz", **rows, **labels)
    with pytest.raises(
        DataError, match=r"x\.npz: the label column has values of different types, 'a' and 0; "
    ):
        read(tmp_path / "x.npz", label="label")


def test_a_missing_label_is_refused_with_its_place_or_dropped(tmp_path):
    frame = table().assign(kind=np.arange(200) % 2 + 1.0)
    frame.loc[[7, 9], "kind"] = np.nan
    frame.loc[9, "weight"] = np.nan
    path = saved(tmp_path, ".csv", frame)
    message = r"3 values are missing .*in 2 of 200 rows; .* row 7 \(from 0\), column 'kind'"
    with pytest.raises(DataError, match=message):
        read(path, label="kind")
    splits = read(path, label="kind", missing="drop")
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 198
    assert repr(splits.table.classes) == "(1, 2)"  # whole numbers, as they were without the gap


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_saved_index_is_left_out(tmp_path, said, suffix):
    path = tmp_path / f"x{suffix}"
    table().to_csv(tmp_path / "x.csv")
    if suffix == ".parquet":
        pd.read_csv(tmp_path / "x.csv").to_parquet(path)
    assert read(path).table.columns == ("height", "weight")
    assert any(text.endswith("looks like a saved index: Unnamed: 0") for text in said)
    assert read(path, columns=["Unnamed: 0"]).features == 1


def test_the_file_is_named_in_the_sources(tmp_path):
    path = saved(tmp_path, ".csv")
    splits = read(path)
    assert splits.sources == {"table.csv": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert splits.origin == "own"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy", ".npz", ".h5"])
def test_a_suffix_in_capitals(tmp_path, suffix):
    path = saved(tmp_path, suffix)
    assert read(path.rename(path.with_suffix(suffix.upper()))).features == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nx,1,2\ny,3,4\n", "its first line has 2 names, and all others have a field more"),
        ("a,b\n1,2,3\n3,4\n", "a row has 3 fields, the header has 2 names"),
        ("a,b\n0,1,2\n1,3,4\n", "its first line has 2 names, and all others have a field more"),
        ("a;b;c\n1,5;2,5;3\n2,5;3,5;4\n", "seems to be separated by semicolons: save it"),
        ("a;b\n1,5;2,5\n2;3\n", "seems to be separated by semicolons: save it"),
        ("a\tb\n1\t2\n", "seems to be separated by tabs"),
        ("a,b,\n1,2,\n3,4,\n", "column 3 has no name and is empty: remove the commas"),
        ("a,b,a\n1,2,3\n", "several columns have the name 'a'"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, where 2 are expected"),
    ],
)
def test_csv_whose_columns_cannot_be_told(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=f"x.csv cannot be read as a table: .*{message}"):
        read(tmp_path / "x.csv")


def test_commas_after_the_last_value_of_a_row_are_no_column(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i}.5,{-i}.25,\n" for i in range(1, 21)))
    splits = read(tmp_path / "x.csv", standardise=False)
    assert set(splits.train.x[:, 0]) < {i + 0.5 for i in range(1, 21)}


def test_a_long_column_is_of_one_kind(tmp_path):
    kinds = ["1"] * 300_000 + ["a"] * 300_000  # read in pieces, it would be 1 and 'a' and '1'
    frame = pd.DataFrame({"x": np.arange(600_000) / 7, "kind": kinds})
    path = saved(tmp_path, ".csv", frame)
    assert read(path, label="kind").table.classes == ("1", "a")


def test_parquet_without_its_package(tmp_path, monkeypatch):
    path = saved(tmp_path, ".parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install '.\[parquet\]'"):
        read(path)


def test_what_flatters_a_likelihood_is_reported(tmp_path, said):
    frame = table().assign(count=np.arange(200) % 7, always=3.5)
    frame = pd.concat([frame, frame.iloc[:4]])
    read(saved(tmp_path, ".csv", frame))
    text = "\n".join(said)
    assert "constant in the training rows have no density: always" in text
    assert "dataset.dequantise=[count]" in text
    assert "4 of 204 rows are duplicate rows" in text


def test_missing_values_are_refused_with_their_place_or_dropped(tmp_path):
    frame = table()
    frame.loc[7, "weight"] = np.nan
    frame.loc[9, "height"] = np.inf
    path = saved(tmp_path, ".csv", frame)
    with pytest.raises(DataError, match=r"2 values are missing or not finite, in 2 of 200 rows; "):
        read(path)
    with pytest.raises(DataError, match=r"the first is in row 7 \(from 0\), column 'weight'"):
        read(path)
    splits = read(path, missing="drop", label="kind")
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 198


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"label": "knd"}, DataError, "no column 'knd' .*did you mean 'kind'"),
        ({"columns": ["wieght"]}, DataError, "no column 'wieght' .*did you mean 'weight'"),
        ({"columns": ["kind"]}, DataError, "non-numeric columns"),
        ({"dequantise": ["heigth"]}, ValueError, "did you mean 'height'"),
        ({"fractions": [0.5, 0.5]}, ValueError, "fractions must be three numbers"),
        ({"fractions": [0.5, 0.4, 0.2]}, ValueError, "must sum to 1"),
        ({"missing": "guess"}, ValueError, "missing must be refuse, drop or indicator"),
        ({"class_prior": "fair"}, ValueError, "class_prior must be uniform or empirical"),
        ({"class_prior": "empirical"}, ValueError, "class_prior=empirical needs class labels"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"columns": "height"}, ValueError, r"columns must be a list of names.* got 'height'"),
        ({"dequantise": "height"}, ValueError, "dequantise must be a list of names"),
        ({"columns": []}, ValueError, "columns is an empty list"),
        ({"columns": ["height", "height"]}, ValueError, "columns names 'height' more than once"),
        ({"dequantise": ["height"] * 2}, ValueError, "dequantise names 'height' more than once"),
        (
            {"columns": ["height", "kind"], "label": "kind"},
            ValueError,
            "'kind' is both in columns and the label",
        ),
    ],
)
def test_impossible_arguments(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        read(saved(tmp_path, ".csv"), **changes)


def test_files_that_are_no_tables(tmp_path):
    def refused(name, content, message):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read(path)

    refused("none.csv", None, "none.csv not found")
    refused("x.doc", b"hello", "expected .csv, .tsv or .txt")
    (tmp_path / "folder.csv").mkdir()
    refused("folder.csv", None, "folder.csv is a folder; expected a file, .csv")
    twins = pa.table([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])
    parquet.write_table(twins, tmp_path / "twins.parquet")
    refused("twins.parquet", None, "twins.parquet .*: several columns have the name 'a'")
    refused("empty.csv", b"", "cannot be read as a table")
    refused("words.csv", b"a,b\nx,y\n", "no numeric column")
    refused("bad.npy", b"\x93NUMPY rubbish", "cannot be read as a table")
    refused("bad.h5", b"\x89HDF rubbish", "cannot be read as a table")
    refused("bad.npz", b"PK rubbish", "cannot be read as a table")
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    refused("objects.npy", None, "cannot be read as a table")
    np.save(tmp_path / "flat.npy", np.zeros(5))
    refused("flat.npy", None, "got an array of shape")
    np.save(tmp_path / "tiny.npy", np.zeros((2, 2)))
    refused("tiny.npy", None, "no row is left for the split")


def test_run_is_identified_by_content(tmp_path, command):
    saved(tmp_path, ".csv")
    words = ["model=gaussian", "dataset=file", "dataset.name=people"]
    first = command("maf-run", *words, "dataset.path=table.csv", check=0)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "table.csv").rename(tmp_path / "elsewhere" / "other.csv")
    again = command("maf-run", *words, "dataset.path=elsewhere/other.csv", check=0)
    assert "already there: Gaussian on people" in again.stderr and again.stdout == first.stdout
    table(150).to_csv(tmp_path / "table.csv", index=False)
    other = command("maf-run", *words, "dataset.path=table.csv", check=0)
    assert other.stdout != first.stdout
    record = json.loads(next((tmp_path / "results").rglob("record.json")).read_text())
    assert record["settings"]["dataset"]["path"].startswith("sha256:")
    assert "add dataset.path=" in command("maf-run", "dataset=file", check=2).stderr
    gone = command("maf-run", "dataset=file", "dataset.path=gone.csv", check=3)
    assert "gone.csv not found" in gone.stderr


def test_a_real_table_with_outliers(raw_dir, tmp_path):
    with np.load(raw_dir / "gas" / "gas_30k_8of16.npz") as archive:
        rows = archive["rows"]
    np.save(tmp_path / "gas.npy", rows)
    splits = read(tmp_path / "gas.npy")
    drawn = [part.x for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in drawn] == [24000, 3000, 3000]
    back = np.sort(splits.table.to_table(np.concatenate(drawn)), axis=0)
    np.testing.assert_allclose(back, np.sort(rows, axis=0), rtol=1e-4, atol=1e-3)
