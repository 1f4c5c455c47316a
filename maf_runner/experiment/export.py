"""A trained model for other programs: as one of torch.export, as ONNX, or as plain tensors.

A program takes and gives float64, although most models compute in float32: in float32 a column
such as a time in seconds would lose its digits before it is standardised.
"""

import copy
import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Distribution

from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.experiment.evaluation import class_marginal
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.autoregressive import Autoregressive
from maf_runner.flows.base import Density, Flow, StandardNormal, inverts
from maf_runner.flows.gaussian import Gaussian
from maf_runner.system import shortage
from maf_runner.system.errors import UsageError, extra

ONNX_AT_MOST = 2_000_000_000  # bytes: an ONNX file ends at 2 GiB
TOLERANCE = 1e-3  # relative above 1; a program that differs by more is not the model
NO_SAMPLER = "no program for sampling"
TRIALS = 5  # rows on which a program is compared with its model


class Exported(nn.Module):
    """The log density of a run as one function of its rows.

    Rows are in the table's units for a run on the user's table, logits for pictures, and as the
    dataset has them for the others. The log density is that of rows in these units; of a model
    given the class it is the marginal over the classes, which takes C times the memory.

    A model given columns takes their values too: see `_Conditions`.

    Args:
        run: the run, which stays as it is.
    """

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        self.units = _Units(run)
        self.model = _plain(run.model)
        self.conditions = None if run.context is None else _Conditions(run.context)
        self.prior, self.dtype = run.prior, run.model.reference.dtype

    def forward(self, rows: Tensor, context: Tensor | None = None) -> Tensor:
        """Log densities [N] in nats of ``rows`` [N, D], given ``context`` [N, C]; all float64."""
        log_prob = self._log_prob(rows, context)
        return torch.where(self.units.inside(rows), log_prob, -math.inf)

    def _log_prob(self, rows: Tensor, context: Tensor | None) -> Tensor:
        x = self.units.to_model(rows).to(self.dtype)
        if self.conditions is not None:
            log_prob = self.model(x, self.conditions(context).to(self.dtype))
            return log_prob.double() + self.units.log_det(rows)
        if isinstance(self.model, _Gaussians):
            by_class = self.model(x)
        elif self.model.context:
            by_class = self._by_class(x)
        else:
            return self.model(x).double() + self.units.log_det(rows)
        return class_marginal(by_class.double(), self.prior) + self.units.log_det(rows)

    def _by_class(self, x: Tensor) -> Tensor:
        """Log p(x | y) [N, C] of rows [N, D] for every class."""
        classes = self.model.context
        each = x[:, None].expand(-1, classes, -1).reshape(-1, x.shape[1])
        given = torch.eye(classes, dtype=x.dtype).expand(x.shape[0], -1, -1)
        return self.model(each, given.reshape(-1, classes)).view(-1, classes)


class ExportedSampler(nn.Module):
    """The way of a run from standard normal noise to rows, in one pass.

    Args:
        run: the run, which stays as it is.

    Raises:
        UsageError: the model has no such way; the message says why.
    """

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        if obstacle := _no_one_pass(run):
            raise UsageError(f"{NO_SAMPLER}: {obstacle}")
        self.units = _Units(run)
        self.model = _plain(run.model)
        self.conditions = None if run.context is None else _Conditions(run.context)
        self.classes, self.dtype = run.model.context, run.model.reference.dtype

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Rows [N, D] in the units of `Exported`, from ``noise`` [N, D], both float64.

        A model given the class takes ``label`` [N] too, int64: the place of each class among the
        classes of the run; one given columns takes a context [N, C] in its place, as `Exported`.
        Dequantised columns are whole again.
        """
        context = None
        if self.conditions is not None:
            context = self.conditions(label).to(self.dtype)
        elif label is not None:
            context = (label[:, None] == torch.arange(self.classes)).to(self.dtype)
        rows = self.model.from_noise(noise.to(self.dtype), context)
        return self.units.from_model(rows.double())


class _Units(nn.Module):
    """The way between the units of a run's rows and those that the model sees, in float64."""

    mean: Tensor
    deviation: Tensor
    step: Tensor
    origin: Tensor

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        table, features = run.table, run.model.features
        self.bounds = table.bounds if table else ()
        self.scaled, self.stepped = table is not None, bool(table and any(table.steps))
        numbers = {
            "mean": table.mean if table else (),
            "deviation": table.deviation if table else (),
            "step": (table.steps if table else ()) or (0.0,) * features,
            "origin": (table.origins if table else ()) or (0.0,) * features,
        }
        for name, values in numbers.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def to_model(self, rows: Tensor) -> Tensor:
        """As `TableSpace.to_model`, of a table."""
        if not self.scaled:
            return rows
        if self.bounds:
            free = [self._unbounded(rows[:, i], *ends) for i, ends in enumerate(self.bounds)]
            rows = torch.stack(free, dim=1)
        return (rows - self.mean) / self.deviation

    def inside(self, rows: Tensor) -> Tensor:
        """Which rows [N] lie within the bounds; those with NaN are left to the density."""
        within = torch.ones_like(rows[:, 0], dtype=torch.bool)
        for i, (low, high) in enumerate(self.bounds):
            if low is not None:
                within = within & ~(rows[:, i] <= low)
            if high is not None:
                within = within & ~(rows[:, i] >= high)
        return within

    def log_det(self, rows: Tensor) -> Tensor:
        """As `TableSpace.log_det`, of a table: [N]; else 0."""
        total = rows.new_zeros(()) if not self.scaled else -self.deviation.log().sum()
        for i, (low, high) in enumerate(self.bounds):
            x = rows[:, i]
            if low is not None:
                total = total - (x - low).log()
            if high is not None:
                total = total - (high - x).log()
            if low is not None and high is not None:
                total = total + math.log(high - low)
        return total

    @staticmethod
    def _unbounded(x: Tensor, low: float | None, high: float | None) -> Tensor:
        z = x if low is None and high is None else torch.zeros_like(x)
        if low is not None:
            z = z + (x - low).log()
        return z if high is None else z - (high - x).log()

    @staticmethod
    def _bounded(z: Tensor, low: float | None, high: float | None) -> Tensor:
        if low is not None and high is not None:
            return low + (high - low) * torch.sigmoid(z)
        if low is not None:
            return low + z.exp()
        return z if high is None else high - (-z).exp()

    def from_model(self, rows: Tensor) -> Tensor:
        """As `TableSpace.to_table` and then `TableSpace.without_noise`, of a table."""
        if not self.scaled:
            return rows
        rows = rows * self.deviation + self.mean
        if self.bounds:
            inside = [self._bounded(rows[:, i], *ends) for i, ends in enumerate(self.bounds)]
            rows = torch.stack(inside, dim=1)
        if not self.stepped:
            return rows
        has_steps = self.step > 0
        step = torch.where(has_steps, self.step, 1.0)
        whole = ((rows - self.origin) / step).floor() * step + self.origin
        return torch.where(has_steps, whole, rows)


class _Conditions(nn.Module):
    """The context of a model from the values of columns, [N, C], float64.

    A number stands in the units of the table; a category is one-hot, with a place for each in the
    order of the record (``data.context``). A flag of 1 says that the value before it is missing.
    """

    mean: Tensor
    deviation: Tensor
    hides: Tensor

    def __init__(self, space: ContextSpace) -> None:
        super().__init__()
        mean: list[float] = []
        deviation: list[float] = []
        hides = torch.zeros(space.width, space.width, dtype=torch.float64)
        for column in space.columns:
            start, own = len(mean), column.width - column.flagged
            mean += [column.mean] * own + [0.0] * column.flagged
            deviation += [column.deviation] * own + [1.0] * column.flagged
            if column.flagged:
                hides[start + own, start : start + own] = 1.0
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float64))
        self.register_buffer("hides", hides)

    def forward(self, values: Tensor) -> Tensor:
        """What the model is given, from the values of the columns."""
        return (values - self.mean) / self.deviation * (1.0 - values @ self.hides)

    def values(self, context: Tensor) -> Tensor:
        """The inverse, where no value is missing."""
        return context * self.deviation + self.mean


class _Gaussians(nn.Module):
    """A `Gaussian` by products of matrices alone, since ONNX cannot solve equations."""

    mean: Tensor
    cholesky: Tensor
    whiten: Tensor
    constant: Tensor

    def __init__(self, model: Gaussian) -> None:
        super().__init__()
        eye = torch.eye(model.features, dtype=torch.float64)
        whiten = torch.linalg.solve_triangular(model.cholesky, eye, upper=False)
        log_det = -model.cholesky.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        zero = StandardNormal(model.features).double()(eye[:1] * 0)  # log density of noise 0
        self.register_buffer("mean", model.mean.clone())
        self.register_buffer("cholesky", model.cholesky.clone())
        self.register_buffer("whiten", whiten.contiguous())
        self.register_buffer("constant", log_det + zero)

    def forward(self, x: Tensor) -> Tensor:
        """Log densities [N, C] of rows [N, D] under each of the C Gaussians."""
        noise = (x - self.mean[:, None]) @ self.whiten.mT
        return self.constant - 0.5 * noise.square().sum(dim=2).mT

    def from_noise(self, noise: Tensor, context: Tensor | None) -> Tensor:
        """Rows [N, D] of noise [N, D]; ``context`` [N, C] chooses the Gaussian of each."""
        every = self.mean[:, None] + noise @ self.cholesky.mT
        return every[0] if context is None else (context.mT[:, :, None] * every).sum(dim=0)


def torch_program(run: TrainedRun) -> bytes:
    """A ``.pt2`` file of `Exported`, for ``torch.export.load``, with the run's record in it.

    Raises:
        UsageError: torch cannot export the model.
    """
    refusal = f"{run.record.model} cannot be exported by torch"
    program = _traced(Exported(run), _arguments(run), refusal)
    _require_agreement(
        run, lambda given: program.module()(*map(torch.from_numpy, given.values())).numpy()
    )
    return _pt2(run, program)


def torch_sampler(run: TrainedRun) -> bytes:
    """A ``.pt2`` file of `ExportedSampler`.

    Raises:
        UsageError: there is no way to draw samples in one pass, or torch cannot export it.
    """
    arguments: dict[str, Tensor] = {"noise": torch.zeros(TRIALS, run.model.features).double()}
    if run.context is not None:
        arguments["label"] = _arguments(run)["context"].expand(TRIALS, -1).contiguous()
    elif run.model.context:
        arguments["label"] = torch.zeros(TRIALS, dtype=torch.int64)
    refusal = f"{NO_SAMPLER}: torch cannot export the way of {run.record.model} from noise to rows"
    return _pt2(run, _traced(ExportedSampler(run), arguments, refusal))


def onnx_program(run: TrainedRun) -> bytes:
    """An ``.onnx`` file of `Exported`: input ``rows``, output ``log_prob``, the record in it.

    Raises:
        UsageError: the extra ``export`` is not installed, or ONNX cannot express the model.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx needs it
    except ImportError as error:
        raise UsageError(f"--format onnx needs {error.name}: {extra('export')}") from error
    size = sum(tensor.nbytes for tensor in run.model.state_dict().values())
    if size > ONNX_AT_MOST:
        raise UsageError(
            f"an ONNX file holds at most 2 GB, and the parameters take {size:,} bytes"
        )
    if inverts(run.model):
        raise UsageError(
            f"{run.record.model} cannot be exported to ONNX: its density takes one step for each "
            "variable. --format torch can express that"
        )
    refusal = f"{run.record.model} cannot be exported to ONNX"
    arguments = _arguments(run)
    program = _traced(Exported(run), arguments, refusal)
    with _quietly(refusal):
        converted = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=list(arguments),
            output_names=["log_prob"],
            dynamic_shapes={name: {0: "N"} for name in arguments},
        )
        assert converted is not None
        converted.model.metadata_props["record"] = record_text(run)
        content: bytes = converted.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    _require_agreement(run, lambda given: session.run(None, given)[0])
    return content


def safetensors(run: TrainedRun) -> bytes:
    """A ``.safetensors`` file of the model's state_dict, with the run's record as metadata.

    Raises:
        UsageError: the extra ``export`` is not installed.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise UsageError(f"--format safetensors needs safetensors: {extra('export')}") from error
    state = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    return save(state, metadata={"format": "pt", "record": record_text(run)})


def record_text(run: TrainedRun) -> str:
    """The record of a run as JSON."""
    return json.dumps(run.record.as_json(), indent=2)


def _plain(model: Density) -> Any:
    """A copy of a model that can be exported."""
    if isinstance(model, Gaussian):
        return _Gaussians(model)
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    for parameter in twin.parameters():
        parameter.data = parameter.data.clone()  # all of them are views of one buffer
    return twin


def _no_one_pass(run: TrainedRun) -> str | None:
    """Why the model cannot make rows of normal noise in one pass; None if it can."""
    model, name = run.model, run.record.model
    if isinstance(model, Gaussian):
        return None
    if not isinstance(model, Flow):
        return f"{name} has no map from noise to rows"
    if any(isinstance(transform, Autoregressive) for transform in model.chain):
        return f"{name} computes one variable after another"
    if not isinstance(model.base, StandardNormal):
        return f"the noise of {name} is not standard normal"
    return None


def _arguments(run: TrainedRun) -> dict[str, Tensor]:
    """Some rows as a program takes them, and for a model given columns their context."""
    rows = _rows(run)
    if run.context is None:
        return {"rows": rows}
    conditions = _Conditions(run.context)
    return {"rows": rows, "context": conditions.values(_context(run)).repeat(len(rows), 1)}


def _context(run: TrainedRun) -> Tensor:
    """A context [1, C] of a model given columns: mean numbers, and the first category of each."""
    assert run.context is not None
    columns = run.context.columns
    places = [float(i == 0 and bool(c.categories)) for c in columns for i in range(c.width)]
    return torch.tensor([places], dtype=torch.float64)


def _rows(run: TrainedRun) -> Tensor:
    """Some samples [n, D] of the run, or standard normal rows, in the units of its data."""
    if run.model.can_sample and run.context is not None:
        drawn = next(run.samples_given(_context(run).numpy(), TRIALS, seed=0))[0]
    elif run.model.can_sample:
        drawn, _ = run.draw_samples(TRIALS, seed=0)
    else:
        drawn = torch.randn(TRIALS, run.model.features, generator=torch.Generator()).numpy()
    rows = drawn[np.isfinite(drawn).all(axis=1)]
    if len(rows) < 2:  # torch takes the number of rows for a constant where it is 0 or 1
        rows = np.zeros((2, run.model.features))
    return torch.from_numpy(run.table.to_table(rows) if run.table else rows.astype(np.float64))


def _traced(
    module: nn.Module, arguments: dict[str, Tensor], refusal: str
) -> torch.export.ExportedProgram:
    """The module as a program for any number of rows.

    Torch has two ways to read a module. The strict one understands ``len`` of a tensor, which the
    other takes for a constant; models of other libraries often pass the other one alone. Neither
    can follow the checks of arguments in torch.distributions.

    Raises:
        UsageError: torch cannot; the message begins with ``refusal``.
    """

    def traced(strict: bool) -> torch.export.ExportedProgram:
        return torch.export.export(
            module,
            tuple(arguments.values()),
            dynamic_shapes={name: {0: torch.export.Dim("rows")} for name in arguments},
            strict=strict,
        )

    checks = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        with torch.no_grad(), _quietly(refusal):
            module.eval()(*arguments.values())  # some models compute and keep numbers at first use
            try:
                program = traced(strict=True)
            except Exception as error:
                if shortage.is_memory(error):
                    raise
                program = traced(strict=False)
    finally:
        Distribution.set_default_validate_args(checks)
    for node in program.graph.nodes:  # it names files of this computer
        node.meta.pop("stack_trace", None)
    return program


@contextmanager
def _quietly(refusal: str) -> Iterator[None]:
    """Turn errors into a UsageError that begins with ``refusal``; nothing else is printed."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        if shortage.is_memory(error):
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        why = str(cause).strip().split("\n")[0]
        raise UsageError(f"{refusal} ({type(cause).__name__}: {why:.300})") from error
    finally:
        logging.disable(disabled)


def _require_agreement(
    run: TrainedRun, program: Callable[[dict[str, NDArray[Any]]], NDArray[np.float64]]
) -> None:
    """Compare a program of named arguments with the run, for several rows and for a single one.

    Raises:
        UsageError: they differ, or the program fails.
    """
    given = {name: values.numpy() for name, values in _arguments(run).items()}
    inside, log_det = given["rows"], np.zeros(1)
    if run.table is not None:
        inside, log_det = run.table.to_model(inside), run.table.log_det(inside)
    context = None if run.context is None else _context(run).numpy()
    expected = run.log_prob(inside, context) + log_det
    for part in (slice(None), slice(1)):
        with _quietly(f"{run.record.model} cannot be exported: its program fails"):
            nats = program({name: values[part] for name, values in given.items()})
        if not np.allclose(nats, expected[part], TOLERANCE, TOLERANCE, equal_nan=True):
            raise UsageError(
                f"{run.record.model} cannot be exported: the program gives other densities than "
                "the model. This happens where a model draws random numbers, or has branches that "
                "depend on the values of a row"
            )


def _pt2(run: TrainedRun, program: torch.export.ExportedProgram) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"record.json": record_text(run)})
    return file.getvalue()
