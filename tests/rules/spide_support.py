"""Small SPIDE networks, their errors at the output, and the linear solve that is their oracle."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.rules.spide.adjoint import Loop
from hwloop.rules.spide.rule import RateNeurons, Spide


def dense_net(
    hidden: tuple[int, ...] = (24,), *, seed: int = 0, steps: int = 30, gain: float = 1.0, norm: float = 1.5
) -> rules.StepNetwork:
    """12 inputs, hidden populations in a ring, 5 outputs; float64."""
    generator = torch.Generator().manual_seed(seed)
    sizes, layers = (12, *hidden, 5), []
    for n_in, n_out in pairwise(sizes):
        connection = hl.Dense(n_in, n_out).init_normal_(0.0, gain / math.sqrt(n_in), generator)
        layers += [connection, RateNeurons()]
    feedback = hl.Dense(hidden[-1], hidden[0]).init_normal_(0.0, 1.0, generator)
    net = rules.StepNetwork(layers, in_shape=12, steps=steps, feedback=feedback).double()
    with torch.no_grad():
        feedback.weight.mul_(norm / feedback.weight.norm())
        for stage in net.stages:
            stage.neurons.bias.normal_(0.6, 0.3, generator=generator)
    return net


def conv_net(seed: int = 0, steps: int = 30) -> rules.StepNetwork:
    """3C3 on 1 x 6 x 6, 4C3, pooled, 5 outputs; feedback from the second population to the first."""
    generator = torch.Generator().manual_seed(seed)
    layers = [rules.Conv2d(1, 3, 3), RateNeurons(), rules.Conv2d(3, 4, 3), RateNeurons()]
    net = rules.StepNetwork(
        [*layers, rules.AvgPool(2), hl.Dense(4, 5), RateNeurons()],
        in_shape=(1, 6, 6),
        steps=steps,
        feedback=hl.Dense(16, 48),
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.2, 0.3, generator=generator)
        net.feedback.weight.mul_(1.0 / net.feedback.weight.norm())
    return net


def values(net: rules.StepNetwork, batch: int, seed: int = 1) -> rules.Values:
    generator = torch.Generator().manual_seed(seed)
    return rules.Values(torch.rand(batch, net.n_in, generator=generator).double(), torch.arange(batch))


def source(loop: Loop, batch: int, size: float = 0.3, seed: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * (2 * torch.rand(batch, loop.stages[-1].n_out, generator=generator).double() - 1)


def oracle(net: rules.StepNetwork, loop: Loop, g: torch.Tensor) -> list[np.ndarray]:
    """``beta`` of all hidden populations from one dense linear system a sample, built from unit vectors."""
    sizes = [stage.n_out for stage in net.stages[:-1]]
    edges, total = np.cumsum([0, *sizes]), sum(sizes)
    result = np.zeros((len(g), total))
    for b in range(len(g)):
        matrix = np.eye(total)
        for k in range(len(sizes)):
            following = 0 if k == len(sizes) - 1 else k + 1
            units = torch.diag(loop.gates[following][b] / loop.quantum)
            with torch.no_grad():
                rows = units @ net.feedback.weight if k == len(sizes) - 1 else net.stages[k + 1].adjoint(units)
            matrix[edges[k] : edges[k + 1], edges[following] : edges[following + 1]] -= rows.numpy().T
        right = np.zeros(total)
        right[edges[-2] :] = g[b].numpy()
        result[b] = np.linalg.solve(matrix, right)
    return np.split(result, edges[1:-1], axis=1)


def linearised(net: rules.StepNetwork, batch: int) -> Loop:
    rule = Spide()
    return rule.loop(net, rule.forward(net, values(net, batch)))


NETS = {"400 x 400 in small": dense_net, "ring of two": lambda: dense_net((14, 20)), "conv": conv_net}
every_net = pytest.mark.parametrize("build", NETS.values(), ids=NETS.keys())


def pooled_net(feedback: bool = True) -> rules.StepNetwork:
    """Pools inside the ring: 2C3 on 1 x 6 x 6, pooled, 3C2, 7 dense, 5 outputs."""
    generator = torch.Generator().manual_seed(5)
    layers = [rules.Conv2d(1, 2, 3), RateNeurons(), rules.AvgPool(2), rules.Conv2d(2, 3, 2), RateNeurons()]
    net = rules.StepNetwork(
        [*layers, hl.Dense(3, 7), RateNeurons(), hl.Dense(7, 5), RateNeurons()],
        in_shape=(1, 6, 6),
        steps=30,
        feedback=hl.Dense(7, 32) if feedback else None,
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.2, 0.4, generator=generator)
    return net


RINGS = {**NETS, "pools in the ring": pooled_net, "no feedback": lambda: pooled_net(False)}


def dyadic(net: rules.StepNetwork) -> rules.StepNetwork:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.round(parameter * 64) / 64)
    return net
