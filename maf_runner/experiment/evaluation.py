"""The figures of a trained model on the test split (the paper, section 4 and appendix E).

Every row counts once: sums over rows in float64, divided by N (`records/statistics.py`).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from maf_runner.engine.rows import log_prob_of_rows
from maf_runner.flows.base import Density
from maf_runner.records.statistics import mean_and_error


def one_hot(labels: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The context [N, classes] of ``labels`` [N]."""
    return F.one_hot(labels, classes).to(dtype)


def class_log_probs(model: Density, x: Tensor, classes: int) -> Tensor:
    """Log p(x | y) in nats for every class y: [N, classes], float64, one class after another."""
    contexts = one_hot(torch.arange(classes, device=x.device), classes, x.dtype)
    return torch.stack([log_prob_of_rows(model, x, c[None]) for c in contexts], dim=1)


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
) -> tuple[dict[str, float], Tensor]:
    """Evaluate ``model`` on rows ``x`` [N, D].

    Args:
        model: in evaluation mode.
        x: test rows, in the model's dtype, where the model is.
        labels: [N], on the CPU; needed for a conditional model.
        bits_per_pixel: for images, from log densities [N] in nats to bits for each pixel [N].
        prior: of the classes, for a conditional model; None for equal ones.

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
        log_prob = log_prob_of_rows(model, x)
    else:
        if labels is None:
            raise ValueError("labels are needed to evaluate a conditional model")
        by_class = class_log_probs(model, x, model.context)
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
