"""Recipes: network, rule, loss and options that reach the figures of the README, one for each rule and network.

recipe = rules.recipe("spikegrad-784-400-10")
net, task = recipe.network(seed=0), rules.mnist_values()
hl.fit(net, task, recipe.loss, rule=recipe.rule, seed=0, **recipe.options)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import OptionError
from ..losses import Loss
from ..network import Dense
from .base import Rule
from .losses import ReadoutCrossEntropy
from .network import StepNetwork
from .spide import RateNeurons, Spide
from .spikegrad import SignedNeurons, SpikeGrad
from .stages import AvgPool, Conv2d


@dataclass(frozen=True)
class Recipe:
    """How one network is trained by one rule.

    Attributes
    ----------
    name : str
    build : callable
        ``build(generator)``, the untrained network.
    rule : Rule
    loss : Loss
    options : dict
        Of :func:`hwloop.training.fit`.
    """

    name: str
    build: Callable[[torch.Generator], StepNetwork]
    rule: Rule
    loss: Loss
    options: dict[str, Any] = field(default_factory=dict)

    def network(self, seed: int = 0) -> StepNetwork:
        """The untrained network, its weights drawn from ``seed``."""
        return self.build(torch.Generator().manual_seed(seed))


def _spikegrad_dense(generator: torch.Generator) -> StepNetwork:
    first = Dense(784, 400).init_normal_(0.0, 2 * math.sqrt(2 / 784), generator)
    last = Dense(400, 10).init_normal_(0.0, math.sqrt(1 / 400), generator)
    return StepNetwork([first, SignedNeurons(0.125), last, SignedNeurons()], in_shape=784, steps=1)


def _spikegrad_conv(generator: torch.Generator) -> StepNetwork:
    """15C5 - P2 - 40C5 - P2 - 300 - 10, the network of the paper."""
    layers = [
        Conv2d(1, 15, 5).init_normal_(0.0, 2 * math.sqrt(2 / 25), generator),
        SignedNeurons(0.25),
        AvgPool(2),
        Conv2d(15, 40, 5).init_normal_(0.0, 1.5 * math.sqrt(2 / 375), generator),
        SignedNeurons(0.25),
        AvgPool(2),
        Dense(640, 300).init_normal_(0.0, 1.5 * math.sqrt(2 / 640), generator),
        SignedNeurons(0.25),
        Dense(300, 10).init_normal_(0.0, math.sqrt(1 / 300), generator),
        SignedNeurons(),
    ]
    return StepNetwork(layers, in_shape=(1, 28, 28), steps=1)


def _spide_dense(generator: torch.Generator) -> StepNetwork:
    first = Dense(784, 400).init_normal_(0.0, 2 * math.sqrt(2 / 784), generator)
    last = Dense(400, 10).init_normal_(0.0, math.sqrt(1 / 400), generator)
    feedback = Dense(400, 400).init_normal_(0.0, 1 / 400, generator)
    return StepNetwork([first, RateNeurons(), last, RateNeurons()], in_shape=784, steps=30, feedback=feedback)


_RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "spikegrad-784-400-10",
            _spikegrad_dense,
            SpikeGrad(alpha=4096.0),
            ReadoutCrossEntropy(),
            {"epochs": 20, "batch_size": 100, "lr": 1e-3, "lr_decay": 0.88, "input_dropout": 0.2},
        ),
        Recipe(
            "spikegrad-15c5-40c5-300",
            _spikegrad_conv,
            SpikeGrad(alpha=4096.0),
            ReadoutCrossEntropy(),
            {"epochs": 4, "batch_size": 100, "lr": 1e-3, "lr_decay": 0.5},
        ),
        Recipe(
            "spide-784-400-10",
            _spide_dense,
            Spide(steps_back=50, loss_scale=100.0),
            ReadoutCrossEntropy(),
            {"epochs": 12, "batch_size": 100, "lr": 1e-3, "lr_decay": 0.82, "input_dropout": 0.1},
        ),
    )
}


def recipes() -> tuple[str, ...]:
    """Names of all recipes."""
    return tuple(_RECIPES)


def recipe(name: str) -> Recipe:
    """The recipe called ``name``; :class:`OptionError` with those that exist where there is none."""
    if name not in _RECIPES:
        raise OptionError(f"recipe {name!r}; available: {', '.join(map(repr, _RECIPES))}")
    return _RECIPES[name]
