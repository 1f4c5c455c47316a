"""What is exported of a trained model: functions of rows in the units of its data, as modules.

They take and give float64, although most models compute in float32: in float32 a column such as a
time in seconds would lose its digits before it is standardised.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from maf_runner.datasets.spaces.context import ContextSpace
from maf_runner.experiment.evaluation import class_marginal
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.autoregressive import Autoregressive
from maf_runner.flows.base import Density, Flow, StandardNormal
from maf_runner.flows.gaussian import Gaussian
from maf_runner.system.errors import UsageError

NO_SAMPLER = "no program for sampling"


class Exported(nn.Module):
    """The log density of a run as one function of its rows.

    Rows are in the table's units for a run on the user's table, logits for pictures, and as the
    dataset has them for the others. The log density is that of rows in these units; of a model
    given the class it is the marginal over the classes, which takes C times the memory.

    A model given columns takes their values too: see `Conditions`.

    Args:
        run: the run, which stays as it is.
    """

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        self.units = _Units(run)
        self.model = _plain(run.model)
        self.conditions = None if run.context is None else Conditions(run.context)
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
        self.conditions = None if run.context is None else Conditions(run.context)
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
    first: Tensor
    last: Tensor

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        table, features = run.table, run.model.features
        categories = (table.categories if table else ()) or ((),) * features
        self.bounds = table.bounds if table else ()
        self.scaled, self.stepped = table is not None, bool(table and any(table.steps))
        numbers = {
            "mean": table.mean if table else (),
            "deviation": table.deviation if table else (),
            "step": (table.steps if table else ()) or (0.0,) * features,
            "origin": (table.origins if table else ()) or (0.0,) * features,
            "first": [0.0 if own else -math.inf for own in categories],
            "last": [len(own) - 1.0 if own else math.inf for own in categories],
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
        """As `TableSpace.to_table` and then `without_noise`, of a table, up to rounding.

        A column of categories has the place of one of them.
        """
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
        return torch.where(has_steps, whole.clamp(self.first, self.last), rows)


class Conditions(nn.Module):
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
