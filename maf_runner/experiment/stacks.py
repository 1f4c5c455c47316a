"""Which jobs of a sweep can be trained as one stack; without torch, as long as none has to be."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from maf_runner.experiment.settings import from_config
from maf_runner.records.folder import run_folder
from maf_runner.records.identity import run_id
from maf_runner.system.errors import DataError, UsageError

# In these the runs of a stack may differ; of the trainer's settings, and of the others.
OF_TRAINER = {
    "name", "learning_rate", "l2", "prior_precision", "patience", "max_epochs", "max_updates",
    "validate_every", "schedule", "warmup", "width", "averaging",
}  # fmt: skip
OF_RUN = {"seed", "force", "retry", "wait"}


def train_stacks(configs: Sequence[DictConfig], most: int) -> None:
    """Train the experiments that can be stacked, ``most`` at a time, and write their records.

    Experiments that have a record are left alone, unless they are to be trained anew. What cannot
    be stacked, or fails, is left to its job, which says why, or goes on from the checkpoint. The
    outcomes of the others stand in `known.just_trained`.

    Raises:
        Interrupted: a signal came; the same command goes on from here.
    """
    stacks: dict[str, list[DictConfig]] = {}
    alone: set[str] = set()
    for config in configs:
        try:
            settings = from_config(config)
            folder = run_folder(settings, run_id(settings))
        except (UsageError, DataError):
            continue
        anew = settings["force"] or settings["retry"] or not folder.record.exists()
        if anew and (reason := _why_alone(settings)):
            alone.add(reason)
        elif anew:
            stacks.setdefault(_alike(settings), []).append(config)
    for reason in sorted(alone):
        print(f"maf-run: jobs with {reason} train alone", file=sys.stderr)
    for stack in stacks.values():
        for start in range(0, len(stack), most):
            part = stack[start : start + most]
            if len(part) > 1:
                print(f"loading {part[0].dataset.name} ...", file=sys.stderr, flush=True)
                from maf_runner.experiment.stacked import train  # torch comes in here, not before

                train(part)


def _why_alone(settings: dict[str, Any]) -> str | None:
    """The setting that does not allow a stack: of another engine or of the tracker, if any."""
    if settings["engine"] not in ("auto", "eager"):
        return f"engine={settings['engine']}"
    if settings["tracker"]["name"] == "wandb":  # it knows one run at a time in a process
        return "tracker=wandb"
    if "teachers" in settings["trainer"]:
        return "trainer.teachers"
    return None


def _alike(settings: dict[str, Any]) -> str:
    """A text that experiments have in common if they can be stacked."""
    shared = {key: value for key, value in settings.items() if key not in OF_RUN}
    trainer = {k: v for k, v in settings["trainer"].items() if k not in OF_TRAINER}
    return json.dumps({**shared, "trainer": trainer}, sort_keys=True, default=str)
