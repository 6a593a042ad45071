"""Spikes of one layer of one chip: :func:`hwloop.simulate.forward.forward_range` for neurons with refractory times.

There each neuron that may spike in an interval is followed by itself, in a chain of operations of which each waits for
the one before. Here the neurons of an interval take each step together: one round finds the next spike of all of them,
carries them through their refractory times and to the interval's end, and leaves those that may spike again. Every neuron
still meets the same operations in the same order, so that all bits are equal; ``forward_range`` is the specification.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hwloop.simulate.kernel import kernel
from hwloop.simulate.narrow import LANES, aligned_rows, forward_step, short_propagators
from hwloop.simulate.replay import REFRACTORY, RESET, TAU_MEM, TAU_SYN
from hwloop.simulate.scalar import SERIES, crossing_search, peak_time, response, short_response
from hwloop.simulate.together import sort_interval
from hwloop.simulate.vector import is_short

from .decay import long_propagators

#: Neurons that are followed together; the rows of their table lie this far apart, which the compiler has to know.
WIDTH = 64
#: Steps of Halley's iteration that all take together; who then has not settled is searched for alone.
STEPS = 4
#: Rows of the table: membrane, current, threshold; time constants; where the neuron stands in the interval (s); its state
#: at the end, whether that forces a spike, whether it has left the common update; how long its search and interval last;
#: and for one round: whether it crosses, the search's lower end and place, whether it has settled, a response's factors.
U, CUR, C, TM, TS, POS, END_U, END_I, FORCED, OUTSIDE, HIGH, SPAN = (WIDTH * row for row in range(12))
MOVED = 12
CROSSES, LOW, S, SETTLED, E_M, E_S, G = (WIDTH * row for row in range(MOVED, MOVED + 7))
ROWS = MOVED + 7


@kernel()
def _respond(a: Any, m: int) -> None:
    """``E_M, E_S, G`` over the times in row ``S``: the short series of all, then others one by one."""
    far = False
    for k in range(m):
        x = a[S + k] / a[TM + k]
        z = a[S + k] / a[TS + k] - x
        e_m, e_s, g = short_response(x, z)
        a[E_M + k], a[E_S + k], a[G + k] = e_m, e_s, g
        far |= not ((x < SERIES) & (abs(z) < SERIES))
    if far:
        for k in range(m):
            x = a[S + k] / a[TM + k]
            if not (x < SERIES and abs(a[S + k] / a[TS + k] - x) < SERIES):
                a[E_M + k], a[E_S + k], a[G + k] = response(a[S + k], a[TM + k], a[TS + k])


@kernel(inline="always")
def _guess(a: Any, m: int) -> None:
    """First guess of every search to row ``S``, as ``crossing_search`` makes it."""
    for k in range(m):
        q, p = a[C + k] - a[U + k], a[CUR + k] - a[U + k]
        d = p * p - 4.0 * (a[CUR + k] * a[TM + k] / (2.0 * a[TS + k])) * q
        y = 2.0 * q / (p + math.sqrt(max(d, 0.0)))
        a[S + k] = y if (p > 0.0) & (d >= 0.0) & (y < 1.0) else 2.0
        a[LOW + k], a[SETTLED + k] = 0.0, 0.0
    for k in range(m):
        s = a[HIGH + k]
        if a[S + k] < 1.0:
            s = -a[TM + k] * math.log1p(-a[S + k])
        a[S + k] = s if s < a[HIGH + k] else 0.5 * a[HIGH + k]


@kernel(inline="always")
def _halley(a: Any, m: int) -> bool:
    """One step of every search that has not settled; whether one is left. As the loop of ``crossing_search``."""
    _respond(a, m)
    left = False
    for k in range(m):
        s, lo, hi, tm = a[S + k], a[LOW + k], a[HIGH + k], a[TM + k]
        own, came = a[E_M + k] * a[U + k], a[G + k] * a[CUR + k]
        u_s, i_s = own + came, a[E_S + k] * a[CUR + k]
        f = u_s - a[C + k]
        hi = s if f >= 0.0 else hi
        lo = lo if f >= 0.0 else s
        df = (i_s - u_s) / tm
        ddf = -(i_s / a[TS + k] + df) / tm
        denominator = 2.0 * df * df - f * ddf
        steep = (denominator > 0.0) & (df > 0.0)
        middle = 0.5 * (lo + hi)
        t = s - 2.0 * f * df / denominator if steep else middle
        beyond = (hi < t) & (t <= hi * (1.0 + 1e-12))
        inside = (lo <= t) & (t <= hi)
        steep = steep & (beyond | inside)
        t = hi if beyond else (t if inside else middle)
        noise = 6e-16 * (abs(own) + abs(came) + abs(a[C + k]))
        bend = abs(ddf) * tm
        steepness = df / (df + bend) if df > 0.0 else 0.0
        quiet, short = abs(f) <= noise, steep & (abs(t - s) <= 1e-6 * tm * steepness)
        narrow = hi - lo <= 4e-16 * hi
        found = (t if steep else s) if quiet else (t if short else hi)
        done = quiet | short | narrow
        open_ = a[SETTLED + k] == 0.0
        a[S + k] = (found if done else t) if open_ else s
        a[LOW + k], a[HIGH + k] = lo, hi
        a[SETTLED + k] = 1.0 if done | (not open_) else 0.0
        left |= open_ & (done ^ True)
    return left


@kernel(inline="always")
def _search(a: Any, m: int) -> None:
    """First crossing after each neuron's position, to row ``S``, within ``HIGH`` and known to exist."""
    _guess(a, m)
    left = True
    for _ in range(STEPS):
        if left:
            left = _halley(a, m)
    if left:
        for k in range(m):
            if a[SETTLED + k] == 0.0:
                a[S + k] = crossing_search(
                    a[U + k], a[CUR + k], a[C + k], a[TM + k], a[TS + k], a[SPAN + k], a[FORCED + k] > 0.0
                )


@kernel(inline="always")
def _arrive(a: Any, m: int, end: float, like: Any) -> None:
    """States at the end of the interval, and whether they force a spike."""
    for k in range(m):
        a[S + k] = end - a[POS + k]
    _respond(a, m)
    for k in range(m):
        u = a[E_M + k] * a[U + k] + a[G + k] * a[CUR + k]
        a[END_U + k], a[END_I + k], a[OUTSIDE + k] = u, a[E_S + k] * a[CUR + k], 1.0
        a[FORCED + k] = 1.0 if like.dtype.type(u) >= like.dtype.type(a[C + k]) else 0.0


@kernel(inline="always")
def _crossing(a: Any, m: int, end: float) -> None:
    """To row ``CROSSES`` whether a neuron reaches its threshold before ``end``, and how long to search; as ``crossing``."""
    turning = False
    for k in range(m):
        u, i, c, span = a[U + k], a[CUR + k], a[C + k], end - a[POS + k]
        able = (span > 0.0) & (c < math.inf) & ((i > 0.0) | (c < 0.0))
        turns = able & (a[END_I + k] <= a[END_U + k]) & (i > u)
        a[CROSSES + k] = 1.0 if able & (a[FORCED + k] > 0.0) else (0.5 if turns else 0.0)
        a[HIGH + k], a[SPAN + k], a[S + k] = span, span, 0.0
        turning |= a[CROSSES + k] == 0.5
    if not turning:
        return
    for k in range(m):
        if a[CROSSES + k] == 0.5:
            high = peak_time(a[U + k], a[CUR + k], a[TM + k], a[TS + k])
            inside = 0.0 < high < a[SPAN + k]
            a[CROSSES + k] = 0.5 if inside else 0.0
            a[S + k] = high if inside else 0.0
    _respond(a, m)
    for k in range(m):
        reaches = a[E_M + k] * a[U + k] + a[G + k] * a[CUR + k] >= a[C + k]
        turns = a[CROSSES + k] == 0.5
        a[HIGH + k] = a[S + k] if turns else a[HIGH + k]
        a[CROSSES + k] = (1.0 if reaches else 0.0) if turns else a[CROSSES + k]


@kernel(inline="always")
def _spike(a: Any, m: int, t_next: Any, like: Any) -> None:
    """Spike times (s, rounded) to row ``POS``, and states just before the reset to ``U, CUR``."""
    real = like.dtype.type
    for k in range(m):
        pos = a[POS + k]
        t = real(pos + a[S + k])
        if np.float64(t) <= pos:  # never on or before the event that caused it
            t = np.nextafter(t, real(np.inf))
        t = min(t, t_next)
        a[S + k], a[POS + k] = np.float64(t) - pos, np.float64(t)
    _respond(a, m)
    for k in range(m):
        u, i = a[U + k], a[CUR + k]
        a[U + k], a[CUR + k] = a[E_M + k] * u + a[G + k] * i, a[E_S + k] * i


@kernel()
def fire_range(
    lo: int, hi: int, t_in: Any, u_in: Any, n_in: Any, weight: Any, table: Any, threshold: Any, start: Any, moves: bool,
    rates: Any, bases: Any, powers: Any, t_stop: float, subtract: bool, max_spikes: int, out_t: Any, out_u: Any, out_n: Any,
) -> None:  # fmt: skip
    """Samples ``lo .. hi``: spikes to ``out_t, out_u [batch, room]``, true counts to ``out_n``.

    Arguments as for ``forward_range``, of neurons with time constants of their own (kind ``GENERAL``) of which some have a
    refractory time.
    """
    n, dtype, room = weight.shape[1], weight.dtype, out_t.shape[1]
    state = aligned_rows(4, n, weight)
    u_new, i_new, u_old, i_old, bits = 0, 1, 2, 3, 0
    e_m, e_s, g, c = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)
    flag, held = np.zeros((n + 7) // 8 * 8, np.uint8), np.zeros((n + 7) // 8 * 8, np.uint8)
    flag_words, held_words = flag.view(np.uint64), held.view(np.uint64)
    lanes, fired, until = np.zeros(n + 1, np.int64), np.zeros(n, np.int64), np.zeros(n)
    a, ids, found = np.zeros(ROWS * WIDTH), np.zeros(WIDTH, np.int64), np.zeros(n + 1, np.int64)
    times, units, origin = np.zeros(room, dtype), np.zeros(room, np.int64), np.zeros(room, np.int64)
    kept_t, kept_u = np.zeros(room, dtype), np.zeros(room, np.int64)
    order, bins, places = np.zeros(room, np.int64), np.zeros(room + 1, np.int64), np.zeros(room, np.int64)
    end_time, no, yes = dtype.type(t_stop), np.int32(0), np.int32(1)
    for b in range(lo, hi):
        sample = b if threshold.shape[0] > 1 else 0
        for j in range(n):
            c[j], state[u_new, j], state[i_new, j] = threshold[sample, j], start[j], 0
            until[j], held[j], fired[j] = -np.inf, 0, 0
        count, t_now = 0, dtype.type(0)
        for e in range(-1, n_in[b]):
            t_next, unit = end_time, 0
            arrives = e + 1 < n_in[b] and t_in[b, e + 1] < end_time
            if arrives:
                t_next, unit = t_in[b, e + 1], u_in[b, e + 1]
            dt = np.float64(t_next) - np.float64(t_now)
            if dt <= 0.0 or (e < 0 and not moves):
                for j in range(n):
                    state[i_new, j] += weight[unit, j]
                if not arrives:
                    break
                t_now = t_next
                continue
            flagged = 0
            if n == LANES:
                if is_short(dt, bases):
                    short_propagators(e_m, e_s, g, rates, dt, math.exp(-dt * bases[0]), math.exp(-dt * bases[2]))
                else:
                    long_propagators(e_m, e_s, g, dt, rates, bases, powers)
                u_new, i_new, u_old, i_old = 0, 1, 2, 3
                bits = forward_step(state, weight, unit, e_m, e_s, g, c)
                if bits != 0 or held_words[0] | held_words[1]:
                    for lane in range(LANES):
                        lanes[flagged] = lane
                        flagged += (bits >> lane) & 1 | held[lane]
            else:
                long_propagators(e_m, e_s, g, dt, rates, bases, powers)
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                hits = no
                for j in range(n):
                    u_j, i_j, c_j, m_j = state[u_old, j], state[i_old, j], c[j], e_m[j]
                    u_end = m_j * u_j + g[j] * i_j
                    state[u_new, j], state[i_new, j] = u_end, e_s[j] * i_j + weight[unit, j]
                    hit = (u_end >= c_j) | (u_j + (dtype.type(1) - m_j) * (i_j - u_j) >= c_j)
                    flag[j] = hit
                    hits = np.int32(hits | (yes if hit else no))
                for word in range(flag_words.shape[0]):
                    if flag_words[word] | held_words[word]:
                        for lane in range(8 * word, 8 * word + 8):
                            lanes[flagged] = lane
                            flagged += flag[lane] | held[lane]
            first, begin, end = count, np.float64(t_now), np.float64(t_next)
            for block in range(0, flagged, WIDTH):
                m = 0
                for number in range(block, min(block + WIDTH, flagged)):
                    lane = lanes[number]
                    tm, ts = table[lane, TAU_MEM], table[lane, TAU_SYN]
                    a[U + m], a[CUR + m], a[C + m] = state[u_old, lane], state[i_old, lane], c[lane]
                    a[TM + m], a[TS + m], a[POS + m], a[OUTSIDE + m] = tm, ts, begin, 0.0
                    a[END_U + m], a[END_I + m] = state[u_new, lane], np.float64(e_s[lane]) * a[CUR + m]
                    a[FORCED + m] = 1.0 if state[u_new, lane] >= c[lane] else 0.0
                    ids[m] = number
                    if until[lane] > begin:
                        held[lane] = until[lane] > end
                        if until[lane] > end:
                            current = a[CUR + m] * math.exp(-(end - begin) / ts)
                            state[u_new, lane], state[i_new, lane] = a[U + m], dtype.type(current) + weight[unit, lane]
                            continue
                        a[CUR + m], a[POS + m] = a[CUR + m] * math.exp(-(until[lane] - begin) / ts), until[lane]
                        f_m, f_s, f_g = response(end - a[POS + m], tm, ts)
                        u_e = f_m * a[U + m] + f_g * a[CUR + m]
                        a[END_U + m], a[END_I + m], a[OUTSIDE + m] = u_e, f_s * a[CUR + m], 1.0
                        a[FORCED + m] = 1.0 if dtype.type(u_e) >= c[lane] else 0.0
                    m += 1
                while m > 0:
                    _crossing(a, m, end)
                    kept = 0
                    for k in range(m):
                        if a[CROSSES + k] == 1.0:
                            if kept != k:
                                for row in range(MOVED):
                                    a[WIDTH * row + kept] = a[WIDTH * row + k]
                                ids[kept] = ids[k]
                            kept += 1
                        elif a[OUTSIDE + k] > 0.0:
                            lane = lanes[ids[k]]
                            state[u_new, lane] = a[END_U + k]
                            state[i_new, lane] = dtype.type(a[END_I + k]) + weight[unit, lane]
                    m = kept
                    if m == 0:
                        break
                    _search(a, m)
                    _spike(a, m, t_next, weight)
                    kept = 0
                    for k in range(m):
                        number, pos, u_l, i_l, c_l = ids[k], a[POS + k], a[U + k], a[CUR + k], a[C + k]
                        lane, tm, ts = lanes[number], a[TM + k], a[TS + k]
                        r, t_ref = table[lane, RESET], table[lane, REFRACTORY]
                        u_l = u_l - (c_l - r) if subtract else r
                        until[lane] = pos + t_ref if t_ref > 0.0 else -np.inf
                        if count < room:
                            times[count], units[count], origin[count] = pos, lane, number
                        count += 1
                        if max_spikes > 0:
                            fired[lane] += 1
                            if max_spikes == 1 or fired[lane] >= max_spikes:
                                c[lane], c_l = np.inf, np.inf
                        if until[lane] > pos:
                            held[lane] = until[lane] > end
                            if until[lane] > end:
                                i_l = i_l * math.exp(-(end - pos) / ts)
                                state[u_new, lane], state[i_new, lane] = u_l, dtype.type(i_l) + weight[unit, lane]
                                continue
                            i_l, pos = i_l * math.exp(-(until[lane] - pos) / ts), until[lane]
                        a[U + kept], a[CUR + kept], a[C + kept], a[POS + kept] = u_l, i_l, c_l, pos
                        a[TM + kept], a[TS + kept], ids[kept] = tm, ts, number
                        kept += 1
                    m = kept
                    _arrive(a, m, end, weight)
            if first < count <= room:
                _found_order(times, units, origin, kept_t, kept_u, found, first, count, flagged)
                sort_interval(kept_t, order, bins, places, first, count, begin, end)
            if not arrives:
                break
            t_now = t_next
        out_n[b] = count
        if count <= room:
            for k in range(count):
                out_t[b, k], out_u[b, k] = kept_t[order[k]], kept_u[order[k]]


@kernel(inline="always")
def _found_order(
    times: Any, units: Any, origin: Any, to_times: Any, to_units: Any, found: Any, first: int, stop: int, flagged: int
) -> None:  # fmt: skip
    """Spikes ``first .. stop`` neuron by neuron, in which order ``forward_range`` finds them: it decides between ties."""
    for number in range(flagged + 1):
        found[number] = 0
    for k in range(first, stop):
        found[origin[k] + 1] += 1
    for number in range(flagged):
        found[number + 1] += found[number]
    for k in range(first, stop):
        to = first + found[origin[k]]
        found[origin[k]] += 1
        to_times[to], to_units[to] = times[k], units[k]
