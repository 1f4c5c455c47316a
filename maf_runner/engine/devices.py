"""The device of a run: the CPU, or one of the GPUs."""

import torch

from maf_runner.system.errors import UsageError

CPU = torch.device("cpu")


def choose(name: str) -> torch.device:
    """The device that the setting ``device`` names.

    Raises:
        UsageError: this machine has no such GPU.
    """
    kind, _, number = name.partition(":")
    gpus = torch.cuda.device_count()
    if kind == "cpu" or (kind == "auto" and not gpus):
        return CPU
    if kind == "auto":
        return torch.device("cuda", int(number) % gpus) if number else torch.device("cuda")
    if int(number or 0) >= gpus:
        raise UsageError(
            f"device={name}: torch sees {gpus} CUDA GPUs here; device=auto uses one if it can"
        )
    return torch.device(name)
