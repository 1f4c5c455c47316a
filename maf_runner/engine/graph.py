"""The graph engine (GPU): the eager update, recorded once as a CUDA graph and replayed.

The replay starts all kernels of an update at once. Called one by one, they would keep the GPU
waiting for Python.
"""

import copy

import torch
from torch import Tensor

from maf_runner.engine.eager import Eager, Update
from maf_runner.flows.made import has_dropout


class Graph(Eager):
    """Replays the recorded update; each batch is copied to the place that the graph reads."""

    name = "graph"

    def prepare(self, x: Tensor, context: Tensor | None) -> Update:
        """Record the update."""
        place = x.clone(), None if context is None else context.clone()
        drawn = torch.cuda.get_rng_state(x.device) if has_dropout(self.model) else None
        parameters, state = self.parameters.clone(), copy.deepcopy(self.adam.state())
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries set themselves up here, outside the graph
                for _ in range(3):
                    self.update(*place)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loss = self.update(*place)
        finally:  # undo these updates: they are not part of the run
            self.parameters.copy_(parameters)
            self.adam.load(state)
            if drawn is not None:
                torch.cuda.set_rng_state(drawn, x.device)

        def replay(x: Tensor, context: Tensor | None) -> Tensor:
            for target, source in zip(place, (x, context), strict=True):
                if target is not None and source is not None:
                    target.copy_(source)
            graph.replay()
            return loss.clone()

        return replay
