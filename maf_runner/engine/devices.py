"""Where a run computes: the CPU, or a GPU that is there and has the memory."""

import torch

from maf_runner.system.errors import UsageError

CPU = torch.device("cpu")


def choose(name: str) -> torch.device:
    """The device that the setting ``device`` names.

    Raises:
        UsageError: no such GPU is here.
    """
    kind, _, number = name.partition(":")
    gpus = torch.cuda.device_count()
    if kind == "cpu" or (kind == "auto" and not gpus):
        return CPU
    if kind == "auto":
        return torch.device("cuda", int(number) % gpus) if number else torch.device("cuda")
    if int(number or 0) >= gpus:
        raise UsageError(
            f"device={name}: torch sees {gpus} CUDA GPUs here; device=auto takes what there is"
        )
    return torch.device(name)


def too_small(device: torch.device, asked: str) -> str:
    """What to say where a GPU has not the memory for a run."""
    memory = torch.cuda.mem_get_info(device) if device.type == "cuda" else (0, 0)
    free, of = (size / 2**30 for size in memory)
    return (
        f"the GPU has not enough memory for this run ({free:.1f} of {of:.1f} GiB are free; "
        f"device={asked}); device=cpu, a smaller model or dataset, or a freer GPU would do"
    )
