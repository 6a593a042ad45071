"""Event-major forward pass: for each input event one contiguous update over all neurons of the layer.

State ``(u, i)`` is carried in local time, so no exponential of an absolute time is ever taken. Interval number e is
``(t_e, t_e+1]``: an input at a neuron's own spike time comes after the spike and is not felt by it. Whether a neuron
has reached its threshold is decided by the sign of ``u - c`` at the event, never by comparing rounded roots.

Strict arithmetic throughout (no contraction, no reassociation): simulation and replay of its spikes get equal bits.

What makes it fast, each measured: one pass per event, which reads one row of the state and writes the other and adds
the weights of the next event on the way; a test of few operations that flags too many neurons rather than too few;
their count in 32 bits (in 64 the pass runs at half the speed); spikes handled in the same compiled function; narrow layers padded to a constant width.
"""

# mypy: disable-error-code="assignment"
# Numba joins the types of a variable: here int with int64

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from .bits import lowest
from .crossings import (
    CROSSES,
    CURRENT,
    END_I,
    END_U,
    FORCED,
    LEVEL,
    OUTSIDE,
    POS,
    RATE_M,
    RATE_S,
    RATIO,
    RELEASED,
    ROWS,
    SHARED,
    SPIKING,
    TAU,
    UNTIL,
    U,
    arrive_there,
    find_crossings,
    search_crossings,
    spike_there,
    wait_there,
)
from .legs import LEG_ROWS, WIDTH
from .legs import RATE_M as LEG_RATE_M
from .legs import RATE_S as LEG_RATE_S
from .measured import REFRACTORY, RESET, TAU_MEM, TAU_SYN, replay_lanes
from .narrow import LANES as NARROW
from .narrow import aligned_rows, forward_step, short_propagators
from .neuron import GENERAL, RATIO_2, SLACK, may_cross, response
from .order import sort_interval
from .propagators import decays, is_short, propagators


@kernel(allocates=True)
def forward_range(lo, hi, kind, inputs, weight, neurons, tau, holding, measured, out):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi`` of a batch; writes spikes ``[batch, room]`` and the true counts to ``out_n``.

    The tuples, plain ones, for a ``NamedTuple`` takes five times as long to hand over:

    inputs : times, units, counts, t_stop.
    neurons : table of constants ``[n, 4]``, threshold, start, whether something may happen before the first event, whether
        a spike subtracts, most spikes of a neuron (0: any).
    tau : rates, bases of :func:`~.propagators.rate_tables`; None where all neurons share their taus.
    measured : times, units, counts of the spikes to replay; None in a simulation.
    out : times, units, counts, current, release times, currents at the release, residual; the releases are written where a
        neuron has a refractory time (``holding``, else None), the residual in a replay, times and units otherwise.

    The compiler leaves out what is None, which halves the time of a first call; it looks at arguments only, so each of these
    is one of its own. ``weight`` has ``NARROW`` columns or more.

    A neuron is flagged where it :func:`~.neuron.may_cross` in the interval.
    """
    n, dtype, room, wide = weight.shape[1], weight.dtype, out[3].shape[1], inputs[0].shape[1]
    flag, held = np.zeros((n + 7) // 8 * 8, np.uint8), np.zeros((n + 7) // 8 * 8, np.uint8)
    fresh, seen = (room, 1) if measured is None else (1, 2 * room + n)
    kept = 1 if holding is None else fresh
    space = (  # first of all two rows of u and of i
        (aligned_rows(4, n, weight), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)),
        (flag, held, flag.view(np.uint64), held.view(np.uint64), np.zeros(wide + 1)),
        (np.zeros(n + 1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(WIDTH, np.int64)),
        (np.zeros(n), np.full((n, 3), -1.0), 1.0 / neurons[0][:, :2], np.zeros(ROWS * WIDTH)),
        (np.zeros(seen, np.int64), np.zeros(seen, np.int64), np.zeros(seen), np.zeros(LEG_ROWS)),
        (np.zeros(fresh, dtype), np.zeros(fresh, np.int64), np.zeros(fresh, dtype)),
        (np.zeros(fresh, np.int64), np.zeros(fresh + 1, np.int64), np.zeros(fresh, np.int64)),
        (np.zeros(kept, dtype), np.zeros(kept, dtype)),
    )
    _simulate(lo, hi, kind, inputs, weight, neurons, tau, holding, measured, (out, space))


@kernel()
def _simulate(lo, hi, kind, inputs, weight, neurons, tau, holding, measured, written):  # type: ignore[no-untyped-def]
    out, space = written
    t_in, u_in, n_in, t_stop = inputs
    table, threshold, start, moves, subtract, max_spikes = neurons
    out_t, out_u, out_n, out_current, out_release, out_released, out_residual = out
    if tau is not None:
        rates, bases = tau
    if measured is not None:
        t_meas, u_meas, n_meas = measured
    (state, c, e_m, e_s, g), (flag, held, flag_words, held_words, gone), (lanes, last, fired, ids) = space[:3]
    (until, own, per, a), lists = space[3:5]
    (times, units, currents), (order, bins, slots), (release, released) = space[5:]
    n, dtype, room, legs = weight.shape[1], weight.dtype, out_current.shape[1], lists[3]
    u_new, i_new, u_old, i_old, bits = 0, 1, 2, 3, 0
    legs[LEG_RATE_M : LEG_RATE_M + WIDTH], legs[LEG_RATE_S : LEG_RATE_S + WIDTH] = per[0, TAU_MEM], per[0, TAU_SYN]
    if tau is None:  # the constants of the table stand still
        a[TAU : TAU + WIDTH], a[RATIO : RATIO + WIDTH] = table[0, TAU_MEM], table[0, TAU_MEM] * per[0, TAU_SYN]
        a[RATE_M : RATE_M + WIDTH], a[RATE_S : RATE_S + WIDTH] = per[0, TAU_MEM], per[0, TAU_SYN]
    tm_0, ts_0, no, yes, end_time = table[0, TAU_MEM], table[0, TAU_SYN], np.int32(0), np.int32(1), dtype.type(t_stop)
    a_m, a_s, a_g, a_y, slack = dtype.type(0), dtype.type(0), dtype.type(0), dtype.type(0), dtype.type(SLACK)
    for b in range(lo, hi):
        sample = b if threshold.shape[0] > 1 else 0
        for j in range(n):
            c[j], state[u_new, j], state[i_new, j] = threshold[sample, j], start[j], 0
            until[j], held[j], fired[j] = -np.inf, 0, 0
        early = False  # whether measured spikes come before the first event, or with it
        if measured is not None:
            early = n_meas[b] > 0 and (n_in[b] == 0 or t_meas[b, 0] <= t_in[b, 0])
        count, seen, t_now = 0, 0, dtype.type(0)
        if kind is RATIO_2:
            decays(gone, t_in[b], n_in[b], end_time, tm_0)
        for e in range(-1, n_in[b]):
            t_next, unit = end_time, 0
            arrives = e + 1 < n_in[b] and t_in[b, e + 1] < end_time
            if arrives:
                t_next, unit = t_in[b, e + 1], u_in[b, e + 1]
            dt = np.float64(t_next) - np.float64(t_now)
            if not (early and e < 0) and (dt <= 0.0 or (e < 0 and not moves)):
                for j in range(n):
                    state[i_new, j] += weight[unit, j]
                if not arrives:
                    break
                t_now = t_next
                continue
            hits, f_m, f_s, f_g = no, 0.0, 0.0, 0.0
            if tau is None:
                if kind is RATIO_2:
                    y = gone[e + 1]
                    f_m, f_s, f_g = 1.0 - y, (1.0 - y) * (1.0 - y), (1.0 - y) * y
                else:
                    f_m, f_s, f_g = response(dt, tm_0, ts_0)
                a_m, a_s, a_g, a_y = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g), dtype.type(1.0 - f_m)
            elif n == NARROW and is_short(dt, bases):
                short_propagators(e_m, e_s, g, rates, dt, math.exp(-dt * bases[0]), math.exp(-dt * bases[2]))
            else:
                propagators(e_m, e_s, g, dt, rates, bases)
            if n == NARROW:
                u_new, i_new, u_old, i_old = 0, 1, 2, 3
                if tau is None:
                    bits = forward_step(state, weight, unit, f_m, f_s, f_g, c, kind)
                else:
                    bits = forward_step(state, weight, unit, e_m, e_s, g, c, GENERAL)
                hits = np.int32(bits)
            elif tau is None:
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                for j in range(n):
                    u_j, i_j, c_j = state[u_old, j], state[i_old, j], c[j]
                    u_end = a_m * u_j + a_g * i_j
                    i_end = a_s * i_j
                    state[u_new, j], state[i_new, j] = u_end, i_end + weight[unit, j]
                    hit = may_cross(kind, u_j, i_j, u_end, i_end, c_j, a_y, slack)
                    flag[j] = hit
                    hits = np.int32(hits | (yes if hit else no))
            else:
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                for j in range(n):
                    u_j, i_j, c_j, m_j = state[u_old, j], state[i_old, j], c[j], e_m[j]
                    u_end = m_j * u_j + g[j] * i_j
                    i_end = e_s[j] * i_j
                    state[u_new, j], state[i_new, j] = u_end, i_end + weight[unit, j]
                    hit = may_cross(GENERAL, u_j, i_j, u_end, i_end, c_j, dtype.type(1) - m_j, slack)
                    flag[j] = hit
                    hits = np.int32(hits | (yes if hit else no))
            waiting = np.uint64(0)
            if holding is not None:
                for word in range(held_words.shape[0]):
                    waiting |= held_words[word]
            if measured is not None:
                first = seen
                while seen < n_meas[b] and t_meas[b, seen] <= t_next:
                    seen += 1
                if seen > first or waiting != 0:
                    replay_lanes(
                        b, first, seen, kind, t_now, t_next, subtract, holding, state, (u_old, i_old, u_new, i_new), c,
                        (weight, unit), table, tau, per, held, until, last, own, lanes, lists, t_meas, u_meas, out_current,
                        out_residual, out_release, out_released,
                    )  # fmt: skip
                count = seen
            if measured is None and (hits or waiting != 0):
                flagged = 0
                if n == NARROW:
                    if holding is not None:
                        for lane in range(NARROW):
                            bits |= np.int64(held[lane]) << lane
                    while bits != 0:
                        lanes[flagged] = lowest(bits)
                        bits, flagged = bits & (bits - 1), flagged + 1
                else:
                    for word in range(flag_words.shape[0]):
                        marked = np.int64(flag_words[word])  # a byte a lane, of which one bit is used
                        if holding is not None:
                            marked |= np.int64(held_words[word])
                        while marked != 0:
                            lanes[flagged] = 8 * word + (lowest(marked) >> 3)
                            marked, flagged = marked & (marked - 1), flagged + 1
                first, begin, end = count, np.float64(t_now), np.float64(t_next)
                for block in range(0, flagged, WIDTH):
                    m, waits = min(WIDTH, flagged - block), 0
                    for k in range(m):
                        lane = lanes[block + k]
                        ids[k], a[POS + k], a[OUTSIDE + k] = lane, begin, 0.0
                        a[U + k], a[CURRENT + k], a[LEVEL + k] = state[u_old, lane], state[i_old, lane], c[lane]
                        share, a[END_U + k] = np.float64(a_s if tau is None else e_s[lane]), state[u_new, lane]
                        a[END_I + k], a[FORCED + k] = share * a[CURRENT + k], state[u_new, lane] >= c[lane]
                        if tau is not None:
                            tm, r_s = table[lane, TAU_MEM], per[lane, TAU_SYN]
                            a[TAU + k], a[RATE_M + k], a[RATE_S + k], a[RATIO + k] = (
                                tm,
                                per[lane, TAU_MEM],
                                r_s,
                                tm * r_s,
                            )
                        if holding is not None:
                            waits_here = until[lane] > begin
                            a[UNTIL + k], a[OUTSIDE + k] = until[lane] if waits_here else -np.inf, waits_here
                            waits += 1 if waits_here else 0
                    outside = False
                    while m > 0:
                        if holding is not None and waits > 0:
                            wait_there(kind, a, m, end)
                            kept = 0
                            for k in range(m):
                                lane = ids[k]
                                if a[UNTIL + k] > end:
                                    held[lane] = 1
                                    state[u_new, lane] = a[U + k]
                                    state[i_new, lane] = dtype.type(a[CURRENT + k]) + weight[unit, lane]
                                    continue
                                if a[UNTIL + k] > -np.inf:
                                    held[lane] = 0
                                    if last[lane] < room:
                                        release[last[lane]], released[last[lane]] = a[UNTIL + k], a[CURRENT + k]
                                if kept != k:
                                    ids[kept] = lane
                                    for row in range(RELEASED):
                                        a[WIDTH * row + kept] = a[WIDTH * row + k]
                                kept += 1
                            m = kept
                        if outside or waits > 0:
                            arrive_there(kind, a, m, end, weight)
                        find_crossings(kind, a, m, end, outside)
                        kept = 0
                        for k in range(m):
                            if a[CROSSES + k] == 1.0:
                                if kept != k:
                                    ids[kept] = ids[k]
                                    for row in range(SHARED if tau is None else SPIKING):
                                        a[WIDTH * row + kept] = a[WIDTH * row + k]
                                kept += 1
                            elif a[OUTSIDE + k] > 0.0:
                                lane = ids[k]
                                state[u_new, lane] = a[END_U + k]
                                state[i_new, lane] = dtype.type(a[END_I + k]) + weight[unit, lane]
                        m, outside, waits = kept, True, 0
                        if m == 0:
                            break
                        if kind is not RATIO_2:
                            search_crossings(a, m)
                        spike_there(kind, a, m, t_next, weight)
                        for k in range(m):
                            lane, pos, r = ids[k], a[POS + k], table[ids[k], RESET]
                            if count < room:
                                times[count], units[count], currents[count] = pos, lane, a[CURRENT + k]
                            a[U + k], a[OUTSIDE + k] = a[U + k] - (a[LEVEL + k] - r) if subtract else r, 1.0
                            if holding is not None:
                                t_ref = table[lane, REFRACTORY]
                                if count < room:
                                    release[count] = np.inf if t_ref > 0.0 else dtype.type(pos)
                                    released[count] = 0.0 if t_ref > 0.0 else a[CURRENT + k]
                                last[lane], until[lane] = count, pos + t_ref if t_ref > 0.0 else -np.inf
                                waits_here = until[lane] > pos
                                a[UNTIL + k] = until[lane] if waits_here else -np.inf
                                waits += 1 if waits_here else 0
                            count += 1
                            if max_spikes > 0:
                                fired[lane] += 1
                                if max_spikes == 1 or fired[lane] >= max_spikes:
                                    c[lane], a[LEVEL + k] = np.inf, np.inf
                        if max_spikes == 1 and holding is None:
                            break  # nobody spikes again, so nobody asks for their states
                if first < count <= room:
                    sort_interval(times, units, order, bins, slots, first, count, begin, end)
            if not arrives:
                break
            t_now = t_next
        out_n[b] = count
        if measured is None and count <= room:
            for k in range(count):
                o = order[k]
                out_t[b, k], out_u[b, k], out_current[b, k] = times[o], units[o], currents[o]
                if holding is not None:
                    out_release[b, k], out_released[b, k] = release[o], released[o]
