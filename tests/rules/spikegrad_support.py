"""Small SpikeGrad networks of dyadic weights: every sum of events is exact in float64, in any order."""

from __future__ import annotations

from itertools import pairwise

import torch

import hwloop as hl
from hwloop import rules
from hwloop.rules.spikegrad.rule import SignedNeurons


def dyadic_(net: rules.StepNetwork, seed: int, spread: int = 8, unit: float = 1 / 8) -> rules.StepNetwork:
    """Parameters drawn from multiples of ``unit`` up to ``spread`` units; float64."""
    generator = torch.Generator().manual_seed(seed)
    net = net.double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randint(-spread, spread + 1, parameter.shape, generator=generator) * unit)
    return net


def dense_net(seed: int = 0, theta: float = 1.0, theta_bp: float = 1.0) -> rules.StepNetwork:
    """9-12-8-5, input values of up to 4 spikes."""
    sizes, layers = (9, 12, 8, 5), []
    for n_in, n_out in pairwise(sizes):
        layers += [hl.Dense(n_in, n_out), SignedNeurons(theta, theta_bp=theta_bp, levels=4)]
    return dyadic_(rules.StepNetwork(layers, in_shape=9, steps=1), seed)


def conv_net(seed: int = 0) -> rules.StepNetwork:
    """3C3 on 1 x 8 x 8, pooled, 4C2 padded, pooled, 5."""
    layers = [
        rules.Conv2d(1, 3, 3),
        SignedNeurons(levels=4),
        rules.AvgPool(2),
        rules.Conv2d(3, 4, 2, padding=1),
        SignedNeurons(0.5),
        rules.AvgPool(2),
        hl.Dense(16, 5),
        SignedNeurons(),
    ]
    return dyadic_(rules.StepNetwork(layers, in_shape=(1, 8, 8), steps=1), seed)


def values(net: rules.StepNetwork, batch: int, seed: int = 1) -> rules.Values:
    """Random inputs 0..1 in steps of 1/4."""
    generator = torch.Generator().manual_seed(seed)
    return rules.Values(torch.randint(0, 5, (batch, net.n_in), generator=generator).double() / 4, torch.arange(batch))


def loss_gradient(batch: int, n_out: int = 5, seed: int = 2) -> torch.Tensor:
    """Multiples of 1/64 in -1/2..1/2, over the batch."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-32, 33, (batch, n_out), generator=generator).double() / 64 / batch
