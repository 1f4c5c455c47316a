"""Many rows through a model: by the native engine, or in chunks that fit into memory."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from maf_runner.engine.native.rows import native_rows
from maf_runner.engine.products import fast_products
from maf_runner.engine.width import ModelSize
from maf_runner.flows.base import Density, Flow, Transform
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.flows.uniform import UniformMixture
from maf_runner.system import allocator, shortage
from maf_runner.system.errors import UsageError


@torch.no_grad()
def log_prob_of_rows(
    model: Density,
    x: Tensor,
    context: Tensor | None = None,
    *,
    chunk: int | None = None,
    native: bool = True,
) -> Tensor:
    """Log densities in nats of many rows [N], in float64 on the CPU.

    Args:
        model: the native engine is used where it knows the model and this is in evaluation.
        x: rows [N, D].
        context: [N, C], or [1, C] for the same context in every row.
        chunk: rows that torch takes at a time, by default `ModelSize.rows_at_once`; fewer if the
            memory does not suffice.
        native: false: by torch alone.
    """
    return Evaluator(model, chunk=chunk, native=native)(x, context)


def sample(
    model: Density,
    n: int,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
    *,
    native: bool = True,
) -> Tensor:
    """As `Density.sample`, by the native engine where it knows the model.

    ``native=False``: by torch alone. The same seed gives the same noise either way, and the same
    rows up to rounding.
    """
    if isinstance(model, UniformMixture):
        mixture = copy.copy(model)
        vars(mixture)["_sample"] = partial(model.drawn, partial(sample, native=native))
        return mixture.sample(n, context, generator)
    engine = native_rows(model) if native and isinstance(model, Flow) else None
    if engine is None or model.training or not engine.inverts():
        return model.sample(n, context, generator)
    twin = copy.copy(model)
    vars(twin)["from_noise"] = engine.from_noise
    return twin.sample(n, context, generator)


class Evaluator:
    """`log_prob_of_rows` of one model, prepared once for several calls.

    The model's parameters may change between the calls.
    """

    def __init__(self, model: Density, *, chunk: int | None = None, native: bool = True) -> None:
        self._native = native_rows(model) if native and not model.training else None
        self._model, self._chunk = model, chunk
        self._parts: list[Evaluator] = []
        if isinstance(model, UniformMixture):
            self._parts = [Evaluator(p, chunk=chunk, native=native) for p in model.densities]

    @torch.no_grad()
    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log densities [N] in nats."""
        if isinstance(self._model, UniformMixture):
            return self._model.mixed(self._parts, x, context)
        if self._native is not None:
            return self._native.log_prob(x, context)
        return _of_rows(self._model, self._model, x, context, self._chunk, empty=(0,))


@torch.no_grad()
def noise_of_rows(
    model: Density, x: Tensor, context: Tensor | None = None, *, chunk: int | None = None
) -> Tensor:
    """What `Density.standard_noise` gives for many rows [N, D], as `log_prob_of_rows`."""
    return _of_rows(model, model.standard_noise, x, context, chunk, empty=(0, model.features))


def _of_rows(
    model: Density,
    function: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    context: Tensor | None,
    chunk: int | None,
    empty: tuple[int, ...],
) -> Tensor:
    chunk = chunk or ModelSize.of(model).rows_at_once
    results = []

    def evaluate(part: slice) -> None:
        rows, given = x[part], context
        if context is not None:
            given = context.expand(len(rows), -1) if len(context) == 1 else context[part]
        found, shape = function(rows, given), [len(rows), *empty[1:]]
        if list(found.shape) != shape:
            raise UsageError(
                f"{model.title} must return {shape} for {len(rows)} rows, got {list(found.shape)}"
            )
        results.append(found.to("cpu", torch.float64))

    with fast_products(model, chunk):
        _in_chunks(len(x), chunk, evaluate)
    return torch.cat(results) if results else torch.empty(empty, dtype=torch.float64)


@torch.no_grad()
def refresh_statistics(
    flow: Density,
    x: Tensor,
    context: Tensor | None = None,
    *,
    chunk: int | None = None,
    native: bool = True,
) -> None:
    """Give every batch norm of ``flow``, if it has any, the statistics of the rows ``x`` [N, D].

    Layer by layer: the rows are carried through the flow once, a copy of them in memory, and
    each batch norm is set before they pass it, so layer k sees what layer k-1 makes of the
    same rows. Sums are in float64. One pass over the rows. ``native=False``: by torch alone.
    """
    if not isinstance(flow, Flow):
        return
    norms = [i for i, t in enumerate(flow.chain) if isinstance(t, BatchNorm)]
    if not norms:
        return
    chunk = chunk or ModelSize.of(flow).rows_at_once
    was_training = flow.training
    flow.eval()
    rows = x.clone()
    parts = _chunks(len(x), chunk)
    engine = native_rows(flow) if native else None
    carry = engine.carrier() if engine else None
    with fast_products(flow, chunk):
        for i, transform in enumerate(flow.chain[: norms[-1] + 1]):
            if isinstance(transform, BatchNorm):
                total = torch.stack([rows[p].double().sum(dim=0) for p in parts]).sum(dim=0)
                mean = total / len(rows)
                squares = [(rows[p].double() - mean).square().sum(dim=0) for p in parts]
                transform.mean.copy_(mean)
                transform.variance.copy_(torch.stack(squares).sum(dim=0) / len(rows))
            if i < norms[-1] and carry is not None:
                carry(i, rows, context)
            elif i < norms[-1]:
                _in_chunks(len(x), chunk, partial(_carry, transform, rows, context))
    flow.train(was_training)


def _carry(transform: Transform, rows: Tensor, context: Tensor | None, part: slice) -> None:
    given = None if context is None else context[part]
    rows[part] = transform._forward(rows[part], given)[0]


def _chunks(rows: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, rows, size)]


def _in_chunks(rows: int, size: int, work: Callable[[slice], None]) -> None:
    """Do the work on all rows; on half as many at once whenever the memory does not suffice."""
    start = 0
    while start < rows:
        try:
            work(slice(start, start + size))
            start += size
            continue
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not shortage.is_memory(error):
                raise
        size //= 2  # outside the handler, which holds on to what was allocated
        allocator.release_freed_memory()  # else it may be of no use to fewer rows
