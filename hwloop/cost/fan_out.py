"""Where a spike goes: the synapses of each unit, of a network as it is simulated or of a program as a device holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..mapping import Program
from ..mapping.program import LayerProgram
from ..network import Network
from ..network.structure import Link

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class FanOut:
    """Synapses of ``n_sources`` units onto one population, sorted by source: two of one pair are one, unless delays differ.

    Attributes
    ----------
    source : place of the sending population in the record; -1: the inputs
    first_unit : where its units begin among those of the inputs
    starts : ``[n_sources + 1]`` where the synapses of each unit begin
    targets : ``[synapses]``
    effective : ``[synapses]`` bool, weights that are not zero
    delays : ``[synapses]`` (s), or None
    """

    source: int
    first_unit: int
    n_sources: int
    starts: Array
    targets: Array
    effective: Array
    delays: Array | None


@dataclass(frozen=True)
class Target:
    """A population with all that drives it; ``states`` are the values that one of its neurons keeps."""

    name: str
    neurons: int
    states: int
    fans: tuple[FanOut, ...]

    @property
    def synapses(self) -> int:
        """All of them."""
        return sum(len(fan.targets) for fan in self.fans)


def targets_of_program(program: Program) -> tuple[Target, ...]:
    """The populations of ``program``, with the codes that a device holds."""
    found = []
    for index, layer in enumerate(program.layers):
        mask = np.ones(layer.codes.shape, bool) if layer.synapses is None else layer.synapses
        delay = None if layer.delay is None else np.broadcast_to(layer.delay, layer.codes.shape)
        fans, column = [], 0
        for source, start, size in _blocks(index, layer):
            part = slice(column, column + size)
            column += size
            targets, sources = np.nonzero(mask[:, part])
            values = layer.codes[:, part][targets, sources]
            delays = None if delay is None else delay[:, part][targets, sources]
            fans.append(_fan(source, start, size, sources, targets, values, delays))
        states = _states(layer.kind, layer.parameters.get("t_ref"))
        found.append(Target(program.names[index], layer.n_out, states, tuple(fans)))
    return tuple(found)


def _blocks(index: int, layer: LayerProgram) -> list[tuple[int, int, int]]:
    if layer.blocks:
        return [(block.source, block.start, block.size) for block in layer.blocks]
    return [(index - 1, 0, layer.n_in)]


def targets_of_network(net: Network) -> tuple[Target, ...]:
    """The populations of ``net``, those that do not spike last, with its present weights."""
    structure = net.structure
    found = []
    for name in (*structure.populations, *structure.readouts):
        fans = [_of_link(net, link) for link in structure.links if link.target == name]
        node = structure.nodes[name]
        reference = getattr(node, "t_ref", None)
        states = _states(type(node).__name__, None if reference is None else reference.detach().cpu().numpy())
        found.append(Target(name, node.n, states, tuple(fans)))
    return tuple(found)


def _of_link(net: Network, link: Link) -> FanOut:
    structure, paths = net.structure, link.composition.paths
    size = structure.nodes[link.source].n
    source, start = -1, 0
    if link.source in structure.populations:
        source = structure.populations.index(link.source)
    else:
        before = structure.inputs[: structure.inputs.index(link.source)]
        start = sum(structure.nodes[name].n for name in before)
    weight = link.composition.weight().detach().cpu().double().numpy()
    delay = link.composition.delay()
    delays = None if delay is None else delay.detach().cpu().double().numpy()
    return _fan(source, start, size, paths.sources, paths.targets, weight, delays)


def _fan(
    source: int, start: int, size: int, sources: Array, targets: Array, values: Array, delays: Array | None
) -> FanOut:
    """Sorted by source, target and delay; paths of equal ones are one synapse, whose weight is their sum."""
    columns = (targets, sources) if delays is None else (delays, targets, sources)
    order = np.lexsort(columns)
    sources, targets, values = sources[order], targets[order], values[order]
    delays = None if delays is None else delays[order]
    new = np.ones(len(sources), bool)
    new[1:] = (np.diff(sources) != 0) | (np.diff(targets) != 0)
    if delays is not None:
        new[1:] |= np.diff(delays) != 0
    first = np.flatnonzero(new)
    total = np.add.reduceat(values.astype(np.float64), first) if len(first) else np.zeros(0)
    starts = np.searchsorted(sources[first], np.arange(size + 1))
    return FanOut(source, start, size, starts, targets[first], total != 0, None if delays is None else delays[first])


def _states(kind: str, t_ref: Array | None) -> int:
    """Current and membrane, or the membrane alone; what is left of the refractory time where there is one."""
    own = 1 if kind in ("DeltaLIF", "IF") else 2
    return own + int(t_ref is not None and bool((t_ref > 0).any()))
