"""The graph engine (GPU): the eager update, recorded once as a CUDA graph and replayed.

The replay starts all kernels of an update at once. Called one by one, they would keep the GPU
waiting for Python.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from maf_runner.engine.adam import PaperAdam
from maf_runner.engine.eager import Eager, Update


class Graph(Eager):
    """Replays the recorded update; each batch is copied to the place that the graph reads."""

    name = "graph"

    def prepare(self, x: Tensor, context: Tensor | None) -> Update:
        """Record the update."""
        drawn = torch.cuda.get_rng_state(x.device) if self.model.draws_in_training else None
        try:
            return recorded(self.update, (x, context), self.adam)
        finally:  # undo what the updates have drawn
            if drawn is not None:
                torch.cuda.set_rng_state(drawn, x.device)


def recorded(
    update: Callable[..., Tensor], batch: tuple[Tensor | None, ...], adam: PaperAdam
) -> Callable[..., Tensor]:
    """The update of a batch as a CUDA graph: a function that takes batches of the same shapes.

    Args:
        update: takes a batch, updates the parameters of ``adam``, and returns the loss.
        batch: the first batch.
        adam: its parameters and state are as before when this returns.
    """
    place = tuple(None if part is None else part.clone() for part in batch)
    parameters, state = adam.parameters.clone(), copy.deepcopy(adam.state())
    try:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries set themselves up here, outside the graph
            for _ in range(3):
                update(*place)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = update(*place)
    finally:  # undo these updates: they are not part of the run
        adam.parameters.copy_(parameters)
        adam.load(state)

    def replay(*batch: Tensor | None) -> Tensor:
        for target, source in zip(place, batch, strict=True):
            if target is not None and source is not None:
                target.copy_(source)
        graph.replay()
        return loss.clone()

    return replay
