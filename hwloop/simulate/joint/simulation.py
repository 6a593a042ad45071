"""Event-major simulation of a component: from arrival to arrival, one contiguous update over all its neurons.

An interval reaches from one arrival to the next that is known. Neurons that may cross their threshold in it are looked at
together; where what the first of them causes arrives before the interval's end, the interval is cut there and all neurons are
carried to the cut. Where spikes act without delay, a first glance reaches no further than the last spikes would suggest: it
finds the next spike among fewer neurons, and where there is none it has changed nothing. So a spike is only ever found in an interval whose arrivals are all known, and replay, which knows the
spikes, cuts at the same times: with the same arithmetic it gets equal bits.

Whether a neuron has reached its threshold is decided by the sign of ``u - c`` at the end of the (cut) interval, never by
comparing rounded roots. An arrival at a neuron's own spike time comes after that spike.
"""

# mypy: disable-error-code="assignment"
# Numba joins the types of a variable: here float with float64

from __future__ import annotations

import numpy as np

from ..compile_kernel import kernel
from ..kernels.bits import lowest
from ..kernels.crossings import ROWS
from ..kernels.legs import WIDTH
from ..kernels.neuron import GENERAL, RATIO_2, SLACK, fading, may_cross, response
from ..kernels.order import sort_interval
from ..kernels.propagators import propagators
from .arrays import DONE, EXPLODED, FULL, REFRACTORY, RESET, SCATTERED, TAU_MEM, TAU_SYN
from .contract import CURRENT as BY_CURRENT
from .contract import INTEGRATE
from .crossings import over
from .next_spike import first_to_act, next_on_leg
from .pending import put, take


@kernel(allocates=True)
def simulate_range(lo, hi, t_stop, plan, rates, bases, external, measured, out):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi``: :class:`~.arrays.Plan`, ``External``, ``Measured`` or None, and ``Found``, which is written.

    A sample ends ``FULL`` where its spikes or arrivals find no room, and ``EXPLODED`` where the last ``plan.block`` spikes
    came faster than ``plan.fastest`` a neuron.
    """
    n, room, wide, dtype = plan.start.shape[0], out.times.shape[1], out.bundle.shape[1], plan.weight.dtype
    flag, held = np.zeros((n + 7) // 8 * 8, np.uint8), np.zeros((n + 7) // 8 * 8, np.uint8)
    work = 1 if plan.fifo else wide
    space = (
        (np.zeros((4, n), dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)),
        (flag, held, flag.view(np.uint64), held.view(np.uint64)),
        (np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)),
        (np.zeros(n), np.full(n, np.inf), np.zeros(n if measured is not None else 1, np.int64)),
        (np.zeros(ROWS * WIDTH), np.zeros(WIDTH, np.int64)),
        (np.zeros(room, dtype), np.zeros(room, np.int64), np.zeros((4, room), dtype)),
        (np.zeros(room, np.int64), np.zeros(room + 1, np.int64), np.zeros(room, np.int64)),
        (np.zeros(wide, dtype), np.zeros(wide, np.int64), np.zeros(wide, np.int64)),
        (np.zeros(work, dtype), np.zeros(work, np.int64)),
    )
    _simulate(lo, hi, t_stop, plan, rates, bases, external, measured, out, space)


@kernel()
def _simulate(lo, hi, t_stop, plan, rates, bases, external, measured, out, space):  # type: ignore[no-untyped-def]
    form, holding, moves, fifo, n_external = plan.form, plan.holding, plan.moves, plan.fifo, plan.n_external
    table, per, threshold, at_first, ramp = plan.table, plan.per, plan.threshold, plan.start, plan.ramp
    subtract, cap, kinds, sparse, ramps = plan.subtract, plan.cap, plan.kind, plan.sparse, plan.ramps
    bundle_starts, delay, synapse_from, target = plan.bundle_starts, plan.delay, plan.first, plan.target
    weight, layout, least, fastest, block = plan.weight, plan.layout, plan.least, plan.fastest, plan.block
    in_t, in_b, in_e, in_n = external
    out_t, out_u, out_current, out_release = out.times, out.units, out.current, out.release_time
    out_released, out_residual, out_after, out_cause = out.release_current, out.residual, out.after, out.cause
    log_bundle, log_origin = out.bundle, out.origin
    if measured is not None:
        m_t, m_u, m_n, m_head, m_next = measured
    neurons = kinds, ramp, least, table, per
    (state, c, e_m, e_s, g), (flag, held, flag_words, held_words), (lanes, last, fired, cause) = space[:3]
    (until, due, ahead), (a, ids), (times, units, values) = space[3:6]
    (order, bins, slots), (way_t, way_b, way_o), (heap_t, heap_i) = space[6:]
    n, dtype, room, wide = at_first.shape[0], weight.dtype, out_t.shape[1], log_bundle.shape[1]
    u_new, i_new, u_old, i_old = 0, 1, 2, 3
    end_time, inf = dtype.type(t_stop), dtype.type(np.inf)
    hasty = False
    for j in range(n):
        hasty = hasty or least[j] == 0
    tm_0, ts_0, no, yes = table[0, TAU_MEM], table[0, TAU_SYN], np.int32(0), np.int32(1)
    a_m, a_s, a_g, a_y, slack = dtype.type(0), dtype.type(0), dtype.type(0), dtype.type(0), dtype.type(SLACK)
    over_all = 1.0, 1.0, 0.0
    for b in range(lo, hi):
        row = b if threshold.shape[0] > 1 else 0
        for j in range(n):
            c[j], state[u_new, j], state[i_new, j] = threshold[row, j], at_first[j], 0
            until[j], held[j], fired[j], due[j] = -np.inf, 0, 0, np.inf
            if measured is not None:
                ahead[j] = m_head[b, j]
        count, arrived, seen, pe, sent, taken, size, status = 0, 0, 0, 0, 0, 0, 0, DONE
        t_now, block_at, block_t, rate, glance = dtype.type(0), 0, 0.0, 0.0, np.float64(t_stop)
        while status == DONE:
            t_next = in_t[b, pe] if pe < in_n[b] else inf
            if fifo:
                if taken < sent:
                    t_next = min(t_next, way_t[taken])
            elif size > 0:
                t_next = min(t_next, heap_t[0])
            t_next = min(t_next, end_time)
            spiking = False
            if measured is not None:
                first = seen
                while seen < m_n[b] and m_t[b, seen] <= t_next:
                    t_next = min(t_next, m_t[b, seen] + least[m_u[b, seen]])
                    seen += 1
                spiking = seen > first
            begin, fresh = count, 0
            if spiking or (t_next > t_now and (moves or arrived > 0)):
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                listed, start = 0, np.float64(t_now)
                waiting = np.uint64(0)
                if holding:
                    for word in range(held_words.shape[0]):
                        waiting |= held_words[word]
                goal, final = t_next, False
                if hasty and measured is None and t_now + dtype.type(glance) > t_now:
                    t_next = min(t_next, t_now + dtype.type(glance))
                for _ in range(3):
                    dt, hits = np.float64(t_next) - start, no
                    if rates is None:
                        if form is RATIO_2:
                            f_m, f_s, f_g = over(form, dt, 1.0 / tm_0, 1.0 / ts_0)
                        else:
                            f_m, f_s, f_g = response(dt, tm_0, ts_0)
                        a_m, a_s, a_g, a_y = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g), dtype.type(1.0 - f_m)
                        over_all = f_m, f_s, f_g
                        for j in range(n):
                            u_j, i_j, c_j = state[u_old, j], state[i_old, j], c[j]
                            u_end = a_m * u_j + a_g * i_j
                            i_end = a_s * i_j
                            state[u_new, j], state[i_new, j] = u_end, i_end
                            hit = may_cross(form, u_j, i_j, u_end, i_end, c_j, a_y, slack)
                            flag[j] = hit
                            hits = np.int32(hits | (yes if hit else no))
                    else:
                        propagators(e_m, e_s, g, dt, rates, bases)
                        for j in range(n):
                            u_j, i_j, c_j, m_j = state[u_old, j], state[i_old, j], c[j], e_m[j]
                            u_end = m_j * u_j + g[j] * i_j
                            i_end = e_s[j] * i_j
                            state[u_new, j], state[i_new, j] = u_end, i_end
                            hit = may_cross(GENERAL, u_j, i_j, u_end, i_end, c_j, dtype.type(1) - m_j, slack)
                            flag[j] = hit
                            hits = np.int32(hits | (yes if hit else no))
                    for x in range(ramps.shape[0]):
                        j = ramps[x]
                        u_end = dtype.type(state[u_old, j] + ramp[j] * dt)
                        state[u_new, j], flag[j] = u_end, u_end >= c[j]
                        hits = np.int32(hits | (yes if u_end >= c[j] else no))
                    if final or measured is not None:
                        break
                    if not (hits or waiting != 0):
                        if t_next == goal:
                            break
                        t_next = goal
                        continue
                    # who spikes first, and when that may reach anybody
                    listed, best = first_to_act(
                        form, holding, start, t_next, state, (u_old, i_old, u_new), (rates, a_s, e_s),
                        (flag_words, held_words), c, until, due, lanes, a, ids, neurons,
                    )  # fmt: skip
                    if best < t_next:
                        t_next, final = best, True
                    elif t_next < goal:
                        for x in range(listed):
                            due[lanes[x]] = np.inf
                        t_next, listed = goal, 0
                    else:
                        break
                # every neuron that spikes, or is held, on its own way to the end of the interval
                end = np.float64(t_next)
                glance = 0.75 * glance + 0.5 * (end - start)
                if measured is not None:
                    listed = 0
                    for k in range(first, seen):
                        lane = m_u[b, k]
                        if due[lane] == np.inf:
                            due[lane], lanes[listed] = m_t[b, ahead[lane]], lane
                            listed += 1
                    if waiting != 0:
                        for lane in range(n):
                            if held[lane] and due[lane] == np.inf:
                                lanes[listed] = lane
                                listed += 1
                elif hits or listed > 0:
                    for x in range(listed):
                        lane = lanes[x]
                        if not held[lane] and flag[lane] and state[u_new, lane] >= c[lane]:
                            able = state[i_old, lane] > 0 or c[lane] < 0 or kinds[lane] == INTEGRATE
                            due[lane] = min(due[lane], end) if able else due[lane]
                        flag[lane] = 0
                    if hits:
                        for word in range(flag_words.shape[0]):
                            marked = np.int64(flag_words[word])
                            while marked != 0:
                                lane = 8 * word + (lowest(marked) >> 3)
                                marked &= marked - 1
                                able = state[i_old, lane] > 0 or c[lane] < 0
                                if able and state[u_new, lane] >= c[lane]:  # only by rounding: see above
                                    lanes[listed], due[lane] = lane, end
                                    listed += 1
                for x in range(listed):
                    lane, t = lanes[x], due[lanes[x]]
                    due[lane] = np.inf
                    if t > end and not held[lane]:
                        continue
                    waits = measured is not None and t == end and kinds[lane] != BY_CURRENT and not held[lane]
                    if waits and not state[u_new, lane] >= c[lane]:
                        continue  # it spikes there, but after what arrives there
                    pos, u_l, i_l = start, np.float64(state[u_old, lane]), np.float64(state[i_old, lane])
                    r, t_ref, c_l = table[lane, RESET], table[lane, REFRACTORY], np.float64(c[lane])
                    r_m, r_s, kind = per[lane, TAU_MEM], per[lane, TAU_SYN], kinds[lane]
                    free_at, slot, first_leg = until[lane], -1, True
                    while True:
                        if free_at > pos and (t >= free_at or t > end):  # released before the next spike, or not at all
                            to = min(free_at, end)
                            i_l, pos = i_l * fading(form, to - pos, r_m, r_s), to
                            if to == free_at:
                                if slot >= 0:
                                    values[1, slot], values[2, slot] = free_at, i_l
                                else:
                                    out_release[b, last[lane]], out_released[b, last[lane]] = free_at, i_l
                            if to == end and t > end:
                                break
                        early = free_at > pos and t < free_at  # a measured spike within the refractory time
                        if (measured is None and not first_leg) or t > end:
                            t, u_e, i_e = next_on_leg(
                                form, measured, first_leg, kind, lane, pos, end, t_next, u_l, i_l, c_l, (r_m, r_s), c, ramp,
                                table, a, ids,
                            )  # fmt: skip
                            if t > end:
                                u_l, i_l, pos = u_e, i_e, end
                                break
                        s = t - pos
                        u_s, i_s = u_l, i_l
                        if early:
                            i_s = i_l * fading(form, s, r_m, r_s)
                        elif kind == INTEGRATE:
                            u_s = u_l + ramp[lane] * s
                        else:
                            if rates is not None or pos > start or t < end:
                                f_m, f_s, f_g = over(form, s, r_m, r_s)
                            else:
                                f_m, f_s, f_g = over_all
                            u_s, i_s = f_m * u_l + f_g * i_l, f_s * i_l
                        under = kind != BY_CURRENT and not early and not dtype.type(u_s) >= c[lane]
                        if measured is not None and under and t == end:
                            t = np.inf  # it spikes there, but after what arrives there
                            first_leg = False
                            continue
                        if fresh + count >= room:
                            status = FULL
                            break
                        slot, fresh = fresh, fresh + 1
                        times[slot], units[slot], values[3, slot] = t, lane, u_s - c_l
                        values[0, slot] = i_s
                        if early:
                            values[0, slot] = -np.inf
                        elif kind == INTEGRATE:
                            values[0, slot] = np.inf if ramp[lane] > 0.0 else -np.inf
                        elif kind != BY_CURRENT and c_l >= 0.0:
                            values[0, slot] = -np.inf
                        u_l = u_s - (c_l - r) if subtract[lane] and not early else r
                        i_l, pos = i_s, t
                        values[1, slot], values[2, slot] = (np.inf, 0.0) if t_ref > 0.0 else (pos, i_l)
                        free_at = pos + t_ref if t_ref > 0.0 else -np.inf
                        if measured is not None:
                            ahead[lane] = m_next[b, ahead[lane]]
                            t = np.float64(m_t[b, ahead[lane]]) if ahead[lane] >= 0 else np.inf
                        else:
                            first_leg, t = False, np.inf
                            fired[lane] += 1
                            if cap[lane] > 0 and fired[lane] >= cap[lane]:
                                c[lane], c_l = inf, np.inf
                    until[lane], held[lane] = free_at, free_at > end
                    state[u_new, lane], state[i_new, lane] = u_l, i_l
                if fresh > 0 and status == DONE:
                    if fresh == 1:
                        order[0] = 0
                    else:
                        sort_interval(
                            times, units, order, bins, slots, 0, fresh, start, end if end > start else start + 1.0
                        )
                    for x in range(fresh):
                        o, k = order[x], count + x
                        out_t[b, k], out_u[b, k], last[units[o]] = times[o], units[o], k
                        out_current[b, k], out_release[b, k] = values[0, o], values[1, o]
                        out_released[b, k], out_residual[b, k] = values[2, o], values[3, o]
                        out_after[b, k], out_cause[b, k] = arrived, -1
                    count += fresh
            t_now = t_next
            # what arrives now, what it fires, and what arrives at once from there
            touched = measured is not None and sparse.shape[0] > 0
            while status == DONE:
                for k in range(begin, count):  # on its way
                    source, t = n_external + out_u[b, k], out_t[b, k]
                    for bundle in range(bundle_starts[source], bundle_starts[source + 1]):
                        if t + delay[bundle] < end_time:
                            if sent == wide:
                                status = FULL
                                break
                            way_t[sent], way_b[sent], way_o[sent] = t + delay[bundle], bundle, k
                            if not fifo:
                                size = put(heap_t, heap_i, size, way_t[sent], sent)
                            sent += 1
                begin, before = count, arrived
                if t_now >= end_time and not touched:
                    break
                while status == DONE and t_now < end_time:
                    if pe < in_n[b] and in_t[b, pe] <= t_now:
                        bundle, origin = in_b[b, pe], -1 - in_e[b, pe]
                        pe += 1
                    elif fifo and taken < sent and way_t[taken] <= t_now:
                        bundle, origin = way_b[taken], way_o[taken]
                        taken += 1
                    elif not fifo and size > 0 and heap_t[0] <= t_now:
                        bundle, origin = way_b[heap_i[0]], way_o[heap_i[0]]
                        size = take(heap_t, heap_i, size)
                    else:
                        break
                    if arrived == wide:
                        status = FULL
                        break
                    log_bundle[b, arrived], log_origin[b, arrived] = bundle, origin
                    s_0, s_1, base = synapse_from[bundle], synapse_from[bundle + 1], layout[bundle]
                    if base >= 0:
                        w, i_row = weight[s_0:s_1], state[i_new, base : base + s_1 - s_0]
                        for x in range(w.shape[0]):
                            i_row[x] += w[x]
                    elif base == SCATTERED:
                        for s in range(s_0, s_1):
                            state[i_new, target[s]] += weight[s]
                    else:
                        for s in range(s_0, s_1):
                            lane = target[s]
                            if kinds[lane] == BY_CURRENT:
                                state[i_new, lane] += weight[s]
                            elif until[lane] <= t_now:  # the membrane is held within the refractory time
                                u_j = state[u_new, lane] + weight[s]
                                if state[u_new, lane] < c[lane] and u_j >= c[lane]:
                                    cause[lane] = arrived
                                state[u_new, lane], touched = u_j, True
                    arrived += 1
                if status != DONE:
                    break
                if touched:
                    for x in range(sparse.shape[0]):
                        lane = sparse[x]
                        while status == DONE and until[lane] <= t_now:
                            over_it = state[u_new, lane] >= c[lane]
                            if measured is not None:
                                k = ahead[lane]
                                if k < 0 or m_t[b, k] > t_now or not (over_it or before == arrived):
                                    break
                            elif not over_it:
                                break
                            if count == room:
                                status = FULL
                                break
                            r, t_ref, u_l = table[lane, RESET], table[lane, REFRACTORY], state[u_new, lane]
                            out_t[b, count], out_u[b, count], out_after[b, count] = t_now, lane, arrived
                            out_residual[b, count], out_cause[b, count] = u_l - c[lane], cause[lane] if over_it else -1
                            out_current[b, count] = np.inf
                            if not over_it and (ramp[lane] if kinds[lane] == INTEGRATE else -c[lane]) <= 0:
                                out_current[b, count] = -np.inf
                            elif not over_it and kinds[lane] != INTEGRATE:
                                out_current[b, count] = 0.0
                            out_release[b, count] = inf if t_ref > 0.0 else t_now
                            out_released[b, count], last[lane] = 0.0, count
                            state[u_new, lane] = u_l - (c[lane] - r) if subtract[lane] else r
                            if t_ref > 0.0:
                                until[lane], held[lane] = np.float64(t_now) + t_ref, 1
                            count += 1
                            if measured is not None:
                                ahead[lane] = m_next[b, ahead[lane]]
                            else:
                                fired[lane] += 1
                                if cap[lane] > 0 and fired[lane] >= cap[lane]:
                                    c[lane] = inf
                    touched = measured is not None and (count > begin or arrived > before)
                if count == begin and arrived == before:
                    break
                if count == begin and not touched:
                    break
            if count - block_at >= block:
                rate = (count - block_at) / n / max(np.float64(t_now) - block_t, 1e-300)
                block_at, block_t = count, np.float64(t_now)
                if status == DONE and rate > fastest and measured is None:
                    status = EXPLODED
            if t_now >= end_time:
                break
        out.counts[b], out.arrivals[b], out.status[b] = count, arrived, status
        out.stopped[b], out.rate[b] = t_now, max(rate, count / n / max(np.float64(t_now), 1e-300))
