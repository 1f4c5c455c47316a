"""Numbers in a table of text that are written otherwise than ``-1234.5`` or ``1e-3``."""

import re
import unicodedata
from typing import NamedTuple

import pandas as pd

from maf_runner.datasets.untrusted.dialect import Dialect, as_pasted

MOSTLY = 0.5  # of the values, in which another notation is recognised
OFTEN = 0.1  # of the values that must be written in it
FEW_UNITS = 3  # different words behind the numbers, at most, that are units
MANY = 20  # different values from which whole numbers with something behind are no codes

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
DECIMAL_COMMA = r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?"
GROUPED = r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"
GROUPED_AS_IN_INDIA = r"[-+]?\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"
GROUPED_BY_POINTS = r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+,\d+"
CURRENCY = r"(?:[$€£¥]|EUR|USD|GBP|CHF|JPY|CNY|INR)"
AMOUNT = r"\d[\d.,'’\u00a0\u202f ]*"
INVISIBLE = "\u00a0\u202f\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


class Notation(NamedTuple):
    """An example of numbers written otherwise, what is odd about it, and what mends it."""

    example: str
    what: str
    way_out: str


OTHERS = (  # pattern, what, way out
    (
        r"[-+]?\d{1,3}(?:['’_\u00a0\u202f ]\d{3})+(?:[.,]\d+)?",
        "groups of digits",
        "remove the signs between the groups, or name the sign by dataset.thousands",
    ),
    (rf"=?\s*([\"'’`]){NUMBER}\1|=?[\"'’`]{NUMBER}", "quotes around them", "remove the quotes"),
    (rf"{NUMBER}\s*%", "a percent sign", "remove the sign"),
    (
        rf"[-+(]?{CURRENCY}\s*[-+]?{AMOUNT}\)?|[-+]?{AMOUNT}\s*{CURRENCY}",
        "a currency",
        "remove it",
    ),
    (r"[\u2212\u2013]\d+(?:\.\d+)?", "another sign for minus", "write it as a hyphen"),
    (
        r"[-+]?\d*\.?\d*[dD][-+]?\d+|[-+]?\d*\.\d+[-+]\d{2,3}",
        "an exponent as Fortran writes it",
        "write it as E",
    ),
    (rf"{NUMBER}\s+[eE][-+]?\d+", "a blank before the exponent", "remove the blank"),
    (
        rf"{NUMBER}\s*[x×*·]\s*10\s*(?:\^\s*|\*\*)?[-+\u2212⁻⁺]?[\d⁰¹²³⁴-⁹]+"
        rf"|10\s*(?:\^|\*\*)\s*{NUMBER}",
        "a power of ten",
        "write it as 1.5e-3",
    ),
    (
        rf"{NUMBER}\s*(?:±|\+/-|\+-)\s*\d.*|{NUMBER}\(\d+\)",
        "an error",
        "put errors into a column of their own",
    ),
    (rf"\({AMOUNT}\)", "brackets that stand for minus", "write it as -1.5"),
    (rf"{AMOUNT}[-\u2212]", "a minus behind them", "write it before them"),
    (
        rf"{NUMBER}[-+]\d+(?:\.\d+)?[ij]",
        "imaginary parts",
        "put real and imaginary parts into separate columns",
    ),
    (r"[-+]?\d+\s*°.*\d.*", "degrees and minutes", "write them as decimal degrees"),
    (r"[-+]?0[xX][0-9a-fA-F]+", "hexadecimal digits", "write it as a decimal number"),
)
LIMIT = rf"[<>≤≥~≈]=?\s*{NUMBER}"
TWO = r"[-+]?\d+(?:\.\d+)?/\d+(?:\.\d+)?"
UNIT = rf"({NUMBER})\s*(?!days?\b)([^\d\s.,;:/()+<>=-][^\d]{{0,9}})"


def notation(column: pd.Series, dialect: Dialect = Dialect()) -> Notation | None:  # noqa: B008
    """How a text column of numbers is written, if not as ``-1234.5``; None if it holds words.

    >>> found = notation(pd.Series(["0,699", "1,25"]))
    >>> print(found.example, found.what, found.way_out, sep="; ")
    0,699; a decimal comma; "dataset.decimal=','"
    """
    raw = as_text(column.dropna())
    if raw.empty:
        return None
    clean = raw.str.strip().str.strip(INVISIBLE).str.strip()
    values = clean
    if swapped := dialect.decimal == ",":  # as it would be with a point
        values = clean.str.translate({ord(","): ".", ord("."): ","})
    plain = _are_numbers(values)

    def found(fits: pd.Series, what: str, way_out: str) -> Notation | None:
        if (fits | plain).mean() > MOSTLY and fits.mean() >= OFTEN:
            if swapped:
                way_out = re.sub("'[.,]'", lambda m: "'.'" if "," in m[0] else "','", way_out)
                what = what.replace("comma", "point")
            return Notation(raw[fits].iloc[0], what, way_out)
        return None

    hidden = plain & ~_are_numbers(raw.str.strip(" \t")) if not swapped else plain & (raw != clean)
    if result := found(hidden, "signs that cannot be seen", "remove them"):
        return result
    if (commas := _commas(values)) and (result := found(*commas)):
        return result
    for pattern, what, way_out in OTHERS:
        if result := found(values.str.fullmatch(pattern), what, way_out):
            return result
    usual = values.map(_is_number_to_python) & ~plain
    if result := found(usual, "digits other than 0 to 9", "write them as 0 to 9"):
        return result
    limits = values.str.fullmatch(LIMIT)
    if (plain.any() or values[limits].nunique() >= MANY) and (
        result := found(
            limits, "a limit in the place of a value", "write a number, or leave the field empty"
        )
    ):
        return result
    two = values.str.fullmatch(TWO)
    if values[two].nunique() >= MANY and (
        result := found(
            two,
            "another number behind a stroke",
            "give each a column, or write a fraction as a decimal number",
        )
    ):
        return result
    parts = values.str.extract(f"^{UNIT}$")
    are_codes = parts[0].nunique() < MANY and not parts[0].str.contains(".", regex=False).any()
    if not are_codes and parts[1].str.strip().nunique() <= FEW_UNITS:
        return found(parts[1].notna(), "a unit behind them", "remove the unit")
    return None


def _are_numbers(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce").notna()


def _is_number_to_python(text: str) -> bool:
    """Whether Python takes it for a number, in whatever script its digits are."""
    try:
        float(unicodedata.normalize("NFKC", text))
    except ValueError:
        return False
    return True


def _commas(values: pd.Series) -> tuple[pd.Series, str, str] | None:
    """Which values have commas as decimals or between groups of digits, and which it is."""
    commas = values.str.contains(",", regex=False)
    if not commas.any():
        return None
    grouped, decimal = values.str.fullmatch(GROUPED), values.str.fullmatch(DECIMAL_COMMA)
    both = values.str.fullmatch(GROUPED_BY_POINTS)
    if both.any():
        way_out = as_pasted(thousands=".", decimal=",")
        return both | decimal, "points between groups of digits and a decimal comma", way_out
    indian = values.str.fullmatch(GROUPED_AS_IN_INDIA)
    if indian.any():
        return indian | grouped, "commas between groups of digits", "remove the commas"
    if (grouped & ~decimal).any():
        return grouped, "commas between groups of digits", as_pasted(thousands=",")
    if (decimal & ~grouped).any():
        return decimal, "a decimal comma", as_pasted(decimal=",")
    return (
        grouped,
        "a comma, before decimals or between groups of digits",
        f"{as_pasted(decimal=',')} or {as_pasted(thousands=',')}, whichever it is",
    )


def looks_like_number(text: str) -> bool:
    """Whether a field is a number, also one with a decimal comma.

    >>> looks_like_number("-1,5"), looks_like_number("1.234,5"), looks_like_number("a")
    (True, True, False)
    """
    text = text.strip()
    if re.fullmatch(f"{DECIMAL_COMMA}|{GROUPED_BY_POINTS}", text):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_text(column: pd.Series) -> pd.Series:
    """The values as text; bytes that cannot be decoded as Python shows them."""
    try:
        return column.astype(str)
    except UnicodeDecodeError:
        return column.map(repr)


def is_marked(column: pd.Series, dialect: Dialect) -> pd.Series:
    """Which texts of a column are marks for missing values, blanks around them not counted."""
    bare = column.map(lambda value: value.strip() if isinstance(value, str) else value)
    return bare.isin(dialect.missing_markers)


def ungrouped(column: pd.Series, dialect: Dialect) -> pd.Series:
    """The numbers of a column that was read as text; with thousands their digits are grouped.

    A column that holds words stays as it is.

    Raises:
        ValueError: the groups of a number are not of three digits.
    """
    group, point = re.escape(dialect.thousands or ""), re.escape(dialect.decimal)
    values = column.dropna().str.strip()
    whole = rf"(?:[1-9]\d{{0,2}}(?:{group}\d{{3}})+|\d*)"
    number = rf"(?i:[-+]?(?:{whole}(?:{point}\d*)?(?:e[-+]?\d+)?|inf))"
    fits = values.str.fullmatch(number) & values.str.contains("[0-9]|inf", case=False)
    digits = values.str.fullmatch(rf"[-+]?(?:\d|{group}|{point})+") & ~fits
    if dialect.thousands and digits.any() and (fits | digits).mean() > MOSTLY:
        raise ValueError(
            f"column {column.name!r} has {values[digits].iloc[0]!r} in row "
            f"{values.index[digits.to_numpy()][0]} (from 0), in which "
            f"{dialect.thousands!r} is not between groups of three digits: check "
            f"dataset.thousands={dialect.thousands!r} and dataset.decimal={dialect.decimal!r}"
        )
    if not fits.all():
        truth = {"true": True, "false": False}
        words = values.str.lower()
        return words.map(truth).reindex(column.index) if words.isin(truth).all() else column
    texts = values.str.replace(dialect.thousands or "", "", regex=False)
    texts = texts.str.replace(dialect.decimal, ".", regex=False)
    return pd.to_numeric(texts).reindex(column.index)
