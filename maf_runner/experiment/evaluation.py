"""The figures of a trained model on the test split (the paper, section 4 and appendix E).

Every row counts once: sums over rows in float64, divided by N (`records/statistics.py`).
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maf_runner.datasets.base import Rows, Splits
from maf_runner.engine.driver import AUTO, evaluates_natively
from maf_runner.engine.rows import Evaluator, log_prob_of_rows
from maf_runner.experiment.conditioning import Conditioning, one_hot
from maf_runner.flows.base import Density
from maf_runner.records.checks import is_figure
from maf_runner.records.statistics import mean_and_error, not_finite, outlier
from maf_runner.system import memory, shortage

log = logging.getLogger("maf_runner")
DENSITIES_AT_ONCE = 1 << 24  # log p(x | y) of rows times classes in memory: 128 MiB
MANY = 100  # classes whose marginal takes long enough to be announced
COPIES = 4  # of them at a time, with the joint and what the sum over classes takes


def class_log_probs(model: Density, x: Tensor, classes: int, *, native: bool = True) -> Tensor:
    """Log p(x | y) in nats for every class y: [N, classes], float64, one class after another."""
    # Of many classes torch is faster: it sees that the context is the same in every row.
    log_prob = Evaluator(model, native=native and classes < MANY)
    every = torch.empty(len(x), classes, dtype=torch.float64)
    for y in range(classes):
        every[:, y] = log_prob(x, one_hot(torch.tensor([y], device=x.device), classes, x.dtype))
    return every


def announce_classes(splits: Splits, conditioning: Conditioning, model: Density) -> None:
    """Refuse more classes than the memory can take; of many, say what their marginal takes.

    Raises:
        UsageError: the one-hot classes of the training rows, or the marginal, do not fit.
    """
    classes = conditioning.classes
    if not classes:
        return
    trained = (len(splits.train) + len(splits.validation)) * classes * model.reference.itemsize
    scored = max(len(splits.validation), len(splits.test))
    summed = min(scored, _rows_at_once(classes)) * classes * COPIES * 8
    shortage.require(
        trained + summed, f"a model given {classes:,} classes", "use a label with fewer classes"
    )
    if classes >= MANY:
        log.info(
            "the log-likelihood is a sum over %s classes: each of %s validation and test rows is "
            "evaluated for each class, in up to %s of memory",
            f"{classes:,}",
            f"{len(splits.validation) + len(splits.test):,}",
            memory.in_words(summed),
        )


def _rows_at_once(classes: int) -> int:
    return max(1, DENSITIES_AT_ONCE // classes)


def _by_class(model: Density, x: Tensor, *, native: bool = True) -> Iterator[tuple[slice, Tensor]]:
    """`class_log_probs` of a conditional model, for as many rows at once as fit."""
    size = _rows_at_once(model.context)
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        yield rows, class_log_probs(model, x[rows], model.context, native=native)


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
            parts = [class_marginal(by_class, prior) for _, by_class in _by_class(model, x)]
            return torch.cat(parts).numpy()
        return log_prob_of_rows(model, x).numpy()

    return function


def evaluate(
    model: Density,
    x: Tensor,
    labels: Tensor | None = None,
    *,
    context: Tensor | None = None,
    bits_per_pixel: Callable[[Tensor], Tensor] | None = None,
    prior: Sequence[float] | None = None,
    weights: NDArray[np.float64] | None = None,
    native: bool = True,
) -> tuple[dict[str, float], Tensor]:
    """Evaluate ``model`` on rows ``x`` [N, D].

    Args:
        model: in evaluation mode.
        x: test rows, in the model's dtype, where the model is.
        labels: [N], on the CPU; needed for a model given the class.
        context: [N, C], for a model given columns.
        bits_per_pixel: for images, from log densities [N] in nats to bits for each pixel [N].
        prior: of the classes, for a conditional model; None for equal ones.
        weights: of the rows in every mean [N]; None if all count alike.
        native: false: by torch alone.

    Returns:
        The figures, and the log density [N] of each row behind the first of them. Of a model
        given columns that is the conditional density, and there are no others.
        ``log_likelihood`` and ``error`` are what the paper's tables show: for a conditional
        model the marginal over classes; ``conditional_log_likelihood`` is then log p(x | y) of
        the true y, ``accuracy`` that of the likeliest class, argmax p(y) p(x | y). A single row
        has no errors.
    """
    figures: dict[str, float] = {}

    def note(name: str, error_name: str, values: Tensor) -> None:
        figures[name], error = mean_and_error(values.double().numpy(), weights)
        if error is not None:
            figures[error_name] = error

    true_class, hits = torch.empty(0), torch.empty(0)
    if model.context == 0 or context is not None:
        log_prob = log_prob_of_rows(model, x, context, native=native)
    elif labels is None:
        raise ValueError("labels are needed to evaluate a conditional model")
    else:
        log_prob = torch.empty(len(x), dtype=torch.float64)
        true_class, hits = torch.empty_like(log_prob), torch.empty(len(x), dtype=torch.bool)
        for rows, by_class in _by_class(model, x, native=native):
            log_prob[rows] = class_marginal(by_class, prior)
            true_class[rows] = by_class.gather(1, labels[rows, None]).squeeze(1)
            hits[rows] = class_joint(by_class, prior).argmax(dim=1) == labels[rows]
    note("log_likelihood", "error", log_prob)
    if bits_per_pixel is not None:
        note("bits_per_pixel", "bits_per_pixel_error", bits_per_pixel(log_prob))
    if model.context and context is None:
        note("conditional_log_likelihood", "conditional_error", true_class)
        note("accuracy", "accuracy_error", hits)
    return figures, log_prob


class Evaluation(NamedTuple):
    """What a trained model reaches.

    Attributes:
        status: of the run: ``finished``, or ``diverged`` where a figure is not finite.
        test: figures of the test split.
        validation: figures of the validation split.
        test_nats: the log density of each test row, float64 [N].
        validation_nats: the log density of each validation row, float64 [N].
    """

    status: str
    test: dict[str, float]
    validation: dict[str, float]
    test_nats: NDArray[np.float64]
    validation_nats: NDArray[np.float64]


def evaluate_splits(
    model: Density, splits: Splits, conditioning: Conditioning, engine: str = AUTO
) -> Evaluation:
    """Evaluate a trained model on the test and the validation split, by the engine of the setting.

    Early stopping looks at log p(x | true y) of a conditional model, as in the authors' program;
    their choice among sizes looks at the class marginal. The validation figures have both.
    """
    image, x = splits.image, splits.test.x
    native = evaluates_natively(model, engine)
    bits = None
    if image is not None:
        bits = lambda nats: torch.from_numpy(image.bits_per_pixel(nats.numpy(), x))  # noqa: E731
    test, nats = _figures(model, splits.test, conditioning, native, bits)
    seen, validation_nats = _figures(model, splits.validation, conditioning, native)
    names = {"log_likelihood": "log_likelihood", "error": "error"}
    if conditioning.classes:
        names = {
            "log_likelihood": "conditional_log_likelihood",
            "error": "conditional_error",
            "marginal_log_likelihood": "log_likelihood",
            "marginal_error": "error",
        }
    names |= {key: key for key in ("rows_not_finite", "first_not_finite")}
    validation = {name: seen[own] for name, own in names.items() if own in seen}
    finite = all(map(is_figure, (*test.values(), *validation.values())))
    if finite and (alone := outlier(nats, splits.test.weights)):
        log.warning("%s", alone)
    return Evaluation(
        "finished" if finite else "diverged", test, validation, nats, validation_nats
    )


def _figures(
    model: Density,
    rows: Rows,
    conditioning: Conditioning,
    native: bool,
    bits: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """What `evaluate` says of ``rows``, and of those whose log density is not finite, if any."""
    x = torch.from_numpy(rows.x).to(model.reference.device)
    labels = None if rows.labels is None else torch.from_numpy(rows.labels)
    figures, nats = evaluate(
        model,
        x,
        labels,
        context=conditioning.context_of(rows, model) if conditioning.columns else None,
        bits_per_pixel=bits,
        prior=conditioning.prior,
        weights=rows.weights,
        native=native,
    )
    if lost := not_finite(nats.numpy(), rows.weights):
        figures |= lost.figures()
    return figures, nats.numpy()
