"""Projections of a NIR graph: the ways through its maps, from every node that spikes to every node that it reaches.

Several edges into one map add up there. So every way is a projection of its own, with maps of its own; the bias of a map
counts once for all ways through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import nir

from ...errors import InputError
from .flat import NEURONS, Flat, listed

#: Most ways into one node.
MAX_WAYS = 1_000


@dataclass(frozen=True)
class Way:
    """Names of the maps from ``source`` to ``target``, and for each whether its bias counts here."""

    source: str
    target: str
    maps: tuple[str, ...]
    biased: tuple[bool, ...]


def ways_of(flat: Flat) -> list[Way]:
    """All ways, by target in the order of the nodes, then in the order of the edges.

    Raises :class:`InputError` naming nodes: maps in a loop without neurons, more ways than are followed.
    """
    return [way for name in flat.names(NEURONS) for way in _into(flat, name)]


def feeding(flat: Flat, output: str) -> str:
    """The one node with neurons before the Output ``output``; shapes may change on the way, nothing else.

    Raises :class:`InputError` naming what else is there.
    """
    found = []
    for maps, source in _back(flat, output, ()):
        other = [name for name in maps if not isinstance(flat.nodes[name], nir.Flatten)]
        if other:
            kind = type(flat.nodes[other[-1]]).__name__
            raise InputError(
                f"the graph ends in {other[-1]!r} ({kind}), after which no neurons come; allowed: neurons before {output!r}. "
                "Add an LI (or CubaLI) readout after it, or leave it out"
            )
        found.append(source)
    if len(found) != 1 or not isinstance(flat.nodes[found[0]], NEURONS):
        raise InputError(f"node {output!r} (Output) takes from {listed(found)}; allowed: one node of neurons")
    return found[0]


def _into(flat: Flat, target: str) -> list[Way]:
    counted: set[tuple[str, ...]] = set()
    found: list[Way] = []
    for maps, source in _back(flat, target, ()):
        biased = []
        for k in range(len(maps)):
            biased.append(maps[k:] not in counted)
            counted.add(maps[k:])
        found.append(Way(source, target, maps, tuple(biased)))
        if len(found) > MAX_WAYS:
            raise InputError(f"more than {MAX_WAYS} ways through maps lead to {target!r}; merge parallel maps")
    return found


def _back(
    flat: Flat, name: str, maps: tuple[str, ...], via: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """``(maps, source)`` of every way to ``name`` and on through ``maps``."""
    for other in flat.before[name]:
        node = flat.nodes[other]
        if other in via:
            raise InputError(
                f"a loop without neurons: {' -> '.join(map(repr, (other, *via)))}; allowed: loops through neurons"
            )
        if other in flat.through:
            yield from _back(flat, other, maps, (other, *via))
        elif isinstance(node, (*NEURONS, nir.Input)):
            yield maps, other
        else:
            yield from _back(flat, other, (other, *maps), (other, *via))
