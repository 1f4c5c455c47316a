"""`maf_runner.load`: a finished run for Python programs, with DataFrames and arrays."""

import operator
import secrets
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maf_runner.datasets.spaces.categories import codes_of
from maf_runner.experiment import plugins as modules
from maf_runner.experiment import scoring
from maf_runner.experiment.mixture import load_trained
from maf_runner.experiment.sampling import draws, draws_given, encoded
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.base import Density
from maf_runner.records.record import Record
from maf_runner.system.errors import DataError, UsageError, suggestion

if TYPE_CHECKING:
    import pandas as pd


def load(
    run: str | Path | Sequence[str | Path], *, plugins: Iterable[str] = ()
) -> "FittedDensity":
    """A finished run, or the uniform mixture of several, to score rows and to draw samples.

    Args:
        run: the run folder, as ``maf-run`` prints it, or a list of them. Nothing in it is
            executed.
        plugins: modules from outside that the run's model or data are of; they are imported.

    Raises:
        DataError: not a run folder, not finished, or damaged.
        UsageError: a plugin that cannot be imported, or runs that cannot be mixed.
    """
    modules.load(modules.named([plugins] if isinstance(plugins, str) else plugins))
    folders = [run] if isinstance(run, (str, Path)) else run
    named = isinstance(folders, Sequence) and all(isinstance(one, (str, Path)) for one in folders)
    if not named or not folders:
        raise UsageError("load needs a run folder, or a list of them")
    return FittedDensity(load_trained(list(folders)))


class FittedDensity:
    """The density that a finished run has learned, in the units and names of its data.

    Of a table these are the table's own. Of other data the columns are x1, x2, ..., in the space
    of the model (of images: logits), as ``maf-sample`` writes them.
    """

    def __init__(self, run: TrainedRun) -> None:
        self._run = run

    @property
    def columns(self) -> list[str]:
        """The names of the D columns that are modelled, in the order of the model."""
        return list(self._run.columns)

    @property
    def context(self) -> list[str]:
        """The names of the columns that the model is given; empty if there are none."""
        return [] if self._run.context is None else list(self._run.context.names)

    @property
    def classes(self) -> list[Any]:
        """The classes of a model that is given the class; empty for other models."""
        return self._run.classes

    @property
    def record(self) -> Record:
        """What is kept of the run: figures, settings, versions."""
        return self._run.record

    @property
    def model(self) -> Density:
        """The model itself, as `maf_runner.load_run` gives it."""
        return self._run.model

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._run.folder.path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.record.title}: {self.folder}>"

    def score_samples(self, data: "pd.DataFrame | NDArray[Any]") -> NDArray[np.float64]:
        """Log densities of rows.

        Args:
            data: a DataFrame with `columns` and `context` in any order; others are ignored. Or
                an array of these columns: `columns`, then `context`; where all columns of an
                array were fitted (x0, x1, ...), in the order of that array. Of a model given the
                class: if the label column is there, the density is that given the class of each
                row, and else that of all classes together.

        Returns:
            Nats [N], in the order of the rows: -inf where the density is too small for a number,
            NaN where a value is missing.

        Raises:
            DataError: no rows, a column lacks or is not numeric, or a category or class that no
                training row has.
            UsageError: neither a DataFrame nor an array of the right shape.
        """
        from maf_runner.experiment.frames import source_of, table_of

        run, source = self._run, source_of(data)
        table = self._settled(table_of(data, self._in_order))
        rows, context = scoring.rows_of(run, table, source)
        self._warn(table)
        labels = None
        if self.classes and run.label_name in table.columns:
            labels = _codes(table[run.label_name], self.classes, str(source))
        nats = np.empty(len(rows))
        for start in range(0, len(rows), scoring.AT_ONCE):
            part = slice(start, start + scoring.AT_ONCE)
            nats[part] = scoring.densities(
                run,
                rows[part],
                None if context is None else context[part],
                None if labels is None else labels[part].clip(0),
            )[scoring.NATS]
        if labels is not None:
            nats[labels < 0] = np.nan
        return nats

    def sample(
        self,
        n: int,
        given: "Mapping[str, Any] | pd.DataFrame | NDArray[Any] | None" = None,
        seed: int | None = None,
    ) -> "pd.DataFrame":
        """Draw rows, in the units and names of the data.

        Args:
            n: how many; with ``given`` for each of its rows.
            given: of a model given columns: their values, as ``{"rpm": 1500, "load": 0.3}``, or a
                table with these columns. Of a model given the class: the class, under the name
                of the label column; without it every class has its share.
            seed: of the random numbers; None: other ones every time.

        Returns:
            The samples. With ``given`` the columns ``given_row`` (the number of the row, from 0)
            and those that were given come first; else that of the class comes last.

        Raises:
            DataError: a column lacks, or a value that no training row has.
            UsageError: ``given`` is needed or does not fit, an impossible ``n`` or ``seed``, or
                the model has no way to draw samples.
        """
        import pandas as pd

        run, n = self._run, _whole("n", n, 1)
        seed = secrets.randbits(63) if seed is None else _whole("seed", seed, 0)
        if given is None:
            if run.context is not None:
                example = ", ".join(f"{name!r}: ..." for name in run.context.names)
                raise UsageError(
                    f"this model is conditioned on {', '.join(run.context.names)}: give their "
                    f"values, as given={{{example}}}, or a DataFrame with these columns"
                )
            parts = draws(run, n, seed=seed)
        else:
            conditions = self._conditions(given)
            if run.context is not None:
                context = encoded(conditions, run.context, "given")
                self._warn(conditions)
            else:
                codes = _codes(conditions[run.label_name], self.classes, "given")
                if (codes < 0).any():
                    raise UsageError(f"given: {run.label_name} is missing in a row")
                context = np.eye(len(self.classes))[codes]
            parts = draws_given(run, conditions, context, n, seed=seed)
        return pd.concat([pd.DataFrame(part.columns) for part in parts], ignore_index=True)

    @property
    def _in_order(self) -> list[str]:
        """`columns` and `context` as they stand in an array."""
        from maf_runner.experiment.frames import ASIDE

        names, dataset = [*self.columns, *self.context], self.record.settings["dataset"]
        aside = [str(dataset[key]) for key in ASIDE if dataset.get(key) is not None]
        every = {*names, *aside}
        for prefix in ("x", ""):  # so `fit` and ``maf-run`` name the columns of arrays
            fitted = [f"{prefix}{i}" for i in range(len(every))]
            own = [x for x in fitted if x in self.columns]
            in_order = dataset.get("columns") or self.columns == own  # else of a DataFrame
            if every == {*fitted} and in_order:
                return [x for x in fitted if x in names]
        return names

    def _settled(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """A table in which the values that stand for a missing one are missing."""
        from maf_runner.datasets.untrusted.tables import settled

        return settled(table, scoring.dialect_of(self._run))

    def _conditions(self, given: Any) -> "pd.DataFrame":
        """What the model is given, a column each."""
        import pandas as pd

        from maf_runner.experiment.frames import table_of

        names = self.context or ([self._run.label_name] if self.classes else [])
        if not names:
            raise UsageError("given: this model is given nothing")
        if isinstance(given, Mapping):
            for name in map(str, given):
                if name not in names:
                    raise UsageError(f"given: no such column {name!r}{suggestion(name, names)}")
            given = pd.DataFrame([{str(name): value for name, value in given.items()}])
        table = self._settled(table_of(given, names))
        if lacking := [name for name in names if name not in table.columns]:
            raise UsageError(f"given lacks {', '.join(lacking)}, which this model is given")
        return table[names]

    def _warn(self, table: "pd.DataFrame") -> None:
        """Warn of context values outside of what training had."""
        for text in self._run.context.beyond(table) if self._run.context else ():
            warnings.warn(f"outside of the training rows: {text}", stacklevel=3)


def _codes(labels: "pd.Series", classes: list[Any], source: str) -> NDArray[np.int64]:
    """The index of each label [N] among the classes; -1 where it is missing."""
    try:
        return codes_of(labels, classes)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error


def _whole(name: str, value: Any, lowest: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = lowest - 1
    if not lowest <= number < 2**63:
        raise UsageError(f"{name} must be a whole number of at least {lowest}, got {value!r}")
    return number
