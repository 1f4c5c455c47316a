"""The random numbers of a model in an update, as for dropout, follow from seed and update."""

import numpy as np
import torch


class UpdateSeeds:
    """Seeds what torch draws in an update, so that a resumed run draws the same.

    Args:
        seed: of the run.
        device: where the model is.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        on_gpu = device.type == "cuda"
        # Not torch.manual_seed, which looks for every kind of device and takes longer.
        self._set = torch.cuda.manual_seed if on_gpu else torch.default_generator.manual_seed

    def seed(self, update: int) -> None:
        """Prepare for the update 0, 1, 2, ..."""
        state = np.random.SeedSequence([self._seed, update]).generate_state(1, np.uint64)
        self._set(int(state[0]) >> 1)
