"""Program images and events written a second time, from section 8 of PROTOCOL.md alone; the form of a projection can be chosen."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field

import numpy as np

from hwloop_fixed_point.graph import Block, FixedGraph
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.synapses import Synapses
from hwloop_fixed_point.ticks import TickSpikes

HEADER, POPULATION, PROJECTION = "<4sHHHHIIIIIII", "<IIIIiIII", "<iIIIiIBBHIIII"
CODES = {"mixed": (0, 2), "excitatory": (1, 1), "inhibitory": (2, -1)}


@dataclass
class _Parts:
    """Arrays behind the tables, each at a multiple of 4."""

    at: int
    data: list[bytes] = field(default_factory=list)

    def add(self, array: Array | None, kind: str) -> int:
        if array is None:
            return 0
        place, data = self.at, np.ascontiguousarray(array).astype(kind).tobytes()
        self.data.append(data + bytes(-len(data) % 4))
        self.at += len(self.data[-1])
        return place


def image_of(graph: FixedGraph, form: str = "dense") -> bytes:
    """The image of ``graph`` with every projection as ``form``: "dense" or "list"."""
    projections = list(_projections(graph))
    populations_at = struct.calcsize(HEADER)
    projections_at = populations_at + len(graph.layers) * struct.calcsize(POPULATION)
    parts = _Parts(projections_at + len(projections) * struct.calcsize(PROJECTION))
    tables, first, synapses = b"", 0, 0
    for layer in graph.layers:
        offsets = [parts.add(array, "<i4") for array in (layer.bias, layer.u_start, layer.v_start)]
        tables += struct.pack(POPULATION, layer.n, first, 4095 - layer.du, 4096 - layer.dv, layer.vth << 6, *offsets)
        first += layer.n
    for target, block, synapse in projections:
        packed, count = _projection(target, block, synapse, form, parts)
        tables, synapses = tables + packed, synapses + count
    sizes = (len(graph.layers), len(projections), 0, graph.n_in, first, synapses, parts.at)
    header = struct.pack(HEADER, b"HWF1", 1, *sizes, populations_at, projections_at, 0)
    return header + tables + b"".join(parts.data)


def _projections(graph: FixedGraph) -> list[tuple[int, Block, Synapses]]:
    found = []
    for index, layer in enumerate(graph.layers):
        column = 0
        for block in graph.sources(index):
            found.append((index, block, layer.synapses.columns(column, block.size)))
            column += block.size
        if layer.recurrent is not None:
            found.append((index, Block(index, 0, layer.n), layer.recurrent))
    return found


def _projection(target: int, block: Block, synapses: Synapses, form: str, parts: _Parts) -> tuple[bytes, int]:
    code, unit = CODES[synapses.acting_mode]
    codes = synapses.effective().T // unit
    delay = None if synapses.delay is None else synapses.delay.T
    depth = 1 if delay is None else int(delay.max()) + 1
    kind, pointer, targets = "<i1" if code == 0 else "<u1", 0, 0
    if form == "dense":
        weights, delays, count = parts.add(codes, kind), parts.add(delay, "<u1"), codes.size
    else:
        j, k = np.nonzero(codes)
        weights, delays = parts.add(codes[j, k], kind), 0 if delay is None else parts.add(delay[j, k], "<u1")
        pointer = parts.add(np.concatenate([[0], np.cumsum((codes != 0).sum(1))]), "<u4")
        targets, count = parts.add(k, "<u2"), len(k)
    place = (block.source, block.start, block.size, target, synapses.exponent, depth)
    return struct.pack(PROJECTION, *place, code, int(form == "list"), 0, weights, delays, pointer, targets), count


def events_of(spikes: TickSpikes, wide: bool = False) -> bytes:
    """INPUT of a batch in ticks."""
    kind = np.dtype([("tick", "<u4"), ("unit", "<u4" if wide else "<u2")])
    events = np.zeros(int(spikes.counts.sum()), kind)
    events["tick"], events["unit"] = spikes.ticks[spikes.valid], spikes.units[spikes.valid]
    return bytes(spikes.counts.astype("<u4").tobytes() + events.tobytes())


def answer_of(
    output: bytes, graph: FixedGraph, batch: int, n_ticks: int, wide: bool = False
) -> tuple[list[Array], Array]:
    """Spikes ``[batch, ticks, n]`` of each layer, and wraps ``[batch, layers]``, of OUTPUT; all of it has to be used up."""
    layers, sizes = len(graph.layers), np.array(graph.sizes)
    counts = np.frombuffer(output, "<u4", batch)
    wraps = np.frombuffer(output, "<u4", batch * layers, 4 * batch).reshape(batch, layers)
    kind = np.dtype([("tick", "<u4"), ("unit", "<u4" if wide else "<u2")])
    events = np.frombuffer(output, kind, offset=4 * batch * (1 + layers))
    assert len(events) == counts.sum()
    firsts = np.cumsum([0, *sizes])
    raster = np.zeros((batch, n_ticks, firsts[-1]), bool)
    sample = np.repeat(np.arange(batch), counts)
    assert not raster[sample, events["tick"], events["unit"]].any()
    raster[sample, events["tick"], events["unit"]] = True
    assert raster.sum() == len(events)  # none twice
    return [raster[:, :, a:b] for a, b in itertools.pairwise(firsts)], wraps
