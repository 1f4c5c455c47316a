"""Monotonic splines on an interval, with linear tails: outside of it they are the identity.

Each spline maps [-B, B] to itself, by one simple function in each of K bins. The formulas are
those of Durkan et al. 2019 (rational-quadratic) and Müller et al. 2019 (linear, quadratic), with
the parameters in the same order, so that the same numbers give the same map as in the authors'
code. Everything is computed for all values at once; no loop runs over variables or bins.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from maf_runner.flows.checks import positive, real
from maf_runner.flows.univariate.base import Univariate

MOST_BINS = 1000


class Spline(Univariate):
    """What all splines share: the interval, the bins, and the identity outside.

    Args:
        bins: K.
        interval: B, half the length of the interval.
        min_width: least width of a bin, as a share of the interval.
        min_height: least height of a bin, as a share of the interval.
        min_slope: least slope at a knot.
        temperature: logits of widths and heights are divided by it. The authors take the square
            root of the number of hidden units.

    Raises:
        ValueError: settings with which there is no spline; the message names the setting.
    """

    def __init__(
        self,
        bins: int,
        *,
        interval: float = 3.0,
        min_width: float = 1e-3,
        min_height: float = 1e-3,
        min_slope: float = 1e-3,
        temperature: float = 1.0,
    ) -> None:
        self.bins = positive("bins", bins, MOST_BINS)
        if bins == 1:
            raise ValueError("bins must be at least 2: with 1 a spline is the identity")
        self.interval = real("interval", interval, above=0, at_most=1e6)
        self.min_width = real("min_width", min_width, above=0)
        self.min_height = real("min_height", min_height, above=0)
        for name in ("min_width", "min_height"):
            least = getattr(self, name)
            if least * bins >= 1:
                raise ValueError(
                    f"{name} must be below 1 / bins = {1 / bins:g}, or the {bins} bins do not "
                    f"fit into the interval, got {least!r}"
                )
        # With linear tails the slope at both ends is 1.
        self.min_slope = real("min_slope", min_slope, above=0, below=1)
        self.temperature = temperature

    def forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Noise ``u`` and log du/dx, each of the shape of ``x``."""
        inside = x.clamp(-self.interval, self.interval)
        u, log_slope = self._forward(inside, parameters, dim)
        return self._with_tails(x, inside, u, log_slope)

    def inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Data ``x`` and log dx/du, each of the shape of ``u``."""
        inside = u.clamp(-self.interval, self.interval)
        x, log_slope = self._inverse(inside, parameters, dim)
        return self._with_tails(u, inside, x, log_slope)

    def _with_tails(
        self, given: Tensor, inside: Tensor, mapped: Tensor, log_slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The identity where ``given`` lies outside. The interval is closed at both ends."""
        outside = given != inside  # true of NaN as well, which is passed on
        return torch.where(outside, given, mapped), log_slope.masked_fill(outside, 0.0)

    def _forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _knots(self, logits: Tensor, least: float, dim: int) -> Tensor:
        """K + 1 knots from -B to B, from the K logits of the shares between them."""
        return self._places(self._shares(logits, least, dim), dim)

    def _shares(self, logits: Tensor, least: float | Tensor, dim: int) -> Tensor:
        """K positive numbers of sum 1 from K logits."""
        if self.temperature != 1:
            logits = logits * (1 / self.temperature)
        return least + (1 - least * self.bins) * logits.softmax(dim)

    def _places(self, shares: Tensor, dim: int) -> Tensor:
        """K + 1 knots from -B to B, from the K shares between them."""
        return pad(self._inner(shares, dim), dim, -self.interval, self.interval)

    def _inner(self, shares: Tensor, dim: int) -> Tensor:
        """The K - 1 knots between -B and B."""
        inner = shares.narrow(dim, 0, self.bins - 1).cumsum(dim)
        return inner * (2 * self.interval) - self.interval


class LinearSpline(Spline):
    """A line in each of K bins of equal width. The K parameters are the logits of the heights."""

    def __init__(self, bins: int, **settings: float) -> None:
        super().__init__(bins, **settings)
        self.parameters = bins

    def _forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        shares = self._shares(parameters, self.min_height, dim)
        place = (x + self.interval) * (self.bins / (2 * self.interval))
        first = place.detach().long().clamp(0, self.bins - 1)
        low, height = self._bin(shares, self._places(shares, dim), first.unsqueeze(dim), dim)
        u = low + (place - first) * height
        # Beyond the ends, where rounding can lead, the slope is another.
        u = u + (u.clamp(-self.interval, self.interval) - u).detach()
        return u, self._log_slope(height)

    def _inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        shares = self._shares(parameters, self.min_height, dim)
        knots = self._places(shares, dim)
        first = bin_of(knots, u, dim)
        low, height = self._bin(shares, knots, first, dim)
        place = first.squeeze(dim) + (u - low) / height
        x = place * (2 * self.interval / self.bins) - self.interval
        return x, -self._log_slope(height)

    def _bin(
        self, shares: Tensor, knots: Tensor, first: Tensor, dim: int
    ) -> tuple[Tensor, Tensor]:
        """Lower end and height of a bin; the height is not taken from a difference of knots."""
        low, height = knots.gather(dim, first), shares.gather(dim, first)
        return low.squeeze(dim), height.squeeze(dim) * (2 * self.interval)

    def _log_slope(self, height: Tensor) -> Tensor:
        return (height * (self.bins / (2 * self.interval))).log()


class QuadraticSpline(Spline):
    """A quadratic function in each of K bins: its slope is continuous, and linear in a bin.

    The 2 K - 1 parameters are the logits of K widths, and the slopes at the K - 1 inner knots
    before softplus and scaling to the right area. ``min_height`` is the least slope. The slope at
    both ends is 1 exactly; in the authors' code it is only near 1, since the widths of the first
    and last bin are halved twice.
    """

    def __init__(self, bins: int, **settings: float) -> None:
        super().__init__(bins, **settings)
        self.parameters = 2 * bins - 1

    def _tables(self, parameters: Tensor, dim: int) -> Tensor:
        """Knots of x, knots of u and slopes there, stacked at ``dim``: [3, K + 1]."""
        width, slope = parameters.split([self.bins, self.bins - 1], dim)
        x = self._knots(width, self.min_width, dim)
        widths = x.diff(dim=dim) / (2 * self.interval)
        inner = F.softplus(slope / self.temperature) + 1e-3
        # The slope at the ends with which it is 1 once the area under all slopes is 1.
        first, last = widths.narrow(dim, 0, 1), widths.narrow(dim, self.bins - 1, 1)
        area = self._areas(pad(inner, dim, 0.0, 0.0), widths, dim).sum(dim, keepdim=True)
        end = area / (1 - 0.5 * first - 0.5 * last)
        slopes = torch.cat([end, inner, end], dim)
        area = self._areas(slopes, widths, dim).sum(dim, keepdim=True)
        slopes = self.min_height + (1 - self.min_height) * slopes / area
        rises = self._areas(slopes, widths, dim).narrow(dim, 0, self.bins - 1).cumsum(dim)
        u = rises * (2 * self.interval) - self.interval
        return torch.stack([x, pad(u, dim, -self.interval, self.interval), slopes], dim)

    def _areas(self, slopes: Tensor, widths: Tensor, dim: int) -> Tensor:
        """Areas of the trapezoids under the slopes at K + 1 knots."""
        left, right = slopes.narrow(dim, 0, self.bins), slopes.narrow(dim, 1, self.bins)
        return (left + right) / 2 * widths

    def _forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        tables = self._tables(parameters, dim)
        first = bin_of(tables.select(dim, 0), x, dim)
        left, low, slope, right, _, next_slope = ends(tables, first, dim)
        width, change = right - left, next_slope - slope
        t = (x - left) / width
        u = low + width * t * (slope + 0.5 * change * t)
        return u, (slope + change * t).log()

    def _inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        tables = self._tables(parameters, dim)
        first = bin_of(tables.select(dim, 1), u, dim)
        left, low, slope, right, _, next_slope = ends(tables, first, dim)
        width, change = right - left, next_slope - slope
        rise = (u - low) / width
        root = (slope.square() + 2 * change * rise).clamp_min(0).sqrt()
        t = (2 * rise / (slope + root)).clamp(0, 1)
        return left + t * width, -(slope + change * t).log()


class RationalQuadraticSpline(Spline):
    """A quotient of two quadratic functions in each bin (Durkan et al. 2019).

    The 3 K - 1 parameters are the logits of K widths and K heights, and the slopes at the K - 1
    inner knots before softplus. The first derivative is continuous, also at the ends.
    """

    def __init__(self, bins: int, **settings: float) -> None:
        super().__init__(bins, **settings)
        self.parameters = 3 * bins - 1

    def _tables(self, parameters: Tensor, dim: int) -> Tensor:
        """Knots of x, knots of u and slopes there, stacked at ``dim``: [3, K + 1]."""
        logits, slope = parameters.split([2 * self.bins, self.bins - 1], dim)
        logits = logits.unflatten(dim, (2, self.bins))
        least = along(logits, [self.min_width, self.min_height], dim)
        knots = self._inner(self._shares(logits, least, dim + 1), dim + 1)
        inner = torch.cat([knots, (F.softplus(slope) + self.min_slope).unsqueeze(dim)], dim)
        first = along(inner, [-self.interval, -self.interval, 1.0], dim)
        last = along(inner, [self.interval, self.interval, 1.0], dim)
        one = list(inner.shape)
        one[dim + 1] = 1
        return torch.cat([first.expand(one), inner, last.expand(one)], dim + 1)

    def _bin(
        self, tables: Tensor, axis: int, value: Tensor, dim: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of the bin of each value, by the knots of table ``axis``.

        Returns:
            Left end, width, lower end, height, mean slope, and the slopes at both ends.
        """
        first = bin_of(tables.select(dim, axis), value, dim)
        left, low, slope, right, high, next_slope = ends(tables, first, dim)
        width, height = right - left, high - low
        return left, width, low, height, height / width, slope, next_slope

    def _forward(self, x: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        tables = self._tables(parameters, dim)
        left, width, low, height, mean, slope, next_slope = self._bin(tables, 0, x, dim)
        t = (x - left) / width
        bend = t * (1 - t)
        below = mean + (slope + next_slope - 2 * mean) * bend
        u = low + height * (mean * t.square() + slope * bend) / below
        return u, _log_slope(t, bend, below, mean, slope, next_slope)

    def _inverse(self, u: Tensor, parameters: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        left, width, t, mean, slope, next_slope = self._solve(
            u, self._tables(parameters, dim), dim
        )
        bend = t * (1 - t)
        below = mean + (slope + next_slope - 2 * mean) * bend
        return left + t * width, -_log_slope(t, bend, below, mean, slope, next_slope)

    def _solve(
        self, u: Tensor, tables: Tensor, dim: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Left end and width of the bin of ``u``, the share t of it, and the three slopes."""
        left, width, low, height, mean, slope, next_slope = self._bin(tables, 1, u, dim)
        rest = u - low
        excess = slope + next_slope - 2 * mean
        a = rest * excess + height * (mean - slope)
        b = height * slope - rest * excess
        c = -mean * rest
        # Of the two ways to write the root, this one does not cancel. The discriminant is never
        # negative but for rounding.
        root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
        t = (-2 * c / (b + root)).clamp(0, 1)
        return left, width, t, mean, slope, next_slope

    def inverter(self, u: Tensor, parameters: Tensor, x: Tensor) -> Callable[[int], object]:
        """As for any map, without slopes, and with one place for the knots of all variables."""
        bins, interval = self.bins, self.interval
        tables = u.new_empty(3, bins + 1, u.shape[1])
        tables[:2, 0], tables[:2, -1], tables[2] = -interval, interval, 1.0
        knots, slopes = tables[:2, 1:-1], tables[2, 1:-1]
        least = along(tables, [self.min_width, self.min_height], 0)

        def write(i: int) -> None:
            logits, slope = parameters[:, i].split([2 * bins, bins - 1])
            shares = self._shares(logits.unflatten(0, (2, bins)), least, 1)
            knots.copy_(self._inner(shares, 1))
            torch.add(F.softplus(slope), self.min_slope, out=slopes)
            inside = u[i].clamp(-interval, interval)
            left, width, t, *_ = self._solve(inside, tables, 0)
            torch.where(u[i] == inside, torch.addcmul(left, t, width), u[i], out=x[i])

        return write


def _log_slope(
    t: Tensor, bend: Tensor, below: Tensor, mean: Tensor, slope: Tensor, next_slope: Tensor
) -> Tensor:
    """Log du/dx of a rational-quadratic spline at the share ``t`` of a bin."""
    above = next_slope * t.square() + 2 * mean * bend + slope * (1 - t).square()
    return (above * (mean / below).square()).log()


def along(like: Tensor, numbers: list[float], dim: int) -> Tensor:
    """The numbers along ``dim``, in a shape that broadcasts over the axes of ``like``."""
    shape = [1] * like.ndim
    return torch.cat([like.new_full(shape, number) for number in numbers], dim)


def pad(values: Tensor, dim: int, before: float, after: float) -> Tensor:
    """Put one number before, and one after, the values along ``dim``."""
    end = values.select(dim, 0).unsqueeze(dim) if values.shape[dim] else values.sum(dim, True)
    return torch.cat([torch.full_like(end, before), values, torch.full_like(end, after)], dim)


def bin_of(knots: Tensor, value: Tensor, dim: int) -> Tensor:
    """The bin 0 .. K-1 of each value, given K + 1 knots along ``dim``, which is kept as 1.

    A value on an inner knot belongs to the bin on its right; the last bin is closed.
    """
    inner = knots.narrow(dim, 1, knots.shape[dim] - 2)
    return (value.unsqueeze(dim) >= inner).sum(dim, keepdim=True)


def ends(tables: Tensor, first: Tensor, dim: int) -> tuple[Tensor, ...]:
    """The entries at a bin's left end of each table, then those at its right end.

    Args:
        tables: T tables of K + 1 numbers, [.., T, K + 1, ..] with T at ``dim``.
        first: the bin, [.., 1, ..].
        dim: the axis.
    """
    count = tables.shape[dim]
    index = torch.cat([first, first + 1], dim).unsqueeze(dim)
    shape = [-1] * index.ndim
    shape[dim] = count
    picked = tables.gather(dim + 1, index.expand(shape))
    return tuple(t for end in picked.unbind(dim + 1) for t in end.unbind(dim))
