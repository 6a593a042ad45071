"""Operations counted again, by a plain loop over events and a connectivity that is found in another way: by what the maps make of
single spikes, not by their lists of synapses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import hwloop as hl
from hwloop.mapping import Program
from hwloop.record import Record

Array = np.ndarray[Any, Any]
Delay = Callable[[int, int], float]


class Counts(NamedTuple):
    effective: int
    connected: int
    updates: int
    spikes: int


class Way(NamedTuple):
    """From ``source`` (-1: inputs, from ``first`` on): which pairs there are, which have weight, and their delays."""

    source: int
    first: int
    there: Array
    weight: Array
    delay: Delay


def no_delay(target: int, source: int) -> float:
    return 0.0


def matrix(maps: Any, shapes: Any, *, ones: bool) -> Array:
    """``[n_out, n_in]`` of maps in a row, by what they make of one spike of each unit; with ``ones`` of weights of 1."""
    maps = copy.deepcopy(list(maps))
    n_in = int(np.prod(shapes[0]))
    value = torch.eye(n_in, dtype=torch.float64)
    with torch.no_grad():
        for layer, shape in zip(maps, shapes, strict=False):
            layer.double()
            for parameter in layer.parameters():
                if ones and parameter.ndim > 1:
                    parameter.fill_(1.0)
            if ones and isinstance(layer, hl.Sparse):
                layer.weight.fill_(1.0)
            value = layer.apply_to(value, shape)
    return value.T.numpy()


def ways_of_network(net: hl.Network, delays: dict[tuple[str, str], Delay]) -> list[list[Way]]:
    structure = net.structure
    starts = {name: sum(structure.nodes[n].n for n in structure.inputs[:k]) for k, name in enumerate(structure.inputs)}
    found = []
    for name in (*structure.populations, *structure.readouts):
        ways = []
        for link in structure.links:
            if link.target != name:
                continue
            maps, shapes = link.composition.maps, link.composition.shapes
            source = -1 if link.source in starts else structure.populations.index(link.source)
            ways.append(Way(
                source, starts.get(link.source, 0), matrix(maps, shapes, ones=True) != 0, matrix(maps, shapes, ones=False),
                delays.get((link.source, link.target), no_delay),
            ))  # fmt: skip
        found.append(ways)
    return found


def ways_of_program(program: Program) -> list[list[Way]]:
    """Of a chain without delays."""
    return [
        [Way(k - 1, 0, np.ones(layer.codes.shape, bool), layer.codes, no_delay)]
        for k, layer in enumerate(program.layers)
    ]


def counted(record: Record, ways: list[list[Way]]) -> list[Counts]:
    """Counts of every population, one event and one synapse after the other."""
    assert record.inputs is not None
    found = []
    for index, into in enumerate(ways):
        effective = connected = spikes = 0
        moments: set[tuple[int, int, float]] = set()
        for way in into:
            train = record.inputs if way.source < 0 else record.populations[way.source]
            for sample, (times, units) in enumerate(train.to_events()):
                for time, unit in zip(times.astype(np.float64).tolist(), units.tolist(), strict=True):
                    column = unit - way.first
                    if not 0 <= column < way.there.shape[1]:
                        continue
                    for target in range(way.there.shape[0]):
                        arrival = time + way.delay(target, column)
                        if way.there[target, column] and arrival <= train.t_stop:
                            connected += 1
                            effective += way.weight[target, column] != 0
                            moments.add((sample, target, arrival))
        if index < len(record.populations):
            spikes = sum(len(times) for times, _ in record.populations[index].to_events())
        found.append(Counts(int(effective), connected, len(moments), spikes))
    return found
