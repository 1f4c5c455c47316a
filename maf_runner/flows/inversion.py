"""From noise to data through a masked network, computing every hidden unit once.

To produce dimension d one needs its conditional, which depends on the dimensions before it. The
textbook way runs the whole network D times. But when dimension d is known, only the hidden units
of degree d are new, so all D dimensions together cost about one pass.

Rows lie along the last axis, so that one dimension, or the hidden units of one degree (they are
sorted by degree), are contiguous in memory. Degrees are taken in blocks: one product brings in
all that was finished before the block, and inside it each dimension brings in only what is new.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from maf_runner.flows.made import MaskedNetwork, ResidualMaskedNetwork, tanh_bound

UNITS = 128  # about how many hidden units a block has; measured from D = 6 to 784
# From this many hidden units for each degree on, products inside a block leave out the units that
# have not been computed yet.
TRIM = 8

# From the parameters [outputs, d, B] of the conditionals of a block (each complete only when its
# turn comes), the place [d columns, B] for its values or their codes, and which features these
# are: a function that writes those of the i-th of them.
Emitter = Callable[[Tensor, Tensor, slice], Callable[[int], object]]

# Called with the complete sums of some hidden units [h, B]; their activations follow.
Finisher = Callable[[Tensor], object]


@torch.no_grad()
def generate(
    network: MaskedNetwork, rows: int, emitter: Emitter, context: Tensor | None = None
) -> Tensor:
    """Produce ``rows`` rows, dimension by dimension.

    Args:
        network: gives the parameters of each conditional.
        rows: B.
        emitter: turns parameters into values; see `Emitter`.
        context: [B, C] or None.

    Returns:
        What was written, [B, D columns], one dimension after another in memory.
    """
    work = _Generation(network, rows, context)
    step = max(1, UNITS * network.features // work.widest)
    for start in range(0, network.features, step):
        work.block(start, min(start + step, network.features), emitter)
    return work.states[0].mT


class _Generation:
    """What is computed: ``states[0]`` values [D columns, B], ``states[l]`` hidden layer l [H, B].

    ``sums[l]`` holds the same layer before its activation. In a plain network it is the same
    memory, since every activation works in place. A residual network needs the sums again: its
    layers 1, 3, 5, ... are the sums that lead from block to block.
    """

    def __init__(self, network: MaskedNetwork, rows: int, context: Tensor | None) -> None:
        self.network = network
        self.rows = rows
        self.counts = network.counts
        *hidden, output = network.linears
        self.layers = range(len(hidden))  # weight l leads from states[l] to states[l + 1]
        self.weights: list[Tensor] = [layer.weight for layer in hidden]
        self.biases: list[Tensor] = [layer.bias[:, None] for layer in hidden]
        if context is not None and network.context_weight is not None:
            self.biases[0] = self.biases[0] + network.context_weight @ context.mT
        self.output_weight = output.weight.view(network.outputs, network.features, -1)
        self.output_bias = output.bias.view(network.outputs, network.features, 1)
        self.states = [output.bias.new_zeros(network.features * network.columns, rows)]
        self.states += [output.bias.new_empty(len(weight), rows) for weight in self.weights]
        self.activate = IN_PLACE[network.activation]
        self.sums = list(self.states)
        self.residual = isinstance(network, ResidualMaskedNetwork)
        if self.residual:  # the last layer has no activation
            for layer in range(1, len(self.layers), 2):
                self.sums[layer] = torch.empty_like(self.states[layer])
                self.states[layer].zero_()  # no number that a zero weight would not cancel
        self.widest = max(len(weight) for weight in self.weights)
        for layer in self.layers:  # units of degree 0 see the context alone
            units = self._span(layer + 1, -1, 0)
            if units.stop:
                (finish,) = self._finishers(layer, units, [units.stop])
                finish(self._bring_in(layer, units, self._span(layer, -1, 0)))

    def block(self, start: int, stop: int, emitter: Emitter) -> None:
        """Produce the dimensions of degree above ``start``, up to ``stop``."""
        layers, top, outputs = self.layers, len(self.layers), self.network.outputs
        known = [self._span(layer, -1, start) for layer in range(top + 1)]
        block = [self._span(layer, start, stop) for layer in range(top + 1)]
        features = self._features(start, stop)
        inside = [state[part] for state, part in zip(self.states, block, strict=True)]

        # What was finished before the block comes in by one product a layer.
        source = self.states[top][known[top]].expand(outputs, -1, -1)
        bias, weight = (t[:, features] for t in (self.output_bias, self.output_weight))
        bias = bias.expand(-1, -1, self.rows)
        parameters = torch.baddbmm(bias, weight[:, :, known[top]], source)
        targets = [self._bring_in(layer, block[layer + 1], known[layer]) for layer in layers]

        # What each dimension brings in: its place in a layer, the weights into it, their source.
        # Where a degree has many units, the source ends at those computed by then. Where it has
        # few, the source is the whole block, since the weights of later units are zero.
        trim = self.widest > TRIM * self.network.features
        ends = [[end - count[start] for end in count[start : stop + 1]] for count in self.counts]
        moves: list[list[tuple[Tensor, Tensor, Tensor, Finisher]]]
        moves = [[] for _ in range(start, stop)]
        for layer in layers:
            sizes = [b - a for a, b in pairwise(ends[layer + 1])]
            parts = self.weights[layer][block[layer + 1], block[layer]].split(sizes)
            finish = self._finishers(layer, block[layer + 1], sizes)
            for i, target in enumerate(targets[layer].split(sizes)):
                if trim and layer:
                    end = ends[layer][i + 1]
                    moves[i].append((target, parts[i][:, :end], inside[layer][:end], finish[i]))
                elif len(target):
                    moves[i].append((target, parts[i], inside[layer], finish[i]))

        emit = emitter(parameters, inside[0], features)
        places = list(range(stop - start))
        columns, into = parameters.unbind(1), weight[:, :, block[top]].unbind(1)
        for i, place in enumerate(reversed(places) if self.network.reverse else places):
            part, source = into[place], inside[top]
            if trim:
                part, source = part[:, : ends[top][i]], source[: ends[top][i]]
            columns[place].addmm_(part, source)
            emit(place)
            for target, part, source, finish_part in moves[i]:
                finish_part(target.addmm_(part, source))

    def _span(self, layer: int, above: int, upto: int) -> slice:
        """Where the values (layer 0) or units lie whose degree is in (above, upto]."""
        count = self.counts[layer]
        start, stop = count[above] if above >= 0 else 0, count[upto]
        if self.network.reverse and layer == 0:
            columns = len(self.states[0])
            return slice(columns - stop, columns - start)
        return slice(start, stop)

    def _features(self, start: int, stop: int) -> slice:
        """Which features have a degree above ``start``, up to ``stop``."""
        if self.network.reverse:
            return slice(self.network.features - stop, self.network.features - start)
        return slice(start, stop)

    def _finishers(self, layer: int, units: slice, sizes: list[int]) -> list[Finisher]:
        """Functions that turn complete sums of the layer above into its states.

        Args:
            layer: below.
            units: of the layer above.
            sizes: into which ``units`` are split; each part has a function.
        """
        if not self.residual or layer % 2:
            return [self.activate] * len(sizes)
        states = self.states[layer + 1][units].split(sizes)
        before = self.sums[layer - 1][units].split(sizes) if layer else [None] * len(sizes)
        last = layer + 1 == len(self.layers)
        return [
            partial(_end_of_block, before=b, relu=None if last else s)
            for b, s in zip(before, states, strict=True)
        ]

    def _bring_in(self, layer: int, units: slice, known: slice) -> Tensor:
        """Set ``units`` of the layer above to what comes from the ``known`` part of ``layer``."""
        target, source = self.sums[layer + 1][units], self.states[layer][known]
        bias = self.biases[layer][units].expand(-1, self.rows)
        return torch.addmm(bias, self.weights[layer][units, known], source, out=target)


def _end_of_block(sums: Tensor, before: Tensor | None, relu: Tensor | None) -> None:
    """Add the block's input ``before`` to ``sums``, and put their activation into ``relu``."""
    if before is not None:
        sums.add_(before)
    if relu is not None:
        torch.clamp_min(sums, 0, out=relu)


def _clipped_tanh(x: Tensor) -> Tensor:
    bound = tanh_bound(x.dtype)
    return x.clamp_(-bound, bound).tanh_()


IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": _clipped_tanh}
