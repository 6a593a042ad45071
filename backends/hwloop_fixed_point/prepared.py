"""Graphs made ready: their arrays as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .graph import FixedGraph
from .kernels import Joint, Neurons, Wires
from .layers import Block, FixedLayer
from .registers import DECAY_UNITY, STATE_SHIFT
from .synapses import Synapses

#: Share of weights that are not zero below which synapses are listed one by one: adding a row of zeros costs a fourth of it.
LISTED = 0.25


@dataclass(frozen=True)
class ReadyLayer:
    """One layer for :func:`.kernels.layer_range`; ``blocks``: what its forward Dense is driven by."""

    n: int
    blocks: tuple[Block, ...]
    forward: Wires
    own: Wires
    neurons: Neurons


def in_turn(graph: FixedGraph) -> bool:
    """Whether the layers of ``graph`` can run one after the other, through all ticks each."""
    return all(_alone(layer, k, graph.sources(k)) for k, layer in enumerate(graph.layers))


def _alone(layer: FixedLayer, index: int, sources: tuple[Block, ...]) -> bool:
    selves = [block for block in sources if block.source == index]
    others = [block for block in sources if block.source != index]
    if not others or any(block.source > index for block in others):
        return False
    if len(selves) + (layer.recurrent is not None) > 1 or any(block[1:] != (0, layer.n) for block in selves):
        return False
    # where sums are shifted right, each Dense is by itself
    return len(others) == 1 or layer.synapses.exponent >= 0


def ready_layer(graph: FixedGraph, index: int) -> ReadyLayer:
    """Layer ``index`` of a graph whose layers run in turn."""
    layer, sources = graph.layers[index], graph.sources(index)
    owner = np.repeat([block.source for block in sources], [block.size for block in sources])
    recurrent = layer.recurrent
    if (owner == index).any():
        recurrent = layer.synapses.some(owner == index)
    forward = layer.synapses.some(owner != index)
    own = _NO_WIRES if recurrent is None else _wires(recurrent)
    blocks = tuple(block for block in sources if block.source != index)
    return ReadyLayer(layer.n, blocks, _wires(forward), own, _neurons(layer))


def ready_graph(graph: FixedGraph) -> Joint:
    """Any graph, for :func:`.kernels.graph_range`."""
    found = [dense for k in range(len(graph.layers)) for dense in denses(graph, k)]
    listed = [_listed(synapses) for _, _, synapses in found]
    sizes, depths = np.array(graph.sizes), [_depth(synapses) for _, _, synapses in found]
    kinds = [_neurons(layer) for layer in graph.layers]
    # every list of pointers counts through the synapses of all Denses
    ends = np.cumsum([0, *(len(wires.targets) for wires in listed)])
    rows = np.cumsum([0, *(len(wires.pointer) for wires in listed)])
    return Joint(
        first=np.cumsum([0, *sizes]),
        keep_u=np.array([kind.keep_u for kind in kinds], np.uint32),
        keep_v=np.array([kind.keep_v for kind in kinds], np.uint32),
        threshold=np.array([kind.threshold for kind in kinds], np.int32),
        bias=np.concatenate([kind.bias for kind in kinds]),
        u_start=np.concatenate([kind.u_start for kind in kinds]),
        v_start=np.concatenate([kind.v_start for kind in kinds]),
        source=np.array([block.source for _, block, _ in found]),
        start=np.array([block.start for _, block, _ in found]),
        size=np.array([block.size for _, block, _ in found]),
        target=np.array([target for target, _, _ in found]),
        exponent=np.array([synapses.exponent for _, _, synapses in found]),
        depth=np.array(depths),
        room=np.cumsum([0, *(depth * sizes[target] for depth, (target, _, _) in zip(depths, found, strict=True))]),
        row=rows[:-1],
        pointer=np.concatenate([wires.pointer + end for wires, end in zip(listed, ends[:-1], strict=True)]),
        targets=np.concatenate([wires.targets for wires in listed]),
        weights=np.concatenate([wires.weights for wires in listed]),
        delays=np.concatenate([wires.delays for wires in listed]),
    )


def denses(graph: FixedGraph, index: int) -> list[tuple[int, Block, Synapses]]:
    """``(target, where from, synapses)`` of everything that drives layer ``index``."""
    layer, first = graph.layers[index], 0
    found: list[tuple[int, Block, Synapses]] = []
    for block in graph.sources(index):
        found.append((index, block, layer.synapses.columns(first, block.size)))
        first += block.size
    if layer.recurrent is not None:
        found.append((index, Block(index, 0, layer.n), layer.recurrent))
    return found


def _neurons(layer: FixedLayer) -> Neurons:
    start = [np.zeros(layer.n, np.int32) if value is None else value for value in (layer.u_start, layer.v_start)]
    return Neurons(
        np.uint32(DECAY_UNITY - (layer.du + 1)),
        np.uint32(DECAY_UNITY - layer.dv),
        np.int32(layer.vth << STATE_SHIFT),
        layer.bias,
        *start,
    )


def _wires(synapses: Synapses) -> Wires:
    """Weights int16 (they lie in -256..255), as a matrix, or as a list where most are zero."""
    weight = synapses.effective()
    if np.count_nonzero(weight) < LISTED * weight.size:
        found = _listed(synapses)
        return found._replace(delays=found.delays[:0]) if synapses.delay is None else found
    delay = np.zeros((0, len(weight)), np.int16)
    if synapses.delay is not None:
        delay = np.ascontiguousarray(synapses.delay.T, np.int16)
    dense = np.ascontiguousarray(weight.T, np.int16)
    return _NO_WIRES._replace(weight=dense, delay=delay, exponent=synapses.exponent, depth=_depth(synapses))


def _listed(synapses: Synapses) -> Wires:
    weight = np.ascontiguousarray(synapses.effective().T, np.int16)
    sources, targets = np.nonzero(weight)
    delays = np.zeros(len(sources), np.int16)
    if synapses.delay is not None:
        delays = synapses.delay[targets, sources].astype(np.int16)
    return _NO_WIRES._replace(
        pointer=np.searchsorted(sources, np.arange(len(weight) + 1)),
        targets=targets.astype(np.int32),
        weights=weight[sources, targets],
        delays=delays,
        exponent=synapses.exponent,
        depth=_depth(synapses),
    )


def _depth(synapses: Synapses) -> int:
    return 1 if synapses.delay is None else int(synapses.delay.max()) + 1


_NO_MATRIX, _NO_ROW = np.zeros((0, 1), np.int16), np.zeros(0, np.int16)
_NO_WIRES = Wires(_NO_MATRIX, _NO_MATRIX, np.zeros(0, np.int64), np.zeros(0, np.int32), _NO_ROW, _NO_ROW, 0, 0)
