"""MADE whose conditionals are constant in bins: for variables with steps and hard edges."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maf_runner.flows.base import Density
from maf_runner.flows.bins import Bins
from maf_runner.flows.checks import permutation, positive, real
from maf_runner.flows.inversion import generate
from maf_runner.flows.made import ResidualMaskedNetwork
from maf_runner.flows.quantiles import normal_quantile


class BinnedMADE(Density):
    """p(x_d | x_1 .. x_(d-1)) = P(bin of x_d | x_1 .. x_(d-1)) / width of the bin.

    The bins are found in the training rows, before training; the network learns the probabilities,
    a softmax for each variable. Of each value it sees which part of each bin lies below it (the
    piecewise linear encoding of Gorishniy et al. 2022), so that it need not learn where the bins
    are. Autoregressive models of discrete tables have such conditionals (Yang et al. 2019); here
    bins have widths, and the result is a density. Beyond the bins are tails; see `Bins`.

    Args:
        features: D.
        bins: of each variable, at most.
        min_width: least width of a bin, as a share of the range of the variable; see `Bins`.
        hidden: width of the residual blocks, once for each, as in [256,256] for two.
        dropout: share of hidden units left out in each block while training.
        reverse: the order: natural, or reversed.
        order: the features, counted from 0, in an order of one's own, instead of ``reverse``.
        context: C; 0 for none.

    Raises:
        ValueError: an impossible setting, by name.
    """

    title = "Binned MADE"
    order: Tensor  # bins and network have the features in this order

    def __init__(
        self,
        features: int,
        *,
        bins: int,
        min_width: float,
        hidden: Sequence[int],
        dropout: float = 0.0,
        reverse: bool = False,
        order: Sequence[int] | None = None,
        context: int = 0,
    ) -> None:
        super().__init__(features, context)
        if order is not None and reverse:
            raise ValueError("give reverse or order, not both")
        chosen = list(range(features)) if order is None else permutation("order", order, features)
        self.register_buffer("order", torch.tensor(chosen), persistent=False)
        self.bins = Bins(
            features,
            positive("bins", bins, 10**4),
            real("min_width", min_width, at_least=0, below=1),
        )
        self.network = ResidualMaskedNetwork(
            features,
            outputs=self.bins.places,
            columns=bins,
            reverse=reverse,
            hidden=hidden,
            dropout=dropout,
            activation="relu",
            degrees="sequential",
            mask="full_context",
            context=context,
        )

    @torch.no_grad()
    def look_at(self, x: Tensor) -> None:
        """Take the bins from training rows, and begin with their shares."""
        shares = self.bins.find(x[:, self.order])
        bias = self.network.linears[-1].bias
        bias.copy_((shares + 0.5 / len(x)).log().mT.flatten())

    def _logits(self, x: Tensor, context: Tensor | None) -> Tensor:  # [B, D, P]
        logits = self.network(self.bins.encode(x), context).mT
        return logits.masked_fill(~self.bins.present, -torch.inf)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density in nats [B] of rows ``x`` [B, D]."""
        x = x[:, self.order]
        places = self.bins.place(x)
        logits = self._logits(x, context)
        own = logits.gather(2, places[..., None]).squeeze(2)
        log_density = self.bins.log_density(x, places)
        return (own - logits.logsumexp(dim=2) + log_density).sum(dim=1)

    def standard_noise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """u_d is the normal quantile of F(x_d | x_1 .. x_(d-1)), F the distribution function."""
        x = x[:, self.order]
        places = self.bins.place(x)
        shares = self._logits(x, context).double().softmax(dim=2)
        own = shares.gather(2, places[..., None]).squeeze(2)
        here_below, here_above = self.bins.shares(x, places)
        index, place = torch.arange(self.bins.places, device=x.device), places[..., None]
        below = (shares * (index < place)).sum(dim=2) + own * here_below
        above = (shares * (index > place)).sum(dim=2) + own * here_above
        return normal_quantile(below, above).to(x.dtype)[:, self.order.argsort()]

    def _sample(self, n: int, context: Tensor | None, generator: torch.Generator | None) -> Tensor:
        empty = self.reference.new_empty
        choice = empty(self.features, n).uniform_(generator=generator)
        share = empty(self.features, n).uniform_(generator=generator)
        x = empty(self.features, n)

        def emitter(parameters: Tensor, values: Tensor, block: slice) -> Callable[[int], object]:
            codes = values.unflatten(0, (-1, self.network.columns))

            def emit(i: int) -> None:
                feature = block.start + i
                present = self.bins.present[feature][:, None]
                logits = parameters[:, i].masked_fill(~present, -torch.inf)
                total = logits.softmax(dim=0).cumsum(dim=0)
                place = (total < choice[feature] * total[-1]).sum(dim=0)
                x[feature] = self.bins.value(feature, place, share[feature])
                codes[i] = self.bins.encoded(feature, x[feature]).mT

            return emit

        generate(self.network, n, emitter, context)
        return x.mT[:, self.order.argsort()]
