"""Trained times: delays, time constants and refractory times, which a step moves in units of the network's time constants.

A weight is a number near 1, a delay some 1e-3 s: a step of one size for both would throw the delay about, and the gradient
towards a second, some 1e3 times that towards a time constant, would be all there is of the norm that is clipped. So times
are trained as if counted in the unit ``tau_syn`` (of a network without, ``tau_mem``), with the learning rate of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

#: Parameters that are times (s), and the least value of each in units.
LEAST = {"delay": 0.0, "t_ref": 0.0, "tau_mem": 0.05, "tau_syn": 0.05}
#: Key of the unit (s) in a group of an optimiser.
UNIT = "time_unit"


def grouped(net: nn.Module) -> list[Any]:
    """The parameters of ``net`` for an optimiser: as they are, or where times are among them in groups, each with its unit."""
    times = {id(value) for _, value in _times(net)}
    everything = list(net.parameters())
    if not any(id(value) in times for value in everything):
        return everything
    unit = unit_of(net)
    return [
        {"params": [value for value in everything if id(value) not in times]},
        {"params": [value for value in everything if id(value) in times], UNIT: unit},
    ]


def unit_of(net: nn.Module) -> float:
    """Mean ``tau_syn`` (s) of the populations that have one, else mean ``tau_mem``; 1 where there is neither."""
    for name in ("tau_syn", "tau_mem"):
        found = [value for module in net.modules() if isinstance(value := getattr(module, name, None), Tensor)]
        if found:
            return float(torch.cat([value.detach().double().reshape(-1) for value in found]).mean())
    return 1.0


def units(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    """Unit (s) of each parameter that has one, by ``id``."""
    groups = [group for group in optimizer.param_groups if UNIT in group]
    return {id(value): float(group[UNIT]) for group in groups for value in group["params"]}


class Bounds:
    """Keeps trained times where they mean something: no negative delay, no time constant near 0; ``unit`` (s)."""

    def __init__(self, net: nn.Module, unit: float) -> None:
        self._held = [(value, LEAST[name] * unit) for name, value in _times(net) if value.requires_grad]

    @torch.no_grad()
    def keep(self) -> None:
        """Move what a step took beyond back to the bound."""
        for value, least in self._held:
            value.clamp_(min=least)


def _times(net: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """``(name, parameter)`` of every parameter that is a time."""
    for name, value in net.named_parameters():
        last = name.rpartition(".")[2]
        if last in LEAST:
            yield last, value
