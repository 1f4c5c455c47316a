"""Bins of a variable, found in its training rows: densities that are constant in steps."""

import heapq
import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CANDIDATES = 8192  # edges of equal distance, and as many of equal share, from which bins are cut
FAIR = 8  # a bin holds at least this part of the rows that it would if all held the same,
FEWEST = 20  # and so many of them: the densities of small tables have fewer, wider bins
RESOLUTION = 0.01  # what a nat of resolution counts beside one of fit
TAIL = 1e-4  # share of the rows beyond the bins on either side
MIDDLE = 1e-3, 1 - 1e-3  # the range of a variable lies between these quantiles


class Bins(nn.Module):
    """For each of D variables, up to K bins and a tail on either side.

    In a bin the density is constant. In a tail it falls as 1 / (1 + t)^2, where t is the distance
    from the bins over the median distance of the training rows there (Lomax), so that a row far
    out costs little more than its distance says.

    Places are counted 0 (the lower tail), 1 .. K (bins), K + 1 (the upper tail).

    Args:
        features: D.
        bins: K.
        min_width: least width of a bin, as a share of the range of the variable. It keeps bins
            from resolving the steps of rounded values, whose density is not what is wanted.
    """

    edges: Tensor
    scales: Tensor
    present: Tensor

    def __init__(self, features: int, bins: int, min_width: float) -> None:
        super().__init__()
        self.features, self.bins, self.min_width = features, bins, min_width
        start = torch.linspace(-3, 3, bins + 1)
        self.register_buffer("edges", start.repeat(features, 1))  # [D, K + 1]
        self.register_buffer("scales", torch.ones(features, 2))  # of the tails [D, 2]
        # A variable with fewer bins has its last edge several times.
        self.register_buffer("present", torch.ones(features, bins + 2, dtype=torch.bool))

    @property
    def places(self) -> int:
        """P = K + 2."""
        return self.bins + 2

    def find(self, x: Tensor) -> Tensor:
        """Take the bins from training rows ``x`` [N, D]; returns their shares [D, P].

        Every row counts the same, weights or not.
        """
        for feature, values in enumerate(x.double().cpu().numpy().T):
            edges, scales = _cut(np.sort(values), self.bins, self.min_width)
            missing = self.bins + 1 - len(edges)
            padded = np.concatenate([edges, np.full(missing, edges[-1])])
            self.edges[feature] = torch.from_numpy(padded)
            self.scales[feature] = torch.from_numpy(scales)
            self.present[feature, 1:-1] = torch.arange(self.bins) < self.bins - missing
        rows = len(x)
        places = self.place(x).unbind(1)
        return torch.stack([p.bincount(minlength=self.places) / rows for p in places])

    def place(self, x: Tensor) -> Tensor:
        """The places [B, D] of values ``x`` [B, D]; an edge belongs to what is above it."""
        x = x.detach()
        if torch.compiler.is_compiling():  # for an exported program; ONNX has no search
            return (x[..., None] >= self.edges).sum(dim=2)
        return torch.searchsorted(self.edges, x.mT.contiguous(), right=True).mT

    def encode(self, x: Tensor) -> Tensor:
        """For each value of ``x`` [B, D], which part of each bin lies below it: [B, D K]."""
        return torch.cat([self.encoded(d, column) for d, column in enumerate(x.unbind(1))], dim=1)

    def encoded(self, feature: int, x: Tensor) -> Tensor:
        """The code [B, K] of values ``x`` [B] of a feature; see `encode`."""
        edges = self.edges[feature]
        width = edges.diff()
        # A bin without a width has no code, instead of 0 / 0.
        slope = torch.where(width > 0, 1 / width, 0)
        return ((x[:, None] - edges[:-1]) * slope).clamp(0, 1)

    def log_density(self, x: Tensor, places: Tensor) -> Tensor:
        """Log density [B, D] of values within their places."""
        lower, width, tail = self._intervals(places)
        distance = torch.where(tail == 0, lower - x, x - lower)
        # Halves, since neither distance / width nor their sum need be small enough for a number.
        reach = (width / 2 + distance / 2).log() + math.log(2)
        return torch.where(tail >= 0, width.log() - 2 * reach, -width.log())

    def shares(self, x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Which parts of its place lie below and above each value, [B, D] from 0 to 1.

        What lies beyond a value in a tail is precise however little it is.
        """
        lower, width, tail = self._intervals(places)
        distance = torch.where(tail == 0, lower - x, x - lower) / width
        beyond = 1 / (1 + distance)
        below = torch.where(tail == 0, beyond, torch.where(tail == 1, 1 - beyond, distance))
        above = torch.where(tail == 1, beyond, 1 - below)
        return below.clamp(0, 1), above.clamp(0, 1)

    def value(self, feature: int, places: Tensor, share: Tensor) -> Tensor:
        """The values [B] of a feature below which lies ``share`` [B] of their places [B]."""
        lower, width, tail = self._intervals(places[:, None], feature)
        lower, width, tail = lower[:, 0], width[:, 0], tail[:, 0]
        inside = torch.where(tail == 0, 1 - 1 / share, share / (1 - share))
        x = lower + width * torch.where(tail >= 0, inside, share)
        highest = torch.finfo(x.dtype).max
        return x.clamp(-highest, highest)

    def _intervals(
        self, places: Tensor, feature: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Where places begin, how wide they are, and which are tails (0, 1; else -1), [B, D].

        A tail begins at the bins, and its width is its scale.
        """
        part = slice(None) if feature is None else slice(feature, feature + 1)
        edges, scales = self.edges[part], self.scales[part]
        # Edges with one more on either side, so that place p lies from edge p to edge p + 1.
        low = torch.cat([edges[:, :1], edges], dim=1)
        widths = torch.cat([scales[:, :1], edges.diff(dim=1), scales[:, 1:]], dim=1)
        index = places.mT
        tail = torch.where(places == 0, 0, torch.where(places == self.bins + 1, 1, -1))
        return low.gather(1, index).mT, widths.gather(1, index).mT, tail


def _cut(
    values: NDArray[np.float64], bins: int, min_width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of up to ``bins`` bins of sorted values, increasing, and the scales of both tails.

    The bin is cut next whose two parts gain most: in likelihood, so that edges come to stand where
    the density jumps, and a little for the resolution of the rows, since a conditional density
    may have structure where the marginal one has none.
    """
    n = len(values)
    tail = min(max(1, round(TAIL * n)), (n - 1) // 2)
    low, high = values[tail], values[n - 1 - tail]
    if not low < high:
        low, high = values[0], values[-1]
    if not low < high:
        half = max(0.5, 1e-6 * abs(low))  # a constant; float32 tells these apart
        low, high = low - half, high + half
    start, end = (values[round(share * (n - 1))] for share in MIDDLE)
    narrowest = min_width * (end - start)
    if n - np.searchsorted(values, high) > 2 * tail:
        # Many rows have this very value. They get a bin; a tail would spread them far out.
        high += narrowest + (high - low) / CANDIDATES
    even = np.linspace(low, high, CANDIDATES + 1)
    shared = values[np.linspace(0, n - 1, CANDIDATES + 1).round().astype(int)]
    # As float32, in which models work, and which may make two edges one.
    inside = shared[(low < shared) & (shared < high)]
    grid = np.unique(np.concatenate([even, inside]).astype(np.float32)).astype(float)
    count = np.searchsorted(values, grid)  # rows below each candidate
    least = max(FEWEST, n / bins / FAIR), narrowest
    queue = [best for best in [_best(grid, count, 0, len(grid) - 1, *least)] if best]
    cuts = {0, len(grid) - 1}
    while queue and len(cuts) < bins + 1:
        _, start, middle, end = heapq.heappop(queue)
        cuts.add(middle)
        for part in pairwise((start, middle, end)):
            if (best := _best(grid, count, *part, *least)) is not None:
                heapq.heappush(queue, best)
    below, above = low - values[values < low], values[values > high] - high
    fallback = (high - low) / bins
    scales = [float(np.median(side)) if len(side) else 0.0 for side in (below, above)]
    return grid[sorted(cuts)], np.array([s if s > 0 else fallback for s in scales])


def _best(
    grid: NDArray[np.float64],
    count: NDArray[np.int64],
    start: int,
    end: int,
    fewest: float,
    narrowest: float,
) -> tuple[float, int, int, int] | None:
    """The best cut of the bin from candidate ``start`` to ``end``: (- gain, start, cut, end)."""
    cut = np.arange(start + 1, end)
    left, right = count[cut] - count[start], count[end] - count[cut]
    to_left, to_right = grid[cut] - grid[start], grid[end] - grid[cut]
    allowed = (np.minimum(left, right) >= fewest) & (np.minimum(to_left, to_right) >= narrowest)
    if not allowed.any():
        return None
    cut, left, right, to_left, to_right = (
        each[allowed] for each in (cut, left, right, to_left, to_right)
    )
    both, width = left + right, grid[end] - grid[start]
    shares = left * np.log(left / both) + right * np.log(right / both)
    widths = left * np.log(to_left / width) + right * np.log(to_right / width)
    gain = shares - widths - RESOLUTION * shares
    place = int(gain.argmax())
    return -float(gain[place]), start, int(cut[place]), end
