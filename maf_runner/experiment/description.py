"""What the record says of a run beside its figures: settings, data, machine, how it ended."""

import dataclasses
import platform
from typing import Any

import numpy as np
import torch

import maf_runner
from maf_runner.datasets.base import Splits
from maf_runner.experiment.settings import departures
from maf_runner.flows.base import Density
from maf_runner.records.identity import digest, scientific
from maf_runner.records.record import Data, Record
from maf_runner.system.conf_path import CONF
from maf_runner.training import Outcome


def before_training(settings: dict[str, Any], splits: Splits, model: Density) -> Record:
    """What is known of a run before it is trained."""
    science = scientific(settings)
    conditional = settings["model"]["conditional"]
    return Record(
        run_id=digest(science),
        dataset=settings["dataset"]["name"],
        model=model.title,
        conditional=conditional,
        quantity=_quantity(splits) if conditional else None,
        features=model.features,
        context=model.context,
        parameters=model.parameter_count(),
        seed=settings["seed"],
        settings=science,
        departures=departures(settings, CONF),
        train_rows=len(splits.train),
        validation_rows=len(splits.validation),
        test_rows=len(splits.test),
        data=Data(
            fingerprint=splits.fingerprint,
            recipe=splits.origin,
            sources=splits.sources,
            image=None if splits.image is None else dataclasses.asdict(splits.image),
            class_prior=None if splits.prior is None else list(splits.prior),
            table=None if splits.table is None else splits.table.to_json(),
            context=None if splits.context is None else splits.context.to_json(),
            entropy=splits.entropy,
        ),
        environment=_environment(model.reference.device) | getattr(model, "libraries", {}),
    )


def _quantity(splits: Splits) -> str | None:
    """The density of a table's columns given others, in the notation of the field."""
    if splits.context is None or splits.table is None:
        return None
    columns, given = splits.table.columns, splits.context.names
    return f"log p({', '.join(columns)} | {', '.join(given)})"


def after_training(record: Record, outcome: Outcome) -> Record:
    """The same record with how training ended, and where; it has no figures yet."""
    state = outcome.state
    return dataclasses.replace(
        record,
        status="diverged",
        divergence=outcome.divergence or {},
        best_epoch=state.best_epoch,
        epochs=state.epoch,
        updates=state.update,
        stop_reason=outcome.reason,
        resumed=state.resumed,
        seconds=state.seconds,
        environment=record.environment | ({"engine": outcome.engine} if outcome.engine else {}),
    )


def _environment(device: torch.device) -> dict[str, Any]:
    """Versions, device and threads."""
    return {
        "maf_runner": maf_runner.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
