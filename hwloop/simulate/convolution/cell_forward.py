"""Forward pass of a convolution: cell by cell, event by event, and replay of measured spikes with the same arithmetic.

``TOGETHER`` cells go through their events side by side, each at its own times: one vector step for the neurons of a cell
and an event; then those of all the cells that may spike are followed together. State ``(u, i)`` is carried in local time.
Interval number e of a cell is ``(t_e-1, t_e]``: an input at a neuron's own spike time comes after the spike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compile_kernel import kernel
from ..contract import FloatArray
from ..kernels.bits import lowest
from ..kernels.exponentials import respond, respond_2
from ..kernels.narrow import aligned_rows
from ..kernels.neuron import RATIO_2, fading
from .cell_crossings import (
    APART,
    CROSSES,
    CURRENT,
    END,
    END_I,
    END_U,
    FORCED,
    FOUND,
    HIGH,
    LEVEL,
    MOVED,
    OUTSIDE,
    POS,
    RATE_M,
    RATE_S,
    RATIO,
    ROWS,
    TAU,
    TOGETHER,
    WIDTH,
    U,
    find_crossings,
    go_to_spikes,
    look_to_ends,
    round_times,
    search_crossings,
)
from .cell_lanes import LANES, run_forward, step_forward
from .cell_lists import NATURAL, chain_spikes, most_synapses, respond_between, sort_spikes, sort_to_cells


class Neurons(NamedTuple):
    """Neurons of a convolution as the kernels read them: blocks of ``LANES`` channels, the last one padded.

    ``tau, rate_mem, rate_syn, reset, t_ref, start`` are ``[rows, LANES]`` float64; ``level`` ``[1 or batch, rows, LANES]`` is the
    threshold in the layer's dtype, inf where padded. A row is ``(group * places + place) * blocks + block``, with one place
    for all positions unless neurons differ from position to position (``apart``). ``same_taus``: one pair of time constants
    for all. ``moves``: something may happen without an event. ``holding``: some are refractory.
    """

    kind: int | None
    same_taus: bool
    apart: bool
    holding: bool
    moves: bool
    subtract: bool
    max_spikes: int
    blocks: int
    tau: FloatArray
    rate_mem: FloatArray
    rate_syn: FloatArray
    reset: FloatArray
    t_ref: FloatArray
    start: FloatArray
    level: FloatArray


class Found(NamedTuple):
    """Spikes ``[batch, room]`` that the forward pass writes, and their true number ``[batch]``; given in a replay."""

    times: FloatArray
    units: Any
    counts: Any
    current: FloatArray
    release_time: FloatArray
    release_current: FloatArray
    residual: FloatArray


@kernel(inline="always")
def _next(id_, q, following, times, ahead, ahead_time):  # type: ignore[no-untyped-def]
    """Go to the measured spike after ``q``."""
    after = following[q]
    ahead[id_] = after
    ahead_time[id_] = np.float64(times[after]) if after >= 0 else math.inf


@kernel(allocates=True)
def forward_cells(lo, hi, wires, inputs, weight, neurons, replay, found):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi`` of a batch; writes their spikes to ``found``, or in a ``replay`` what the model says of those there.

    ``inputs``, a plain tuple: times, units, counts, t_stop. ``weight [groups * blocks, taps + 1, LANES]``: the last row is
    zeros.
    """
    dtype, room, cells = weight.dtype, found.current.shape[1], wires.groups * wires.positions
    most = most_synapses(wires, inputs[1][lo:hi], inputs[2][lo:hi])
    work = most + cells if neurons.same_taus else 1
    chains = cells * wires.out_group if replay else 0
    fresh = 1 if replay else room
    kept = fresh if neurons.holding else 1
    space = (
        (np.empty(cells + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.int32)),
        (np.empty(work), np.empty(work, dtype), np.empty(work, dtype), np.empty(work, dtype)),
        (np.zeros(LANES, dtype), np.zeros(LANES, dtype), np.zeros(LANES, dtype)),
        (aligned_rows(4 * TOGETHER, LANES, weight), aligned_rows(TOGETHER, LANES, weight)),
        (np.full((TOGETHER, LANES), np.inf, dtype), np.zeros(ROWS * APART), np.zeros(WIDTH, np.int64)),
        (np.zeros(TOGETHER, np.int64), np.zeros(TOGETHER, np.int64), np.zeros(TOGETHER, np.int64)),
        (np.zeros(TOGETHER, np.int64), np.zeros(TOGETHER, np.int64)),
        (np.zeros(WIDTH), np.zeros(WIDTH, np.int64), np.zeros(WIDTH, np.int64)),
        (np.full(WIDTH, -1, np.int64), np.full(WIDTH, math.inf)),
        (np.empty(chains, np.int64), np.empty(chains, np.int64), np.empty(room, np.int64)),
        (np.empty(fresh, dtype), np.empty(fresh, np.int64), np.empty(fresh, dtype)),
        (np.empty(fresh, np.int64), np.empty(fresh, np.int64), np.empty(fresh + 1, np.int64)),
        (np.empty(kept, dtype), np.empty(kept, dtype)),
    )
    _simulate(lo, hi, wires, inputs, weight, neurons, replay, found, space)


@kernel()
def _simulate(lo, hi, wires, inputs, weight, neurons, replay, found, space):  # type: ignore[no-untyped-def]
    t_in, u_in, n_in, t_stop = inputs
    dtype, room, taps, positions = weight.dtype, found.current.shape[1], weight.shape[1] - 1, wires.positions
    kind, blocks, holding, end_time = neurons.kind, neurons.blocks, neurons.holding, weight.dtype.type(t_stop)
    (first, event, tap), (span, decay_m, decay_s, gain), (e_m, e_s, g), (state, level), (never, a, ids) = space[:5]
    (row_of, cell_of, held), (at, taps_now), (until, last, fired), (ahead, ahead_time) = space[5:9]
    (head, tail, following), (times, units, currents), (order, spare, bins), (release, released) = space[9:]
    asked = never if replay else level
    for b in range(lo, hi):
        sample = b if neurons.level.shape[0] > 1 else 0
        sort_to_cells(wires, t_in[b], u_in[b], n_in[b], end_time, first, event, tap)
        if neurons.same_taus:
            respond_between(
                kind, wires, t_in[b], end_time, first, event, neurons.rate_mem[0, 0], neurons.rate_syn[0, 0], span,
                decay_m, decay_s, gain,
            )  # fmt: skip
        if replay:
            chain_spikes(found.units[b], found.counts[b], head, following, tail)
        count = 0
        for block in range(wires.groups * blocks):
            group, of_group, p = block // blocks, block % blocks, 0
            w, base = weight[block], group * wires.out_group + of_group * LANES
            width = min(LANES, wires.out_group - of_group * LANES)
            for k in range(TOGETHER):
                cell_of[k] = -1
            working = True
            while working:
                working, m = False, 0
                for k in range(TOGETHER):
                    bits, e = np.int64(0), at[k]
                    while bits == 0 and (cell_of[k] >= 0 or p < positions):
                        if cell_of[k] < 0:
                            cell, e = group * positions + p, 0
                            row = (cell if neurons.apart else group) * blocks + of_group
                            busy = first[cell + 1] > first[cell] or neurons.moves
                            if replay:
                                for lane in range(LANES):
                                    id_ = k * LANES + lane
                                    q = head[(base + lane) * positions + p] if lane < width else -1
                                    ahead_time[id_] = np.float64(found.times[b, q]) if q >= 0 else math.inf
                                    ahead[id_], busy = q, busy or q >= 0
                            p += 1
                            if not busy:
                                continue
                            row_of[k], cell_of[k], held[k] = row, cell, 0
                            for lane in range(LANES):
                                level[k, lane] = neurons.level[sample, row, lane]
                                state[4 * k, lane], state[4 * k + 1, lane] = neurons.start[row, lane], 0
                            if holding or neurons.max_spikes > 0:
                                for id_ in range(k * LANES, (k + 1) * LANES):
                                    until[id_], fired[id_] = -math.inf, 0
                        cell, row = cell_of[k] & NATURAL, row_of[k] & NATURAL
                        place, n_events, soonest = first[cell], first[cell + 1] - first[cell], math.inf
                        if replay:
                            for lane in range(LANES):
                                soonest = min(soonest, ahead_time[k * LANES + lane])
                        while e <= n_events:
                            if neurons.same_taus and held[k] == 0 and e < n_events:
                                stop = n_events
                                if replay:
                                    stop = e
                                    while stop < n_events and np.float64(t_in[b, event[place + stop]]) < soonest:
                                        stop += 1
                                got = run_forward(
                                    state, k, w, tap, cell, place + e, place + stop, decay_m, decay_s, gain, asked, kind
                                )
                                e, bits = (got >> LANES) - place, got & ((1 << LANES) - 1)
                                if bits != 0:
                                    break
                            t_next, unit = np.float64(end_time), taps
                            if e < n_events:
                                t_next, unit = np.float64(t_in[b, event[place + e]]), np.int64(tap[place + e])
                            if neurons.same_taus:
                                x = place + e + cell
                                bits = step_forward(state, k, w, unit, decay_m[x], decay_s[x], gain[x], level, kind)
                            else:
                                dt = t_next - (np.float64(t_in[b, event[place + e - 1]]) if e > 0 else 0.0)
                                for lane in range(LANES):
                                    f_m, f_s, f_g = respond(
                                        dt, neurons.rate_mem[row, lane], neurons.rate_syn[row, lane]
                                    )
                                    e_m[lane], e_s[lane], g[lane] = f_m, f_s, f_g
                                bits = step_forward(state, k, w, unit, e_m, e_s, g, level, kind)
                            if replay:
                                bits = np.int64(0)
                                for lane in range(LANES):
                                    bits |= np.int64(ahead_time[k * LANES + lane] <= t_next) << lane
                            bits |= held[k]
                            if bits != 0:
                                break
                            e += 1
                        if bits == 0:
                            cell_of[k] = -1
                    if bits == 0:
                        continue
                    working, at[k], place = True, e + 1, first[cell] + e & NATURAL
                    t_now = np.float64(t_in[b, event[place - 1]]) if e > 0 else 0.0
                    t_next, unit = np.float64(end_time), taps
                    if place < first[cell + 1]:
                        t_next, unit = np.float64(t_in[b, event[place]]), np.int64(tap[place])
                    taps_now[k] = unit
                    while bits != 0:
                        lane = lowest(bits)
                        bits &= bits - 1
                        id_ = k * LANES + lane
                        tm, r_m, r_s = (
                            neurons.tau[row, lane],
                            neurons.rate_mem[row, lane],
                            neurons.rate_syn[row, lane],
                        )
                        u_l, i_l = np.float64(state[4 * k + 2, lane]), np.float64(state[4 * k + 3, lane])
                        c_l, pos, outside = np.float64(level[k, lane]), t_now, 0.0
                        u_e = np.float64(state[4 * k, lane])
                        i_e = np.float64(decay_s[place + cell] if neurons.same_taus else e_s[lane]) * i_l
                        if holding and until[id_] > pos:
                            while ahead_time[id_] <= t_next and ahead_time[id_] < until[id_]:
                                t, q, r = ahead_time[id_], ahead[id_], neurons.reset[row, lane]
                                i_l = i_l * fading(kind, t - pos, r_m, r_s)
                                found.residual[b, q], found.current[b, q], u_l, pos = u_l - c_l, -math.inf, r, t
                                found.release_time[b, q], found.release_current[b, q] = math.inf, 0.0
                                last[id_], until[id_] = q, t + neurons.t_ref[row, lane]
                                _next(id_, q, following, found.times[b], ahead, ahead_time)
                            if until[id_] > t_next:
                                i_l = i_l * fading(kind, t_next - pos, r_m, r_s)
                                state[4 * k, lane], state[4 * k + 1, lane] = u_l, dtype.type(i_l) + w[unit, lane]
                                continue
                            held[k] &= ~(np.int64(1) << lane)
                            i_l = i_l * fading(kind, until[id_] - pos, r_m, r_s)
                            pos = until[id_]
                            if replay:
                                found.release_time[b, last[id_]], found.release_current[b, last[id_]] = pos, i_l
                            elif last[id_] < room:
                                release[last[id_]], released[last[id_]] = pos, i_l
                            if kind is RATIO_2:
                                f_m, f_s, f_g = respond_2(t_next - pos, r_m)
                            else:
                                f_m, f_s, f_g = respond(t_next - pos, r_m, r_s)
                            u_e, i_e, outside = f_m * u_l + f_g * i_l, f_s * i_l, 1.0
                        a[U + m], a[CURRENT + m], a[LEVEL + m], a[POS + m], a[END + m] = u_l, i_l, c_l, pos, t_next
                        a[TAU + m], a[RATE_M + m], a[RATE_S + m], a[RATIO + m] = tm, r_m, r_s, tm * r_s
                        a[END_U + m], a[END_I + m], a[OUTSIDE + m] = u_e, i_e, outside
                        a[FORCED + m], ids[m] = 1.0 if dtype.type(u_e) >= level[k, lane] else 0.0, id_
                        m += 1
                while m > 0:
                    if replay:
                        for k in range(m):
                            a[HIGH + k] = ahead_time[ids[k]]
                            a[CROSSES + k] = 1.0 if a[HIGH + k] <= a[END + k] else 0.0
                    else:
                        find_crossings(kind, a, m)
                    kept = 0
                    for k in range(m):
                        if a[CROSSES + k] == 1.0:
                            if kept != k:
                                for x in range(FOUND):
                                    a[APART * x + kept] = a[APART * x + k]
                                ids[kept] = ids[k]
                            kept += 1
                        elif a[OUTSIDE + k] > 0.0:
                            k_l, lane = ids[k] // LANES, ids[k] % LANES
                            state[4 * k_l, lane] = a[END_U + k]
                            state[4 * k_l + 1, lane] = dtype.type(a[END_I + k]) + w[taps_now[k_l], lane]
                    m = kept
                    if m == 0:
                        break
                    if not replay:
                        if kind is not RATIO_2:
                            search_crossings(a, m)
                        round_times(a, m, weight)
                    go_to_spikes(kind, a, m)
                    kept = 0
                    for k in range(m):
                        id_, pos, u_l, i_l, c_l = ids[k] & NATURAL, a[POS + k], a[U + k], a[CURRENT + k], a[LEVEL + k]
                        k_l, lane = id_ // LANES, id_ % LANES
                        row = row_of[k_l] & NATURAL
                        r, t_ref = neurons.reset[row, lane], neurons.t_ref[row, lane]
                        waits = t_ref > 0.0
                        if replay:
                            q = ahead[id_]
                            found.residual[b, q], found.current[b, q] = u_l - c_l, i_l
                            found.release_time[b, q] = math.inf if waits else pos
                            found.release_current[b, q] = 0.0 if waits else i_l
                            last[id_] = q
                            _next(id_, q, following, found.times[b], ahead, ahead_time)
                        else:
                            if count < room:
                                times[count], currents[count] = pos, i_l
                                units[count] = (base + lane) * positions + cell_of[k_l] % positions
                                if holding:
                                    release[count] = math.inf if waits else pos
                                    released[count] = 0.0 if waits else i_l
                            last[id_] = count
                            count += 1
                            if neurons.max_spikes > 0:
                                fired[id_] += 1
                                if fired[id_] >= neurons.max_spikes:
                                    level[k_l, lane] = np.inf
                                    c_l = np.float64(np.inf)
                                    if not holding:
                                        continue  # it never spikes again, so nobody asks for its state
                        u_l = u_l - (a[LEVEL + k] - r) if neurons.subtract else r
                        if waits:
                            end, r_m, r_s = a[END + k], a[RATE_M + k], a[RATE_S + k]
                            until[id_] = pos + t_ref
                            while ahead_time[id_] <= end and ahead_time[id_] < until[id_]:
                                t, q = ahead_time[id_], ahead[id_]
                                i_l = i_l * fading(kind, t - pos, r_m, r_s)
                                found.residual[b, q], found.current[b, q], u_l, pos = u_l - c_l, -math.inf, r, t
                                found.release_time[b, q], found.release_current[b, q] = math.inf, 0.0
                                last[id_], until[id_] = q, t + t_ref
                                _next(id_, q, following, found.times[b], ahead, ahead_time)
                            if until[id_] > end:
                                held[k_l] |= np.int64(1) << lane
                                i_l = i_l * fading(kind, end - pos, r_m, r_s)
                                state[4 * k_l, lane] = u_l
                                state[4 * k_l + 1, lane] = dtype.type(i_l) + w[taps_now[k_l], lane]
                                continue
                            i_l = i_l * fading(kind, until[id_] - pos, r_m, r_s)
                            pos = until[id_]
                            if replay:
                                found.release_time[b, last[id_]], found.release_current[b, last[id_]] = pos, i_l
                            elif last[id_] < room:
                                release[last[id_]], released[last[id_]] = pos, i_l
                        if kept != k:
                            for x in range(MOVED):
                                a[APART * x + kept] = a[APART * x + k]
                            ids[kept] = id_
                        a[U + kept], a[CURRENT + kept], a[LEVEL + kept], a[POS + kept] = u_l, i_l, c_l, pos
                        kept += 1
                    m = kept
                    look_to_ends(kind, a, m, weight)
        if replay:
            continue
        found.counts[b] = count
        if count > room:
            continue
        sort_spikes(times, units, count, order, spare, bins)
        for k in range(count):
            o = order[k]
            found.times[b, k], found.units[b, k], found.current[b, k] = times[o], units[o], currents[o]
            if holding:
                found.release_time[b, k], found.release_current[b, k] = release[o], released[o]
