"""The affine autoregressive transform: one MADE as a layer of a flow (the paper, section 3)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maf_runner.flows.base import Transform
from maf_runner.flows.inversion import generate
from maf_runner.flows.made import MaskedNetwork


class AffineAutoregressive(Transform):
    """u_d = exp(p_d / 2) (x_d - m_d), where m_d and p_d are functions of x_1 .. x_(d-1).

    m is the mean and p the log precision of the conditional, as in the authors' code; the paper
    writes alpha = log standard deviation = -p / 2. Neither is bounded: the authors cap the scale
    when they sample, this class does not.

    Args: see `MaskedNetwork`.
    """

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int],
        activation: str,
        degrees: str,
        mask: str,
        reverse: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__(features, context)
        self.network = MaskedNetwork(
            features,
            outputs=2,
            hidden=hidden,
            activation=activation,
            degrees=degrees,
            mask=mask,
            reverse=reverse,
            context=context,
        )

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, log_precision = self.network(x, context).unbind(dim=1)
        half = 0.5 * log_precision
        return half.exp() * (x - mean), half.sum(dim=1)

    def _inverse(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            return self._inverse_step_by_step(u, context)
        noise = u.mT.contiguous()
        log_precisions = []
        minus_half = u.new_tensor(-0.5)  # a tensor, since a number is converted at every use

        def emitter(parameters: Tensor, values: Tensor, block: slice) -> Callable[[int], object]:
            mean, log_precision = parameters.unbind(dim=0)
            log_precisions.append(log_precision)
            mean_of, precision_of = mean.unbind(), log_precision.unbind()
            noise_of, value_of = noise[block].unbind(), values.unbind()

            def emit(i: int) -> None:
                scale = (precision_of[i] * minus_half).exp_()
                torch.addcmul(mean_of[i], noise_of[i], scale, out=value_of[i])

            return emit

        x = generate(self.network, len(u), emitter, context)
        return x, -0.5 * torch.cat(log_precisions).sum(dim=0)

    def _inverse_step_by_step(self, u: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same, differentiable: one full pass of the network for each feature."""
        x, log_det = torch.zeros_like(u), u.new_zeros(len(u))
        for feature in self.network.order.tolist():
            mean, log_precision = self.network(x, context)[:, :, feature].unbind(dim=1)
            column = mean + u[:, feature] * (-0.5 * log_precision).exp()
            x = torch.cat([x[:, :feature], column[:, None], x[:, feature + 1 :]], dim=1)
            log_det = log_det - 0.5 * log_precision
        return x, log_det
