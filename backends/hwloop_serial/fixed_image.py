"""Graphs of fixed-point layers as program images of kind "fixed"; :mod:`.fixed_reader` reads them."""

from __future__ import annotations

import numpy as np

from hwloop.errors import InputError
from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.layers import Block, FixedLayer
from hwloop_fixed_point.prepared import denses
from hwloop_fixed_point.registers import DECAY_UNITY, STATE_SHIFT, Array
from hwloop_fixed_point.synapses import Synapses

from .fixed_layout import (
    ALIGNED,
    DENSE,
    HEADER,
    LISTED,
    MAGIC,
    POPULATION,
    PROJECTION,
    VERSION,
    WIDE,
    ImageHeader,
    PopulationEntry,
    ProjectionEntry,
)

#: Code of a weight byte by the sign mode of its synapses.
CODES = {"mixed": 0, "excitatory": 1, "inhibitory": 2}
#: Populations and projections of an image at most: their numbers take two bytes.
MOST_PARTS = 65535


def write(graph: FixedGraph) -> bytes:
    """The image of ``graph``.

    Raises :class:`InputError` where it has more than 65,535 populations or projections.
    """
    dense = [part for index in range(len(graph.layers)) for part in denses(graph, index)]
    if max(len(graph.layers), len(dense)) > MOST_PARTS:
        raise InputError(
            f"{len(graph.layers)} populations and {len(dense)} projections; an image has {MOST_PARTS} of each: "
            "build the network of fewer"
        )
    populations_at = HEADER.size
    projections_at = populations_at + POPULATION.size * len(graph.layers)
    tail = _Tail(projections_at + PROJECTION.size * len(dense))
    firsts = np.cumsum([0, *graph.sizes])
    populations = [_population(layer, int(first), tail) for layer, first in zip(graph.layers, firsts[:-1], strict=True)]
    projections, synapses = [], 0
    for target, block, part in dense:
        entry, count = _projection(target, block, part, tail)
        projections.append(entry)
        synapses += count
    header = ImageHeader(
        MAGIC, VERSION, len(populations), len(projections), 0, graph.n_in, int(firsts[-1]), synapses, tail.end,
        populations_at, projections_at, 0,
    )  # fmt: skip
    return b"".join([
        HEADER.pack(*header),
        *(POPULATION.pack(*entry) for entry in populations),
        *(PROJECTION.pack(*entry) for entry in projections),
        *tail.parts,
    ])  # fmt: skip


class _Tail:
    """Arrays behind the tables, each at a multiple of :data:`~.fixed_layout.ALIGNED`."""

    def __init__(self, start: int) -> None:
        self.end = start
        self.parts: list[bytes] = []

    def add(self, array: Array | None, kind: str) -> int:
        """The offset of ``array`` as ``kind``; 0 where there is none, or all of it is 0 and need not be there."""
        if array is None:
            return 0
        data = np.ascontiguousarray(array, kind).tobytes()
        data += bytes(-len(data) % ALIGNED)
        place = self.end
        self.parts.append(data)
        self.end += len(data)
        return place


def _population(layer: FixedLayer, first: int, tail: _Tail) -> PopulationEntry:
    return PopulationEntry(
        n=layer.n,
        first=first,
        keep_u=DECAY_UNITY - (layer.du + 1),
        keep_v=DECAY_UNITY - layer.dv,
        threshold=layer.vth << STATE_SHIFT,
        bias_at=tail.add(_unless_zero(layer.bias), "<i4"),
        u_start_at=tail.add(_unless_zero(layer.u_start), "<i4"),
        v_start_at=tail.add(_unless_zero(layer.v_start), "<i4"),
    )


def _unless_zero(array: Array | None) -> Array | None:
    return array if array is not None and array.any() else None


def _projection(target: int, block: Block, synapses: Synapses, tail: _Tail) -> tuple[ProjectionEntry, int]:
    """Its entry, its arrays in ``tail``, and how many weights it has."""
    weight = np.ascontiguousarray(synapses.effective().T)
    delay = None if synapses.delay is None or not synapses.delay.any() else np.ascontiguousarray(synapses.delay.T)
    code = CODES[synapses.acting_mode]
    byte = {0: weight // 2, 1: weight, 2: -weight}[code].astype(np.int64).astype(np.uint8)
    n, size = weight.shape[1], weight.shape[0]
    number = "<u2" if n <= WIDE else "<u4"
    per_synapse = 1 + (delay is not None)
    listed = np.count_nonzero(weight) * (per_synapse + int(number[2])) + 4 * (size + 1) < weight.size * per_synapse
    depth = 1 if delay is None else int(delay[weight != 0].max(initial=0) if listed else delay.max()) + 1
    if not listed:
        weights_at, delays_at = tail.add(byte, "u1"), tail.add(delay, "u1")
        places, count = (weights_at, delays_at, 0, 0), weight.size
    else:
        sources, targets = np.nonzero(weight)
        weights_at = tail.add(byte[sources, targets], "u1")
        delays_at = tail.add(None if delay is None or depth == 1 else delay[sources, targets], "u1")
        pointer = np.searchsorted(sources, np.arange(size + 1))
        # a list without synapses still has its place: offset 0 would say that it is not there
        places = (weights_at, delays_at, tail.add(pointer, "<u4"), tail.add(targets, number))
        count = len(targets)
    form = LISTED if listed else DENSE
    entry = ProjectionEntry(
        block.source, block.start, block.size, target, synapses.exponent, depth, code, form, 0, *places
    )
    return entry, count
