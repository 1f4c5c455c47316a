"""The first lines of a table of text: whether it is what it should be, and its columns' names.

What is not surely understood is refused by name: a header that may be a row, another encoding,
another separator, lines above the table.
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any

from pandas._libs.parsers import STR_NA_VALUES

from maf_runner.datasets.untrusted.dialect import (
    PACKED,
    TEXT,
    Dialect,
    as_pasted,
    bare_suffix,
    is_number,
)
from maf_runner.datasets.untrusted.notations import DECIMAL_COMMA, looks_like_number

SIGNS = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ"}
MAGIC = {
    SIGNS[".gz"]: ("compressed by gzip", "give it the ending .csv.gz"),
    SIGNS[".bz2"]: ("compressed by bzip2", "give it the ending .csv.bz2"),
    SIGNS[".xz"]: ("compressed by xz", "give it the ending .csv.xz"),
    b"\xd0\xcf\x11\xe0": ("a workbook of Excel", "save it as CSV"),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file by git lfs pull"),
    b"PK\x03\x04": ("a zip archive (or a spreadsheet)", "unpack it, or save it as CSV"),
    b"PAR1": ("a Parquet file", "give it the ending .parquet"),
    b"\x89HDF": ("an HDF5 file", "give it the ending .h5"),
}
WIDE = {  # the longer marks first, as they begin like the shorter ones
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ",": "commas"}
LOOKED_AT = 200  # lines at the beginning
FIELDS = 100_000  # in them, about, at most
MOST_COLUMNS = 1 << 16
START = 1 << 20  # bytes in which these lines are sought
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a long text is no damage


def column_names(file: Path, dialect: Dialect) -> list[str]:
    """The names of the columns, once the first lines were looked at.

    Raises:
        ValueError: they show that the file is not what it should be.
    """
    lines = _first_lines(file)
    if not lines:
        raise ValueError("it is empty")
    first = next(iter(_parsed(lines, dialect.separator_in(file))))
    if len(first) > MOST_COLUMNS:
        raise ValueError(f"its first line has {len(first):,} fields: are the line ends missing?")
    lines = lines[: max(5, FIELDS // len(first))]
    texts, rows = _records(lines, dialect.separator_in(file))
    if dialect.separator is None:
        _refuse_separator(list(filter(str.strip, lines)), dialect.separator_in(file))
    _refuse_row_names(texts, rows, dialect)
    _refuse_preamble(rows, dialect)
    if dialect.header is False:
        return [str(i) for i in range(len(first))]
    if dialect.header is None:
        _refuse_row_as_header(texts, rows, dialect)
    distinct(first)
    return first


def _first_lines(file: Path) -> list[str]:
    """Some lines of the file as text, from the first that is not blank, with their ends.

    Raises:
        ValueError: it is no text in UTF-8.
    """
    start = _start(file)
    for magic, (kind, way_out) in MAGIC.items():
        if start.startswith(magic):
            raise ValueError(f"it is {kind}: {way_out}")
    for mark, encoding in WIDE.items():
        if start.startswith(mark):
            raise ValueError(_as_utf8(f"it is written in {encoding}", encoding, file))
    if b"\0" in start[:1000]:
        for name, zeros in (("UTF-16LE", start[1:1000:2]), ("UTF-16BE", start[:1000:2])):
            if zeros.count(b"\0") > len(zeros) / 2:
                raise ValueError(_as_utf8(f"it seems to be written in {name}", name, file))
        raise ValueError("it holds zero bytes, as no text does")
    if len(start) == START:
        start = start[: start.rfind(b"\n") + 1] or start
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(error)) from error
    lines = re.findall("[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)[:LOOKED_AT]
    return list(dropwhile(lambda line: not line.strip(), lines))


def _start(file: Path) -> bytes:
    """The first bytes of a file, unpacked.

    Raises:
        ValueError: it is not packed as its name says.
    """
    packing = file.suffix.lower()
    if packing in PACKED:
        with file.open("rb") as raw:
            start = raw.read(8)
        if start and not start.startswith(SIGNS[packing]):
            raise ValueError(f"its name ends in {packing}, and it is not compressed so: rename it")
    with PACKED.get(packing, open)(file, "rb") as unpacked:
        return unpacked.read(START)


def _as_utf8(what: str, encoding: str, file: Path) -> str:
    return (
        f"{what}: save it as UTF-8, for example by iconv -f {encoding} -t UTF-8 {file.name} > "
        "new.csv"
    )


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with text in another encoding."""
    return (
        f"it is not written in UTF-8 (byte 0x{error.object[error.start]:02x}), perhaps in Latin-1 "
        "(cp1252): save it as UTF-8, for example by iconv -f cp1252 -t UTF-8 FILE > new.csv"
    )


def _parsed(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """The fields of lines; in quotes they may hold separators and go over several lines."""
    if len(separator) > 1:
        single = (line.strip(" \t\r\n").replace("\t", " ") + "\n" for line in lines)
        return csv.reader(single, delimiter=" ", skipinitialspace=True)
    return csv.reader(lines, delimiter=separator)


def _records(lines: list[str], separator: str) -> tuple[list[str], list[list[str]]]:
    """The rows in ``lines``, blank ones left out: the text of each, and its fields."""
    texts, rows, begin = [], [], 0
    reader: Any = _parsed(lines, separator)
    for fields in reader:
        text = "".join(lines[begin : reader.line_num])
        begin = reader.line_num
        if text.strip():
            texts.append(text)
            rows.append(fields)
    return texts, rows


def all_rows(file: Path, dialect: Dialect) -> Iterator[list[str]]:
    """The fields of all lines of a file."""
    opener = PACKED.get(file.suffix.lower(), open)
    with opener(file, "rt", encoding="utf-8", newline="") as text:
        yield from _parsed(text, dialect.separator_in(file))


def _refuse_separator(lines: list[str], used: str) -> None:
    """Refuse a table whose fields are separated by something else than ``used``."""
    rows = list(_parsed(lines, used))
    for sign, name in SEPARATORS.items():
        if sign == used or sign not in lines[0]:
            continue
        others = list(_parsed(lines, sign))
        alike = len({len(row) for row in others}) == 1
        if len(rows[0]) > 1 and not (alike and _numbers(others) > _numbers(rows)):
            continue
        if sign == "\t":
            way_out = "name it .tsv"
        elif sign == ",":
            way_out = "name it .csv"
        else:
            fields = [field.strip() for row in others for field in row]
            commas = any(re.fullmatch(DECIMAL_COMMA, field) for field in fields)
            way_out = f"give {as_pasted(separator=sign, **({'decimal': ','} if commas else {}))}"
        instead = "tabs" if used == "\t" else "commas"
        raise ValueError(
            f"it seems to be separated by {name}: save it with {instead} instead, or {way_out}"
        )
    if len(rows[0]) > 1:
        return
    counts = {len(line.split()) for line in lines}
    if len(lines) > 1 and len(counts) == 1 and counts.pop() > 1:
        raise ValueError(
            "it seems to be separated by blanks: save it with commas instead, or give "
            + as_pasted(separator=" ")
        )


def _numbers(rows: list[list[str]]) -> float:
    """The share of the fields that are numbers."""
    fields = [field for row in rows for field in row]
    return sum(map(looks_like_number, fields)) / max(len(fields), 1)


def _refuse_row_names(texts: list[str], rows: list[list[str]], dialect: Dialect) -> None:
    """Refuse a header without a name for the first column, as R writes it.

    A field more in a table of one column may also come from decimal commas.
    """
    counts = {len(row) for row in rows[1:]}
    are_numbers = len(rows[0]) == 1 and 2 in counts and all(map(looks_like_number, texts[1:]))
    if are_numbers and (dialect.decimal == "," or counts != {2}):
        raise ValueError(
            "its numbers hold commas, which separate fields too: for one column of numbers with "
            f"a decimal comma give {as_pasted(separator=';', decimal=',')}"
        )
    if len(rows) > 2 and counts == {len(rows[0]) + 1} and rows[1][-1].strip():
        raise ValueError(
            f"its first line has {len(rows[0])} names, and all others have a field more, as R's "
            "write.table writes the names of rows: write it with row.names=FALSE, or put a name "
            "before the others"
            + (f"; or give {as_pasted(separator=';', decimal=',')}" if are_numbers else "")
        )


def _refuse_preamble(rows: list[list[str]], dialect: Dialect) -> None:
    """Refuse lines above the table: some have another number of fields than all that follow."""
    counts = [len(row) for row in rows]
    usual = counts[-1]
    begin = len(rows)  # of the rows of the table
    while begin and counts[begin - 1] == usual:
        begin -= 1
    numbers = len(rows)  # from where on there are only numbers
    while numbers and all(is_number(field, dialect) or not field for field in rows[numbers - 1]):
        numbers -= 1
    if numbers < len(rows):
        header = numbers - 1
        odd = any(count != usual for count in counts[:header])
    else:
        header, odd = begin, True
    if header > 0 and odd and usual > 1 and len(rows) - header > 2:
        what = "its first line" if header == 1 else f"its first {header} lines"
        raise ValueError(
            f"{what} ({','.join(rows[0])[:50]!r}, ...) cannot be of the table, "
            f"which seems to begin in line {header + 1} with {','.join(rows[header])[:50]!r} "
            "(blank lines not counted): remove the lines above it"
        )


def _refuse_row_as_header(texts: list[str], rows: list[list[str]], dialect: Dialect) -> None:
    """Refuse a first line in which numbers stand above columns of numbers.

    Numbers in quotes are names, unless those below are in quotes too.
    """
    above = []
    for place, field in enumerate(rows[0]):
        below = [
            (r[place], text) for r, text in zip(rows[1:], texts[1:], strict=True) if place < len(r)
        ]
        column = [value for value, _ in below if value.strip()]
        if not is_number(field, dialect):
            continue
        over_numbers = all(is_number(value, dialect) for value in column) and (column or not below)
        is_name = f'"{field}"' in texts[0]
        if is_name and column:
            is_name = not all(f'"{value}"' in text for value, text in below if value.strip())
        is_missing = field.strip() in STR_NA_VALUES
        if over_numbers and not is_name and not is_missing and is_number(field, dialect):
            above.append(field)
    if above:
        raise ValueError(
            f"its first line holds numbers ({', '.join(above)[:50]}), so it may be a row or a "
            "header: add a header line with the column names, or put names that are numbers in "
            "quotes; or say which with dataset.header=true or dataset.header=false"
        )


def distinct(names: list[str]) -> None:
    """Refuse names that several columns have."""
    twins = [name for name, count in Counter(names).items() if name and count > 1]
    if twins:
        raise ValueError(
            f"several columns have the name {twins[0]!r}: rename them, or say by "
            "dataset.header=false that the first line is a row"
        )


def is_plain(file: Path, columns: Sequence[str], dialect: Dialect) -> bool:
    """Whether a table of text is as ``maf-sample`` writes it, whatever the run's ``dialect`` is.

    It is where the names of ``columns`` stand between commas, and either the dialect has another
    separator, or all names are in quotes and no number is.
    """
    if bare_suffix(file) not in TEXT:
        return False
    try:
        lines = _first_lines(file)
        has_other = dialect.separator not in (None, ",") and dialect.header is not False
        return (has_other and _are_between_commas(columns, lines[0])) or _are_quoted_alone(
            columns, lines, dialect
        )
    except Exception:  # what is wrong is said where the file is read
        return False


def _are_between_commas(columns: Sequence[str], header: str) -> bool:
    names = next(iter(_parsed([header], ",")))
    return len(names) > 1 and set(columns) <= set(names)


def _are_quoted_alone(columns: Sequence[str], lines: list[str], dialect: Dialect) -> bool:
    """Whether ``columns`` are among the names, which are in quotes, over numbers that are not."""
    header, *below = lines
    below = [re.sub("True|False", "1", line) for line in below]  # which have no quotes either
    names, *rows = filter(None, csv.reader([header, *below], quoting=csv.QUOTE_NONNUMERIC))
    numbers = [i for i, name in enumerate(names) if name in {*columns} - {*dialect.categorical}]
    return set(columns) <= set(names) and all(
        len(row) == len(names) and all(isinstance(row[i], float) or row[i] == "" for i in numbers)
        for row in rows
    )
