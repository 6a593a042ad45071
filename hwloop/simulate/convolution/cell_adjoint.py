"""Adjoint of a convolution, cell by cell and backwards in time; the recursion of :mod:`..kernels.adjoint`.

Only cells with a spike that has a gradient are worked on. The times alone say how long every passage of a neuron lasts,
from one of its spikes or releases to the one before: they are listed first, and their responses computed together.
"""

from __future__ import annotations

import numpy as np

from ..compile_kernel import kernel
from ..kernels.adjoint import FASTMATH, inverse_slope
from ..kernels.exponentials import respond, respond_2
from ..kernels.narrow import aligned_rows
from ..kernels.neuron import RATIO_2
from .cell_lanes import LANES, ROWS, run_back, step_back
from .cell_lists import NATURAL, most_synapses, respond_between, sort_to_cells

#: What a passage leads back to: a spike, the end of a refractory time, or the begin of the interval; ``FRESH`` more where
#: the neuron joins at the end of the interval.
SPIKE, RELEASE, BEGIN, FRESH = 0, 1, 2, 4


@kernel(inline="always")
def _sort_spikes(wires, blocks, units, count, grad, first, block_of, spikes):  # type: ignore[no-untyped-def]
    """Spikes of every block of neurons in order of time, up to the last that has a gradient; returns their number."""
    n = wires.groups * wires.positions * blocks
    for block in range(n + 1):
        first[block] = 0
    for k in range(count - 1, -1, -1):
        block = wires.home[units[k] & NATURAL] // LANES
        block_of[k] = -1
        if first[block + 1] > 0 or grad[k] != 0:
            first[block + 1] += 1
            block_of[k] = block
    for block in range(n):
        first[block + 1] += first[block]
    for k in range(count):
        if block_of[k] >= 0:
            spikes[first[block_of[k]]] = k
            first[block_of[k]] += 1
    for block in range(n, 0, -1):
        first[block] = first[block - 1]
    first[0] = 0
    return first[n]


@kernel(inline="always")
def _mark(t, kind, q, times, kinds, spikes, n):  # type: ignore[no-untyped-def]
    """Insert into the marks by time, after those at the same time; returns their number."""
    place = n
    while place > 0 and times[place - 1] > t:
        times[place], kinds[place], spikes[place] = times[place - 1], kinds[place - 1], spikes[place - 1]
        place -= 1
    times[place], kinds[place], spikes[place] = t, kind, q
    return n + 1


@kernel(allocates=True)
def backward_cells(lo, hi, wires, inputs, weight, neurons, found, grads):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi``: adds to ``d_weight`` (float64, of the shape of ``weight``) and ``d_times [batch, events]``.

    ``inputs`` as in :func:`~.cell_forward.forward_cells`; ``grads``, a plain tuple: gradient of the spike times, share of the
    floor, whether it skips, ``d_weight``, ``d_times``, whether these are wanted.
    """
    dtype, room, cells = weight.dtype, found.times.shape[1], wires.groups * wires.positions
    most = most_synapses(wires, inputs[1][lo:hi], inputs[2][lo:hi])
    work = most + cells if neurons.same_taus else 1
    space = (
        (np.empty(cells + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.int32)),
        (np.empty(work), np.empty(work, dtype), np.empty(work, dtype), np.empty(work, dtype)),
        (np.zeros(LANES, dtype), np.zeros(LANES, dtype), np.zeros(LANES, dtype)),
        (np.zeros(LANES, dtype), np.zeros(LANES, dtype)),
        (aligned_rows(ROWS, LANES, weight), np.zeros(weight.shape, dtype)),
        (np.empty(cells * neurons.blocks + 1, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)),
        (np.empty(2 * room), np.empty(2 * room, np.int64), np.empty(2 * room, np.int64)),
        (np.empty(4 * room, np.int64), np.empty(4 * room, np.int64), np.empty(4 * room, np.int64)),
        (np.empty(4 * room + 8), np.empty(4 * room + 8), np.empty(4 * room + 8)),
        (np.ones(4 * room + 8), np.ones(4 * room + 8), np.empty(inputs[0].shape[1] + 1, np.int64)),
        (np.empty(LANES, np.int64), np.empty(LANES), np.empty(LANES, np.int64)),
        (np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)),
    )
    _pass_back(lo, hi, wires, inputs, weight, neurons, found, grads, space)


@kernel(fastmath=FASTMATH)
def _pass_back(lo, hi, wires, inputs, weight, neurons, found, grads, space):  # type: ignore[no-untyped-def]
    t_in, u_in, n_in, t_stop = inputs
    grad, floor, skip, d_weight, d_times, timed = grads
    dtype, taps, kind, blocks = weight.dtype, weight.shape[1] - 1, neurons.kind, neurons.blocks
    positions, cells = wires.positions, wires.groups * wires.positions
    (first, event, tap), (span, decay_m, decay_s, gain), (e_m, e_s, g), (rate_m, rate_s), (state, part) = space[:5]
    (first_spike, block_of, spikes), (mark_times, mark_kinds, mark_spikes), (kinds, places, lanes) = space[5:8]
    (leg_m, leg_s, leg_g), (per_m, per_s, stops), (joined, since, touched), (own_u, own_i, plus, waits) = space[8:]
    r_m, r_s, end_time = neurons.rate_mem[0, 0], neurons.rate_syn[0, 0], dtype.type(t_stop)
    for b in range(lo, hi):
        sample = b if neurons.level.shape[0] > 1 else 0
        if _sort_spikes(wires, blocks, found.units[b], found.counts[b], grad[b], first_spike, block_of, spikes) == 0:
            continue
        sort_to_cells(wires, t_in[b], u_in[b], n_in[b], end_time, first, event, tap)
        if neurons.same_taus:
            respond_between(kind, wires, t_in[b], end_time, first, event, r_m, r_s, span, decay_m, decay_s, gain)
        for cell_block in range(cells * blocks):
            k_0, k_1 = first_spike[cell_block], first_spike[cell_block + 1]
            if k_0 == k_1:
                continue
            cell, of_group = cell_block // blocks, cell_block % blocks
            block, place = cell // positions * blocks + of_group, first[cell]
            n_events, latest = first[cell + 1] - place, found.times[b, spikes[k_1 - 1]]
            while n_events > 0 and t_in[b, event[place + n_events - 1]] >= latest:
                n_events -= 1  # inputs after the last spike that matters
            if n_events == 0:
                continue
            row = (cell if neurons.apart else cell // positions) * blocks + of_group
            marks = 0
            for k in range(k_0, k_1):
                q = spikes[k] & NATURAL
                marks = _mark(np.float64(found.times[b, q]), SPIKE, q, mark_times, mark_kinds, mark_spikes, marks)
                if neurons.holding and found.release_time[b, q] <= end_time:
                    lane = wires.home[found.units[b, q] & NATURAL] & (LANES - 1)
                    if neurons.t_ref[row, lane] > 0.0:
                        t = np.float64(found.release_time[b, q])
                        marks = _mark(t, RELEASE, q, mark_times, mark_kinds, mark_spikes, marks)
            for lane in range(LANES):
                joined[lane], waits[lane] = -1, 0.0
                state[0, lane], state[1, lane] = 0, 0
            n, x, t_end = 0, marks - 1, np.float64(end_time)
            if place + n_events < first[cell + 1]:
                t_end = np.float64(t_in[b, event[place + n_events]])
            while x >= 0 and mark_times[x] > t_end:  # releases after the last spike that matters
                x -= 1
            for e in range(n_events - 1, -1, -1):
                t_e, taken = np.float64(t_in[b, event[place + e]]), 0
                while x >= 0 and mark_times[x] > t_e:
                    q, t = mark_spikes[x] & NATURAL, mark_times[x]
                    lane, fresh = wires.home[found.units[b, q] & NATURAL] & (LANES - 1), 0
                    if joined[lane] != e:
                        joined[lane], since[lane], touched[taken], fresh = e, t_end, lane, FRESH
                        taken += 1
                    kinds[n], places[n], lanes[n], leg_m[n] = mark_kinds[x] + fresh, q, lane, since[lane] - t
                    since[lane] = t
                    n, x = n + 1, x - 1
                for k in range(taken):
                    kinds[n], places[n], lanes[n], leg_m[n] = BEGIN, 0, touched[k], since[touched[k]] - t_e
                    n += 1
                stops[e], t_end = n, t_e
            whole = (n + 7) // 8 * 8
            for k in range(n):
                lane = lanes[k] & (LANES - 1)
                per_m[k], per_s[k] = neurons.rate_mem[row, lane], neurons.rate_syn[row, lane]
            if kind is RATIO_2:
                for k in range(whole):
                    leg_m[k], leg_s[k], leg_g[k] = respond_2(leg_m[k], per_m[k])
            else:
                for k in range(whole):
                    leg_m[k], leg_s[k], leg_g[k] = respond(leg_m[k], per_m[k], per_s[k])
            if not neurons.same_taus:
                for lane in range(LANES):
                    rate_m[lane], rate_s[lane] = neurons.rate_mem[row, lane], neurons.rate_syn[row, lane]
            w, d_w, arrivals = weight[block], part[block], d_times[b]
            x, late, e = 0, taps, n_events
            while e > 0:
                e -= 1
                if neurons.same_taus:
                    if x == stops[e]:  # intervals without a passage
                        above = e
                        while e > 0 and x == stops[e - 1]:
                            e -= 1
                        run_back(
                            state, w, tap, event, cell, place + above + 1, place + e + 1, decay_m, decay_s, gain, d_w,
                            arrivals, timed, r_m, r_s,
                        )  # fmt: skip
                        late = np.int64(tap[place + e])
                        continue
                    interval = place + cell + e + 1
                    total = step_back(
                        state, w, late, decay_m[interval], decay_s[interval], gain[interval], d_w, r_m, r_s
                    )  # fmt: skip
                else:
                    t_end = np.float64(end_time)
                    if place + e + 1 < first[cell + 1]:
                        t_end = np.float64(t_in[b, event[place + e + 1]])
                    dt = t_end - np.float64(t_in[b, event[place + e]])
                    for lane in range(LANES):
                        f_m, f_s, f_g = respond(dt, neurons.rate_mem[row, lane], neurons.rate_syn[row, lane])
                        e_m[lane], e_s[lane], g[lane] = f_m, f_s, f_g
                    total = step_back(state, w, late, e_m, e_s, g, d_w, rate_m, rate_s)
                if e < n_events - 1:
                    d_times[b, event[place + e + 1]] += total
                while x < stops[e]:
                    lane, q, what = lanes[x] & (LANES - 1), places[x] & NATURAL, kinds[x]
                    if what >= FRESH:
                        own_u[lane], own_i[lane] = np.float64(state[2, lane]), np.float64(state[3, lane])
                        what -= FRESH
                    u_l, i_l = leg_m[x] * own_u[lane], leg_s[x] * own_i[lane] + leg_g[x] * own_u[lane]
                    if what == SPIKE:
                        r, after = neurons.reset[row, lane], plus[lane] if waits[lane] > 0.0 else u_l
                        waits[lane] = 0.0
                        c = np.float64(neurons.level[sample, row, lane])
                        slope = inverse_slope(np.float64(found.current[b, q]), c, r, floor, skip)
                        after = after * (np.float64(found.release_current[b, q]) - r)
                        u_l = slope * (after - neurons.tau[row, lane] * np.float64(grad[b, q]))
                        u_l = u_l if slope > 0.0 else 0.0
                    elif what == RELEASE:
                        plus[lane], waits[lane], u_l = u_l, 1.0, 0.0
                    else:
                        state[0, lane], state[1, lane] = u_l, i_l
                    own_u[lane], own_i[lane] = u_l, i_l
                    x += 1
                late = np.int64(tap[place + e])
            total = step_back(state, w, late, 1.0, 1.0, 0.0, d_w, r_m, r_s) if neurons.same_taus else step_back(
                state, w, late, 1.0, 1.0, 0.0, d_w, rate_m, rate_s
            )  # fmt: skip
            d_times[b, event[place]] += total
        for block in range(part.shape[0]):
            for row in range(taps):
                for lane in range(LANES):
                    d_weight[block, row, lane] += part[block, row, lane]
                    part[block, row, lane] = 0
