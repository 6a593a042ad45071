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
from numba import njit

from .scalar import RATIO_2, advance, arrive, crossing, one_minus_exp, remaining, response
from .vector import propagators

#: Lanes to which a layer of at most as many neurons is padded: a constant, so that the update is unrolled.
NARROW = 16

#: Spikes in one interval up to which plain insertion sorts them fastest.
SMALL_SORT = 24

#: Columns of the table of neuron constants.
TAU_MEM, TAU_SYN, REFRACTORY, RESET = range(4)

#: Columns of the state of a neuron while replay keeps it outside the common update.
OWN_U, OWN_I, OWN_TIME, OWN_REST = range(4)


@njit(cache=True, nogil=True, error_model="numpy")
def _replay_lanes(  # type: ignore[no-untyped-def]
    b, first, stop, kind, t_now, t_next, y_all, subtract, holding, u_old, i_old, u_new, i_new, c, row, table, held, until,
    last, own, lanes, t_meas, u_meas, current, residual, release, released,
):
    """Carry the neurons through their measured spikes in ``(t_now, t_next]``, in order, with the same arithmetic."""
    end, n, dtype = np.float64(t_next), 0, c.dtype
    for k in range(first, stop):
        n = _take(u_meas[b, k], lanes, n, t_now, y_all, u_old, i_old, own)
    if holding:
        for lane in range(held.shape[0]):
            if held[lane] != 0:
                n = _take(lane, lanes, n, t_now, y_all, u_old, i_old, own)
    for k in range(first, stop):
        lane, t = u_meas[b, k], np.float64(t_meas[b, k])
        tm, ts, t_ref, r = table[lane, TAU_MEM], table[lane, TAU_SYN], table[lane, REFRACTORY], table[lane, RESET]
        u_l, i_l, pos, rest, c_l = own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME], own[lane, OWN_REST], np.float64(c[lane])
        refractory = holding and until[lane] > t
        if refractory:
            i_l *= math.exp(-(t - pos) / ts)
        else:
            if holding and until[lane] > pos:
                i_l *= math.exp(-(until[lane] - pos) / ts)
                release[b, last[lane]], released[b, last[lane]] = until[lane], i_l
                pos = until[lane]
                rest = one_minus_exp((end - pos) / tm)
            u_l, i_l, y = advance(kind, u_l, i_l, t - pos, tm, ts)
            rest = remaining(kind, rest, y, end - t, tm)
        residual[b, k], current[b, k] = u_l - c_l, -np.inf if refractory else i_l
        own[lane, OWN_U] = u_l - (c_l - r) if subtract and not refractory else r
        own[lane, OWN_I], own[lane, OWN_TIME], own[lane, OWN_REST] = i_l, t, rest
        if holding:
            release[b, k], released[b, k] = np.inf if t_ref > 0.0 else t, 0.0 if t_ref > 0.0 else i_l
            last[lane], until[lane] = k, t + t_ref if t_ref > 0.0 else -np.inf
    for a in range(n):
        lane = lanes[a]
        tm, ts = table[lane, TAU_MEM], table[lane, TAU_SYN]
        u_l, i_l, pos, rest = own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME], own[lane, OWN_REST]
        own[lane, OWN_TIME] = -1.0
        if holding and until[lane] > end:
            held[lane] = 1
            i_l *= math.exp(-(end - pos) / ts)
        else:
            held[lane] = 0
            if holding and until[lane] > pos:
                i_l *= math.exp(-(until[lane] - pos) / ts)
                release[b, last[lane]], released[b, last[lane]] = until[lane], i_l
                pos = until[lane]
                rest = one_minus_exp((end - pos) / tm)
            u_l, i_l = arrive(kind, u_l, i_l, end - pos, rest, tm, ts)
        u_new[lane], i_new[lane] = u_l, dtype.type(i_l) + row[lane]


@njit(cache=True, nogil=True, error_model="numpy")
def _take(lane, lanes, n, t_now, y_all, u_old, i_old, own):  # type: ignore[no-untyped-def]
    """Take a neuron out of the common update of this interval, once; returns the number taken."""
    if own[lane, OWN_TIME] >= 0.0:
        return n
    lanes[n] = lane
    own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME], own[lane, OWN_REST] = u_old[lane], i_old[lane], t_now, y_all
    return n + 1


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _sort_interval(times, order, bins, places, first, stop, t_now, t_next):  # type: ignore[no-untyped-def]
    """Write spikes ``first .. stop`` to ``order`` by time, ties as found: first into as many bins, then by insertion."""
    n_new = stop - first
    if n_new <= SMALL_SORT:
        for a in range(first, stop):
            order[a] = a
    else:
        scale = n_new / (t_next - t_now)
        for a in range(n_new + 1):
            bins[a] = 0
        for a in range(first, stop):
            place = min(n_new - 1, int((times[a] - t_now) * scale))
            places[a - first] = place
            bins[place + 1] += 1
        for a in range(n_new):
            bins[a + 1] += bins[a]
        for a in range(first, stop):
            place = places[a - first]
            order[first + bins[place]] = a
            bins[place] += 1
    for a in range(first + 1, stop):
        item, slot = order[a], a
        t_item = times[item]
        while slot > first and times[order[slot - 1]] > t_item:
            order[slot] = order[slot - 1]
            slot -= 1
        order[slot] = item


@njit(cache=True, nogil=True, error_model="numpy")
def forward_range(  # type: ignore[no-untyped-def]
    lo, hi, kind, shared, t_in, u_in, n_in, weight, table, threshold, start, rates, bases, powers, t_stop, subtract,
    max_spikes, measured, t_meas, u_meas, n_meas, out_t, out_u, out_n, out_current, out_release, out_released, out_residual,
):
    """Samples ``lo .. hi`` of a batch; writes spikes ``[batch, room]`` and the true counts to ``out_n``.

    ``out_release`` and ``out_released`` are written where a neuron has a refractory time, ``out_residual`` where spikes
    are ``measured``; ``out_t`` and ``out_u`` where they are not. ``weight`` has ``NARROW`` columns or more.

    A neuron is flagged where it may cross in the interval: ``u_end >= c``, or ``u + Y (i - u) >= c`` with
    ``Y = 1 - e^(-dt/tau_mem)``, an upper bound while ``i > 0`` (the input decays); with ``i <= 0`` there is no maximum
    inside.
    """
    n, dtype, room = weight.shape[1], weight.dtype, out_current.shape[1]
    state = np.zeros((4, n), dtype)  # u of the even events, u of the odd ones, i likewise
    e_m, e_s, g = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)
    flag, held = np.zeros((n + 7) // 8 * 8, np.uint8), np.zeros((n + 7) // 8 * 8, np.uint8)
    flag_words, held_words = flag.view(np.uint64), held.view(np.uint64)
    c, lanes, last, fired = np.zeros(n, dtype), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    until, own = np.full(n, -np.inf), np.full((n if measured else 1, 4), -1.0)
    work = 1 if measured else room
    times, units, currents = np.zeros(work, dtype), np.zeros(work, np.int64), np.zeros(work, dtype)
    order, bins, places = np.zeros(work, np.int64), np.zeros(work + 1, np.int64), np.zeros(work, np.int64)
    holding, end_time = table[:, REFRACTORY].max() > 0, dtype.type(t_stop)
    work = room if holding and not measured else 1
    release, released = np.zeros(work, dtype), np.zeros(work, dtype)
    tm_0, ts_0, no, yes = table[0, TAU_MEM], table[0, TAU_SYN], np.int32(0), np.int32(1)
    a_m, a_s, a_g, a_y = dtype.type(0), dtype.type(0), dtype.type(0), dtype.type(0)
    for b in range(lo, hi):
        sample = b if threshold.shape[0] > 1 else 0
        for j in range(n):
            c[j], state[0, j], state[2, j] = threshold[sample, j], start[j], 0
        if holding:
            until[:] = -np.inf
            held[:] = 0
        if max_spikes > 1:
            fired[:] = 0
        quiet = not (np.any(start != 0) or np.any(c <= 0))  # then nothing can happen before the first event
        quiet = quiet and not (measured and n_meas[b] > 0 and (n_in[b] == 0 or t_meas[b, 0] <= t_in[b, 0]))
        count, m, t_now, old = 0, 0, dtype.type(0), 0
        for e in range(-1, n_in[b]):
            t_next, unit = end_time, 0
            arrives = e + 1 < n_in[b] and t_in[b, e + 1] < end_time
            if arrives:
                t_next, unit = t_in[b, e + 1], u_in[b, e + 1]
            dt = np.float64(t_next) - np.float64(t_now)
            # measured spikes at time 0 come before the inputs there
            if (quiet and e < 0) or (dt <= 0.0 and not (measured and e < 0)):
                for j in range(n):
                    state[2 + old, j] += weight[unit, j]
                if not arrives:
                    break
                t_now = t_next
                continue
            new, hits, y_all = 1 - old, no, 0.0
            if shared:
                if kind == RATIO_2:
                    y_all = one_minus_exp(dt / tm_0)
                    a_m, a_y = dtype.type(1.0 - y_all), dtype.type(y_all)
                    a_s, a_g = dtype.type((1.0 - y_all) * (1.0 - y_all)), dtype.type((1.0 - y_all) * y_all)
                else:
                    f_m, f_s, f_g = response(dt, tm_0, ts_0)
                    a_m, a_s, a_g, a_y = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g), dtype.type(1.0 - f_m)
            else:
                propagators(e_m, e_s, g, dt, rates, bases, powers)
            if shared and n == NARROW:
                for j in range(NARROW):
                    u_j, i_j, c_j = state[old, j], state[2 + old, j], c[j]
                    u_end = a_m * u_j + a_g * i_j
                    state[new, j], state[2 + new, j] = u_end, a_s * i_j + weight[unit, j]
                    hits = np.int32(hits | (yes if (u_end >= c_j) | (u_j + a_y * (i_j - u_j) >= c_j) else no))
            elif shared:
                for j in range(n):
                    u_j, i_j, c_j = state[old, j], state[2 + old, j], c[j]
                    u_end = a_m * u_j + a_g * i_j
                    state[new, j], state[2 + new, j] = u_end, a_s * i_j + weight[unit, j]
                    hit = (u_end >= c_j) | (u_j + a_y * (i_j - u_j) >= c_j)
                    flag[j] = hit
                    hits = np.int32(hits | (yes if hit else no))
            else:
                for j in range(n):
                    u_j, i_j, c_j, m_j = state[old, j], state[2 + old, j], c[j], e_m[j]
                    u_end = m_j * u_j + g[j] * i_j
                    state[new, j], state[2 + new, j] = u_end, e_s[j] * i_j + weight[unit, j]
                    hit = (u_end >= c_j) | (u_j + (dtype.type(1) - m_j) * (i_j - u_j) >= c_j)
                    flag[j] = hit
                    hits = np.int32(hits | (yes if hit else no))
            if measured:
                first = m
                while m < n_meas[b] and t_meas[b, m] <= t_next:
                    m += 1
                if m > first or holding:
                    _replay_lanes(
                        b, first, m, kind, t_now, t_next, y_all, subtract, holding, state[old], state[2 + old], state[new],
                        state[2 + new], c, weight[unit], table, held, until, last, own, lanes, t_meas, u_meas,
                        out_current, out_residual, out_release, out_released,
                    )
                count = m
            elif hits or holding:
                flagged = 0
                if shared and n == NARROW:
                    for lane in range(NARROW):
                        u_j, i_j, c_j = state[old, lane], state[2 + old, lane], c[lane]
                        bound = max(state[new, lane], u_j + a_y * (i_j - u_j))
                        if bound >= c_j or held[lane] != 0:
                            lanes[flagged] = lane
                            flagged += 1
                else:
                    for word in range(flag_words.shape[0]):
                        if flag_words[word] | held_words[word]:
                            for lane in range(8 * word, 8 * word + 8):
                                if flag[lane] | held[lane]:
                                    lanes[flagged] = lane
                                    flagged += 1
                first, begin, end = count, np.float64(t_now), np.float64(t_next)
                for k in range(flagged):
                    lane = lanes[k]
                    tm, ts, r = table[lane, TAU_MEM], table[lane, TAU_SYN], table[lane, RESET]
                    u_l, i_l, c_l = np.float64(state[old, lane]), np.float64(state[2 + old, lane]), np.float64(c[lane])
                    u_e, i_e = np.float64(state[new, lane]), np.float64(a_s if shared else e_s[lane]) * i_l
                    pos, rest, outside, forced = begin, y_all, False, state[new, lane] >= c[lane]
                    while True:
                        if holding and until[lane] > pos:
                            outside = True
                            held[lane] = until[lane] > end
                            if until[lane] > end:
                                u_e, i_e = u_l, i_l * math.exp(-(end - pos) / ts)
                                break
                            i_l *= math.exp(-(until[lane] - pos) / ts)
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
                                release[count], released[count] = np.inf if t_ref > 0.0 else t, 0.0 if t_ref > 0.0 else i_l
                            last[lane], until[lane] = count, pos + t_ref if t_ref > 0.0 else -np.inf
                        count += 1
                        if max_spikes > 0:
                            fired[lane] += 1
                            if max_spikes == 1 or fired[lane] >= max_spikes:
                                c[lane], c_l = np.inf, np.inf
                    if outside:
                        state[new, lane], state[2 + new, lane] = u_e, dtype.type(i_e) + weight[unit, lane]
                if first < count <= room:
                    _sort_interval(times, order, bins, places, first, count, begin, end)
            if not arrives:
                break
            t_now, old = t_next, new
        out_n[b] = count
        if measured or count > room:
            continue
        for k in range(count):
            a = order[k]
            out_t[b, k], out_u[b, k], out_current[b, k] = times[a], units[a], currents[a]
            if holding:
                out_release[b, k], out_released[b, k] = release[a], released[a]


@njit(cache=True, nogil=True, error_model="numpy")
def pack_range(  # type: ignore[no-untyped-def]
    lo, hi, counts, times, units, current, to_times, to_units, to_current, to_release
):
    """Copy the spikes of samples ``lo .. hi`` to arrays that are just wide enough, released as they spike."""
    for b in range(lo, hi):
        for k in range(counts[b]):
            to_times[b, k], to_units[b, k], to_current[b, k] = times[b, k], units[b, k], current[b, k]
            to_release[b, k] = times[b, k]
        for k in range(counts[b], to_times.shape[1]):
            to_times[b, k], to_units[b, k], to_current[b, k], to_release[b, k] = np.inf, 0, 0, 0
