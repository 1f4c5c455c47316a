"""New dequantisation noise for the pictures of every batch."""

import numpy as np
import torch
from torch import Tensor

from maf_runner.datasets.spaces.images import LogitSpace, in_chunks


class FreshNoise:
    """Gives training pictures noise that is drawn anew whenever they are seen.

    The expected log density over the noise is a lower bound of the log probability of the pixels
    (Theis et al. 2016, section 3.1). With noise that is drawn once, a model can memorise that one
    draw; with new noise in every batch, training maximises the expectation.

    The noise is a function of (seed, update), so a resumed run gets the same noise.

    Args:
        x: logits [N, D]; the noise in them is removed.
        image: how they were made from pixels.
        seed: of the run.
    """

    def __init__(self, x: Tensor, image: LogitSpace, seed: int) -> None:
        self.image = image
        self.seed = seed
        self.dtype = x.dtype
        smallest = np.min_scalar_type(image.levels - 1)
        levels = in_chunks(x, lambda part: image.to_levels(part.cpu().numpy()), smallest)
        self.levels = torch.from_numpy(levels).to(x.device)

    def batch(self, rows: Tensor, update: int) -> Tensor:
        """Logits [B, D] of the pictures ``rows`` [B] in the batch of an update."""
        level = self.levels.index_select(0, rows)
        noise = np.random.default_rng([self.seed, update]).random(level.shape)
        unit = (level + torch.from_numpy(noise).to(level.device)) / self.image.levels
        return torch.logit(self.image.squeezed(unit)).to(self.dtype)
