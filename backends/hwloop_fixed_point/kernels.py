"""The fixed-point layer in Numba: whole samples, tick by tick, synapses only where an input unit spikes.

A layer runs through all ticks before the next one begins (:func:`layer_range`); where layers drive layers before them, all of
them take each tick together (:func:`graph_range`).

All in this one file, since Numba's cache looks at the file of a function alone. Sums are 32 bit and wrap, as they do in Lava;
a decay ``(|x| f) >> 12`` is split into ``(|x| >> 12) f + (((|x| & 4095) f) >> 12)``, which is the same integer and never needs more
than 32 bits, so that the loop over neurons runs in vector instructions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hwloop.simulate.compile_kernel import kernel

from .registers import Array

_I: Any = np.int32
_U: Any = np.uint32
_SHIFT = _I(6)
_TOP = _I(2**23)
_ROUND = _I(2**24)
_CLIP = _I(2**23 - 1)


class Wires(NamedTuple):
    """A Dense: ``weight [n_in, n]`` int16 (pre-major, effective) and ``delay [n_in, n]``, which has no rows where there is none.

    Or, where ``pointer [n_in + 1]`` is not empty, a list: unit ``j`` has ``weights[k], delays[k]`` onto ``targets[k]`` for
    ``pointer[j] <= k < pointer[j + 1]``; ``delays`` is empty where there is none. ``depth``: the largest delay + 1; 0: no Dense.
    """

    weight: Array
    delay: Array
    pointer: Array
    targets: Array
    weights: Array
    delays: Array
    exponent: int
    depth: int


class Neurons(NamedTuple):
    """A population: what is kept of current and membrane in 4096ths, the threshold in units of the state; ``[n]`` int32."""

    keep_u: Any
    keep_v: Any
    threshold: Any
    bias: Array
    u_start: Array
    v_start: Array


class Joint(NamedTuple):
    """All populations ``p`` and Denses ``c`` of a graph.

    Neurons of population ``p`` stand at ``first[p]`` and on; what else :class:`Neurons` has, a value each. Dense ``c`` leads from units
    ``start[c] .. start[c] + size[c]`` of population ``source[c]`` (-1: the input) to population ``target[c]``; its ring buffer of
    ``depth[c]`` rows stands at ``room[c]`` and on, its list of synapses (as in :class:`Wires`) at ``pointer[row[c]]`` and on.
    """

    first: Array
    keep_u: Array
    keep_v: Array
    threshold: Array
    bias: Array
    u_start: Array
    v_start: Array
    source: Array
    start: Array
    size: Array
    target: Array
    exponent: Array
    depth: Array
    room: Array
    row: Array
    pointer: Array
    targets: Array
    weights: Array
    delays: Array


class Events(NamedTuple):
    """Input: ``ticks, units [batch, events]`` int32, sorted, ``counts [batch]``."""

    ticks: Array
    units: Array
    counts: Array


class Answer(NamedTuple):
    """Output, as :class:`Events`; ``counts`` may exceed the room for them: the caller then runs again with more.

    ``wraps [batch]``, of a :class:`Joint` ``[batch, populations]``: how often a ``u`` wrapped in each sample.
    """

    ticks: Array
    units: Array
    counts: Array
    wraps: Array


@kernel(inline="always")
def _decayed(x: int, factor: int) -> int:
    """``sgn(x) ((|x| factor) >> 12)`` for int32 ``x``."""
    sign = _I(x >> _I(31))
    size = _U(_I(_I(x ^ sign) - sign))
    kept = _U(_U(size >> _U(12)) * factor + _U(_U(_U(size & _U(4095)) * factor) >> _U(12)))
    return _I(_I(_I(kept) ^ sign) - sign)


@kernel()
def _step(u: Array, v: Array, arrived: Array, bias: Array, keep_u: int, keep_v: int, threshold: int) -> tuple[int, int]:
    """Rules 4 to 6 for one population; ``arrived`` turns into 1 where a neuron spikes, else 0. Returns spikes, wraps of u."""
    fired, wrapped = _I(0), _I(0)
    keep_u, keep_v = _U(keep_u), _U(keep_v)
    for i in range(len(u)):
        sum_ = _I(_decayed(u[i], keep_u) + _I(arrived[i] << _SHIFT))
        once = _I(sum_ - _ROUND) if sum_ > _TOP else sum_
        now = _I(sum_ + _ROUND) if once <= -_TOP else once
        wrapped = _I(wrapped + _I(now != sum_))
        u[i] = now
        level = _I(_I(_decayed(v[i], keep_v) + now) + bias[i])
        level = _I(min(max(level, -_CLIP), _CLIP))
        spike = _I(level > threshold)
        v[i] = _I(0) if spike else level
        arrived[i] = spike
        fired = _I(fired + spike)
    return fired, wrapped


@kernel()
def _add(total: Array, weight: Array) -> None:
    for i in range(len(total)):
        total[i] = _I(total[i] + weight[i])


@kernel()
def _add_delayed(buffer: Array, first: int, weight: Array, delay: Array) -> None:
    depth = len(buffer)
    for i in range(len(weight)):
        place = first + delay[i]
        place = place - depth if place >= depth else place
        buffer[place, i] = _I(buffer[place, i] + weight[i])


@kernel()
def _add_listed(buffer: Array, first: int, targets: Array, weights: Array, delays: Array) -> None:
    """The same for synapses onto ``targets`` alone."""
    depth = len(buffer)
    for k in range(len(targets)):
        place = first + delays[k] if len(delays) > 0 else first
        place = place - depth if place >= depth else place
        buffer[place, targets[k]] = _I(buffer[place, targets[k]] + weights[k])


@kernel()
def _shifted(total: Array, exponent: int, result: Array) -> None:
    """``result += total << exponent``, or ``>> -exponent``."""
    if exponent >= 0:
        for i in range(len(total)):
            result[i] = _I(result[i] + _I(total[i] << _I(exponent)))
    else:
        for i in range(len(total)):
            result[i] = _I(result[i] + _I(total[i] >> _I(-exponent)))


@kernel()
def _send(buffer: Array, place: int, exponent: int, arrived: Array) -> None:
    """Rule 3: add what is due at ``place`` to ``arrived``, and clear it."""
    _shifted(buffer[place], exponent, arrived)
    buffer[place] = _I(0)


@kernel(forceinline=True)
def _accumulate(units: Array, first: int, last: int, wires: Wires, buffer: Array, place: int, floors: Array) -> None:
    """Rule 2 for the spikes ``units[first:last]`` of one tick; ``place`` is what is sent at the next one.

    ``floors`` has rows only where each delay's sum is shifted right by itself, before it meets those of other ticks.
    """
    weight, delay, pointer = wires.weight, wires.delay, wires.pointer
    split = len(floors) > 0
    sums, row = (floors, 0) if split else (buffer, place)
    if split:
        floors[:] = _I(0)
    if len(pointer) > 0:
        targets, weights, delays = wires.targets, wires.weights, wires.delays
        for k in range(first, last):
            a, b = pointer[units[k]], pointer[units[k] + 1]
            _add_listed(sums, row, targets[a:b], weights[a:b], delays[a:b])
    elif delay.shape[0] == 0:
        for k in range(first, last):
            _add(sums[row], weight[units[k]])
    else:
        for k in range(first, last):
            _add_delayed(sums, row, weight[units[k]], delay[units[k]])
    if split:
        for d in range(len(floors)):
            _shifted(floors[d], wires.exponent, buffer[(place + d) % len(buffer)])


@kernel(allocates=True)
def layer_range(
    low: int, high: int, n_ticks: int, events: Events, forward: Wires, own: Wires, neurons: Neurons, answer: Answer
) -> None:
    """One layer for samples ``low..high - 1``; ``own`` is its recurrent Dense."""
    n = len(neurons.bias)
    # a right shift floors the sum of one tick and one delay: with delays it has to come before the ring buffer
    floors = np.zeros((forward.depth if forward.exponent < 0 and forward.depth > 1 else 0, n), np.int32)
    own_floors = np.zeros((own.depth if own.exponent < 0 and own.depth > 1 else 0, n), np.int32)
    buffer, own_buffer = np.zeros((forward.depth, n), np.int32), np.zeros((max(own.depth, 1), n), np.int32)
    state = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32)
    driven = bool(np.any(neurons.bias != 0) or np.any(neurons.u_start != 0) or np.any(neurons.v_start != 0))
    _run_layer(
        low,
        high,
        n_ticks,
        events,
        forward,
        own,
        neurons,
        answer,
        (floors, own_floors, buffer, own_buffer, state),
        driven,
    )


@kernel()
def _run_layer(
    low: int, high: int, n_ticks: int, events: Events, forward: Wires, own: Wires, neurons: Neurons, answer: Answer,
    space: Any, driven: bool,
) -> None:  # fmt: skip
    ticks, units, counts = events.ticks, events.units, events.counts
    out_ticks, out_units = answer.ticks, answer.units
    n, room = len(neurons.bias), out_ticks.shape[1]
    keep_u, keep_v, threshold, bias = neurons.keep_u, neurons.keep_v, neurons.threshold, neurons.bias
    floors, own_floors, buffer, own_buffer, (u, v, arrived) = space
    late, own_late = 0 if len(floors) else forward.exponent, 0 if len(own_floors) else own.exponent
    depth, own_depth, u_start, v_start = forward.depth, own.depth, neurons.u_start, neurons.v_start
    for b in range(low, high):
        buffer[:], own_buffer[:] = _I(0), _I(0)
        for i in range(n):
            u[i], v[i] = u_start[i], v_start[i]
        event, spikes, wraps, awake = 0, 0, 0, driven
        # until when the ring buffers may hold anything that is not zero
        due, own_due = -1, -1
        place, own_place = 0, 0
        for tick in range(n_ticks):
            start = spikes
            if awake:
                if tick <= due:
                    _send(buffer, place, late, arrived)
                if tick <= own_due:
                    _send(own_buffer, own_place, own_late, arrived)
                fired, wrapped = _step(u, v, arrived, bias, keep_u, keep_v, threshold)
                wraps += wrapped
                if fired > 0:
                    for i in range(n):
                        if arrived[i] != 0:
                            arrived[i] = _I(0)
                            if spikes < room:
                                out_ticks[b, spikes], out_units[b, spikes] = _I(tick), _I(i)
                            spikes += 1
            place = place + 1 if place + 1 < depth else 0
            own_place = own_place + 1 if own_place + 1 < own_depth else 0
            first = event
            while event < counts[b] and ticks[b, event] <= tick:
                event += 1
            if event > first:
                _accumulate(units[b], first, event, forward, buffer, place, floors)
                due, awake = tick + depth, True
            if own_depth > 0 and start < spikes <= room:
                own_due = tick + own_depth
                _accumulate(out_units[b], start, spikes, own, own_buffer, own_place, own_floors)
        answer.counts[b], answer.wraps[b] = spikes, wraps


@kernel()
def _accumulate_joint(
    units: Array, low: int, high: int, net: Joint, c: int, ring: Array, place: int, floors: Array
) -> None:
    """Rule 2 for Dense ``c`` and the spikes ``units[low:high]`` of its source; ``ring [depth, n]`` is its buffer."""
    split = net.exponent[c] < 0 and net.depth[c] > 1
    if split:
        floors[:] = _I(0)
    for k in range(low, high):
        unit = units[k] - net.start[c]
        if 0 <= unit < net.size[c]:
            a, b = net.pointer[net.row[c] + unit], net.pointer[net.row[c] + unit + 1]
            if split:
                _add_listed(floors, 0, net.targets[a:b], net.weights[a:b], net.delays[a:b])
            else:
                _add_listed(ring, place, net.targets[a:b], net.weights[a:b], net.delays[a:b])
    if split:
        for d in range(len(ring)):
            _shifted(floors[d], net.exponent[c], ring[(place + d) % len(ring)])


@kernel(allocates=True)
def graph_range(low: int, high: int, n_ticks: int, events: Events, net: Joint, answer: Answer) -> None:
    """All layers of a graph together for samples ``low..high - 1``; units of the answer are counted through all layers."""
    n, n_denses = net.first[len(net.first) - 1], len(net.source)
    state = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32)
    sums = np.zeros(net.room[n_denses], np.int32), np.zeros(int(np.max(net.room[1:] - net.room[:-1])), np.int32)
    places = np.zeros(n_denses, np.int64), np.zeros(n_denses, np.int64), np.zeros(len(net.first), np.int64)
    _run_graph(low, high, n_ticks, events, net, answer, (state, sums, places))


@kernel()
def _run_graph(low: int, high: int, n_ticks: int, events: Events, net: Joint, answer: Answer, space: Any) -> None:
    (u, v, arrived, fired), (rings, floors), (place, due, ends) = space
    first, n_layers, n_denses, room = net.first, len(net.first) - 1, len(net.source), answer.ticks.shape[1]
    for b in range(low, high):
        rings[:], due[:], place[:] = _I(0), -1, 0
        for i in range(len(u)):
            u[i], v[i] = net.u_start[i], net.v_start[i]
        event, spikes = 0, 0
        answer.wraps[b] = 0
        for tick in range(n_ticks):
            for c in range(n_denses):
                width = first[net.target[c] + 1] - first[net.target[c]]
                if tick <= due[c]:
                    # a sum of several delays was shifted before it came into the ring
                    late = 0 if net.exponent[c] < 0 and net.depth[c] > 1 else net.exponent[c]
                    at = net.room[c] + place[c] * width
                    _shifted(rings[at : at + width], late, arrived[first[net.target[c]] : first[net.target[c] + 1]])
                    rings[at : at + width] = _I(0)
                place[c] = place[c] + 1 if place[c] + 1 < net.depth[c] else 0
            count = 0
            for p in range(n_layers):
                x, y = first[p], first[p + 1]
                some, wrapped = _step(
                    u[x:y], v[x:y], arrived[x:y], net.bias[x:y], net.keep_u[p], net.keep_v[p], net.threshold[p]
                )
                answer.wraps[b, p] += wrapped
                if some > 0:
                    for i in range(x, y):
                        if arrived[i] != 0:
                            arrived[i] = _I(0)
                            fired[count] = _I(i - x)
                            count += 1
                            if spikes < room:
                                answer.ticks[b, spikes], answer.units[b, spikes] = _I(tick), _I(i)
                            spikes += 1
                ends[p + 1] = count
            begin = event
            while event < events.counts[b] and events.ticks[b, event] <= tick:
                event += 1
            for c in range(n_denses):
                p, width = net.source[c], first[net.target[c] + 1] - first[net.target[c]]
                i, j = (begin, event) if p < 0 else (ends[p], ends[p + 1])
                if j > i:
                    ring = rings[net.room[c] : net.room[c + 1]].reshape(net.depth[c], width)
                    rows = floors[: len(ring) * width].reshape(len(ring), width)
                    _accumulate_joint(events.units[b] if p < 0 else fired, i, j, net, c, ring, place[c], rows)
                    due[c] = tick + net.depth[c]
        answer.counts[b] = spikes
