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

from .kernel import kernel
from .narrow import LANES as NARROW
from .narrow import aligned_rows, forward_step, short_propagators
from .replay import OWN_TIME, REFRACTORY, RESET, TAU_MEM, TAU_SYN, replay_lanes
from .scalar import DIVIDE, RATIO_2, SERIES, advance, arrive, crossing, one_minus_exp, remaining, response
from .together import (
    AFTER_I,
    AFTER_U,
    AGAIN,
    BASE,
    END_I,
    END_U,
    FAST,
    FORCED,
    LEFT,
    LEVEL,
    OUTCOME,
    SLOW,
    START_I,
    START_U,
    cross_together,
    search_together,
    sort_interval,
)
from .vector import decays, is_short, propagators


@kernel()
def forward_range(  # type: ignore[no-untyped-def]
    lo, hi, kind, t_in, u_in, n_in, weight, table, threshold, start, moves, holding, rates, bases, powers, t_stop, subtract,
    max_spikes, t_meas, u_meas, n_meas, out_t, out_u, out_n, out_current, out_release, out_released, out_residual,
):  # fmt: skip
    """Samples ``lo .. hi`` of a batch; writes spikes ``[batch, room]`` and the true counts to ``out_n``.

    ``t_meas, u_meas, n_meas`` are None, or the spikes to replay; ``rates, bases, powers`` are None where all neurons
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
    batch, batch_times = np.zeros((14, n)), np.zeros(n, dtype)
    c, lanes, last, fired = np.zeros(n, dtype), np.zeros(n + 1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    until, own, shared = np.zeros(n), np.zeros((n, 4)), rates is None
    own[:, OWN_TIME] = -1.0
    work = room if t_meas is None else 1
    times, units, currents = np.zeros(work, dtype), np.zeros(work, np.int64), np.zeros(work, dtype)
    order, bins, places = np.zeros(work, np.int64), np.zeros(work + 1, np.int64), np.zeros(work, np.int64)
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
        count, m, t_now = 0, 0, dtype.type(0)
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
            hits, y_all, f_m, f_s, f_g = no, 0.0, 0.0, 0.0, 0.0
            if rates is None:
                if kind == RATIO_2:
                    y_all = gone[e + 1]
                    f_m, f_s, f_g = 1.0 - y_all, (1.0 - y_all) * (1.0 - y_all), (1.0 - y_all) * y_all
                else:
                    f_m, f_s, f_g = response(dt, tm_0, ts_0)
                a_m, a_s, a_g, a_y = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g), dtype.type(1.0 - f_m)
            elif n == NARROW and is_short(dt, bases):
                short_propagators(e_m, e_s, g, rates, dt, math.exp(-dt * bases[0]), math.exp(-dt * bases[2]))
            else:
                propagators(e_m, e_s, g, dt, rates, bases, powers)
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
            if t_meas is not None:
                first = m
                while m < n_meas[b] and t_meas[b, m] <= t_next:
                    m += 1
                if m > first or holding:
                    replay_lanes(
                        b, first, m, kind, t_now, t_next, y_all, subtract, holding, state[u_old],
                        state[i_old], state[u_new], state[i_new], c, weight[unit], table, held, until, last, own, lanes, t_meas, u_meas,
                        out_current, out_residual, out_release, out_released,
                    )  # fmt: skip
                count = m
            if t_meas is None and (hits or holding):
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
                several = not holding and flagged > 2
                if rates is None:
                    several = several and kind == RATIO_2 and y_all < DIVIDE
                else:
                    several = several and dt * (bases[0] + bases[1]) < SERIES and dt * bases[4] < SERIES
                if several:
                    for k in range(flagged):
                        lane = lanes[k]
                        batch[START_U, k], batch[START_I, k] = state[u_old, lane], state[i_old, lane]
                        batch[LEVEL, k], batch[BASE, k] = c[lane], table[lane, RESET]
                        batch[FORCED, k] = 1.0 if state[u_new, lane] >= c[lane] else 0.0
                    if rates is None:
                        cross_together(batch, batch_times, flagged, tm_0, y_all, dt, begin, t_next, subtract)
                    else:
                        for k in range(flagged):
                            lane = lanes[k]
                            batch[SLOW, k], batch[FAST, k] = table[lane, TAU_MEM], table[lane, TAU_SYN]
                            turns = (
                                batch[START_I, k] > batch[START_U, k]
                                and e_s[lane] * state[i_old, lane] <= state[u_new, lane]
                            )
                            if batch[FORCED, k] == 0.0 and turns:
                                batch[FORCED, k] = -1.0
                        search_together(batch, batch_times, flagged, dt, begin, t_next, subtract)
                for k in range(flagged):
                    lane = lanes[k]
                    tm, ts, r = table[lane, TAU_MEM], table[lane, TAU_SYN], table[lane, RESET]
                    u_l, i_l = np.float64(state[u_old, lane]), np.float64(state[i_old, lane])
                    c_l: float = np.float64(c[lane])
                    u_e: float = np.float64(state[u_new, lane])
                    i_e: float = np.float64(a_s if shared else e_s[lane]) * i_l
                    pos: float = begin
                    rest, outside, forced = y_all, False, state[u_new, lane] >= c[lane]
                    if several and batch[OUTCOME, k] >= 0.0:
                        if batch[OUTCOME, k] == 0.0:
                            continue
                        if count < room:
                            times[count], units[count], currents[count] = batch_times[k], lane, batch[AFTER_I, k]
                        count += 1
                        if max_spikes > 0:
                            fired[lane] += 1
                            if max_spikes == 1 or fired[lane] >= max_spikes:
                                c[lane], c_l = np.inf, np.inf
                        if batch[AGAIN, k] == 0.0:
                            state[u_new, lane] = batch[END_U, k]
                            state[i_new, lane] = dtype.type(batch[END_I, k]) + weight[unit, lane]
                            continue
                        u_l, i_l, rest = batch[AFTER_U, k], batch[AFTER_I, k], batch[LEFT, k]
                        pos, outside = np.float64(batch_times[k]), True
                    while True:
                        if holding and until[lane] > pos:
                            outside = True
                            held[lane] = until[lane] > end
                            if until[lane] > end:
                                u_e, i_e = u_l, i_l * math.exp(-(end - pos) / ts)
                                break
                            i_l = i_l * math.exp(-(until[lane] - pos) / ts)
                            if last[lane] < room:
                                release[last[lane]], released[last[lane]] = until[lane], i_l
                            pos = until[lane]
                            rest = one_minus_exp((end - pos) / tm)
                        if outside:  # once it has left the common update, its own end point decides
                            u_e, i_e = arrive(kind, u_l, i_l, end - pos, rest, tm, ts)
                            forced = dtype.type(u_e) >= c[lane]
                        s = crossing(kind, u_l, i_l, c_l, tm, ts, end - pos, rest, forced, i_e <= u_e)
                        if s < 0.0:
                            break
                        outside = True
                        t = dtype.type(pos + s)
                        if np.float64(t) <= pos:  # never on or before the event that caused it
                            t = np.nextafter(t, dtype.type(np.inf))
                        t = min(t, t_next)
                        u_l, i_l, y = advance(kind, u_l, i_l, np.float64(t) - pos, tm, ts)
                        pos = np.float64(t)
                        rest = remaining(kind, rest, y, end - pos, tm)
                        if count < room:
                            times[count], units[count], currents[count] = t, lane, i_l
                        u_l = u_l - (c_l - r) if subtract else r
                        if holding:
                            t_ref = table[lane, REFRACTORY]
                            if count < room:
                                release[count], released[count] = (
                                    np.inf if t_ref > 0.0 else t,
                                    0.0 if t_ref > 0.0 else i_l,
                                )
                            last[lane], until[lane] = count, pos + t_ref if t_ref > 0.0 else -np.inf
                        count += 1
                        if max_spikes > 0:
                            fired[lane] += 1
                            if max_spikes == 1 or fired[lane] >= max_spikes:
                                c[lane], c_l = np.inf, np.inf
                    if outside:
                        state[u_new, lane], state[i_new, lane] = u_e, dtype.type(i_e) + weight[unit, lane]
                if first < count <= room:
                    sort_interval(times, order, bins, places, first, count, begin, end)
            if not arrives:
                break
            t_now = t_next
        out_n[b] = count
        if t_meas is None and count <= room:
            for k in range(count):
                a = order[k]
                out_t[b, k], out_u[b, k], out_current[b, k] = times[a], units[a], currents[a]
                if holding:
                    out_release[b, k], out_released[b, k] = release[a], released[a]
