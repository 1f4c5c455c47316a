"""The figures of every model on the device beside those of the CPU.

For each model of the tests' table, alone and given a class: gradients, the parameters after 200
updates by the engine of the device, and rows sampled from the same noise, all in float64; then
gradients and log densities in float32, which would show products of less precision than that.
"""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gpu.section import Place, Report
from maf_runner.engine.driver import EAGER, GRAPH, Driver
from maf_runner.flows.base import Density
from maf_runner.training import TrainerSettings
from tests.helpers.models import CLASSES, MODELS, build, rows
from tests.helpers.settings import TRAINER

FEATURES, BATCH, RATE = 5, 50, 1e-3
ADAM = TrainerSettings(**TRAINER).adam
EXACT = 1e-9  # in float64: rounding grows by less than 1e-13 in 200 updates
SINGLE = 1e-5  # in float32: rounding alone makes 5e-7


class NoiseOfTheCPU(TorchFunctionMode):
    """Inside, noise is drawn on the CPU, so that every device gets the same."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(2)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Called by torch in place of each of its functions."""
        if function in (Tensor.normal_, Tensor.uniform_):
            drawn = function(torch.empty_like(args[0], device="cpu"), generator=self.generator)
            return args[0].copy_(drawn)
        return function(*args, **(kwargs or {}))


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors, relative where numbers are larger than 1."""
    one, other = one.detach().cpu().double(), other.detach().cpu().double()
    return float(((one - other).abs() / one.abs().clamp(min=1)).max())


def gradient(model: Density, x: Tensor, context: Tensor | None) -> Tensor:
    """The gradient of the mean negative log density by all parameters, in one row."""
    parameters = list(model.parameters())
    loss = -model.train()(x, context).mean()
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    model.eval()
    return torch.cat([g.flatten() for g in found if g is not None])


def trained(model: Density, engine: str, updates: int, context: int) -> tuple[Tensor, str]:
    """All parameters after so many updates, in one row, and the engine that made them."""
    driver = Driver(model, ADAM, engine)
    device = model.reference.device
    torch.manual_seed(1)
    batches = [rows(BATCH, FEATURES, context) for _ in range(updates)]
    for x, given in batches:
        driver.step(x.to(device), None if given is None else given.to(device), RATE)
    model.eval()
    return torch.cat([p.detach().flatten() for p in model.parameters()]), driver.name


def compared(name: str, context: int, device: str, updates: int) -> dict[str, Any]:
    """How far one model is apart on the two devices."""
    torch.manual_seed(0)
    here = build(name, FEATURES, context)
    there = copy.deepcopy(here).to(device)
    x, given = rows(BATCH, FEATURES, context)
    to = partial(torch.Tensor.to, device=device)
    there_given = None if given is None else to(given)
    found: dict[str, Any] = {}
    sampled = []
    for model, context_rows in ((here, given), (there, there_given)):
        with NoiseOfTheCPU():
            sampled.append(model.sample(BATCH, context_rows))
    found["samples"] = apart(*sampled)
    if MODELS[name].trained:
        exact = gradient(here, x, given)
        found["gradient"] = apart(exact, gradient(there, to(x), there_given))
        engine = GRAPH if device == "cuda" else EAGER
        expected, _ = trained(here, EAGER, updates, context)
        ended, found["engine"] = trained(there, engine, updates, context)
        found["updates"] = apart(expected, ended)
    one, other = here.float(), there.float()
    x = x.float()
    given, there_given = (None if g is None else g.float() for g in (given, there_given))
    found["float32"] = apart(one(x, given), other(to(x), there_given))
    if MODELS[name].trained:
        single = gradient(one, x, given)
        difference = single - gradient(other, to(x), there_given).cpu()
        found["float32 gradient"] = float(difference.norm() / single.norm())
    return found


def main(place: Place, report: Report) -> None:
    """Compare model after model, as long as there is time."""
    names = ["gaussian", "made", "made-mog", "maf-mog", "iaf", "nsf"] if place.small else MODELS
    updates = 5 if place.small else 200
    for name in names:
        for context in (0, CLASSES):
            title = f"{name}, given a class" if context else name
            if place.left < 10:
                report.leave_out(f"{title}: no time left")
                continue
            found = compared(name, context, place.device, updates)
            report.note(title, found)
            for what, difference in found.items():
                if what == "engine":
                    inverted = MODELS[name].inverted and difference == EAGER
                    expected = (GRAPH,) if place.device == "cuda" else (EAGER,)
                    good = difference in expected or inverted
                    report.check(good, f"{title}: updated by the {difference} engine")
                else:
                    most = SINGLE if what.startswith("float32") else EXACT
                    report.check(difference <= most, f"{title}: {what} apart by {difference:.1e}")
