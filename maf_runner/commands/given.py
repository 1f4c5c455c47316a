"""``--given``: the values of the columns that a model is conditioned on."""

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maf_runner.commands.columns import of_one_type
from maf_runner.datasets.spaces.categories import codes_of
from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.experiment.scoring import dialect_of
from maf_runner.system.errors import UsageError, suggestion

if TYPE_CHECKING:
    import pandas as pd

    from maf_runner.experiment.trained import TrainedRun

HELP = (
    "of a model that is conditioned on columns: their values, as rpm=1500,load=0.3 (one with a "
    'comma as site="a, b"), or a file of rows that has these columns'
)
FLAGS = {"true": "1", "false": "0"}  # columns of these are numbers in a table


def given_rows(text: str | None, run: "TrainedRun") -> "pd.DataFrame | None":
    """The context columns of the rows that ``--given`` names; None of a model without them.

    Raises:
        UsageError: the model needs them and they are not given, or the reverse; an assignment
            that cannot be read.
        DataError: a file that does not have them.
    """
    space = run.context
    if space is None:
        if text is None:
            return None
        other = "its class: use --label" if run.model.context else "nothing"
        raise UsageError(f"--given: this model is given {other}")
    if text is None:
        example = ",".join(f"{name}=..." for name in space.names)
        raise UsageError(
            f"this model is conditioned on {', '.join(space.names)}: give their values, as "
            f"--given {example}, or a file of rows with these columns, as --given new.csv"
        )
    if "=" in text and not Path(text).exists():
        return _assigned(text, space, dialect_of(run).missing_markers)
    return _of_file(Path(text), run)


def as_the_table_has_them(conditions: "pd.DataFrame", space: ContextSpace) -> "pd.DataFrame":
    """The context columns of ``conditions``, categories in the one type that the table has."""
    chosen = conditions[list(space.names)].copy(deep=False)
    for column in space.columns:
        if known := column.categories:
            codes = codes_of(chosen[column.name], known)
            values = of_one_type([None if code < 0 else known[code] for code in codes], known)
            chosen[column.name] = values
    return chosen


def _assigned(text: str, space: ContextSpace, missing: Collection[str]) -> "pd.DataFrame":
    import pandas as pd

    values: dict[str, Any] = {}
    for part in _parts(text):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise UsageError(f"--given must be as a=1,b=2, got {part!r} in it")
        if name not in space.names:
            raise UsageError(
                f"--given: no context column {name!r}{suggestion(name, list(space.names))}"
            )
        if name in values:
            raise UsageError(f"--given: {name} has two values")
        values[name] = "" if value in missing else value
    for column in space.columns:
        if column.name in values and not column.categories:
            value = values[column.name]
            try:
                values[column.name] = float(FLAGS.get(value.lower(), value) or "nan")
            except ValueError as error:
                raise UsageError(
                    f"--given: {column.name} must be a number, got {value!r}"
                ) from error
        elif values.get(column.name) == "":
            values[column.name] = None
    if lacking := [name for name in space.names if name not in values]:
        raise UsageError(f"--given lacks {', '.join(lacking)}, on which this model is conditioned")
    return pd.DataFrame([values])


def _parts(text: str) -> list[str]:
    """The assignments, split at commas outside of double quotes."""
    words = shlex.shlex(text, posix=True)
    words.whitespace, words.whitespace_split = ",", True
    words.quotes, words.escape, words.commenters = '"', "", ""
    try:
        return list(words)
    except ValueError as error:
        raise UsageError(f"--given: a quotation mark is not closed in {text!r}") from error


def _of_file(file: Path, run: "TrainedRun") -> "pd.DataFrame":
    import pandas as pd

    from maf_runner.datasets.untrusted.tables import read_table

    tables = read_table(file, "--given", dialect=dialect_of(run))
    return pd.concat(tables.values(), ignore_index=True)
