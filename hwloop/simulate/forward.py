"""Event-major forward pass: for each input event one contiguous update over all neurons of the layer.

State ``(u, i)`` is carried in local time, so no exponential of an absolute time is ever taken. Interval number e is
``(t_e, t_e+1]``: an input at a neuron's own spike time comes after the spike and is not felt by it. Whether a neuron
has reached its threshold is decided by the sign of ``u - c`` at the event, never by comparing rounded roots.

Arrays are packed and neurons handled in lists because every array that a compiled function is handed costs two atomic
reference counts: a call per neuron was slower than its arithmetic (measured: 580 ns a spike, against 60).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .scalar import RATIO_2, crossing, free, response
from .vector import FASTMATH, propagators

#: Columns of the per-spike work array.
TIME, UNIT, CURRENT, RELEASE_TIME, RELEASE_CURRENT, RESIDUAL = range(6)

#: Spikes in one interval up to which plain insertion sorts them fastest.
SMALL_SORT = 12

#: Columns of the table of neuron constants.
TAU_MEM, TAU_SYN, REFRACTORY, RESET = range(4)

#: Columns of the per-neuron state beside (u, i): end of the refractory time, last spike, spikes so far, and the
#: neuron's own (u, i, time) while it is outside the common update.
UNTIL, LAST, FIRED, OWN_U, OWN_I, OWN_TIME = range(6)


@njit(cache=True, nogil=True, error_model="numpy")
def _simulate_lanes(  # type: ignore[no-untyped-def]
    lanes, flagged, kind, t_now, t_next, subtract, max_spikes, count, u, i, u_new, i_new, c, held, table, state, spikes
):
    """All spikes in ``(t_now, t_next]`` of the neurons in ``lanes``; returns the number of spikes so far."""
    end, room = float(t_next), spikes.shape[0]
    for k in range(flagged):
        lane = lanes[k]
        tm, ts, t_ref, r = table[lane, TAU_MEM], table[lane, TAU_SYN], table[lane, REFRACTORY], table[lane, RESET]
        c_l, u_l, i_l, pos = float(c[lane]), float(u[lane]), float(i[lane]), float(t_now)
        own, forced = held[lane] != 0, u_new[lane] >= c[lane]
        u_end, i_end = 0.0, 0.0
        while True:
            until = state[lane, UNTIL]
            if until > pos:
                held[lane] = until > end
                if until > end:
                    u_end, i_end = u_l, i_l * math.exp(-(end - pos) / ts)
                    break
                i_l *= math.exp(-(until - pos) / ts)
                last = int(state[lane, LAST])
                if last < room:
                    spikes[last, RELEASE_TIME], spikes[last, RELEASE_CURRENT] = until, i_l
                pos = until
            if own:  # once it has left the common update, its own end point decides
                u_end, i_end = free(kind, u_l, i_l, end - pos, tm, ts)
                forced = u_end >= c_l
            s = crossing(kind, u_l, i_l, c_l, tm, ts, end - pos, forced)
            if s < 0.0:
                break
            own = True
            t = c.dtype.type(pos + s)
            if float(t) <= pos:  # never on or before the event that caused it
                t = np.nextafter(t, c.dtype.type(np.inf))
            t = min(t, t_next)
            u_l, i_l = free(kind, u_l, i_l, float(t) - pos, tm, ts)
            pos = float(t)
            if count < room:
                spikes[count, TIME], spikes[count, UNIT], spikes[count, CURRENT] = pos, lane, i_l
                spikes[count, RESIDUAL] = u_l - c_l
                spikes[count, RELEASE_TIME] = np.inf if t_ref > 0.0 else pos
                spikes[count, RELEASE_CURRENT] = 0.0 if t_ref > 0.0 else i_l
            u_l = u_l - (c_l - r) if subtract else r
            state[lane, LAST] = count
            state[lane, FIRED] += 1
            if t_ref > 0.0:
                state[lane, UNTIL] = pos + t_ref
            count += 1
            if max_spikes > 0 and state[lane, FIRED] >= max_spikes:
                c[lane] = np.inf
                c_l = np.inf
        if own:
            u_new[lane], i_new[lane] = u_end, i_end
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _replay_lanes(  # type: ignore[no-untyped-def]
    times, units, kind, t_now, t_next, subtract, count, u, i, u_new, i_new, c, held, holding, table, state, spikes, lanes
):
    """Carry the neurons through their measured spikes in ``(t_now, t_next]``, in order, with the same arithmetic."""
    end, n = float(t_next), 0
    for k in range(len(times)):
        n = _take(units[k], lanes, n, float(t_now), u, i, state)
    if holding:
        for lane in range(held.shape[0]):
            if held[lane] != 0:
                n = _take(lane, lanes, n, float(t_now), u, i, state)
    for k in range(len(times)):
        lane, t = units[k], float(times[k])
        tm, ts, t_ref, r = table[lane, TAU_MEM], table[lane, TAU_SYN], table[lane, REFRACTORY], table[lane, RESET]
        u_l, i_l, pos, until, c_l = state[lane, OWN_U], state[lane, OWN_I], state[lane, OWN_TIME], state[lane, UNTIL], float(c[lane])
        refractory = until > t
        if refractory:
            i_l *= math.exp(-(t - pos) / ts)
        else:
            if until > pos:
                i_l *= math.exp(-(until - pos) / ts)
                spikes[int(state[lane, LAST]), RELEASE_TIME] = until
                spikes[int(state[lane, LAST]), RELEASE_CURRENT] = i_l
                pos = until
            u_l, i_l = free(kind, u_l, i_l, t - pos, tm, ts)
        spikes[count, TIME], spikes[count, UNIT], spikes[count, RESIDUAL] = t, lane, u_l - c_l
        spikes[count, CURRENT] = -np.inf if refractory else i_l
        spikes[count, RELEASE_TIME] = np.inf if t_ref > 0.0 else t
        spikes[count, RELEASE_CURRENT] = 0.0 if t_ref > 0.0 else i_l
        state[lane, OWN_U] = u_l - (c_l - r) if subtract and not refractory else r
        state[lane, OWN_I], state[lane, OWN_TIME], state[lane, LAST] = i_l, t, count
        if t_ref > 0.0:
            state[lane, UNTIL] = t + t_ref
        count += 1
    for k in range(n):
        lane = lanes[k]
        tm, ts = table[lane, TAU_MEM], table[lane, TAU_SYN]
        u_l, i_l, pos, until = state[lane, OWN_U], state[lane, OWN_I], state[lane, OWN_TIME], state[lane, UNTIL]
        state[lane, OWN_TIME] = -1.0
        held[lane] = until > pos and until > end
        if held[lane] != 0:
            i_l *= math.exp(-(end - pos) / ts)
        else:
            if until > pos:
                i_l *= math.exp(-(until - pos) / ts)
                spikes[int(state[lane, LAST]), RELEASE_TIME] = until
                spikes[int(state[lane, LAST]), RELEASE_CURRENT] = i_l
                pos = until
            u_l, i_l = free(kind, u_l, i_l, end - pos, tm, ts)
        u_new[lane], i_new[lane] = u_l, i_l
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _take(lane, lanes, n, t_now, u, i, state):  # type: ignore[no-untyped-def]
    """Take a neuron out of the common update of this interval, once; returns the number taken."""
    if state[lane, OWN_TIME] >= 0.0:
        return n
    lanes[n] = lane
    state[lane, OWN_U], state[lane, OWN_I], state[lane, OWN_TIME] = float(u[lane]), float(i[lane]), t_now
    return n + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(spikes, order, first, stop):  # type: ignore[no-untyped-def]
    """Insertion sort of ``order[first:stop]`` by (time, unit)."""
    for a in range(first + 1, stop):
        item, b = order[a], a
        t, unit = spikes[item, TIME], spikes[item, UNIT]
        while b > first:
            before = order[b - 1]
            if spikes[before, TIME] < t or (spikes[before, TIME] == t and spikes[before, UNIT] < unit):
                break
            order[b] = before
            b -= 1
        order[b] = item


@njit(cache=True, nogil=True, error_model="numpy")
def _sort_interval(spikes, order, scratch, bins, first, stop, t_now, t_next):  # type: ignore[no-untyped-def]
    """Sort the spikes of one interval, ``first .. stop``: into as many bins as spikes, then by insertion."""
    n = stop - first
    for a in range(first, stop):
        order[a] = a
    if n > SMALL_SORT:
        scale = n / (t_next - t_now)
        bins[: n + 1] = 0
        for a in range(first, stop):
            bins[min(n - 1, int((spikes[a, TIME] - t_now) * scale)) + 1] += 1
        for k in range(n):
            bins[k + 1] += bins[k]
        for a in range(first, stop):
            k = min(n - 1, int((spikes[a, TIME] - t_now) * scale))
            scratch[bins[k]] = a
            bins[k] += 1
        for a in range(n):
            order[first + a] = scratch[a]
    _insert(spikes, order, first, stop)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def forward_range(  # type: ignore[no-untyped-def]
    lo, hi, kind, shared, t_in, u_in, n_in, weight, table, threshold, start, rates, bases, peak, powers, t_stop, subtract,
    max_spikes, measured, t_meas, u_meas, n_meas, out_t, out_u, out_n, out_current, out_release, out_released, out_residual,
):
    """Samples ``lo .. hi`` of a batch; writes spikes ``[batch, room]`` and the true counts to ``out_n``.

    The loops over all neurons stand here, not in functions of their own: a narrow layer sees thousands of events, and
    handing over the arrays at each would cost more than the arithmetic. They use multiplications and compares alone.
    A neuron is flagged where it may cross, too often rather than too seldom:

    - ``u_end >= c``; or
    - ``tau_mem = 2 tau_syn``: slope ``p > 0``, the vertex ``p / 2i`` of the quadratic in ``1 - e^(-s/tau_mem)`` inside
      the interval, and real roots (exact up to rounding);
    - any ratio: a slope that turns negative inside, and two upper bounds that reach ``c``: the tangent at the start
      (where ``i > 0`` the rise is concave) and ``max(u, 0) + max(i, 0) max_s g(s)``.
    """
    n, dtype, room = weight.shape[1], weight.dtype, out_t.shape[1]
    zero, four = dtype.type(0), dtype.type(4)
    u, i, u_old, i_old = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)
    e_m, e_s, g, rate = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), rates[2]
    flag, held = np.zeros((n + 7) // 8 * 8, np.uint8), np.zeros((n + 7) // 8 * 8, np.uint8)
    flag_words, held_words = flag.view(np.uint64), held.view(np.uint64)
    c, lanes = np.zeros(n, dtype), np.zeros(n, np.int64)
    spikes, state = np.zeros((room, 6)), np.zeros((n, 6))
    order, scratch, bins = np.arange(room), np.zeros(room, np.int64), np.zeros(room + 1, np.int64)
    holding, end_time = table[:, REFRACTORY].max() > 0, dtype.type(t_stop)
    tm_0, ts_0, peak_0 = table[0, TAU_MEM], table[0, TAU_SYN], peak[0]
    for b in range(lo, hi):
        c[:] = threshold[b if threshold.shape[0] > 1 else 0]
        u[:] = start
        i[:] = 0
        held[:] = 0
        state[:, UNTIL], state[:, LAST], state[:, FIRED], state[:, OWN_TIME] = -np.inf, 0, 0, -1.0
        quiet = not (np.any(start != 0) or np.any(c <= 0))  # then nothing can happen before the first event
        quiet = quiet and not (measured and n_meas[b] > 0 and (n_in[b] == 0 or t_meas[b, 0] <= t_in[b, 0]))
        count, m, t_now = 0, 0, dtype.type(0)
        for e in range(-1, n_in[b]):
            t_next, unit, w = end_time, 0, zero
            arrives = e + 1 < n_in[b] and t_in[b, e + 1] < end_time
            if arrives:
                t_next, unit = t_in[b, e + 1], u_in[b, e + 1]
            dt = float(t_next) - float(t_now)
            if dt > 0.0 and not (quiet and e < 0):
                hits = 0
                if not shared:
                    propagators(e_m, e_s, g, dt, rates, bases, powers)
                    step = dtype.type(dt)
                    for j in range(n):
                        u_j, i_j, c_j = u[j], i[j], c[j]
                        u_end, i_end, p = e_m[j] * u_j + g[j] * i_j, e_s[j] * i_j, i_j - u_j
                        bound = max(u_j, zero) + max(i_j, zero) * peak[j]
                        inside = (p > zero) & (i_end <= u_end) & (bound >= c_j) & (u_j + step * rate[j] * p >= c_j)
                        hit = (u_end >= c_j) | inside
                        flag[j], u[j], i[j], u_old[j], i_old[j] = hit, u_end, i_end, u_j, i_j
                        hits |= hit
                elif kind == RATIO_2:
                    y = -math.expm1(-dt / tm_0)
                    a_m, a_s, a_g = dtype.type(1.0 - y), dtype.type((1.0 - y) * (1.0 - y)), dtype.type((1.0 - y) * y)
                    y2 = dtype.type(2.0 * y)
                    for j in range(n):
                        u_j, i_j, c_j = u[j], i[j], c[j]
                        u_end, p = a_m * u_j + a_g * i_j, i_j - u_j
                        inside = (p > zero) & (p < y2 * i_j) & (p * p >= four * i_j * (c_j - u_j))
                        hit = (u_end >= c_j) | inside
                        flag[j], u[j], i[j], u_old[j], i_old[j] = hit, u_end, a_s * i_j, u_j, i_j
                        hits |= hit
                else:
                    f_m, f_s, f_g = response(dt, tm_0, ts_0)
                    a_m, a_s, a_g, rise = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g), dtype.type(dt / tm_0)
                    for j in range(n):
                        u_j, i_j, c_j = u[j], i[j], c[j]
                        u_end, i_end, p = a_m * u_j + a_g * i_j, a_s * i_j, i_j - u_j
                        bound = max(u_j, zero) + max(i_j, zero) * peak_0
                        inside = (p > zero) & (i_end <= u_end) & (bound >= c_j) & (u_j + rise * p >= c_j)
                        hit = (u_end >= c_j) | inside
                        flag[j], u[j], i[j], u_old[j], i_old[j] = hit, u_end, i_end, u_j, i_j
                        hits |= hit
                if measured:
                    first = m
                    while m < n_meas[b] and t_meas[b, m] <= t_next:
                        m += 1
                    if m > first or holding:
                        count = _replay_lanes(
                            t_meas[b, first:m], u_meas[b, first:m], kind, t_now, t_next, subtract, count,
                            u_old, i_old, u, i, c, held[:n], holding, table, state, spikes, lanes,
                        )
                elif hits or holding:
                    flagged = 0
                    for word in range(flag_words.shape[0]):
                        if flag_words[word] | held_words[word]:
                            for lane in range(8 * word, 8 * word + 8):
                                if flag[lane] | held[lane]:
                                    lanes[flagged] = lane
                                    flagged += 1
                    if flagged:
                        first = count
                        count = _simulate_lanes(
                            lanes, flagged, kind, t_now, t_next, subtract, max_spikes, count,
                            u_old, i_old, u, i, c, held, table, state, spikes,
                        )
                        if first < count <= room:
                            _sort_interval(spikes, order, scratch, bins, first, count, float(t_now), float(t_next))
            if not arrives:
                break
            for j in range(n):
                i[j] += weight[unit, j]
            t_now = t_next
        out_n[b] = count
        if count > room:
            continue
        for k in range(count):
            a = k if measured else order[k]
            out_t[b, k], out_u[b, k], out_current[b, k] = spikes[a, TIME], int(spikes[a, UNIT]), spikes[a, CURRENT]
            out_release[b, k], out_released[b, k] = spikes[a, RELEASE_TIME], spikes[a, RELEASE_CURRENT]
            out_residual[b, k] = spikes[a, RESIDUAL]
        for k in range(count, room):
            out_t[b, k] = np.inf
