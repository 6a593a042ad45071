"""Small networks of every rule, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

import hwloop as hl
from hwloop import rules

N_IN, HIDDEN, N_OUT, STEPS, BATCH = 5, 7, 3, 5, 4
DTYPE = torch.float64
NEURONS: dict[str, Callable[[], rules.Neurons]] = {
    "hm2bp": lambda: rules.LeakyNeurons(1.5), "na": rules.TracedNeurons, "spide": rules.RateNeurons, "spikegrad": rules.SignedNeurons,
}  # fmt: skip


def built(rule: str, hidden: tuple[int, ...], *, feedback: bool = False) -> rules.StepNetwork:
    """A network of dense layers, as wide as ``hidden`` says."""
    generator = torch.Generator().manual_seed(0)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise((N_IN, *hidden, N_OUT)):
        layers += [hl.Dense(n_in, n_out, generator=generator), NEURONS[rule]()]
    back = hl.Dense(hidden[-1], hidden[0], generator=generator) if feedback else None
    return rules.StepNetwork(layers, in_shape=N_IN, steps=STEPS, feedback=back).to(DTYPE)


def stepped(rule: str, *, feedback: bool = False) -> rules.StepNetwork:
    """A network of one hidden population."""
    return built(rule, (HIDDEN,), feedback=feedback)


def timed() -> hl.Network:
    """A network in continuous time."""
    generator = torch.Generator().manual_seed(0)
    first = hl.Dense(N_IN, HIDDEN).init_normal_(1.2, 1.5, generator)
    second = hl.Dense(HIDDEN, N_OUT).init_normal_(0.8, 1.2, generator)
    net = hl.Network([first, hl.LIF(HIDDEN, 1e-2, 5e-3), second, hl.LIF(N_OUT, 1e-2, 5e-3)])
    return net.to(DTYPE)


def values(n_units: int = N_IN, batch: int = BATCH) -> rules.Values:
    """Random values 0..1."""
    drawn = torch.rand(batch, n_units, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    return rules.Values(drawn, torch.arange(batch))
