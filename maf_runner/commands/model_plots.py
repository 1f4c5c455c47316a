"""The pictures of ``maf-plot`` that need the trained models.

Each function here reads all that a picture needs, and returns what draws it into a file.
"""

import argparse
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from maf_runner.commands import given
from maf_runner.commands.columns import Writer
from maf_runner.engine.rows import noise_of_rows
from maf_runner.experiment.calibration import Calibration, calibration
from maf_runner.experiment.sampling import encoded
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.base import Flow
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.flows.linear import LULinear, Permutation
from maf_runner.records.record import Record
from maf_runner.reporting.comparison.cells import size
from maf_runner.reporting.plots import calibration as calibrated
from maf_runner.reporting.plots import conditionals, layers, normality, pairs, pictures
from maf_runner.reporting.plots.conditionals import LogProb, Panel
from maf_runner.reporting.plots.drawing import Axis, axes_of, drawing, numbered, save
from maf_runner.system.errors import DataError, UsageError, suggestion

if TYPE_CHECKING:
    import pandas as pd


AUXILIARY = (BatchNorm, Permutation, LULinear)  # transforms that are no layers of their own
Draw = Callable[[Path], None]
Array = NDArray[Any]
OUTSIDE = 1e9  # stands for noise that is not finite: out of every picture
SAMPLES, PAIRS, RANKED, POINTS = 100, 2_000, 199, 2_000  # samples, where --n does not say
FOR_LIMITS = 2_000  # draws for each context, to find where its density lies


def _loaded(options: argparse.Namespace) -> dict[str, TrainedRun]:
    """The runs that are named, each under a title of its own."""
    runs = [TrainedRun.load(folder) for folder in dict.fromkeys(options.runs)]
    records = [run.record for run in runs]
    return dict(zip(_distinct_titles(records), runs, strict=True))


def _distinct_titles(records: list[Record]) -> list[str]:
    """Titles of runs, each with what tells it from others of the same title."""
    titles = []
    for record in records:
        namesakes = [other for other in records if other.title == record.title]
        text = _difference(namesakes)[namesakes.index(record)]
        titles.append(f"{record.title},\n{text}" if text else record.title)
    return titles


def _difference(namesakes: list[Record]) -> list[str]:
    """For each run its size and seed, or its own settings, or its id: what differs among all."""
    if len(namesakes) == 1:
        return [""]
    shared = set.intersection(*(set(record.departures) for record in namesakes))
    for texts in (
        [f"{size(record)} seed {record.seed}".strip() for record in namesakes],
        [", ".join(d for d in record.departures if d not in shared) for record in namesakes],
    ):
        if len(set(texts)) == len(texts):
            return texts
    return [record.run_id for record in namesakes]


def _noise(options: argparse.Namespace) -> Draw:
    noises = []
    for title, run in _loaded(options).items():
        if not run.model.has_standard_noise:
            raise UsageError(f"noise: {run.record.model} has no map to standard normal noise")
        test = run.data(options.raw_dir, options.prepared_dir).test
        x = torch.from_numpy(test.x).to(run.model.reference.dtype)
        noise = noise_of_rows(run.model, x, run.conditioning.context_of(test, run.model)).numpy()
        finite = np.nan_to_num(noise, nan=OUTSIDE, posinf=OUTSIDE, neginf=-OUTSIDE)
        mixes = any(isinstance(part, (Permutation, LULinear)) for part in run.model.modules())
        noises.append((title, finite, None if mixes or not run.table else run.columns))
    shown = [normality.chosen(noise) for _, noise, _ in noises]
    heights = [normality.size(len(dimensions))[1] for dimensions in shown]

    def draw(path: Path) -> None:
        width = normality.size(1)[0]
        with drawing(width, sum(heights)) as figure:
            parts = figure.subfigures(len(noises), 1, squeeze=False, height_ratios=heights)[:, 0]
            for part, (title, noise, names), dimensions in zip(parts, noises, shown, strict=True):
                normality.draw(part, noise, dimensions, title, names)
            save(figure, path)

    return draw


def _layers(options: argparse.Namespace) -> Draw:
    run = _only(options)
    model = run.model
    if model.features != 2 or not isinstance(model, Flow):
        raise UsageError(
            "layers: only a flow of points in the plane has such a picture, and "
            f"{run.record.title} is none"
        )
    test = run.data(options.raw_dir, options.prepared_dir).test
    count = min(options.n or POINTS, len(test.x))
    x = torch.from_numpy(test.x[:count]).to(model.reference.dtype)
    context = run.conditioning.context_of(test, model)
    stages = {"data": x}
    with torch.inference_mode():
        for own in model.chain:
            x, _ = own._forward(x, None if context is None else context[:count])
            if own is model.chain[-1]:
                stages["noise"] = x
            elif not isinstance(own, AUXILIARY):
                stages[f"after layer {len(stages)}"] = x
    points = {name: stage.numpy().astype(np.float64) for name, stage in stages.items()}

    def draw(path: Path) -> None:
        with drawing(*layers.size(len(points))) as figure:
            layers.draw(figure, points, run.record.title)
            save(figure, path)

    return draw


def _samples(options: argparse.Namespace) -> Draw:
    runs, count = _loaded(options), options.n or SAMPLES
    first = next(iter(runs.values()))
    for folder, run in zip(dict.fromkeys(options.runs), runs.values(), strict=True):
        if run.context:
            values = ",".join(f"{name}=VALUE" for name in run.context.names)
            raise UsageError(
                f"samples: {run.record.title} draws only given columns: maf-plot density "
                f"{folder} --given {shlex.quote(values)}, or maf-plot pairs {folder}"
            )
    space = first.image
    if any(run.image != space for run in runs.values()):
        raise UsageError("samples: the runs must be of images of one size, or of points")
    if space is None and any(run.model.features != 2 for run in runs.values()):
        raise UsageError("samples: only images and points in the plane have a picture")
    drawn = {title: run.draw_samples(count, seed=options.seed)[0] for title, run in runs.items()}
    if space is None:
        points = {title: _points(run, drawn[title], options) for title, run in runs.items()}
        return lambda path: pictures.scatters(path, points)
    grids = {}
    try:
        test = first.data(options.raw_dir, options.prepared_dir).test
        grids[f"{first.record.dataset}, test"] = space.to_pictures(test.x[:count])
    except DataError as error:
        print(f"maf-plot: no real images beside them: {error}", file=sys.stderr)
    grids |= {title: space.to_pictures(rows) for title, rows in drawn.items()}
    columns = max(run.grid_columns(count) for run in runs.values())
    return lambda path: pictures.sample_grids(path, grids, columns)


def _points(run: TrainedRun, rows: Array, options: argparse.Namespace) -> pictures.Drawn:
    """Samples in the units of their table, with the test rows of the run behind them."""
    data = None
    try:
        data = _in_units(run, run.data(options.raw_dir, options.prepared_dir).test.x)
    except DataError as error:
        print(f"maf-plot: no test rows behind them: {error}", file=sys.stderr)
    axes = _axes_of(run) if run.table else None
    return pictures.Drawn(_in_units(run, rows), _log_prob_in_units(run), data, axes)  # type: ignore[arg-type]


def _density(options: argparse.Namespace) -> Draw:
    runs = _loaded(options)
    for run in runs.values():
        if run.model.features > 2:
            raise UsageError(
                f"density: {run.record.title} has {run.model.features} columns, and a "
                "density is drawn of one or two; maf-plot pairs shows samples of more"
            )
    (first, *others) = runs.values()
    if options.given is not None or any(run.context for run in runs.values()):
        if others:
            raise UsageError("density: one run at a time where columns are given")
        conditions = given.given_rows(options.given, first)
        assert conditions is not None
        return _density_given(first, conditions, options)
    if any(run.model.features != first.model.features for run in others):
        raise UsageError("density: the runs must all have one column, or all two")
    names: dict[tuple[str, str], tuple[str, Array, tuple[Axis, ...] | None]] = {}
    densities: dict[tuple[str, str], dict[str, LogProb]] = {}
    for title, run in runs.items():
        name = run.record.dataset
        data = name, run.record.data.fingerprint or str(run.folder.path)
        if data not in names:
            splits = run.data(options.raw_dir, options.prepared_dir)
            axes = _axes_of(run) if run.table else None
            names[data] = name, _in_units(run, splits.train.x), axes
            true = splits.true_log_prob
            densities[data] = {} if true is None else {conditionals.TRUE: true}
        # The dataset stands over the points already.
        densities[data][re.sub(f",? on {re.escape(name)}", "", title)] = _log_prob_in_units(run)
    if first.model.features == 2:
        learned = [
            pictures.Learned(name, points, densities[data], axes)  # type: ignore[arg-type]
            for data, (name, points, axes) in names.items()
        ]
        return lambda path: pictures.densities(path, learned)
    panels = [Panel(name, densities[data], points) for data, (name, points, _) in names.items()]
    rows = np.concatenate([points for _, points, _ in names.values()])
    return _conditionals(panels, _axes_of(first), conditionals.limits(rows))


def _density_given(
    run: TrainedRun, conditions: "pd.DataFrame", options: argparse.Namespace
) -> Draw:
    if len(conditions) > conditionals.MOST:
        raise UsageError(
            f"--given has {len(conditions):,} rows, and a picture has room for "
            f"{conditionals.MOST}: give it fewer"
        )
    context = _context(run, conditions)
    if run.model.can_sample:
        rows = np.concatenate([r for r, _ in run.samples_given(context, FOR_LIMITS, seed=0)])
    else:
        rows = run.data(options.raw_dir, options.prepared_dir).train.x
    panels = [
        Panel(text, {run.record.model: _log_prob_in_units(run, context[i : i + 1])})
        for i, text in enumerate(_texts(conditions, run))
    ]
    return _conditionals(panels, _axes_of(run), conditionals.limits(_in_units(run, rows)))


def _conditionals(panels: Sequence[Panel], columns: Sequence[Axis], ends: Array) -> Draw:
    def draw(path: Path) -> None:
        with drawing(*conditionals.size(len(panels))) as figure:
            conditionals.draw(figure, panels, columns, ends)
            save(figure, path)

    return draw


def _pairs(options: argparse.Namespace) -> Draw:
    run, count = _only(options), options.n or PAIRS
    columns = _chosen_columns(run, options.columns)
    conditions = given.given_rows(options.given, run) if options.given is not None else None
    test = run.data(options.raw_dir, options.prepared_dir).test
    order = np.random.default_rng(options.seed).permutation(len(test))
    samples: dict[str, Array] = {}
    if conditions is not None:
        if len(conditions) > len(pairs.COLOURS):
            raise UsageError(
                f"--given has {len(conditions):,} rows, and maf-plot pairs has colours for "
                f"{len(pairs.COLOURS)}: give it fewer"
            )
        context = _context(run, conditions)
        drawn = [rows for rows, _ in run.samples_given(context, count, seed=options.seed)]
        each = np.concatenate(drawn).reshape(len(context), count, -1)
        samples = dict(zip(_texts(conditions, run), each, strict=True))
    elif run.context is not None:
        assert test.context is not None
        context = test.context[np.resize(order, count)]
        drawn = [rows for rows, _ in run.samples_given(context, 1, seed=options.seed)]
        samples = {f"{count:,} samples, given the context of test rows": np.concatenate(drawn)}
    else:
        rows = run.draw_samples(count, seed=options.seed)[0]
        rows = np.random.default_rng(options.seed).permutation(rows)  # classes come in order
        samples = {f"{count:,} samples": rows}
    for rows in samples.values():
        if not np.isfinite(rows).all(axis=1).any():
            raise UsageError(f"pairs: no sample of {run.record.model} is finite")
    shown = {name: _in_units(run, rows)[:, columns] for name, rows in samples.items()}
    data = f"{len(test):,} test rows", _in_units(run, test.x[order])[:, columns]
    axes = [_axes_of(run)[i] for i in columns]

    def draw(path: Path) -> None:
        with drawing(*pairs.size(len(columns))) as figure:
            pairs.draw(figure, axes, data, shown, run.record.title)
            save(figure, path)

    return draw


def _chosen_columns(run: TrainedRun, text: str | None) -> list[int]:
    """The places of the columns that ``--columns`` names; without it of the first.

    Raises:
        UsageError: it names a column that the model does not have, or too many.
    """
    names = run.columns
    if text is None:
        if len(names) > pairs.MOST:
            print(
                f"maf-plot: the first {pairs.MOST} of {len(names)} columns are shown; --columns "
                "names others",
                file=sys.stderr,
            )
        return list(range(min(len(names), pairs.MOST)))
    named = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in named:
        if name not in names:
            raise UsageError(
                f"--columns: this run models no column {name!r}{suggestion(name, list(names))}"
            )
    if len(named) > pairs.MOST:
        raise UsageError(f"--columns names {len(named)} columns, and at most {pairs.MOST} fit")
    return [names.index(name) for name in named]


def _calibration(options: argparse.Namespace) -> Draw:
    run, draws = _only(options), options.n or RANKED
    test = run.data(options.raw_dir, options.prepared_dir).test
    found = calibration(run, test, draws=draws, seed=options.seed)
    rows, features = found.pit.shape
    if found.by_draws:
        names = [axis.name for axis in _axes_of(run)]
    else:
        names = [numbered("u", i + 1) for i in range(features)]
    places = calibrated.Places(
        names, found.pit, found.levels, found.draws if found.shared else None
    )
    title = f"{run.record.title}: {rows:,} test rows\n{_how(found)}"

    def draw(path: Path) -> None:
        if path.suffix == ".csv":
            with Writer(path) as writer:
                writer.write(calibrated.table(places))
            return
        panels = len(calibrated.chosen(places.pit)) + (places.levels is not None)
        with drawing(*calibrated.size(panels)) as figure:
            calibrated.draw(figure, places, title)
            save(figure, path)

    return draw


def _how(found: Calibration) -> str:
    """In words, what the places of the test rows are."""
    if not found.shared:
        return f"PIT and coverage: ranks among {found.draws:,} draws given the context of the row"
    draws = f"ranks among the same {found.draws:,} draws"
    if found.by_draws:
        return f"PIT and coverage: {draws}"
    coverage = f"; coverage: {draws}" if found.levels is not None else ""
    return f"PIT: Φ(u) of each dimension of the noise u{coverage}"


def _only(options: argparse.Namespace) -> TrainedRun:
    """The one run that is named.

    Raises:
        UsageError: there are more.
    """
    if len(options.runs) > 1:
        raise UsageError(f"{options.what} takes one run folder")
    return TrainedRun.load(options.runs[0])


def _axes_of(run: TrainedRun) -> tuple[Axis, ...]:
    """The modelled columns."""
    if run.table is None:
        return tuple(Axis(numbered("x", i + 1)) for i in range(run.model.features))
    return axes_of(run.table.columns, run.table.categories)


def _in_units(run: TrainedRun, rows: Array) -> Array:
    """Rows [n, D] of a model in the units of its table; other rows as they are."""
    return rows if run.table is None else run.table.to_table(rows)


def _log_prob_in_units(run: TrainedRun, context: Array | None = None) -> LogProb:
    """The log density in nats of rows [m, D] in the units of the table, given a context [1, C]."""

    def log_prob(rows: Array) -> Array:
        return run.log_prob(rows, context)

    return log_prob if run.table is None else run.table.in_units(log_prob)


def _context(run: TrainedRun, conditions: "pd.DataFrame") -> Array:
    """The context [M, C] of ``conditions``; says where it lies outside of the training rows."""
    assert run.context is not None
    for text in run.context.beyond(conditions):
        print(f"maf-plot: outside of the training rows: {text}", file=sys.stderr)
    return encoded(conditions, run.context, "--given")


def _texts(conditions: "pd.DataFrame", run: TrainedRun) -> list[str]:
    """Each row of ``conditions`` in words; all with their numbers if two are alike."""
    assert run.context is not None
    texts = []
    for values in conditions[list(run.context.names)].itertuples(index=False, name=None):
        pairs_of = zip(run.context.names, values, strict=True)
        text = ", ".join(f"{name}={_text(value)}" for name, value in pairs_of)
        texts.append(textwrap.fill(text, 36, break_on_hyphens=False))
    if len(set(texts)) < len(texts):
        texts = [f"row {i}: {text}" for i, text in enumerate(texts)]
    return texts


def _text(value: Any) -> str:
    if value is None or value != value:
        return "missing"
    return f"{value:g}" if isinstance(value, float) else str(value)


PLOTS: dict[str, Callable[[argparse.Namespace], Draw]] = {
    "layers": _layers,
    "noise": _noise,
    "samples": _samples,
    "density": _density,
    "pairs": _pairs,
    "calibration": _calibration,
}
