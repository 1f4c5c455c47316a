"""The figures of a trained model on the test split (the paper, section 4 and appendix E).

Every row counts once: sums over rows in float64, divided by N (`records/statistics.py`).
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maf_runner.datasets.base import Rows, Splits
from maf_runner.engine.blocks import in_blocks
from maf_runner.engine.driver import AUTO, evaluates_natively
from maf_runner.engine.rows import Evaluator, log_prob_of_rows
from maf_runner.experiment.conditioning import one_hot
from maf_runner.flows.base import Density
from maf_runner.records.checks import is_figure
from maf_runner.records.statistics import mean_and_error, not_finite, outlier

log = logging.getLogger("maf_runner")


def class_log_probs(model: Density, x: Tensor, classes: int, *, native: bool = True) -> Tensor:
    """Log p(x | y) in nats for every class y: [N, classes], float64, one class after another."""
    contexts = one_hot(torch.arange(classes, device=x.device), classes, x.dtype)
    log_prob = Evaluator(model, native=native)
    return torch.stack([log_prob(x, c[None]) for c in contexts], dim=1)


def class_joint(log_probs: Tensor, prior: Sequence[float] | None = None) -> Tensor:
    """Log p(x, y) = log p(y) + log p(x | y) in nats [N, L], from log p(x | y) [N, L].

    ``prior`` [L] is p(y), summing to 1; by default the classes are equal, as in the authors' code.
    """
    classes = log_probs.shape[1]
    return log_probs + log_probs.new_tensor(prior or [1 / classes] * classes).log()


def class_marginal(log_probs: Tensor, prior: Sequence[float] | None = None) -> Tensor:
    """Log p(x) = log sum_y p(y) p(x | y) in nats [N], from log p(x | y) [N, L].

    >>> log_probs = torch.tensor([[0.5, 0.1]]).log()
    >>> class_marginal(log_probs).exp(), class_marginal(log_probs, [0.25, 0.75]).exp()
    (tensor([0.3000]), tensor([0.2000]))
    """
    return torch.logsumexp(class_joint(log_probs, prior), dim=1)


def log_prob_function(
    model: Density, prior: Sequence[float] | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Log densities [N] in nats of arrays [N, D]; for a conditional model the class marginal."""

    def function(rows: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(rows).to(model.reference)
        if model.context:
            return class_marginal(class_log_probs(model, x, model.context), prior).numpy()
        return log_prob_of_rows(model, x).numpy()

    return function


def evaluate(
    model: Density,
    x: Tensor,
    labels: Tensor | None = None,
    *,
    bits_per_pixel: Callable[[Tensor], Tensor] | None = None,
    prior: Sequence[float] | None = None,
    native: bool = True,
) -> tuple[dict[str, float], Tensor]:
    """Evaluate ``model`` on rows ``x`` [N, D].

    Args:
        model: in evaluation mode.
        x: test rows, in the model's dtype, where the model is.
        labels: [N], on the CPU; needed for a conditional model.
        bits_per_pixel: for images, from log densities [N] in nats to bits for each pixel [N].
        prior: of the classes, for a conditional model; None for equal ones.
        native: false: by torch alone.

    Returns:
        The figures, and the log density [N] of each row behind the first of them.
        ``log_likelihood`` and ``error`` are what the paper's tables show: for a conditional
        model the marginal over classes; ``conditional_log_likelihood`` is then log p(x | y) of
        the true y, ``accuracy`` that of the likeliest class, argmax p(y) p(x | y).
    """
    figures: dict[str, float] = {}

    def note(name: str, error_name: str, values: Tensor) -> None:
        figures[name], figures[error_name] = mean_and_error(values.double().numpy())

    if model.context == 0:
        log_prob = log_prob_of_rows(model, x, native=native)
    else:
        if labels is None:
            raise ValueError("labels are needed to evaluate a conditional model")
        by_class = class_log_probs(model, x, model.context, native=native)
        log_prob = class_marginal(by_class, prior)
    note("log_likelihood", "error", log_prob)
    if bits_per_pixel is not None:
        note("bits_per_pixel", "bits_per_pixel_error", bits_per_pixel(log_prob))
    if model.context and labels is not None:
        true_class = by_class.gather(1, labels[:, None]).squeeze(1)
        note("conditional_log_likelihood", "conditional_error", true_class)
        likeliest = class_joint(by_class, prior).argmax(dim=1)
        note("accuracy", "accuracy_error", likeliest == labels)
    return figures, log_prob


class Evaluation(NamedTuple):
    """What a trained model reaches.

    Attributes:
        status: of the run: ``finished``, or ``diverged`` where a figure is not finite.
        test: figures of the test split.
        validation: figures of the validation split.
        test_nats: the log density of each test row, float64 [N].
    """

    status: str
    test: dict[str, float]
    validation: dict[str, float]
    test_nats: NDArray[np.float64]


def evaluate_splits(model: Density, splits: Splits, engine: str = AUTO) -> Evaluation:
    """Evaluate a trained model on the test and the validation split, by the engine of the setting.

    Early stopping looks at log p(x | true y) of a conditional model, as in the authors' program;
    their choice among sizes looks at the class marginal. The validation figures have both.
    """
    image, x = splits.image, splits.test.x
    native = evaluates_natively(model, engine)
    model = model if native else in_blocks(model)
    bits = None
    if image is not None:
        bits = lambda nats: torch.from_numpy(image.bits_per_pixel(nats.numpy(), x))  # noqa: E731
    test, nats = _figures(model, splits.test, splits.prior, native, bits)
    seen, _ = _figures(model, splits.validation, splits.prior, native)
    validation = {"log_likelihood": seen["log_likelihood"], "error": seen["error"]}
    if model.context:
        validation = {
            "log_likelihood": seen["conditional_log_likelihood"],
            "error": seen["conditional_error"],
            "marginal_log_likelihood": seen["log_likelihood"],
            "marginal_error": seen["error"],
        }
    if "rows_not_finite" in seen:
        validation |= {key: seen[key] for key in ("rows_not_finite", "first_not_finite")}
    finite = all(map(is_figure, (*test.values(), *validation.values())))
    if finite and (alone := outlier(nats)):
        log.warning("%s", alone)
    return Evaluation("finished" if finite else "diverged", test, validation, nats)


def _figures(
    model: Density,
    rows: Rows,
    prior: Sequence[float] | None,
    native: bool,
    bits: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """What `evaluate` says of ``rows``, and of those whose log density is not finite, if any."""
    x = torch.from_numpy(rows.x).to(model.reference.device)
    labels = None if rows.labels is None else torch.from_numpy(rows.labels)
    figures, nats = evaluate(model, x, labels, bits_per_pixel=bits, prior=prior, native=native)
    if lost := not_finite(nats.numpy()):
        figures |= lost.figures()
    return figures, nats.numpy()
