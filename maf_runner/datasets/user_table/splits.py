"""Which rows of a user's table train, validate and test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maf_runner.datasets.base import SPLITS
from maf_runner.datasets.untrusted.tables import need, some
from maf_runner.datasets.user_table.part import Part
from maf_runner.system.errors import DataError

WORDS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("validation", "val", "valid", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}  # how a column may name the splits


def read_files(
    read: Callable[[Path, str], dict[str, pd.DataFrame]],
    path: str,
    validation: str | None,
    test: str | None,
) -> tuple[dict[str, pd.DataFrame], dict[str, Path]]:
    """The tables of ``path`` and of the files with the other splits, and the file of each.

    Args:
        read: reads a file that the setting named in the second argument gives.
        path: the file with the table, or with the three splits.
        validation: a file with the validation rows; None if ``path`` has them.
        test: a file with the test rows; None if ``path`` has them.

    Raises:
        DataError: a file with splits of its own beside another file.
    """
    main = Path(path).expanduser()
    tables = read(main, "dataset.path")
    files = dict.fromkeys(tables, main)
    for name, other in (("validation", validation), ("test", test)):
        if other is None:
            continue
        file = Path(other).expanduser()
        added = read(file, f"dataset.{name}")
        for holder, held in ((main, files), (file, added)):
            if "all" not in held:
                raise DataError(
                    f"{holder} holds splits of its own ({', '.join(held)}), which "
                    f"dataset.{name} does not go with: expected one table in each file"
                )
        tables[name], files[name] = added["all"], file
    return tables, files


def take_split(table: pd.DataFrame, column: str | None, file: Path) -> NDArray[np.float64] | None:
    """Remove the column that names the split of each row; return the indices in `SPLITS`.

    A missing value is NaN.

    Raises:
        DataError: no such column, or a value that is not the name of a split.
    """
    if column is None:
        return None
    need(str(column), table, "dataset.split", file)
    values = table.pop(str(column))
    words = values.map(lambda v: str(v).strip().lower(), na_action="ignore")
    codes = words.map(WORDS)
    wrong = values[codes.isna() & values.notna()]
    if len(wrong):
        raise DataError(
            f"{file}: column {column!r} (dataset.split) must say train, validation or test for "
            f"each row, and has {some(map(str, wrong.unique()))}"
        )
    return codes.to_numpy(dtype=np.float64, na_value=np.nan)


def divide(
    parts: dict[str, Part], fractions: list[float], seed: int, *, shuffle: bool
) -> dict[str, Part]:
    """The three splits of a table that may have some of them already.

    The splits that no file and no column gives are drawn from the other rows: their sizes are to
    each other as ``fractions``.

    Args:
        parts: three splits, or ``all`` and those that have a file of their own.
        fractions: for training, validation and test.
        seed: of the shuffle before the split.
        shuffle: false: the first rows train, the last rows test.
    """
    if "all" not in parts:
        return parts
    divided = {name: part for name, part in parts.items() if name != "all"}
    rest = parts["all"]
    if rest.splits is not None:
        places = {name: np.flatnonzero(rest.splits == i) for i, name in enumerate(SPLITS)}
        divided |= {name: rest.take(own) for name, own in places.items() if len(own)}
        rest = divided.pop("train", rest.take(places["train"]))
    wanted = {n: f for n, f in zip(SPLITS, fractions, strict=True) if n not in divided}
    if divided:
        wanted = {name: f / sum(wanted.values()) for name, f in wanted.items()}
    rng = np.random.default_rng([seed, 0])
    order = rng.permutation(len(rest)) if shuffle and len(wanted) > 1 else np.arange(len(rest))
    sizes = {name: round(f * len(rest)) for name, f in wanted.items()}
    sizes["train"] = len(rest) - sum(sizes.values()) + sizes["train"]
    ends = np.cumsum(list(sizes.values()))[:-1]
    for name, own in zip(sizes, np.split(order, ends), strict=True):
        divided[name] = rest.take(own)
    return {name: divided[name] for name in SPLITS}
