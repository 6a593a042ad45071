"""The event-driven network in plain Python, unit by unit: the specification of :mod:`hwloop.rules.spikegrad.event_kernels`.

Potentials are :class:`Adder` numbers, which can be added, subtracted and compared, and nothing else: a multiplication
anywhere on the way of a spike is a TypeError. They count what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..steps.integrate_fire import IntegrateFire

#: Chooses the next of so many pending events: ``pick(pending) -> index``.
Pick = Callable[[int], int]


@dataclass
class Tally:
    """Additions and comparisons so far."""

    additions: int = 0
    comparisons: int = 0


@dataclass
class Adder:
    """A number that adds, subtracts, compares, and counts it; it has no other arithmetic."""

    value: float
    tally: Tally

    def __iadd__(self, other: float) -> Adder:
        self.tally.additions += 1
        self.value += other
        return self

    def __isub__(self, other: float) -> Adder:
        self.tally.additions += 1
        self.value -= other
        return self

    def __ge__(self, other: float) -> bool:
        self.tally.comparisons += 1
        return self.value >= other

    def __gt__(self, other: float) -> bool:
        self.tally.comparisons += 1
        return self.value > other

    def __le__(self, other: float) -> bool:
        self.tally.comparisons += 1
        return self.value <= other

    def __lt__(self, other: float) -> bool:
        self.tally.comparisons += 1
        return self.value < other


@dataclass
class Unit:
    """One unit: what it reaches, ``(target, weight)``, its neuron (None: it only integrates), potential and count."""

    reaches: Sequence[tuple[int, float]]
    neuron: IntegrateFire | None
    potential: Adder
    count: Adder
    sent: list[int] = field(default_factory=list)


def fifo(pending: int) -> int:
    """The oldest event."""
    return 0


def simulate_reference(
    units: Sequence[Unit], blocks: Sequence[int], sources: Sequence[int], *, layerwise: bool, pick: Pick = fifo
) -> None:
    """Run one sample until no event is pending; potentials, counts and ``sent`` of the units are changed.

    Parameters
    ----------
    units : all units, block after block
    blocks : first unit of each block, and their number at the end
    sources : events that each unit of block 0 sends (negative: of sign -1)
    layerwise : a block integrates everything before it discharges
    pick : order of delivery
    """
    pending = [(j, 1 if n > 0 else -1) for j, n in enumerate(sources) for _ in range(abs(n))]
    for first, last in pairwise(blocks[1:]):
        while layerwise and pending:
            _deliver(units, pending, pick)
        for i in range(first, last):
            pending += _fired(units[i], i)
    while pending:
        for i in _deliver(units, pending, pick):
            if not layerwise:
                pending += _fired(units[i], i)


def _deliver(units: Sequence[Unit], pending: list[tuple[int, int]], pick: Pick) -> list[int]:
    unit, sign = pending.pop(pick(len(pending)))
    for target, weight in units[unit].reaches:
        if sign > 0:
            units[target].potential += weight
        else:
            units[target].potential -= weight
    return [target for target, _ in units[unit].reaches]


def _fired(unit: Unit, number: int) -> list[tuple[int, int]]:
    """Events of ``unit`` until it is quiet."""
    events: list[tuple[int, int]] = []
    while unit.neuron is not None and (s := _decision(unit, unit.neuron)) != 0:
        if s > 0:
            unit.potential -= unit.neuron.quantum
            unit.count += 1
        else:
            unit.potential += unit.neuron.quantum
            unit.count -= 1
        unit.sent.append(s)
        events.append((number, s))
    return events


def _decision(unit: Unit, neuron: IntegrateFire) -> int:
    if unit.potential >= neuron.upper:
        return 1
    below = unit.potential <= neuron.lower if neuron.at_lower else unit.potential < neuron.lower
    if not below:
        return 0
    return -1 if not neuron.rectified or unit.count > 0 else 0
