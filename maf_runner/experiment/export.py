"""A trained model for other programs: as one of torch.export, as ONNX, or as plain tensors."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Distribution

from maf_runner.experiment.exported import NO_SAMPLER, Conditions, Exported, ExportedSampler
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.base import inverts
from maf_runner.system import shortage
from maf_runner.system.errors import UsageError, extra

ONNX_AT_MOST = 2_000_000_000  # bytes: an ONNX file ends at 2 GiB
TOLERANCE = 1e-3  # relative above 1; a program that differs by more is not the model
TRIALS = 5  # rows on which a program is compared with its model


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


def _arguments(run: TrainedRun) -> dict[str, Tensor]:
    """Some rows as a program takes them, and for a model given columns their context."""
    rows = _rows(run)
    if run.context is None:
        return {"rows": rows}
    conditions = Conditions(run.context)
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
