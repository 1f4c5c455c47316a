"""The door to the engines: training makes its updates with a `Driver`, whatever engine is inside.

What is the same for every engine stands here once: the choice, the fallback to the eager engine,
the average of the parameters, evaluation, and a state that any other engine can load.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor

from maf_runner.engine.adam import AdamSettings
from maf_runner.engine.compiled import Compiled, has_compiler
from maf_runner.engine.denormals import flushed
from maf_runner.engine.eager import Eager
from maf_runner.engine.engine import DeclinedError, Engine, Optimiser
from maf_runner.engine.graph import Graph
from maf_runner.engine.native.engine import Native
from maf_runner.engine.native.updates import look, serves
from maf_runner.engine.products import fast_products
from maf_runner.engine.rows import log_prob_of_rows, refresh_statistics
from maf_runner.engine.stacked import Stacked
from maf_runner.flows.base import Density
from maf_runner.flows.foreign import Foreign
from maf_runner.system import shortage
from maf_runner.system.errors import UsageError

log = logging.getLogger("maf_runner")
AUTO = "auto"
EAGER, COMPILED, NATIVE, GRAPH = Eager.name, Compiled.name, Native.name, Graph.name
STACKED = Stacked.name
ENGINES = {engine.name: engine for engine in (Eager, Compiled, Native, Graph)}
EVERY = 10  # the average takes in the parameters after every tenth update

RowsAndContext = tuple[Tensor, Tensor | None]  # [N, D] and [N, C]


def choose(
    model: Density,
    engine: str,
    updates: int,
    settings: AdamSettings | None = None,
    *,
    weighted: bool = False,
) -> str:
    """Name the engine for a run.

    Args:
        model: what will be trained, on the device where it will be trained.
        engine: the setting, one of `engine.CHOICES`. On a GPU ``auto`` is the graph engine.
        updates: the least number of updates that the run will make.
        settings: of Adam; None: those of the paper.
        weighted: whether rows have weights, which the eager engine alone knows.

    Raises:
        UsageError: an engine that was asked for by name cannot be had.
    """
    if weighted and engine not in (AUTO, EAGER):
        raise UsageError(
            f"engine={engine} cannot weight rows (dataset.weight): use engine=auto, which takes "
            "the eager engine"
        )
    frozen = not all(parameter.requires_grad for parameter in model.parameters())
    if frozen and engine == NATIVE:
        raise UsageError("engine=native trains all parameters, and some of this model are frozen")
    if weighted or engine == EAGER or (frozen and engine == AUTO):
        return EAGER
    if model.reference.device.type == "cuda":
        if engine != AUTO:
            raise UsageError(f"engine={engine} needs the CPU: add device=cpu, or use engine=auto")
        return GRAPH
    papers = settings is None or settings.as_in_the_paper
    if engine == NATIVE:
        other = None if papers else "it has only the paper's Adam, without trainer.clip"
        if reason := look(model)[1] or other:
            raise UsageError(f"engine=native is not possible: {reason}; engine=auto trains anyway")
        return NATIVE
    if engine == AUTO and papers and serves(model):
        return NATIVE
    if engine == AUTO and (isinstance(model, Foreign) or not Compiled.pays(model, updates)):
        return EAGER
    if has_compiler():
        return COMPILED
    if engine == AUTO:
        log.info("this machine has no C++ compiler: training will take longer")
        return EAGER
    raise UsageError(
        "engine=compiled needs a C++ compiler (g++ or clang++, or the one that the "
        "environment variable CXX names): install one, or use engine=auto"
    )


def continued(model: Density, name: str, otherwise: str) -> str:
    """The engine of a run that began on ``name``; ``otherwise`` if that is not here any more."""
    if name == STACKED:
        return otherwise  # it goes on alone
    if name == NATIVE and (reason := look(model)[1]):
        log.warning(
            "this run began on the native engine, but %s: it goes on with the %s engine, whose "
            "results are equal up to rounding",
            reason,
            otherwise,
        )
        return otherwise
    return name


def evaluates_natively(model: Density, engine: str) -> bool:
    """Whether the rows of a run are evaluated by the native engine, whatever made its updates."""
    return engine in (AUTO, NATIVE) and serves(model)


class Learner:
    """A model in training, whoever computes its updates: average, validation and state.

    Args:
        model: what is trained.
        optimiser: where its parameters and the state of its optimiser are.
        averaging: decay of the average of the parameters for each update; 0: no average.
        natively: whether rows are evaluated by the native engine where it knows the model.
    """

    def __init__(
        self,
        model: Density,
        optimiser: Optimiser,
        *,
        averaging: float = 0.0,
        natively: bool = True,
    ) -> None:
        self.model = model
        self.optimiser = optimiser
        self.updates = 0
        self.average = optimiser.parameters.clone() if averaging else None
        self._decay = averaging**EVERY
        self._natively = natively

    @property
    def name(self) -> str:
        """Name of the engine in use."""
        return self.optimiser.name

    def updated(self) -> None:
        """Take note of an update."""
        self.updates += 1
        if self.average is not None and self.updates % EVERY == 0:
            seen = self.updates // EVERY
            weight = 1 - min(self._decay, seen / (seen + 9))
            self.average.lerp_(self.optimiser.parameters, weight)

    def evaluate(
        self, train: RowsAndContext, validation: RowsAndContext, weights: Tensor | None = None
    ) -> float:
        """Mean log density of the validation rows in nats, with the averaged parameters.

        ``weights`` are those of the validation rows [N], with mean 1. Batch norms get the
        statistics of the training rows for these parameters first.
        """
        with self._averaged():
            self.model.eval()
            refresh_statistics(self.model, *train, native=self._natively)
            log_prob = log_prob_of_rows(self.model, *validation, native=self._natively)
            nats = float((log_prob if weights is None else weights.cpu() * log_prob).mean())
            self.model.train()
        return nats

    def averaged_model(self) -> dict[str, Tensor]:
        """A copy of the model's ``state_dict``, with the averaged parameters."""
        with self._averaged():
            return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """State of the optimiser and the average, for the checkpoint.

        Its tensors are laid out as the model's parameters, one after another, so that a run can
        continue on another engine, another device or with another version of the program.
        """
        return {**self.optimiser.state(), "average": self.average}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned. The model must hold the parameters of then."""
        self.optimiser.load(state)
        self.updates = state["steps"]
        if self.average is not None:
            self.average = state["average"].to(self.optimiser.parameters, copy=True)

    def _averaged(self) -> AbstractContextManager[None]:
        """Inside, the engine has the averaged parameters, if there is an average yet."""
        if self.average is None or self.updates < EVERY:
            return nullcontext()
        return self._holding(self.average)

    @contextmanager
    def _holding(self, values: Tensor) -> Iterator[None]:
        """Inside, the engine has other parameters."""
        parameters = self.optimiser.parameters
        current = parameters.clone()
        parameters.copy_(values)
        try:
            yield
        finally:
            parameters.copy_(current)


class Driver(Learner):
    """Makes the updates of one run with one engine.

    Args:
        model: what is trained. Its parameters become views of one buffer.
        settings: of Adam.
        name: of the engine. If it is unknown here, or the engine declines the model, the eager
            engine is used. If its first update fails, a warning says so, and the eager engine
            takes its place.
        averaging, natively: see `Learner`.
    """

    optimiser: Engine

    def __init__(
        self,
        model: Density,
        settings: AdamSettings,
        name: str,
        *,
        averaging: float = 0.0,
        natively: bool = True,
    ) -> None:
        engine = _make(name, model, settings)
        super().__init__(model, engine, averaging=averaging, natively=natively)
        self.settings = settings
        self._has_worked = False

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self.optimiser

    def step(
        self, x: Tensor, context: Tensor | None, rate: float, weights: Tensor | None = None
    ) -> Tensor:
        """Update the parameters by a batch; see `Engine.step`.

        With ``weights`` [B], the loss is the mean of weight times negative log density; `choose`
        must have been told.
        """
        if weights is not None:
            assert isinstance(self.engine, Eager)
            loss = self.engine.weighted_step(x, context, rate, weights)
        else:
            run = self.engine.step if self._has_worked else self._first_step
            loss = run(x, context, rate)
        self.updated()
        return loss

    @contextmanager
    def session(self, rows: int) -> Iterator[None]:
        """Inside, updates by ``rows`` rows take no longer than this machine must.

        They use its fastest exact products, and denormal numbers are flushed to 0.
        """
        with flushed(), fast_products(self.model, rows):
            yield

    def _first_step(self, x: Tensor, context: Tensor | None, rate: float) -> Tensor:
        """The first update, by the eager engine if the chosen one fails."""
        try:
            loss = self.engine.step(x, context, rate)
        except Exception as error:  # compilers and drivers raise many kinds
            if self.name == EAGER or shortage.is_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning(
                "the %s training step failed (%s): training continues with the eager one, "
                "which is slower",
                self.name,
                reason,
            )
        else:
            self._has_worked = True
            return loss
        # Outside the handler, which holds on to the memory of what failed.
        state = {**self.state(), "steps": self.updates}  # without the failed update
        del self.optimiser
        self.optimiser = Eager(self.model, self.settings)
        self.load(state)
        return self._first_step(x, context, rate)


def _make(name: str, model: Density, settings: AdamSettings) -> Engine:
    try:
        return ENGINES.get(name, Eager)(model, settings)
    except DeclinedError as error:
        log.warning("the %s engine cannot train this model: %s", name, error)
        return Eager(model, settings)
