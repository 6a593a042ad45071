"""Event-major forward pass: for each input event one contiguous update over all neurons of the layer.

State ``(u, i)`` is carried in local time, so no exponential of an absolute time is ever taken. Interval number e is
``(t_e, t_e+1]``: an input at a neuron's own spike time comes after the spike and is not felt by it. Whether a neuron
has reached its threshold is decided by the sign of ``u - c`` at the event, never by comparing rounded roots.

Strict arithmetic throughout (no contraction, no reassociation): simulation and replay of its spikes get equal bits.

What makes it fast, each measured: one pass per event, which reads one row of the state and writes the other and adds
the weights of the next event on the way; a test of few operations that flags too many neurons rather than too few;
their count in 32 bits (in 64 the pass runs at half the speed); spikes handled in the same compiled function, because
every array handed to another one costs two atomic reference counts; narrow layers padded to a constant width.
"""

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from .crossings import (
    CROSSES,
    CURRENT,
    END_I,
    END_U,
    FORCED,
    FOUND,
    LEVEL,
    MOVED,
    OUTSIDE,
    POS,
    RATE_M,
    RATE_S,
    RATIO,
    ROWS,
    TAU,
    U,
    arrive_there,
    find_crossings,
    search_crossings,
    spike_there,
)
from .exponentials import respond, respond_2
from .legs import LEG_ROWS, WIDTH
from .measured import REFRACTORY, RESET, TAU_MEM, TAU_SYN, replay_lanes
from .narrow import LANES as NARROW
from .narrow import aligned_rows, forward_step, short_propagators
from .neuron import RATIO_2, fading, response
from .order import sort_interval
from .propagators import decays, is_short, propagators


@kernel()
def forward_range(  # type: ignore[no-untyped-def]
    lo, hi, kind, t_in, u_in, n_in, weight, table, threshold, start, moves, holding, rates, bases, t_stop, subtract,
    max_spikes, t_meas, u_meas, n_meas, out_t, out_u, out_n, out_current, out_release, out_released, out_residual,
):  # fmt: skip
    """Samples ``lo .. hi`` of a batch; writes spikes ``[batch, room]`` and the true counts to ``out_n``.

    ``t_meas, u_meas, n_meas`` are None, or the spikes to replay; ``rates, bases`` are None where all neurons
    share their taus: the compiler leaves out what is None, which halves the time of a first call. ``out_release`` and
    ``out_released`` are written where a neuron has a refractory time (``holding``), ``out_residual`` in a replay,
    ``out_t`` and ``out_u`` otherwise. ``moves`` says that something may happen before the first event. ``weight`` has
    ``NARROW`` columns or more.

    A neuron is flagged where it may cross in the interval: ``u_end >= c``, or ``u + Y (i - u) >= c`` with
    ``Y = 1 - e^(-dt/tau_mem)``, an upper bound while ``i > 0`` (the input decays); with ``i <= 0`` there is no maximum
    inside.
    """
    n, dtype, room = weight.shape[1], weight.dtype, out_current.shape[1]
    state = aligned_rows(4, n, weight)  # two rows of u and of i
    u_new, i_new, u_old, i_old, bits = 0, 1, 2, 3, 0
    e_m, e_s, g, gone = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(t_in.shape[1] + 1)
    flag, held = np.zeros((n + 7) // 8 * 8, np.uint8), np.zeros((n + 7) // 8 * 8, np.uint8)
    flag_words, held_words = flag.view(np.uint64), held.view(np.uint64)
    c, lanes, last, fired = np.zeros(n, dtype), np.zeros(n + 1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    until, own, per = np.zeros(n), np.full((n, 3), -1.0), 1.0 / table[:, :2]
    a, ids = np.zeros(ROWS * WIDTH), np.zeros(WIDTH, np.int64)
    work = 1 if t_meas is None else 2 * room + n
    lists = np.zeros(work, np.int64), np.zeros(work, np.int64), np.zeros(work), np.zeros(LEG_ROWS)
    work = room if t_meas is None else 1
    times, units, currents = np.zeros(work, dtype), np.zeros(work, np.int64), np.zeros(work, dtype)
    order, bins, slots = np.zeros(work, np.int64), np.zeros(work + 1, np.int64), np.zeros(work, np.int64)
    end_time = dtype.type(t_stop)
    work = work if holding else 1
    release, released = np.zeros(work, dtype), np.zeros(work, dtype)
    tm_0, ts_0, no, yes = table[0, TAU_MEM], table[0, TAU_SYN], np.int32(0), np.int32(1)
    a_m, a_s, a_g, a_y = dtype.type(0), dtype.type(0), dtype.type(0), dtype.type(0)
    for b in range(lo, hi):
        sample = b if threshold.shape[0] > 1 else 0
        for j in range(n):
            c[j], state[u_new, j], state[i_new, j] = threshold[sample, j], start[j], 0
            until[j], held[j], fired[j] = -np.inf, 0, 0
        early = False  # whether measured spikes come before the first event, or with it
        if t_meas is not None:
            early = n_meas[b] > 0 and (n_in[b] == 0 or t_meas[b, 0] <= t_in[b, 0])
        count, seen, t_now = 0, 0, dtype.type(0)
        if kind == RATIO_2:
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
            if rates is None:
                if kind == RATIO_2:
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
                if rates is None:
                    bits = forward_step(state, weight, unit, f_m, f_s, f_g, c)
                else:
                    bits = forward_step(state, weight, unit, e_m, e_s, g, c)
                hits = np.int32(bits)
            elif rates is None:
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                for j in range(n):
                    u_j, i_j, c_j = state[u_old, j], state[i_old, j], c[j]
                    u_end = a_m * u_j + a_g * i_j
                    state[u_new, j], state[i_new, j] = u_end, a_s * i_j + weight[unit, j]
                    hit = (u_end >= c_j) | (u_j + a_y * (i_j - u_j) >= c_j)
                    flag[j] = hit
                    hits = np.int32(hits | (yes if hit else no))
            else:
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                for j in range(n):
                    u_j, i_j, c_j, m_j = state[u_old, j], state[i_old, j], c[j], e_m[j]
                    u_end = m_j * u_j + g[j] * i_j
                    state[u_new, j], state[i_new, j] = u_end, e_s[j] * i_j + weight[unit, j]
                    hit = (u_end >= c_j) | (u_j + (dtype.type(1) - m_j) * (i_j - u_j) >= c_j)
                    flag[j] = hit
                    hits = np.int32(hits | (yes if hit else no))
            waiting = np.uint64(0)
            if holding:
                for word in range(held_words.shape[0]):
                    waiting |= held_words[word]
            if t_meas is not None:
                first = seen
                while seen < n_meas[b] and t_meas[b, seen] <= t_next:
                    seen += 1
                if seen > first or waiting != 0:
                    replay_lanes(
                        b, first, seen, kind, t_now, t_next, subtract, holding, state, (u_old, i_old, u_new, i_new), c,
                        (weight, unit), table, per, held, until, last, own, lanes, lists, t_meas, u_meas, out_current,
                        out_residual, out_release, out_released,
                    )  # fmt: skip
                count = seen
            if t_meas is None and (hits or waiting != 0):
                flagged = 0
                if n == NARROW:
                    for lane in range(NARROW):
                        lanes[flagged] = lane
                        flagged += (bits >> lane) & 1 | held[lane]
                else:
                    for word in range(flag_words.shape[0]):
                        if flag_words[word] | held_words[word]:
                            for lane in range(8 * word, 8 * word + 8):
                                lanes[flagged] = lane
                                flagged += flag[lane] | held[lane]
                first, begin, end = count, np.float64(t_now), np.float64(t_next)
                for block in range(0, flagged, WIDTH):
                    m = 0
                    for k in range(block, min(block + WIDTH, flagged)):
                        lane = lanes[k]
                        tm, r_m, r_s = table[lane, TAU_MEM], per[lane, TAU_MEM], per[lane, TAU_SYN]
                        a[U + m], a[CURRENT + m], a[LEVEL + m] = state[u_old, lane], state[i_old, lane], c[lane]
                        a[TAU + m], a[RATE_M + m], a[RATE_S + m], a[RATIO + m] = tm, r_m, r_s, tm * r_s
                        a[POS + m], a[OUTSIDE + m], ids[m] = begin, 0.0, lane
                        a[END_U + m], a[END_I + m] = (
                            state[u_new, lane],
                            np.float64(a_s if rates is None else e_s[lane]) * a[CURRENT + m],
                        )
                        a[FORCED + m] = 1.0 if state[u_new, lane] >= c[lane] else 0.0
                        if holding and until[lane] > begin:
                            held[lane] = until[lane] > end
                            if until[lane] > end:
                                i_l = a[CURRENT + m] * fading(kind, end - begin, r_m, r_s)
                                state[u_new, lane], state[i_new, lane] = a[U + m], dtype.type(i_l) + weight[unit, lane]
                                continue
                            i_l = a[CURRENT + m] * fading(kind, until[lane] - begin, r_m, r_s)
                            if last[lane] < room:
                                release[last[lane]], released[last[lane]] = until[lane], i_l
                            a[CURRENT + m], a[POS + m] = i_l, until[lane]
                            if kind == RATIO_2:
                                f_m, f_s, f_g = respond_2(end - until[lane], r_m)
                            else:
                                f_m, f_s, f_g = respond(end - until[lane], r_m, r_s)
                            u_e = f_m * a[U + m] + f_g * i_l
                            a[END_U + m], a[END_I + m], a[OUTSIDE + m] = u_e, f_s * i_l, 1.0
                            a[FORCED + m] = 1.0 if dtype.type(u_e) >= c[lane] else 0.0
                        m += 1
                    while m > 0:
                        find_crossings(kind, a, m, end)
                        kept = 0
                        for k in range(m):
                            if a[CROSSES + k] == 1.0:
                                if kept != k:
                                    for row in range(FOUND):
                                        a[WIDTH * row + kept] = a[WIDTH * row + k]
                                    ids[kept] = ids[k]
                                kept += 1
                            elif a[OUTSIDE + k] > 0.0:
                                lane = ids[k]
                                state[u_new, lane] = a[END_U + k]
                                state[i_new, lane] = dtype.type(a[END_I + k]) + weight[unit, lane]
                        m = kept
                        if m == 0:
                            break
                        if kind != RATIO_2:
                            search_crossings(a, m)
                        spike_there(kind, a, m, t_next, weight)
                        kept = 0
                        for k in range(m):
                            lane, pos, u_l, i_l, c_l = ids[k], a[POS + k], a[U + k], a[CURRENT + k], a[LEVEL + k]
                            r, t_ref = table[lane, RESET], table[lane, REFRACTORY]
                            if count < room:
                                times[count], units[count], currents[count] = pos, lane, i_l
                            u_l = u_l - (c_l - r) if subtract else r
                            if holding:
                                if count < room:
                                    release[count], released[count] = (
                                        np.inf if t_ref > 0.0 else dtype.type(pos),
                                        0.0 if t_ref > 0.0 else i_l,
                                    )
                                last[lane], until[lane] = count, pos + t_ref if t_ref > 0.0 else -np.inf
                            count += 1
                            if max_spikes > 0:
                                fired[lane] += 1
                                if max_spikes == 1 or fired[lane] >= max_spikes:
                                    c[lane], c_l = np.inf, np.inf
                            if holding and until[lane] > pos:
                                held[lane] = until[lane] > end
                                r_m, r_s = per[lane, TAU_MEM], per[lane, TAU_SYN]
                                if until[lane] > end:
                                    i_l = i_l * fading(kind, end - pos, r_m, r_s)
                                    state[u_new, lane], state[i_new, lane] = u_l, dtype.type(i_l) + weight[unit, lane]
                                    continue
                                i_l = i_l * fading(kind, until[lane] - pos, r_m, r_s)
                                if last[lane] < room:
                                    release[last[lane]], released[last[lane]] = until[lane], i_l
                                pos = until[lane]
                            if kept != k:
                                for row in range(MOVED):
                                    a[WIDTH * row + kept] = a[WIDTH * row + k]
                                ids[kept] = lane
                            a[U + kept], a[CURRENT + kept], a[LEVEL + kept], a[POS + kept] = u_l, i_l, c_l, pos
                            kept += 1
                        m = kept
                        arrive_there(kind, a, m, end, weight)
                if first < count <= room:
                    sort_interval(times, units, order, bins, slots, first, count, begin, end)
            if not arrives:
                break
            t_now = t_next
        out_n[b] = count
        if t_meas is None and count <= room:
            for k in range(count):
                o = order[k]
                out_t[b, k], out_u[b, k], out_current[b, k] = times[o], units[o], currents[o]
                if holding:
                    out_release[b, k], out_released[b, k] = release[o], released[o]
