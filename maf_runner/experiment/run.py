"""One experiment, from settings to record."""

import logging
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from maf_runner.datasets.base import Paths, Rows, Splits
from maf_runner.engine import devices
from maf_runner.engine.blocks import in_blocks
from maf_runner.engine.width import PlannedSize
from maf_runner.experiment import description
from maf_runner.experiment.evaluation import evaluate, log_prob_function, one_hot
from maf_runner.experiment.settings import build, check, from_config
from maf_runner.flows.base import Density
from maf_runner.records import record
from maf_runner.records.folder import RunFolder, run_folder
from maf_runner.records.statistics import not_finite, outlier
from maf_runner.system import allocator, atomic, logs, shortage
from maf_runner.system.errors import DataError, ShortageError, UnwritableError, UsageError
from maf_runner.system.interrupts import Interrupts
from maf_runner.tracking.history import History
from maf_runner.tracking.progress import Reporter
from maf_runner.training import Checkpoint, TrainerSettings, fit
from maf_runner.training import checkpoint as checkpoints
from maf_runner.training.loop import TensorRows

log = logging.getLogger("maf_runner")
THREADS = torch.get_num_threads()  # as torch chose it for this machine


@dataclass(frozen=True)
class Result:
    """What a run came to: its record, and whether it was there before."""

    record: dict[str, Any]
    folder: RunFolder
    known: bool = False

    @property
    def status(self) -> str:
        """``finished``, ``diverged`` or ``failed``."""
        return self.record["status"]

    @property
    def score(self) -> float:
        """Validation log-likelihood in nats, -inf unless finished: what a search maximises."""
        if self.status != "finished":
            return -math.inf
        validation = self.record["validation"]
        return validation.get("marginal_log_likelihood", validation["log_likelihood"])

    @property
    def outcome(self) -> str:
        """Of a sweep's job: ``done``, ``skipped``, ``resumed``, ``diverged`` or ``failed``."""
        if self.status != "finished":
            return self.status
        if self.known:
            return "skipped"
        return "resumed" if self.record["resumed"] else "done"

    def describe(self) -> str:
        """One line that says what it came to."""
        return record.describe(self.record)


def run(config: DictConfig) -> Result:
    """Carry out the experiment that ``config`` describes, or report the one already done.

    Raises:
        UsageError: impossible settings. Nothing is written.
        DataError: data missing, damaged or unfit. No record is written.
        BusyError: another process is at this run.
        ShortageError: no room on the disk, no memory, or a file was taken away.
        Interrupted: a signal came; the same command goes on from here.
    """
    try:
        return _run(config)
    except Exception as error:
        if not shortage.is_shortage(error):
            raise
        raise ShortageError(shortage.describe(error)) from error


def _run(config: DictConfig) -> Result:
    with logs.console(), Interrupts() as interrupts:
        settings = from_config(config)
        check(settings)  # before data are loaded
        trainer: TrainerSettings = build("trainer", settings["trainer"])
        device = devices.choose(settings["device"])
        size = PlannedSize.of(settings["model"].get("hidden"))
        torch.set_num_threads(settings["threads"] or (1 if size.wants_one_thread else THREADS))
        splits = load_splits(settings)
        model = _build_model(settings, splits, trainer, device)
        about = description.of_run(settings, splits, model)
        folder = run_folder(settings, about["run_id"])
        try:
            with (
                folder.held(wait=settings["wait"]),
                logs.to_file(folder.log),
                allocator.keep_freed_memory(),
            ):
                known = _known(folder, settings, about)
                if known is not None:
                    return Result(known, folder, known=True)
                job = (trainer, splits, folder, interrupts)
                try:
                    return _carry_out(model, settings, about, *job)
                except torch.OutOfMemoryError as error:  # of a GPU
                    short = shortage.describe_gpu(device, asked := settings["device"])
                    if not asked.startswith("auto"):
                        folder.discard()
                        raise UsageError(short) from error
                # Out of the handler, so that nothing holds on to what is on the GPU.
                log.warning("%s: the run goes on on the CPU", short)
                model = _build_model(settings, splits, trainer, devices.CPU)
                torch.cuda.empty_cache()
                about = description.of_run(settings, splits, model)
                return _carry_out(model, settings, about, *job)
        except UnwritableError:
            known = None if settings["force"] else _standing(folder, about)
            if known is None:
                raise
            log.info("already there: %s", record.describe(known))
            return Result(known, folder, known=True)


def load_splits(settings: dict[str, Any]) -> Splits:
    """Load the dataset of resolved ``settings``."""
    where = settings["paths"]
    paths = Paths(Path(where["raw_dir"]), Path(where["prepared_dir"]), where["mirror"])
    splits: Splits = build("dataset", settings["dataset"], paths=paths)
    for rows in (splits.train, splits.validation, splits.test):
        if not np.isfinite(rows.x).all():
            name = settings["dataset"]["name"]
            raise DataError(f"{name}: the prepared rows hold values that are not finite")
    if settings["model"]["conditional"] and not splits.classes:
        name = settings["dataset"]["name"]
        raise UsageError(f"model.conditional=true needs labels, and dataset={name} has none")
    return splits


def _build_model(
    settings: dict[str, Any], splits: Splits, trainer: TrainerSettings, device: torch.device
) -> Density:
    context = splits.classes if settings["model"]["conditional"] else 0
    _fits(settings["model"], splits.features, context)
    torch.manual_seed(settings["seed"])
    model: Density = build("model", settings["model"], features=splits.features, context=context)
    if trainer.learning_rate is None and not model.closed_form:
        raise UsageError("trainer.learning_rate must be a number above 0 for this model, got null")
    return model.to(device)


def _fits(settings: dict[str, Any], features: int, context: int) -> None:
    """Refuse a model too large for the memory, counted without taking any."""
    if not PlannedSize.of(settings.get("hidden"), features).may_exceed_memory:
        return  # torch takes a second to load what counting needs
    alike = {"degrees": "sequential"} if "degrees" in settings else {}  # random ones are looked at
    with torch.device("meta"):
        model: Density = build("model", {**settings, **alike}, features=features, context=context)
    learned = sum(p.nbytes for p in model.parameters())
    held = sum(b.nbytes for b in model.buffers())
    # Each parameter has a gradient, two moments and a copy of the best.
    needed = 5 * learned + held if not model.closed_form else learned + held
    way_out = "take fewer columns" if model.closed_form else "take a smaller model.hidden"
    shortage.require(needed, f"{model.title} of this size", way_out)


def _carry_out(
    model: Density,
    settings: dict[str, Any],
    about: dict[str, Any],
    trainer: TrainerSettings,
    splits: Splits,
    folder: RunFolder,
    interrupts: Interrupts,
) -> Result:
    owner = {"run_id": about["run_id"], "fingerprint": about["data"]["fingerprint"]}
    checkpoint = Checkpoint(folder.last, owner, complain=log.warning)
    folder.sweep()
    atomic.write(folder.config, OmegaConf.to_yaml(OmegaConf.create(settings)))
    title = record.title(about)
    reporter = Reporter(title, trainer.max_epochs)
    try:
        tracker: History = build("tracker", settings["tracker"], folder=folder.path)
        device = model.reference.device
        train, validation = (_tensors(r, model, device) for r in (splits.train, splits.validation))
        try:
            outcome = fit(
                model,
                train,
                validation,
                trainer,
                image=splits.image,
                seed=settings["seed"],
                checkpoint=checkpoint,
                interrupts=interrupts,
                progress=reporter,
                on_validation=tracker.validated,
            )
        except ValueError as error:
            if model.closed_form:
                raise DataError(f"{title}: {error}") from error
            raise
        finally:
            reporter.close()
            tracker.close()
        result: dict[str, Any] = {"status": "diverged"}
        seconds = outcome.state.seconds
        if outcome.has_model:
            started = time.monotonic()
            result, per_row = _evaluate(model, splits)
            atomic.write_array(folder.path / "test_nats.npy", per_row.astype(np.float32))
            checkpoints.save(folder.best, {**owner, "model": model.state_dict()})
            seconds += time.monotonic() - started
        finished = {**about, **result, **description.of_ending(outcome), "seconds": seconds}
    except (DataError, UsageError):
        folder.discard()
        raise
    except Exception as error:
        if shortage.is_shortage(error):
            raise
        interrupts.act()  # a library may have made something else of it
        log.exception("%s failed", title)
        failure = {
            "status": "failed",
            "error": "".join(traceback.format_exception_only(error)).strip(),
        }
        record.write(folder.record, {**about, **failure})
        raise
    record.write(folder.record, finished)
    checkpoint.remove()
    done = record.read(folder.record)
    if done["status"] == "finished" and model.features == 2:
        _draw_density(folder.path / "density.png", title, model, splits)
    log.info("%s", record.describe(done))
    return Result(done, folder)


def _evaluate(model: Density, splits: Splits) -> tuple[dict[str, Any], np.ndarray]:
    """Status, test and validation figures; and the test log density of each row.

    Early stopping looks at log p(x | true y) of a conditional model, as in the authors' program;
    their choice among sizes looks at the class marginal. The validation figures have both.
    """
    image, test = splits.image, splits.test
    model = in_blocks(model)
    bits = None
    if image is not None:
        bits = lambda nats: torch.from_numpy(image.bits_per_pixel(nats.numpy(), test.x))  # noqa: E731
    figures, nats = _figures(model, test, splits, bits)
    seen, _ = _figures(model, splits.validation, splits)
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
    finite = all(map(math.isfinite, (*figures.values(), *validation.values())))
    if finite and (found := outlier(nats)):
        log.warning("%s", found)
    status = "finished" if finite else "diverged"
    return {"status": status, "test": figures, "validation": validation}, nats


def _figures(
    model: Density, rows: Rows, splits: Splits, bits: Callable[[Tensor], Tensor] | None = None
) -> tuple[dict[str, float], np.ndarray]:
    """What `evaluate` says of ``rows``, and of those whose log density is not finite, if any."""
    x = torch.from_numpy(rows.x).to(model.reference.device)
    labels = None if rows.labels is None else torch.from_numpy(rows.labels)
    figures, nats = evaluate(model, x, labels, bits_per_pixel=bits, prior=splits.prior)
    if found := not_finite(nats.numpy()):
        figures |= found.figures()
    return figures, nats.numpy()


def _draw_density(path: Path, title: str, model: Density, splits: Splits) -> None:
    from maf_runner.reporting.plots import pictures

    log_prob = log_prob_function(model, splits.prior)
    try:
        learned = pictures.Learned("training data", splits.train.x, {title: log_prob})
        pictures.densities(path, [learned])
    except Exception as error:  # no extra installed, no disk left: the run is as good without
        log.warning("no picture of the density: %s", error)


def _standing(folder: RunFolder, about: dict[str, Any]) -> dict[str, Any] | None:
    """The record in the folder if it is of this very run, on these very data."""
    try:
        found = record.read(folder.record)
    except record.UnreadableRecordError:
        return None
    same_run = found["run_id"] == about["run_id"]
    same_data = found["data"].get("fingerprint") == about["data"]["fingerprint"]
    return found if same_run and same_data else None


def _known(
    folder: RunFolder, settings: dict[str, Any], about: dict[str, Any]
) -> dict[str, Any] | None:
    """The record that makes training needless; anything else in its place is put aside."""
    if not folder.record.exists():
        return None
    found = _standing(folder, about)
    if found is None:
        aside = folder.path / f"record-put-aside-{time.time_ns()}.json"
        folder.record.replace(aside)
        log.warning(
            "the record here is damaged, or of another run or other data; "
            "kept as %s, training anew",
            aside.name,
        )
        return None
    if settings["force"]:
        folder.clear()
        return None
    if settings["retry"] and found["status"] != "finished":
        folder.record.unlink()
        return None
    if found["status"] != "failed":
        Checkpoint(folder.last, {}).remove()  # a kill may have come between record and removal
    log.info("already there: %s", record.describe(found))
    return found


def _tensors(rows: Rows, model: Density, device: torch.device) -> TensorRows:
    x = torch.from_numpy(rows.x).to(device)
    if not model.context or rows.labels is None:
        return TensorRows(x, None)
    return TensorRows(x, one_hot(torch.from_numpy(rows.labels), model.context).to(device))
