"""The input of one sample, sorted to the cells that it reaches; and the spikes of its cells in order of time.

A **cell** is an output position of one group: its neurons, one for each output channel of the group, have the same input
events. Cell ``g * positions + p`` has ``first[cell] .. first[cell + 1]`` of the lists ``event`` (place among the sample's
events) and ``tap`` (row of the group's weights), in order of time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compile_kernel import kernel
from ..contract import IntArray
from ..kernels.exponentials import respond, respond_2
from ..kernels.neuron import RATIO_2
from .cell_lanes import LANES
from .geometry import Geometry

#: Bits of a number that is not negative: with them the compiler knows that an index does not count from the end.
NATURAL = (1 << 63) - 1

#: Spikes that plain insertion sorts fastest; more in one bin are merged.
SMALL_SORT = 24


class Wiring(NamedTuple):
    """A :class:`Geometry` as the kernels read it.

    ``home [n_out]``: where each neuron stands when all stand in blocks of ``LANES``, those of a cell one after the other.
    """

    home: IntArray
    first: IntArray
    position: IntArray
    tap: IntArray
    pixels: int
    positions: int
    groups: int
    in_group: int
    out_group: int
    window: int


def wiring(geometry: Geometry) -> Wiring:
    """What the kernels read of a geometry."""
    channels, height, width = geometry.in_shape
    per_group = geometry.out_channels // geometry.groups
    channel, position = np.divmod(np.arange(geometry.n_out), geometry.positions)
    group, within = np.divmod(channel, per_group)
    home = (group * geometry.positions + position) * -(-per_group // LANES) * LANES + within
    return Wiring(
        home, *geometry.reach, height * width, geometry.positions, geometry.groups, channels // geometry.groups,
        geometry.out_channels // geometry.groups, geometry.kernel[0] * geometry.kernel[1],
    )  # fmt: skip


@kernel()
def most_synapses(wires: Any, units: Any, counts: Any) -> Any:
    """Largest number of (event, cell) pairs of a sample."""
    most = 0
    for b in range(counts.shape[0]):
        total = 0
        for e in range(counts[b]):
            pixel = units[b, e] % wires.pixels
            total += wires.first[pixel + 1] - wires.first[pixel]
        most = max(most, total)
    return most


@kernel(inline="always")
def sort_to_cells(wires, t_in, u_in, n_in, end_time, first, event, tap):  # type: ignore[no-untyped-def]
    """Fill the lists of one sample from its events before ``end_time``."""
    cells = wires.groups * wires.positions
    for cell in range(cells + 1):
        first[cell] = 0
    n = n_in
    while n > 0 and t_in[n - 1] >= end_time:
        n -= 1
    for e in range(n):
        channel, pixel = u_in[e] // wires.pixels, u_in[e] % wires.pixels
        base = channel // wires.in_group * wires.positions
        for r in range(wires.first[pixel], wires.first[pixel + 1]):
            first[(base + wires.position[r] & NATURAL) + 1] += 1
    for cell in range(cells):
        first[cell + 1] += first[cell]
    for e in range(n):
        channel, pixel = u_in[e] // wires.pixels, u_in[e] % wires.pixels
        base, row = channel // wires.in_group * wires.positions, channel % wires.in_group * wires.window
        for r in range(wires.first[pixel], wires.first[pixel + 1]):
            cell = base + wires.position[r] & NATURAL
            place = first[cell] & NATURAL
            event[place], tap[place], first[cell] = e, row + wires.tap[r], place + 1
    for cell in range(cells, 0, -1):
        first[cell] = first[cell - 1]
    first[0] = 0


@kernel(inline="always")
def respond_between(kind, wires, t_in, end_time, first, event, rate_mem, rate_syn, span, decay_m, decay_s, gain):  # type: ignore[no-untyped-def]
    """Responses over every interval of every cell: interval ``first[cell] + cell + e`` ends at event ``e``, or at the end.

    ``span`` (s) in float64, the responses rounded to the dtype of their arrays.
    """
    for cell in range(wires.groups * wires.positions):
        begin, place = 0.0, first[cell] + cell
        for e in range(first[cell], first[cell + 1]):
            end = np.float64(t_in[event[e]])
            span[place] = end - begin
            begin, place = end, place + 1
        span[place] = np.float64(end_time) - begin
    n = first[wires.groups * wires.positions] + wires.groups * wires.positions
    if kind is RATIO_2:
        for k in range(n):
            decay_m[k], decay_s[k], gain[k] = respond_2(span[k], rate_mem)
    else:
        for k in range(n):
            decay_m[k], decay_s[k], gain[k] = respond(span[k], rate_mem, rate_syn)


@kernel(inline="always")
def chain_spikes(units, count, head, following, tail):  # type: ignore[no-untyped-def]
    """Spikes neuron by neuron: the first of each, -1 where it has none, and the one that follows each, or -1."""
    for neuron in range(head.shape[0]):
        head[neuron] = -1
    for k in range(count):
        neuron = units[k]
        following[k] = -1
        if head[neuron] < 0:
            head[neuron] = k
        else:
            following[tail[neuron]] = k
        tail[neuron] = k


@kernel(inline="always")
def _later(times, units, a, b):  # type: ignore[no-untyped-def]
    """Whether spike ``a`` comes after spike ``b``; ties by neuron."""
    return times[a] > times[b] or (times[a] == times[b] and units[a] > units[b])


@kernel()
def sort_spikes(times, units, n, order, spare, bins):  # type: ignore[no-untyped-def]
    """Write the places of ``n`` spikes to ``order`` by time, ties by neuron: first into as many bins, then within each.

    A bin of few is sorted by insertion, one of many by merging: times that lie close together cost no more than
    ``n log n``. ``spare`` has the size of ``order``, ``bins`` one more.
    """
    if n == 0:
        return
    low, high = times[0], times[0]
    for k in range(n):
        low, high = min(low, times[k]), max(high, times[k])
    width = np.float64(high) - np.float64(low)
    scale = (n - 1) / width if width > 0.0 else 0.0
    for k in range(n + 1):
        bins[k] = 0
    for k in range(n):
        place = min(n - 1, int((np.float64(times[k]) - np.float64(low)) * scale))
        spare[k] = place
        bins[place + 1] += 1
    for k in range(n):
        bins[k + 1] += bins[k]
    for k in range(n):
        order[bins[spare[k]]] = k
        bins[spare[k]] += 1
    first = 0
    for place in range(n):  # bins[place] is by now where the bin ends
        stop = bins[place]
        run = SMALL_SORT
        for begin in range(first, stop, run):
            for a in range(begin + 1, min(begin + run, stop)):
                item, slot = order[a], a
                while slot > begin and _later(times, units, order[slot - 1], item):
                    order[slot] = order[slot - 1]
                    slot -= 1
                order[slot] = item
        while run < stop - first:
            for begin in range(first, stop, 2 * run):
                middle, end = min(begin + run, stop), min(begin + 2 * run, stop)
                left, right = begin, middle
                for k in range(begin, end):
                    if left < middle and (right >= end or not _later(times, units, order[left], order[right])):
                        spare[k] = order[left]
                        left += 1
                    else:
                        spare[k] = order[right]
                        right += 1
            for k in range(first, stop):
                order[k] = spare[k]
            run *= 2
        first = stop
