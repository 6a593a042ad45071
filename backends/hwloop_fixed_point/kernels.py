"""The fixed-point layer in Numba: whole samples, tick by tick, synapses only where an input unit spikes.

All in this one file, since Numba's cache looks at the file of a function alone. Sums are 32 bit and wrap, as they do in Lava;
a decay ``(|x| f) >> 12`` is split into ``(|x| >> 12) f + (((|x| & 4095) f) >> 12)``, which is the same integer and never needs more
than 32 bits, so that the loop over neurons runs in vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hwloop.simulate.compile_kernel import kernel

from .graph import Array

_I: Any = np.int32
_U: Any = np.uint32
_SHIFT = _I(6)
_TOP = _I(2**23)
_ROUND = _I(2**24)
_CLIP = _I(2**23 - 1)


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


@kernel()
def _accumulate(
    units: Array,
    first: int,
    last: int,
    weight: Array,
    delay: Array,
    buffer: Array,
    place: int,
    floors: Array,
    exponent: int,
) -> None:
    """Rule 2 for the spikes ``units[first:last]`` of one tick; ``place`` is what is sent at the next one.

    ``floors`` has rows only where each delay's sum is shifted right by itself, before it meets those of other ticks.
    """
    if delay.shape[0] == 0:
        for k in range(first, last):
            _add(buffer[place], weight[units[k]])
    elif len(floors) == 0:
        for k in range(first, last):
            _add_delayed(buffer, place, weight[units[k]], delay[units[k]])
    else:
        floors[:] = _I(0)
        for k in range(first, last):
            _add_delayed(floors, 0, weight[units[k]], delay[units[k]])
        for d in range(len(floors)):
            _shifted(floors[d], exponent, buffer[(place + d) % len(buffer)])


@kernel()
def layer_range(
    low: int,
    high: int,
    n_ticks: int,
    ticks: Array,
    units: Array,
    counts: Array,
    weight: Array,
    delay: Array,
    exponent: int,
    depth: int,
    own_weight: Array,
    own_delay: Array,
    own_exponent: int,
    own_depth: int,
    keep_u: int,
    keep_v: int,
    threshold: int,
    bias: Array,
    out_ticks: Array,
    out_units: Array,
    out_counts: Array,
    out_wraps: Array,
) -> None:
    """One layer for samples ``low..high - 1``.

    ``weight [n_in, n]`` int16 (pre-major, effective), ``delay [n_in, n]`` or without rows, ``depth`` the largest delay + 1; ``own_``:
    the same of the recurrent Dense, ``own_depth`` 0 where there is none. ``out_counts`` may exceed the room of ``out_ticks``: the
    caller then runs again with more. ``out_wraps``: how often a ``u`` wrapped in each sample.
    """
    n, room = len(bias), out_ticks.shape[1]
    # a right shift floors the sum of one tick and one delay: with delays it has to come before the ring buffer
    floors = np.zeros((depth if exponent < 0 and delay.shape[0] > 0 else 0, n), np.int32)
    own_floors = np.zeros((own_depth if own_exponent < 0 and own_delay.shape[0] > 0 else 0, n), np.int32)
    late, own_late = 0 if len(floors) else exponent, 0 if len(own_floors) else own_exponent
    buffer, own_buffer = np.zeros((depth, n), np.int32), np.zeros((max(own_depth, 1), n), np.int32)
    u, v, arrived = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32)
    biased = bool(np.any(bias != 0))
    for b in range(low, high):
        u[:], v[:], buffer[:], own_buffer[:] = _I(0), _I(0), _I(0), _I(0)
        event, spikes, wraps, awake = 0, 0, 0, biased
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
                _accumulate(units[b], first, event, weight, delay, buffer, place, floors, exponent)
                due, awake = tick + depth, True
            if own_depth > 0 and start < spikes <= room:
                own_due = tick + own_depth
                _accumulate(
                    out_units[b], start, spikes, own_weight, own_delay, own_buffer, own_place, own_floors, own_exponent
                )
        out_counts[b], out_wraps[b] = spikes, wraps
