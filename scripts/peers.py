"""The MAF of other libraries, at the sizes of the benchmarks: five layers, ReLU, no batch norm."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

LAYERS = 5


@dataclass(frozen=True)
class Peer:
    """A model of another library: its parameters, log densities [B] and samples [n, D]."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor] | None


def zuko(features: int, width: int) -> Peer:
    """Zuko's MAF."""
    from zuko.flows import MAF

    flow = MAF(features, transforms=LAYERS, hidden_features=(width, width))
    return Peer(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def nflows(features: int, width: int) -> Peer:
    """Masked affine transforms of nflows, reversed between."""
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import (
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        ReversePermutation,
    )

    steps = []
    for _ in range(LAYERS):
        steps.append(
            MaskedAffineAutoregressiveTransform(
                features, width, num_blocks=2, use_residual_blocks=False
            )
        )
        steps.append(ReversePermutation(features))
    flow = Flow(CompositeTransform(steps), StandardNormal([features]))
    return Peer(flow, flow.log_prob, flow.sample)


def pytorch_flows(file: Path, features: int, width: int) -> Peer:
    """The MAF of pytorch-flows, from its ``flows.py`` if one has it; it has its own batch norm."""
    spec = importlib.util.spec_from_file_location("pytorch_flows", file)
    assert spec is not None and spec.loader is not None
    flows = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flows)
    steps = []
    for _ in range(LAYERS):
        made = flows.MADE(features, width, None, act="relu")
        steps += [made, flows.BatchNormFlow(features), flows.Reverse(features)]
    flow = flows.FlowSequential(*steps)
    return Peer(flow, lambda x: flow.log_probs(x).squeeze(1), None)


def of(features: int, width: int, pytorch_flows_file: Path | None = None) -> dict[str, Peer]:
    """Every peer that can be had."""
    torch.manual_seed(0)
    found = {"zuko": zuko(features, width), "nflows": nflows(features, width)}
    if pytorch_flows_file is not None:
        found["pytorch-flows"] = pytorch_flows(pytorch_flows_file, features, width)
    return found
