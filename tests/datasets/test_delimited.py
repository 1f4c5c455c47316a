"""Tables as text: nothing is guessed in silence, and what is refused is named with its mend."""

import gzip
import re
import time

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from maf_runner.datasets.untrusted import first_lines, tables
from maf_runner.datasets.untrusted.archives import _matches
from maf_runner.datasets.untrusted.dialect import Dialect
from maf_runner.system.errors import DataError
from tests.helpers.tables import read, saved, table

ROWS = "".join(f"{i / 7:.3f},{(i * 37 % 11) / 3:.3f}\n" for i in range(60))


def written(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "dialect",
    [{}, {"missing_markers": ("?",)}, {"thousands": " "}, {"categorical": ("site",)}],
)
def test_words_that_look_like_numbers_stay_words(tmp_path, dialect):
    file = written(tmp_path / "a.csv", "code,y,site\n01,1,a\n1,2,b\nNA,3,a\n1.0,4,NA\n")
    for rows in (1, 10):
        pieces = tables.pieces(file, "FILE", rows, Dialect(words=("code",), **dialect))
        table = pd.concat(pieces, ignore_index=True)
        assert table["code"].fillna("").tolist() == ["01", "1", "", "1.0"]
        assert table["y"].tolist() == [1, 2, 3, 4]
        assert table["site"].isna().any() == ("categorical" not in dialect)


@pytest.mark.parametrize(
    ("name", "text", "encoding", "message"),
    [
        ("a.csv", "M,0.4\nF,0.3\nM,0.2\n", "utf-8", "first line holds numbers .0.4."),
        ("a.csv", "2020-01-01,0.4\n2020-01-02,0.3\n", "utf-8", "dataset.header=true or"),
        ("a.csv", "1100.0,1102.5\n1.0,2.0\n3.0,4.0\n", "utf-8", "put names that are numbers in"),
        ("a.csv", "a|b\n1|2\n3|4\n", "utf-8", "vertical bars: .*dataset.separator='|'"),
        ("a.csv", "a b\n1 2\n3 4\n", "utf-8", "blanks: .*dataset.separator=' '"),
        ("a.csv", "a\tb\n1\t2\n", "utf-8", "tabs: .* name it .tsv"),
        ("a.csv", "a,b\n1,2\n", "utf-16", "UTF-16: .*iconv -f UTF-16"),
        ("a.csv", "Höhe,b\n1,2\n", "latin-1", "not written in UTF-8 .byte 0xf6.*iconv -f cp1252"),
        (
            "a.csv",
            f"x,y\nunit,V,\n\na,b\n{ROWS}",
            "utf-8",
            "its first 2 lines .*line 3 with 'a,b'",
        ),
        ("a.csv", "", "utf-8", "it is empty"),
    ],
)
def test_what_is_not_surely_a_table_is_named(tmp_path, name, text, encoding, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path / name, text, encoding))


def test_a_bad_byte_far_down_is_named_too(tmp_path):
    rows = "a,b\n" + ROWS * 2000
    (tmp_path / "a.csv").write_bytes(rows.encode() + b"1,2\xe4\n")
    with pytest.raises(DataError, match="not written in UTF-8"):
        read(tmp_path / "a.csv")


def test_a_header_is_said_to_be_one_or_not(tmp_path):
    path = written(tmp_path / "a.csv", "1100.0,1102.5\n" + ROWS)
    assert read(path, header=True).table.columns == ("1100.0", "1102.5")
    without = read(path, header=False)
    assert without.table.columns == ("0", "1") and len(without.train.x) == 49
    quoted = written(tmp_path / "b.csv", '"1100.0","1102.5"\n' + ROWS)
    assert read(quoted).table.columns == ("1100.0", "1102.5")


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.bz2", ".csv.xz", ".tsv", ".txt", ".feather"])
def test_more_forms_of_a_table(tmp_path, suffix):
    expected, path = read(saved_csv(tmp_path)), tmp_path / f"t{suffix}"
    if suffix == ".feather":
        table().to_feather(path)
    else:
        table().to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    np.testing.assert_array_equal(read(path).train.x, expected.train.x)


def saved_csv(folder):
    table().to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def test_a_compressed_file_under_another_name_is_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(DataError, match=r"compressed by gzip: give it the ending \.csv\.gz"):
        read(tmp_path / "a.csv")


NOTATION = {
    "thousands": (["53,000.94", "1,286.5", "12,000,000", "3.5"], "dataset.thousands=','"),
    "decimal": (["1,67", "0,5", "-12,25", "3"], "dataset.decimal=','"),
    "three decimals": (["0,699", "0,125", "-0,031", "0,5"], "dataset.decimal=','"),
    "either": (["1,699", "2,125", "3,031", "7,500"], "dataset.decimal=',.* or .dataset.thousands"),
    "points": (["6.988,5", "12,25", "1.000,1", "3,5"], "thousands='.'. .dataset.decimal=','"),
    "lakh": (["12,34,567", "1,00,000", "99,000", "5"], "remove the commas"),
    "apostrophes": (["6'988.06", "1'000.5", "3.2", "7.1"], "dataset.thousands"),
    "narrow blanks": (["6\u202f988,06", "1\u202f000,5", "9\u202f001,1", "7"], "dataset.thousands"),
    "percent": (["18.9%", "16 %", "2%", "0.5%"], "percent sign"),
    "currency": (["$26.50", "$1,143.29", "$3", "$4.5"], "currency"),
    "currency code": (["EUR 26.50", "EUR 3", "-EUR 4", "EUR 1"], "currency"),
    "minus": (["\u22122.308", "\u22123.1", "1.5", "0.2"], "another sign for minus"),
    "minus behind": (["2.308-", "3.1-", "1.5", "0.2"], "a minus behind"),
    "brackets": (["(2.30)", "(3.1)", "1.5", "0.2"], "brackets"),
    "unit": (["2.9 kg", "3 kg", "0.1 kg", "12.5 kg"], "a unit behind them"),
    "units": (["2.90kg", "21.5°C", "3.5kg", "20.5°C"], "a unit behind them"),
    "fortran": (["1.0D+03", "2.5D-01", "3.0D+00", "-1.0d+02"], "Fortran"),
    "limits": (["<0.22", "<0.22", "0.5", "<0.1"], "a limit"),
    "errors": (["0.70 ± 0.1", "1.2 ± 0.2", "3 ± 1", "4.0 ± 1.1"], "an error"),
    "powers": (["6.99×10^-01", "1.0×10^3", "2x10^4", "3.1×10^0"], "a power of ten"),
    "digits": (["١٢.٥", "٣", "١", "٢"], "digits other than"),
    "wide digits": (["１２．５", "３", "１", "２"], "digits other than"),
    "hidden signs": (["\u00a012.5", "3\u200e", "\ufeff1", "2\u00a0"], "cannot be seen"),
    "guarded": (['="0.299"', '="1.5"', '="2"', '="3.25"'], "quotes around them"),
    "short errors": (["0.30(5)", "1.25(3)", "2.1(1)", "0.5(2)"], "an error"),
    "blank exponents": (["0.299 E-3", "1.5 E-2", "2.0 E-1", "3.5 E+0"], "a blank before"),
    "imaginary": (["0.3+0.27i", "1.5-2i", "2+3i", "0.1+0.2i"], "imaginary parts"),
    "francs": (["CHF 2'993.61", "CHF 12.50", "CHF 7", "CHF 1'000"], "a currency"),
}


@pytest.mark.parametrize("kind", NOTATION)
def test_numbers_in_another_notation_are_named(tmp_path, kind):
    values, message = NOTATION[kind]
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=80), "b": values * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=f"column 'b' holds numbers .*{message}"):
        read(tmp_path / "t.csv")


def test_notations_that_can_be_read(tmp_path):
    rng = np.random.default_rng(0)
    plain = pd.DataFrame({"a": rng.normal(size=80).round(3), "b": (rng.random(80) * 1e6).round(2)})
    plain.to_csv(tmp_path / "plain.csv", index=False)
    expected = read(tmp_path / "plain.csv")
    plain.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    found = read(tmp_path / "comma.csv", separator=";", decimal=",")
    np.testing.assert_array_equal(found.train.x, expected.train.x)
    plain.assign(b=plain["b"].map("{:,.2f}".format)).to_csv(tmp_path / "k.csv", index=False)
    found = read(tmp_path / "k.csv", thousands=",")
    np.testing.assert_allclose(found.train.x, expected.train.x, rtol=1e-6)
    odd = plain.astype(object)
    odd.loc[3, "a"], odd.loc[5, "b"] = "?", "-999"
    odd.to_csv(tmp_path / "odd.csv", index=False)
    markers = {"missing_markers": ["?", "-999"], "missing": "drop"}
    assert sum(len(r.x) for r in _splits(read(tmp_path / "odd.csv", **markers))) == 78
    for wrong in ({"decimal": ""}, {"decimal": ",", "thousands": ","}, {"separator": "ab"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            read(tmp_path / "plain.csv", **wrong)


@pytest.mark.parametrize(
    "codes",
    [
        ["1A", "2B", "3C"], ["1st", "2nd", "3rd"], ["10mg", "20mg", "placebo"],
        ["2000/01", "2001/02", "2002/03"], ["<5", "5-10", ">10"], ["A12", "B7", "C3"],
        ["male", "female", "n/a"], ["12:30", "14:15", "9:00"],
    ],
)  # fmt: skip
def test_codes_are_words(tmp_path, codes):
    frame = table()[["height", "weight"]].assign(code=[codes[i % 3] for i in range(200)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv").table.columns == ("height", "weight")


def test_a_mark_for_a_missing_number_is_named(tmp_path):
    frame = table()[["height", "weight"]].astype({"weight": str})
    for mark, rows in (("-", 140), ("#DIV/0!", 5), (".", 60)):
        frame.loc[:rows, "weight"] = mark
        frame.to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(DataError, match=rf"dataset.missing_markers=\['{re.escape(mark)}'\]"):
            read(tmp_path / "t.csv")
        frame["weight"] = table()["weight"].astype(str)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("mark", [" ?", "NA ", "  "])
def test_a_mark_between_blanks_is_missing_as_advised(tmp_path, mark, suffix):
    frame = table()[["height", "weight"]].astype({"weight": str})
    frame.loc[:4, "weight"] = mark
    path = saved(tmp_path, suffix, frame)
    advised = rf"dataset\.missing_markers=\['{re.escape(mark.strip())}'\]"
    with pytest.raises(DataError, match=advised):
        read(path)
    if suffix == ".csv":
        found = read(path, missing_markers=[mark.strip()], missing="drop")
        assert sum(len(rows.x) for rows in _splits(found)) == len(frame) - 5
    else:  # where numbers are no texts
        with pytest.raises(DataError, match="195 of 195 values of column 'weight' are numbers, b"):
            read(path, missing_markers=[mark.strip()], missing="drop")


@pytest.mark.parametrize(
    ("suffix", "given"),
    [(".csv", {}), (".tsv", {}), (".csv.gz", {}), (".csv", {"separator": " "})],
)
def test_a_blank_line_in_a_table_of_one_column_is_missing(tmp_path, suffix, given):
    values = [f"{x:.4f}" for x in np.random.default_rng(0).normal(size=90)]
    values[5], values[70] = "", "  "
    path = tmp_path / f"t{suffix}"
    text = "\n".join(["", "a", *values, "", " ", ""])
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    with pytest.raises(DataError, match=r"in 2 of 90 rows; the first is in row 5 .*'a'"):
        read(path, **given)
    assert sum(len(rows.x) for rows in _splits(read(path, missing="drop", **given))) == 88
    parts = list(tables.pieces(path, "FILE", 60, Dialect(**given)))
    assert [len(part) for part in parts] == [60, 30]
    assert [list(np.flatnonzero(part["a"].isna())) for part in parts] == [[5], [10]]


def test_points_between_groups_beside_a_decimal_comma(tmp_path):
    rows = [f"0,{i % 97};{i % 9 + 1}.{i % 1000:03d}" for i in range(90)]
    path = written(tmp_path / "t.csv", "a;b\n" + "\n".join(rows) + "\n")
    own = {"separator": ";", "decimal": ","}
    with pytest.raises(DataError, match=r"'b' holds numbers .*dataset.thousands='.'"):
        read(path, **own)
    with pytest.raises(DataError, match=r"non-numeric columns: b"):  # never as 1.234
        read(path, columns=["a", "b"], **own)
    assert read(path, thousands=".", standardise=False, **own).train.x[:, 1].min() >= 1000


def test_names_of_rows_as_r_writes_them_are_recognised(tmp_path):
    text = '"a" "b"\n' + "".join(f'"{i}" {i / 7:.3f} {i % 11}\n' for i in range(50))
    with pytest.raises(DataError, match=r"2 names, .*row\.names=FALSE"):
        read(written(tmp_path / "t.txt", text), separator=" ")


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        (
            ["1,5", "2,25"],
            {},
            "R's write.table .*; or give .dataset.separator=';'. .dataset.decimal",
        ),
        (["1,5", "2,25"], {"decimal": ","}, "decimal comma give .dataset.separator=';'"),
        (["1,5", "2"], {}, "decimal comma give .dataset.separator=';'. .dataset.decimal=','"),
    ],
)
def test_one_column_with_decimal_commas(tmp_path, values, given, message):
    path = written(tmp_path / "t.csv", "a\n" + "\n".join(values * 20) + "\n")
    with pytest.raises(DataError, match=message):
        read(path, **given)
    assert read(path, separator=";", decimal=",").table.columns == ("a",)


def test_wide_files_and_bombs_end_soon(tmp_path):
    wide = ",".join(f"c{i}" for i in range(20_000))
    numbers = ",".join(str(i / 7) for i in range(20_000))
    path = written(tmp_path / "wide.csv", "\n".join([wide, *[numbers] * 30]) + "\n")
    started = time.monotonic()
    assert len(first_lines.column_names(path, Dialect())) == 20_000
    written(tmp_path / "line.csv", "1," * 600_000)
    with pytest.raises(DataError, match="are the line ends missing"):
        read(tmp_path / "line.csv")
    assert time.monotonic() - started < 10
    with gzip.open(tmp_path / "bomb.csv.gz", "wb", compresslevel=6) as bomb:
        bomb.write(b"a,b\n")
        for _ in range(300):
            bomb.write(b"1.0,2.0\n" * (1 << 17))
    with pytest.raises(DataError, match="would unpack to"):
        read(tmp_path / "bomb.csv.gz")


def test_texts_in_another_encoding_are_no_damage(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 2))
    fields = np.empty(90, dtype=[("a", "f8"), ("b", "f8"), ("place", "S8")])
    fields["a"], fields["b"], fields["place"] = *x.T, "Köln".encode("latin-1")
    np.save(tmp_path / "t.npy", fields)
    with h5py.File(tmp_path / "t.h5", "w") as store:
        for name in fields.dtype.names:
            store[name] = fields[name]
    pd.DataFrame(fields).to_parquet(tmp_path / "t.parquet")
    for name in ("t.npy", "t.h5", "t.parquet"):
        assert read(tmp_path / name).table.columns == ("a", "b")
    with pytest.raises(DataError, match=r"t\.parquet: non-numeric columns: place .*in row 0"):
        read(tmp_path / "t.parquet", columns=["a", "place"])


def test_digits_are_in_groups_of_three(tmp_path):
    rows = [f"{i % 9 + 1}.{i % 1000:03d},{i % 90:02d};{i},5;w\n" for i in range(80)]
    path = written(tmp_path / "t.csv", "a;b;c\n" + "".join(rows))
    found = read(path, separator=";", thousands=".", decimal=",", standardise=False, shuffle=False)
    assert found.table.columns == ("a", "b")
    np.testing.assert_allclose(found.train.x[:2], [[1000.0, 0.5], [2001.01, 1.5]])
    plain = written(tmp_path / "p.csv", "a;b\n" + ROWS.replace(",", ";"))
    with pytest.raises(DataError, match=r"'0\.000' in row 0 .*not between groups of three digits"):
        read(plain, separator=";", thousands=".", decimal=",")


def test_markers_hold_in_tables_of_every_kind(tmp_path):
    frame = table()[["height", "weight"]]
    frame.loc[[3, 7], "weight"] = -999
    frame.to_parquet(tmp_path / "t.parquet")
    np.save(tmp_path / "t.npy", frame.to_numpy())
    for name in ("t.parquet", "t.npy"):
        found = read(tmp_path / name, missing_markers=[-999], missing="drop")
        assert sum(len(rows.x) for rows in _splits(found)) == len(frame) - 2
        with pytest.raises(ValueError, match=r"decimal is for tables of text"):
            read(tmp_path / name, decimal=",")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            "".join(f'"{x}","{y}"\n' for x, y in ((0.5, 1), (0.7, 2), (0.1, 3))),
            "a row or",
        ),
        ("a.csv", "x,,\n" + "x,1.5,2.5\n" * 9, "a column has no name .*dataset.header=false"),
        ("a.csv", "33,0;1,25\n34,5;2,75\n35,5;1,0\n", "separator=';'. .dataset.decimal=','"),
        ("a.tsv", "a,b\n1,2\n3,4\n", "separated by commas: .*name it .csv"),
        ("a.csv", 'a,b\n1,2\n3,"4\n5,6\n', "the quotes that begin in line 3 are never closed"),
        ("a.csv.gz", "a,b\n1,2\n", "ends in .gz, and it is not compressed so"),
    ],
)
def test_what_a_library_would_say_is_said_in_words(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path / name, text))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named(tmp_path, encoding):
    name = encoding.upper().replace("16-", "16")
    with pytest.raises(DataError, match=f"written in {name}: .*iconv -f {name}"):
        read(written(tmp_path / "a.csv", "a,b\n1,2\n3,4\n", encoding))


def test_a_long_text_is_no_damage(tmp_path):
    path = written(
        tmp_path / "a.csv", "a,b,note\n" + ROWS.replace("\n", ",ok\n") + f"1,2,{'z' * 200_000}\n"
    )
    assert read(path).table.columns == ("a", "b")


def _splits(splits):
    return splits.train, splits.validation, splits.test


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["NA", "BX", "None", "nan"], ["BX", "NA", "None", "nan"]),
        (["01", "06", "36", "6"], ["01", "06", "36", "6"]),
        (["1E2", "100", "7", "8"], ["100", "1E2", "7", "8"]),
        (["3", "1", "2", "10"], [1, 2, 3, 10]),
        (["0.5", "1.5", "2.0", "3.0"], [0.5, 1.5, 2.0, 3.0]),
        (["True", "False", "True", "False"], [False, True]),
        (["nan", "1.5", "2.5", "inf"], ["1.5", "2.5", "inf", "nan"]),
        (["9007199254740992", "9007199254740993", "1", "2"],
         [1, 2, 9007199254740992, 9007199254740993]),
    ],
)  # fmt: skip
def test_labels_keep_what_they_are(tmp_path, labels, classes):
    rng = np.random.default_rng(0)
    rows = [
        f"{a:.5f},{b:.5f},{labels[i % 4]}" for i, (a, b) in enumerate(rng.normal(size=(80, 2)))
    ]
    path = written(tmp_path / "t.csv", "\n".join(["a,b,kind", *rows]) + "\n")
    assert list(read(path, label="kind").table.classes) == classes
    rows[3] = rows[3].rpartition(",")[0] + ","  # an empty field is missing, and nothing else is
    written(path, "\n".join(["a,b,kind", *rows]) + "\n")
    with pytest.raises(DataError, match=r"1 values are missing .* row 3 .*'kind'"):
        read(path, label="kind")
    assert list(read(path, label="kind", missing="drop").table.classes) == classes


@pytest.mark.parametrize(
    ("name", "separator"), [("l", " "), ("the kind", " "), ("l\n\n(x)", ","), ("l\r\n(x)", ",")]
)
def test_columns_are_known_by_their_names_in_quotes(tmp_path, name, separator):
    header = separator.join(f'"{own}"' for own in ("a\n(m)" if "\n" in name else "a", "b", name))
    rows = [
        separator.join((f"{a:.4f}", f"{b:.4f}", f'"{("01", "1", "2")[i % 3]}"'))
        for i, (a, b) in enumerate(np.random.default_rng(0).normal(size=(90, 2)))
    ]
    path = written(tmp_path / "t.csv", "\n".join([header, *rows]) + "\n")
    given = {} if separator == "," else {"separator": separator}
    assert read(path, label=name, **given).table.classes == ("01", "1", "2")
    if separator == ",":
        rows[3] = rows[3][rows[3].index(",") :]
        written(path, "\n".join([header, *rows]) + "\n")
        with pytest.raises(DataError, match=r"1 values are missing .* row 3 .*'a\\n\(m\)'"):
            read(path, label=name)


def test_numberings_without_a_name_are_left_out_and_named_ones_are_not(tmp_path):
    frame = table()[["height", "weight"]]
    twice = frame.reset_index().rename(columns={"index": "Unnamed: 0"})
    twice.to_csv(tmp_path / "twice.csv")
    assert read(tmp_path / "twice.csv").table.columns == ("height", "weight")
    pd.concat([frame, frame * 1.01]).to_csv(tmp_path / "again.csv")
    assert read(tmp_path / "again.csv").table.columns == ("height", "weight")
    frame.set_index(pd.Index(np.random.default_rng(1).normal(size=200), name="z")).to_parquet(
        tmp_path / "named.parquet"
    )
    assert set(read(tmp_path / "named.parquet").table.columns) == {"z", "height", "weight"}
    frame.to_parquet(tmp_path / "plain.parquet")
    assert read(tmp_path / "plain.parquet").table.columns == ("height", "weight")


def test_fields_and_arrays_of_one_axis_are_columns(tmp_path):
    frame = table()
    rows = np.array(
        list(zip(frame["height"], frame["weight"], strict=True)), dtype=[("h", "f8"), ("w", "f4")]
    )
    np.save(tmp_path / "s.npy", rows)
    assert read(tmp_path / "s.npy").table.columns == ("h", "w")
    with h5py.File(tmp_path / "s.h5", "w") as store:
        store["table"] = rows
    assert read(tmp_path / "s.h5").table.columns == ("h", "w")
    np.savez(tmp_path / "xy.npz", X=frame[["height", "weight"]], y=np.arange(200) % 3)
    found = read(tmp_path / "xy.npz", label="y")
    assert found.table.classes == (0, 1, 2) and found.table.columns == ("0", "1")
    np.savez(tmp_path / "c.npz", h=frame["height"], w=frame["weight"])
    assert read(tmp_path / "c.npz").table.columns == ("h", "w")
    with h5py.File(tmp_path / "g.h5", "w") as store:
        store["posterior/samples/mass"] = np.zeros(5)
    with pytest.raises(DataError, match=r"lie in groups .posterior/samples/mass"):
        read(tmp_path / "g.h5")
    with h5py.File(tmp_path / "p.h5", "w") as store:
        store.create_group("df").attrs["pandas_type"] = b"frame"
    with pytest.raises(DataError, match=r"written by pandas .*read_hdf"):
        read(tmp_path / "p.h5")


def test_other_labels_of_an_archive_are_no_column(tmp_path):
    x, kinds = np.random.default_rng(0).normal(size=(90, 2)), np.arange(90) % 3
    np.savez(tmp_path / "t.npz", x=x, y=kinds, labels=kinds)
    assert read(tmp_path / "t.npz", label="y").table.columns == ("0", "1")


def test_idx_files_may_have_a_dot(tmp_path):
    assert _matches(tmp_path / "train-images.idx3-ubyte.gz", "train-images-idx3-ubyte")


def test_labels_of_several_files_are_read_alike(tmp_path):
    rng = np.random.default_rng(0)
    for name, classes in (("a", ["01", "36"]), ("b", ["36", "7"]), ("c", ["36", "01"])):
        rows = [
            f"{x:.4f},{y:.4f},{classes[i % 2]}"
            for i, (x, y) in enumerate(rng.normal(size=(40, 2)))
        ]
        written(tmp_path / f"{name}.csv", "\n".join(["x,y,kind", *rows]) + "\n")
    files = {"validation": str(tmp_path / "b.csv"), "test": str(tmp_path / "c.csv")}
    assert read(tmp_path / "a.csv", label="kind", **files).table.classes == ("01", "36", "7")
    rows = ["x,y,kind", *(f"{x:.4f},{y:.4f},36" for x, y in rng.normal(size=(40, 2)))]
    for name in "abc":
        written(tmp_path / f"{name}.csv", "\n".join(rows) + "\n")
    assert read(tmp_path / "a.csv", label="kind", **files).table.classes == (36,)


def test_large_whole_numbers_are_kept_apart_or_refused(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 2))
    kinds = pa.array([2**53, 2**53 + 1, None] * 30)
    table = pa.table({"a": x[:, 0], "b": x[:, 1], "kind": kinds})
    parquet.write_table(table, tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet", label="kind", missing="drop")
    assert found.table.classes == (2**53, 2**53 + 1)
    frame = pd.DataFrame(x, columns=["a", "b"])
    for start in (2**60, 2**63, 10**20):
        frame.assign(id=[start + i for i in range(90)]).to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(DataError, match=r"'id' holds whole numbers.*subtract an offset"):
            read(tmp_path / "t.csv")


def test_labels_and_weights_of_an_archive_may_be_columns(tmp_path):
    x = np.random.default_rng(0).normal(size=(90, 2))
    labels = (np.arange(90) % 3).astype(">i4")
    np.savez(tmp_path / "t.npz", X=x, y=labels[:, None], w=np.ones(90))
    with pytest.raises(DataError, match=r"named by dataset\.label"):
        read(tmp_path / "t.npz")
    found = read(tmp_path / "t.npz", label="y", weight="w")
    assert found.table.classes == (0, 1, 2) and found.train.weights is not None
    fields = np.empty(90, dtype=[("a", ">f8"), ("b", ">f4"), ("y", ">i4")])
    fields["a"], fields["b"], fields["y"] = *x.T, labels
    np.save(tmp_path / "t.npy", fields)
    assert read(tmp_path / "t.npy", label="y").table.classes == (0, 1, 2)


def test_categories_of_whole_numbers_are_columns_in_every_format(tmp_path):
    frame = table()[["height", "weight"]]
    frame["steps"] = pd.Categorical([i % 7 for i in range(len(frame))])
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    for name in ("t.parquet", "t.feather"):
        assert read(tmp_path / name).table.columns == ("height", "weight", "steps")


def test_an_index_without_name_is_recognised_or_asked_for(tmp_path):
    frame = table()[["height", "weight"]]
    numbers = {
        "float": np.arange(200.0),
        "with gaps": np.r_[np.arange(0, 300, 3), np.arange(0, 200, 2)],
        "downwards": np.arange(200)[::-1],
    }
    for own in numbers.values():
        frame.set_index(own).to_csv(tmp_path / "t.csv")
        assert read(tmp_path / "t.csv").table.columns == ("height", "weight")
    for _ in range(3):
        frame.to_csv(tmp_path / "t.csv")
        frame = pd.read_csv(tmp_path / "t.csv")
    assert read(tmp_path / "t.csv").table.columns == ("height", "weight")
    shuffled = table()[["height", "weight"]].set_index(
        np.random.default_rng(0).permutation(200) % 100
    )
    shuffled.to_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match="a column has no name and does not number the rows"):
        read(tmp_path / "t.csv")
