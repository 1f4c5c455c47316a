"""What a run needs before it can train: settings, data, model, and the folder it will write to."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf

from maf_runner.datasets.base import Paths, Rows, Splits
from maf_runner.datasets.preparation import store
from maf_runner.engine import devices
from maf_runner.engine.width import PlannedSize
from maf_runner.experiment import description
from maf_runner.experiment.conditioning import Conditioning
from maf_runner.experiment.evaluation import announce_classes
from maf_runner.experiment.settings import build, check, from_config
from maf_runner.flows.base import Density, Flow
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.flows.foreign import Foreign
from maf_runner.flows.gaussian import Gaussian
from maf_runner.records.checks import DEEPEST
from maf_runner.records.folder import RunFolder, run_folder
from maf_runner.records.record import Record
from maf_runner.system import reading, shortage
from maf_runner.system.errors import DataError, UsageError
from maf_runner.training import TrainerSettings
from maf_runner.training.course import TensorRows

log = logging.getLogger("maf_runner")
THREADS = torch.get_num_threads()  # as torch chose it for this machine


@dataclass(frozen=True)
class Experiment:
    """One run, ready to be trained.

    Attributes:
        settings: plain and checked, with absolute paths.
        trainer: the settings of the trainer.
        splits: the data.
        model: untrained, on the device of the run.
        record: what the record of the run will say, as far as it is known.
        folder: where the run is kept.
    """

    settings: dict[str, Any]
    trainer: TrainerSettings
    splits: Splits
    model: Density
    record: Record
    folder: RunFolder

    @property
    def conditioning(self) -> Conditioning:
        """What the model is given."""
        return Conditioning.of(self.splits, conditional=self.settings["model"]["conditional"])

    @property
    def owner(self) -> dict[str, str]:
        """What the run's checkpoints say of themselves."""
        return {"run_id": self.record.run_id, "fingerprint": self.splits.fingerprint}

    @property
    def title(self) -> str:
        """Model, dataset and seed, for lines that a person reads."""
        title, seed = self.record.title, self.settings["seed"]
        return f"{title}, seed {seed}" if seed else title

    def tensors(self, rows: Rows) -> TensorRows:
        """Rows, their context and their weights where the model is."""
        x = torch.from_numpy(rows.x).to(self.model.reference.device)
        weights = None
        if rows.weights is not None:
            weights = torch.from_numpy(rows.weights / rows.weights.mean()).to(x)
        return TensorRows(x, self.conditioning.context_of(rows, self.model), weights)

    def on_cpu(self) -> Self:
        """The same run with a new model on the CPU."""
        model = build_model(self.settings, self.splits, self.trainer)
        record = description.before_training(self.settings, self.splits, model)
        return replace(self, model=model, record=record)


def prepare(config: DictConfig, splits: Splits | None = None) -> Experiment:
    """Everything that the configuration names; sets the threads of the process.

    ``splits`` are the data, if they are loaded already.

    Raises:
        UsageError: impossible settings.
        DataError: data missing, damaged or unfit.
    """
    settings = from_config(config)
    check(settings)  # before data are loaded
    trainer: TrainerSettings = build("trainer", settings["trainer"])
    device = devices.choose(settings["device"])
    size = PlannedSize.of(settings["model"].get("hidden"))
    _set_threads(settings["threads"] or (1 if size.wants_one_thread else THREADS))
    splits = splits or load_splits(settings)
    model = build_model(settings, splits, trainer)
    model = _placed(model, device, settings["device"])
    conditioning = Conditioning.of(splits, conditional=settings["model"]["conditional"])
    announce_classes(splits, conditioning, model)
    record = description.before_training(settings, splits, model)
    folder = run_folder(settings, record.run_id)
    return Experiment(settings, trainer, splits, model, record, folder)


def _set_threads(threads: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads
    if threads > cores:
        said = "threads=%d on %d cores: they wait for each other; fewer are faster"
        log.warning(said, threads, cores)
    torch.set_num_threads(threads)


def _placed(model: Density, device: torch.device, asked: str) -> Density:
    """The model on its device; on the CPU if ``asked`` leaves that open and the GPU is full.

    Raises:
        UsageError: the GPU that was asked for has not enough memory.
    """
    try:
        return model.to(device)
    except Exception as error:
        if not shortage.is_gpu_memory(error):
            raise
        short = shortage.describe_gpu(device, asked)
        if not asked.startswith("auto"):
            raise UsageError(short) from error
    log.warning("%s: the run goes on on the CPU", short)
    return model.to(devices.CPU)


def load_splits(settings: dict[str, Any]) -> Splits:
    """Load the dataset of resolved ``settings``.

    Raises:
        UsageError: the model needs labels, and there are none.
        DataError: data missing, damaged or unfit.
    """
    where, name = settings["paths"], settings["dataset"]["name"]
    paths = Paths(Path(where["raw_dir"]), Path(where["prepared_dir"]), where["mirror"])
    splits: Splits = build("dataset", settings["dataset"], paths=paths)
    for rows in (splits.train, splits.validation, splits.test):
        if not np.isfinite(rows.x).all():
            raise DataError(f"{name}: the prepared rows hold values that are not finite")
    if settings["model"]["conditional"] and not splits.classes and splits.context is None:
        own = ": name their column by dataset.label, or columns by dataset.context"
        raise UsageError(
            f"model.conditional=true needs labels, and dataset={name} has none"
            f"{own if splits.origin == 'own' else ''}"
        )
    return splits


def data_of(folder: RunFolder, raw: Path | None = None, prepared: Path | None = None) -> Splits:
    """The data that the settings in a run folder name.

    Raises:
        DataError: they, or the settings, are missing or damaged.
    """
    try:
        text = reading.read_text(folder.config, reading.MB)
        deep = 0
        for token in yaml.scan(text):  # one after another: what is nested deep takes forever
            deep += token.id in ("[", "{", "<block mapping start>", "<block sequence start>")
            deep -= token.id in ("]", "}", "<block end>")
            if isinstance(token, yaml.AliasToken) or deep > DEEPEST:
                raise ValueError("it has aliases, or is nested deep, as no settings are")
        settings: Any = OmegaConf.to_container(OmegaConf.create(text))
        given = {"raw_dir": raw, "prepared_dir": prepared}
        settings["dataset"] |= {"download": False} if "download" in settings["dataset"] else {}
        settings["paths"] |= {k: str(v.absolute()) for k, v in given.items() if v is not None}
        with store.without_writing():  # the folder may be a stranger's, and so its arrays
            return load_splits(settings)
    except (UsageError, DataError):
        raise
    except Exception as error:  # missing, no YAML, or not the settings of a run
        raise DataError(
            f"{folder.config} does not say where the data of this run are ({error!s:.500})"
        ) from error


def build_model(settings: dict[str, Any], splits: Splits, trainer: TrainerSettings) -> Density:
    """The untrained model of ``settings``, on the CPU, with the initial weights of its seed.

    Raises:
        UsageError: impossible settings, or a model too large for the memory.
    """
    conditioning = Conditioning.of(splits, conditional=settings["model"]["conditional"])
    context = conditioning.width
    _require_memory(settings["model"], splits.features, context)
    torch.manual_seed(settings["seed"])
    model = as_density(
        build("model", settings["model"], features=splits.features, context=context),
        splits.features,
        context,
        settings["model"],
    )
    if conditioning.columns is not None and isinstance(model, Gaussian):
        raise UsageError(
            "model=gaussian is one Gaussian for each class, and cannot be given columns "
            "(dataset.context): use another model, as model=made, or leave the context out with "
            "model.conditional=false"
        )
    if trainer.learning_rate is None and not model.closed_form:
        raise UsageError("trainer.learning_rate must be a number above 0 for this model, got null")
    return model


def as_density(built: Any, features: int, context: int, settings: dict[str, Any]) -> Density:
    """What was built for a model, in the form that training knows.

    Raises:
        UsageError: it is no model.
    """
    target = settings.get("_target_")
    in_chain = set(built.chain) if isinstance(built, Flow) else set()
    modules = built.modules() if isinstance(built, torch.nn.Module) else ()
    if any(isinstance(module, BatchNorm) and module not in in_chain for module in modules):
        raise UsageError(
            f"{target}: a BatchNorm of ours gets its statistics where it is one of the transforms "
            "of a Flow that is the whole model; inside of another module leave it out "
            "(batch_norm=False)"
        )
    if isinstance(built, Density) and type(built).log_prob is Density.log_prob:
        if not hasattr(built, "title"):
            built.title = str(settings["name"])
        return built  # a ``log_prob`` of its own is called as that of any other module
    if not isinstance(built, torch.nn.Module):
        raise UsageError(f"{target} must make a torch.nn.Module, got {type(built).__name__}")
    if not any(True for _ in built.parameters()):
        raise UsageError(f"{target} has no parameters to train")
    try:
        return Foreign(built, features, context, str(settings["name"]))
    except ValueError as error:
        raise UsageError(str(error)) from error


def without_numbers(settings: dict[str, Any], features: int, context: int) -> Density | None:
    """The model with the shapes of its parameters but without their numbers: it takes no memory.

    None of a library that reads numbers while it builds.
    """
    # Random degrees would be read.
    alike = {"degrees": "sequential"} if "degrees" in settings else {}
    try:
        with torch.device("meta"):
            model: Density = build(
                "model", {**settings, **alike}, features=features, context=context
            )
    except (NotImplementedError, RuntimeError):
        return None
    return model


def _require_memory(settings: dict[str, Any], features: int, context: int) -> None:
    """Refuse a model too large for the memory, counted without taking any."""
    if not PlannedSize.of(settings.get("hidden"), features).may_exceed_memory:
        return  # torch takes a second to load what counting needs
    model = without_numbers(settings, features, context)
    if model is None:
        return  # zuko's models count on their own what they need
    learned = sum(p.nbytes for p in model.parameters())
    buffers = sum(b.nbytes for b in model.buffers())
    # Each parameter has a gradient, two moments and a copy of the best.
    needed = 5 * learned + buffers if not model.closed_form else learned + buffers
    way_out = "take fewer columns" if model.closed_form else "take a smaller model.hidden"
    shortage.require(needed, f"{model.title} of this size", way_out)
