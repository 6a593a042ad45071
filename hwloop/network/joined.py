"""Populations that are simulated together: a component of a graph through :mod:`hwloop.simulate.joint`."""

from __future__ import annotations

from collections.abc import Mapping

from ..record import LayerHealth, Ran
from ..simulate import Options
from ..spikes import Spikes
from .populations import Population
from .structure import Component
from .wiring import Wiring


def run_joint(
    component: Component,
    wiring: Wiring,
    nodes: Mapping[str, Population],
    trains: dict[str, Spikes],
    given: Mapping[str, Spikes],
    options: Options,
    where: str,
    health: dict[str, LayerHealth],
    ran: dict[str, Ran],
) -> None:
    """Simulate the populations of ``component`` together, and write their spikes, health and what ran."""
    raise NotImplementedError
