"""Does a density mean what it says? The places of test rows under the model's own distribution.

Two kinds of places, each uniform on [0, 1] if the model is right:

- the probability integral transform (PIT) of a test value: the share of the model's distribution
  that lies below it;
- the level of the highest-density region on whose edge a test row lies: the share of the model's
  distribution that has a higher density. A region of level 0.9 then covers 90 % of the test rows.

Both are ranks among draws. A rank is spread at random over the draws that tie with the row, and to
the next one, so that the places are uniform exactly and not only on a grid.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from maf_runner.datasets.base import Rows
from maf_runner.engine.rows import noise_of_rows
from maf_runner.system.errors import UsageError

if TYPE_CHECKING:
    from maf_runner.experiment.trained import TrainedRun

ROWS = 2_000  # test rows, at most
SHARED = 10_000  # draws of a model that is not given columns: the same for all rows
Places = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Places of N test rows under a model.

    Attributes:
        pit: [N, D], of each modelled column by draws, else of each dimension of the noise u.
        levels: [N]; None if the model cannot draw.
        by_draws: whether ``pit`` are ranks among draws given the same context; else they are
            the normal distribution function at the noise u of the flow.
        draws: the number that each row is compared with.
        shared: whether these draws are the same for all rows.
    """

    pit: Places
    levels: Places | None
    by_draws: bool
    draws: int
    shared: bool


def calibration(run: "TrainedRun", test: Rows, *, draws: int, seed: int) -> Calibration:
    """The places of test rows, of `ROWS` drawn at random if there are more.

    Args:
        run: of a model given columns, each test row is compared with ``draws`` draws given the
            context of this row. Of any other model, all rows are compared with the same
            `SHARED` draws, and the PIT is that of the noise u where the model has one.
        test: the test rows, as the model takes them.
        draws: for each test row.
        seed: of the choice of the rows and of the draws.

    Raises:
        UsageError: the model can neither draw nor map rows to noise, or the rows have weights.
    """
    if test.weights is not None:
        raise UsageError(
            "calibration: the test rows of this run have weights, and the bands hold without them"
        )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(test))[:ROWS])
    x = test.x[chosen]
    if run.context is not None and run.model.can_sample:
        assert test.context is not None
        pit, levels = _among_own_draws(run, x, test.context[chosen], draws, rng)
        return Calibration(pit, levels, by_draws=True, draws=draws, shared=False)
    drawn = run.draw_samples(SHARED, seed=seed)[0] if run.model.can_sample else None
    shared: Places | None = None
    if drawn is not None:
        if bad := int((~np.isfinite(drawn)).any(axis=1).sum()):
            raise UsageError(
                f"calibration: {bad:,} of {len(drawn):,} samples of {run.record.model} are not "
                "finite"
            )
        shared = _places(-run.log_prob(drawn), -run.log_prob(x), rng)
    if run.model.has_standard_noise:
        pit = _distribution_function(run, test, chosen)
        return Calibration(pit, shared, by_draws=False, draws=SHARED, shared=True)
    if drawn is None:
        name = run.record.model
        raise UsageError(f"calibration: {name} can neither draw samples nor map rows to noise")
    pit = np.column_stack([_places(*both, rng) for both in zip(drawn.T, x.T, strict=True)])
    return Calibration(pit, shared, by_draws=True, draws=SHARED, shared=True)


def _distribution_function(run: "TrainedRun", test: Rows, chosen: NDArray[np.int64]) -> Places:
    """The normal distribution function [N, D] at the noise of the rows ``chosen``."""
    from scipy.special import ndtr

    labels = None if test.labels is None else test.labels[chosen]
    context = None if test.context is None else test.context[chosen]
    rows = Rows(test.x[chosen], labels, context=context)
    x = torch.from_numpy(rows.x).to(run.model.reference)
    noise = noise_of_rows(run.model, x, run.conditioning.context_of(rows, run.model)).numpy()
    return np.nan_to_num(ndtr(noise), nan=1.0)  # noise that is no number lies far out


def _among_own_draws(
    run: "TrainedRun",
    x: NDArray[np.float32],
    context: NDArray[np.float32],
    draws: int,
    rng: np.random.Generator,
) -> tuple[Places, Places]:
    """The PIT [N, D] and the levels [N] of rows among draws given their own ``context``."""
    density = run.log_prob(x, context)
    lower, equal = np.zeros(x.shape), np.zeros(x.shape)
    denser, as_dense = np.zeros(len(x)), np.zeros(len(x))
    for rows, numbers in run.samples_given(context, draws, seed=int(rng.integers(2**62))):
        np.add.at(lower, numbers, rows < x[numbers])
        np.add.at(equal, numbers, rows == x[numbers])
        drawn = run.log_prob(rows, context[numbers])
        np.add.at(denser, numbers, drawn > density[numbers])
        np.add.at(as_dense, numbers, drawn == density[numbers])
    return _spread(lower, equal, draws, rng), _spread(denser, as_dense, draws, rng)


def _places(
    drawn: NDArray[np.floating], values: NDArray[np.floating], rng: np.random.Generator
) -> Places:
    """The places [N] of values [N] among the same draws [M]."""
    drawn = np.sort(drawn)
    below, end = (np.searchsorted(drawn, values, side) for side in ("left", "right"))
    return _spread(below, end - below, len(drawn), rng)


def _spread(
    below: NDArray[Any], equal: NDArray[Any], draws: int, rng: np.random.Generator
) -> Places:
    """Places of rows with so many draws ``below``, at random among those that tie with a row.

    Many tie where the density is constant.
    """
    return (below + (equal + 1) * rng.random(below.shape)) / (draws + 1)
