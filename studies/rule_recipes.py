"""How the training rules are run on MNIST: one recipe a rule, for the study ``rules`` of ``run.py``.

Thresholds, rates and numbers of epochs were chosen on validation samples of the training set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import hwloop as hl
from hwloop import rules
from hwloop.losses import Loss
from hwloop.rules.hm2bp.rule import HM2BP, LeakyNeurons
from hwloop.rules.na.rule import NA, TracedNeurons
from hwloop.rules.spide.rule import RateNeurons, Spide
from hwloop.rules.spikegrad.rule import SignedNeurons, SpikeGrad


@dataclass(frozen=True)
class Recipe:
    """A network, a loss, a rule, and options of :func:`hwloop.fit`."""

    network: Callable[[int], rules.StepNetwork]
    loss: Loss
    rule: rules.Rule
    fit: dict[str, Any] = field(default_factory=dict)


def hm2bp_network(seed: int, *, sizes: tuple[int, ...] = (784, 400, 10), steps: int = 100) -> rules.StepNetwork:
    """Uniform weights in -1..1 as the authors draw them; lateral inhibition in the output layer.

    Published with 400 steps and a refractory time of 2; 100 steps cost a quarter, and Loihi's fixed-point neurons have none.
    """
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        dense = hl.Dense(n_in, n_out)
        with torch.no_grad():
            dense.weight.uniform_(-1, 1, generator=generator)
        last = k == len(sizes) - 2
        layers += [dense, LeakyNeurons(4.0, t_ref=0, lateral=-1.0) if last else LeakyNeurons(10.0, t_ref=0)]
    return rules.StepNetwork(layers, in_shape=sizes[0], steps=steps)


def na_network(seed: int, *, sizes: tuple[int, ...] = (784, 400, 10), tau_m: float = 4.0) -> rules.StepNetwork:
    """Five steps, constant input currents; tau_m = 4, whose decay Loihi has exactly (published: 5)."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [hl.Dense(n_in, n_out).init_normal_(0.0, 1.5 / n_in**0.5, generator), TracedNeurons(tau_m=tau_m)]
    return rules.StepNetwork(layers, in_shape=sizes[0], steps=5)


def spikegrad_network(seed: int, *, theta: float = 0.125) -> rules.StepNetwork:
    """784-400-10; hidden spikes worth an eighth, pixels of up to 16 spikes."""
    generator = torch.Generator().manual_seed(seed)
    first = hl.Dense(784, 400).init_normal_(0.0, 2 * math.sqrt(2 / 784), generator)
    last = hl.Dense(400, 10).init_normal_(0.0, math.sqrt(1 / 400), generator)
    return rules.StepNetwork([first, SignedNeurons(theta), last, SignedNeurons()], in_shape=784, steps=1)


def spide_network(seed: int, *, steps: int = 30) -> rules.StepNetwork:
    """784-400-10 with feedback of 400 x 400."""
    generator = torch.Generator().manual_seed(seed)
    first = hl.Dense(784, 400).init_normal_(0.0, 2 * math.sqrt(2 / 784), generator)
    last = hl.Dense(400, 10).init_normal_(0.0, math.sqrt(1 / 400), generator)
    feedback = hl.Dense(400, 400).init_normal_(0.0, 1 / 400, generator)
    return rules.StepNetwork([first, RateNeurons(), last, RateNeurons()], in_shape=784, steps=steps, feedback=feedback)


def spikegrad_convolution(seed: int) -> rules.StepNetwork:
    """15C5 - P2 - 40C5 - P2 - 300 - 10, the network of the paper; pools are part of the connection behind them."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = [
        rules.Conv2d(1, 15, 5).init_normal_(0.0, 2 * math.sqrt(2 / 25), generator),
        SignedNeurons(0.25),
        rules.AvgPool(2),
        rules.Conv2d(15, 40, 5).init_normal_(0.0, 1.5 * math.sqrt(2 / 375), generator),
        SignedNeurons(0.25),
        rules.AvgPool(2),
        hl.Dense(640, 300).init_normal_(0.0, 1.5 * math.sqrt(2 / 640), generator),
        SignedNeurons(0.25),
        hl.Dense(300, 10).init_normal_(0.0, math.sqrt(1 / 300), generator),
        SignedNeurons(),
    ]
    return rules.StepNetwork(layers, in_shape=(1, 28, 28), steps=1)


def spide_convolution(seed: int) -> rules.StepNetwork:
    """15C5 - P2 - 40C5 - P2 - 100 - 10 in 15 steps, with feedback from the 100 to all maps of the first population."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = [
        rules.Conv2d(1, 15, 5).init_normal_(0.0, 2 * math.sqrt(2 / 25), generator),
        RateNeurons(),
        rules.AvgPool(2),
        rules.Conv2d(15, 40, 5).init_normal_(0.0, 3 * math.sqrt(2 / 375), generator),
        RateNeurons(),
        rules.AvgPool(2),
        hl.Dense(640, 100).init_normal_(0.0, 3 * math.sqrt(2 / 640), generator),
        RateNeurons(),
        hl.Dense(100, 10).init_normal_(0.0, math.sqrt(1 / 100), generator),
        RateNeurons(),
    ]
    feedback = hl.Dense(100, 8640).init_normal_(0.0, 1e-3, generator)
    return rules.StepNetwork(layers, in_shape=(1, 28, 28), steps=15, feedback=feedback)


def na_convolution(seed: int) -> rules.StepNetwork:
    """15C5 - P2 - 40C5 - P2 - 300 - 10, the network of the paper; pools are part of the connection behind them."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = [
        rules.Conv2d(1, 15, 5).init_normal_(0.0, 1.5 / 25**0.5, generator),
        TracedNeurons(tau_m=4.0),
        rules.AvgPool(2),
        rules.Conv2d(15, 40, 5).init_normal_(0.0, 3 / 375**0.5, generator),
        TracedNeurons(tau_m=4.0),
        rules.AvgPool(2),
        hl.Dense(640, 300).init_normal_(0.0, 3 / 640**0.5, generator),
        TracedNeurons(tau_m=4.0),
        hl.Dense(300, 10).init_normal_(0.0, 1.5 / 300**0.5, generator),
        TracedNeurons(tau_m=4.0),
    ]
    return rules.StepNetwork(layers, in_shape=(1, 28, 28), steps=5)


def hm2bp_convolution(seed: int) -> rules.StepNetwork:
    """The same network of HM2-BP's neurons, in 20 steps; weights so small that neurons fire well below their limit."""
    generator = torch.Generator().manual_seed(seed)

    def neurons(lateral: float = 0.0) -> LeakyNeurons:
        return LeakyNeurons(1.0, tau_s=2.0, t_ref=0, lateral=lateral)

    layers: list[nn.Module] = [
        rules.Conv2d(1, 15, 5).init_normal_(0.0, 0.25, generator),
        neurons(),
        rules.AvgPool(2),
        rules.Conv2d(15, 40, 5).init_normal_(0.0, 0.1, generator),
        neurons(),
        rules.AvgPool(2),
        hl.Dense(640, 300).init_normal_(0.0, 0.1, generator),
        neurons(),
        hl.Dense(300, 10).init_normal_(0.0, 0.1, generator),
        neurons(lateral=-0.1),
    ]
    return rules.StepNetwork(layers, in_shape=(1, 28, 28), steps=20)


def counting_network(seed: int) -> hl.Network:
    """256-128-10 in continuous time for MNIST of 16 x 16 pixels; hidden neurons fire several times: HM2-BP counts spikes."""
    generator = torch.Generator().manual_seed(seed)
    first = hl.Dense(256, 128).init_normal_(0.06, 0.15, generator)
    last = hl.Dense(128, 10).init_normal_(0.02, 0.1, generator)
    return hl.Network([first, hl.LIF(128, 10e-3, 5e-3), last, hl.LIF(10, 10e-3, 5e-3)])


def counting_task(data: str | None) -> hl.datasets.Task:
    """What that network is trained on: the 20 x 20 box of the digits as 16 x 16 pixels, one spike a pixel."""
    return hl.datasets.mnist(data, size=16, crop=20)


#: HM2-BP in continuous time: loss and rule; options of :func:`hwloop.fit` and of :func:`hwloop.finetune`.
COUNTING_LOSS, COUNTING_RULE = rules.ReadoutError(8.0, 1.0, margin=1.0), HM2BP(teacher=8)
COUNTING_FIT = {
    "epochs": 3, "batch_size": 50, "lr": 1.2e-2, "lr_decay": 0.4, "averaging": 0.998, "input_dropout": 0.05,
}  # fmt: skip
COUNTING_FINETUNE = {"epochs": 1, "batch_size": 50, "lr": 3e-3, "averaging": 0.998}

#: Rule, or rule and variant -> recipe.
RECIPES: dict[str, Recipe] = {
    "hm2bp": Recipe(
        hm2bp_network,
        rules.ReadoutError(12.0, 1.0, margin=1.0),
        HM2BP(teacher=12),
        {"epochs": 20, "batch_size": 50, "lr": 2.5e-3, "lr_decay": 0.88, "averaging": 0.99},
    ),
    "na": Recipe(
        na_network,
        rules.TraceError(),
        NA(),
        {"epochs": 15, "batch_size": 100, "lr": 1e-3, "lr_decay": 0.88, "averaging": 0.99},
    ),
    "spikegrad": Recipe(
        spikegrad_network,
        rules.ReadoutCrossEntropy(),
        SpikeGrad(alpha=4096.0),
        {"epochs": 14, "batch_size": 100, "lr": 1e-3, "lr_decay": 0.82, "input_dropout": 0.2},
    ),
    "spide": Recipe(
        spide_network,
        rules.ReadoutCrossEntropy(),
        Spide(steps_back=50, loss_scale=100.0),
        {"epochs": 6, "batch_size": 100, "lr": 1e-3, "lr_decay": 0.7, "input_dropout": 0.1},
    ),
}

#: Convolutional networks: rule -> recipe.
CONVOLUTIONAL: dict[str, Recipe] = {
    "hm2bp": Recipe(
        hm2bp_convolution,
        rules.ReadoutError(8.0, 1.0, margin=1.5),
        HM2BP(teacher=8, rate=0.5, empty=0.0),
        {
            "epochs": 10,
            "batch_size": 50,
            "lr": 3e-3,
            "lr_decay": 0.75,
            "augment": rules.RandomAffine(),
            "averaging": 0.998,
        },
    ),
    "na": Recipe(
        na_convolution,
        rules.TraceError(),
        NA(),
        {
            "epochs": 45,
            "batch_size": 50,
            "lr": 1.5e-3,
            "lr_decay": 0.93,
            "augment": rules.RandomAffine(),
            "averaging": 0.998,
        },
    ),
    "spikegrad": Recipe(
        spikegrad_convolution,
        rules.ReadoutCrossEntropy(),
        SpikeGrad(alpha=4096.0),
        {"epochs": 10, "batch_size": 100, "lr": 1e-3, "lr_decay": 0.75, "input_dropout": 0.1, "averaging": 0.995},
    ),
    "spide": Recipe(
        spide_convolution,
        rules.ReadoutCrossEntropy(),
        Spide(steps_back=25, loss_scale=200.0),
        {"epochs": 7, "batch_size": 50, "lr": 2e-3, "lr_decay": 0.68, "input_dropout": 0.1, "averaging": 0.998},
    ),
}
