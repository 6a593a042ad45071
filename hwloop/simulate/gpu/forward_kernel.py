"""The forward pass of a tile of neurons in one sample: simulation, and replay at measured spikes.

The way of :mod:`hwloop.simulate.kernels.forward`: the state follows every event in the dtype of the layer; a test of few
operations flags neurons that may cross, and those are followed in float64, spike by spike, until the interval ends.
Simulation and replay take the same steps with the same arithmetic.

Arguments of both kernels
    t_in, u_in, n_in, width : events ``[batch, width]``, their units and counts. ends : ``[1]`` t_stop in the layer's dtype.
    weight : ``[n_in, n]``. neurons : ``[5, n]`` tau_mem, tau_syn, t_ref, reset, start. threshold : rows ``row`` apart.
    offsets : ``[batch * n + 1]`` where the spikes of a neuron begin in the flat arrays of spikes.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton.language as tl

from .closed_forms import first_guess, halley, next_above, peak_after, respond, some
from .jit import device_kernel


@device_kernel
def crossing_within(active, u, i, c, span, end_u, end_i, forced, tau_mem, rate_mem, rate_syn):
    """``(whether each neuron reaches its threshold within span, how long to search for it)``."""
    able = active & (span > 0.0) & (c < float("inf")) & ((i > 0.0) | (c < 0.0))
    forced = able & forced
    turns = able & (forced == 0) & (end_i <= end_u) & (i > u)
    crosses, high = forced, span
    if some(turns):
        top = peak_after(u, i, tau_mem, rate_mem, rate_syn)
        inside = turns & (top > 0.0) & (top < span)
        top = tl.where(inside, top, 0.0)
        e_m, _, g = respond(top, rate_mem, rate_syn)
        crosses = crosses | (inside & (e_m * u + g * i >= c))
        high = tl.where(inside, top, span)
    return crosses, high


@device_kernel
def search(crosses, high, u, i, c, tau_mem, rate_mem, rate_syn):
    """How long each neuron that ``crosses`` takes to reach its threshold; bisection alone would need 64 steps."""
    s = first_guess(u, i, c, tau_mem, tau_mem * rate_syn, high)
    lo, hi, going, step = tl.zeros_like(s), high, crosses, crosses.to(tl.int32)
    while some(going):
        next_s, next_lo, next_hi, done = halley(s, lo, hi, u, i, c, tau_mem, rate_mem, rate_syn)
        s, lo, hi = tl.where(going, next_s, s), tl.where(going, next_lo, lo), tl.where(going, next_hi, hi)
        going, step = going & (done == 0) & (step < 100), step + 1
    return s


@device_kernel
def simulate_tile(
    t_in, u_in, n_in, width, ends, weight, n, neurons, threshold, row, offsets, max_spikes,
    times, current, release_time, release_current, counts,
    SUBTRACT: tl.constexpr, HOLD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the spikes of every neuron, in order, as far as there is room, and the ``counts [batch * n]`` of all."""
    b = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = lane < n
    tm = tl.load(neurons + lane, mask=ok, other=1.0).to(tl.float64)
    rate_m, rate_s = 1.0 / tm, 1.0 / tl.load(neurons + n + lane, mask=ok, other=1.0).to(tl.float64)
    t_ref = tl.load(neurons + 2 * n + lane, mask=ok, other=0.0).to(tl.float64)
    r = tl.load(neurons + 3 * n + lane, mask=ok, other=0.0).to(tl.float64)
    u = tl.load(neurons + 4 * n + lane, mask=ok, other=0.0)
    c = tl.load(threshold + b * row + lane, mask=ok, other=float("inf"))
    first = tl.load(offsets + b * n + lane, mask=ok, other=0)
    room = tl.load(offsets + b * n + lane + 1, mask=ok, other=0) - first
    real = u.dtype
    short_m, short_s = rate_m.to(real), rate_s.to(real)
    i, k = tl.zeros_like(u), tl.zeros_like(first)
    until = tl.full([BLOCK], float("-inf"), tl.float64)
    end, n_events = tl.load(ends), tl.load(n_in + b)
    t_now, e, more = end - end, 0, n_events >= 0
    while more:
        t_event = tl.load(t_in + b * width + e, mask=e < n_events, other=float("inf"))
        arrives = t_event < end
        t_next = tl.minimum(t_event, end)
        unit = tl.load(u_in + b * width + e, mask=arrives, other=0)
        w = tl.load(weight + unit * n + lane, mask=lane < tl.where(arrives, n, 0), other=0.0)
        begin, stop = t_now.to(tl.float64), t_next.to(tl.float64)
        if stop > begin:
            e_m, e_s, g = respond((stop - begin).to(real), short_m, short_s)
            u_end, i_end = e_m * u + g * i, e_s * i
            waiting = until > begin
            active = ok & ((u_end >= c) | (u + (1.0 - e_m) * (i - u) >= c) | waiting)
            u_new, i_new = u_end, i_end + w
            if some(active):
                u_l, i_l, level, pos = u.to(tl.float64), i.to(tl.float64), c.to(tl.float64), tl.zeros_like(tm) + begin
                end_u, end_i, forced = u_end.to(tl.float64), e_s.to(tl.float64) * i_l, u_end >= c
                outside = active & (lane < 0)  # of the common update
                while some(active):
                    if HOLD:
                        waits = active & (until > pos)
                        if some(waits):
                            free = tl.minimum(until, stop)
                            _, fade, _ = respond(tl.where(waits, tl.maximum(free - pos, 0.0), 0.0), rate_m, rate_s)
                            i_l, pos = tl.where(waits, fade * i_l, i_l), tl.where(waits, tl.maximum(pos, free), pos)
                            held = waits & (until > stop)
                            u_new = tl.where(held, u_l.to(real), u_new)
                            i_new = tl.where(held, i_l.to(real) + w, i_new)
                            freed = waits & (held == 0) & (k <= room)
                            tl.store(release_time + first + k - 1, until.to(real), mask=freed)
                            tl.store(release_current + first + k - 1, i_l.to(real), mask=freed)
                            active, outside = active & (held == 0), outside | waits
                    if some(outside):
                        m, s, h = respond(stop - pos, rate_m, rate_s)
                        u_there = m * u_l + h * i_l
                        end_u, end_i = tl.where(outside, u_there, end_u), tl.where(outside, s * i_l, end_i)
                        forced = tl.where(outside, u_there.to(real) >= c, forced)
                    crosses, high = crossing_within(
                        active, u_l, i_l, level, stop - pos, end_u, end_i, forced, tm, rate_m, rate_s
                    )
                    leaves = active & outside & (crosses == 0)
                    u_new = tl.where(leaves, end_u.to(real), u_new)
                    i_new = tl.where(leaves, end_i.to(real) + w, i_new)
                    active = crosses
                    if some(active):
                        s = search(crosses, high, u_l, i_l, level, tm, rate_m, rate_s)
                        t = tl.minimum((pos + s).to(real), t_next)
                        # never on or before the event that caused it
                        t = tl.where(t.to(tl.float64) <= pos, tl.minimum(next_above(pos.to(real)), t_next), t)
                        at = t.to(tl.float64)
                        m, s, h = respond(tl.where(active, at - pos, 0.0), rate_m, rate_s)
                        u_l, i_l = tl.where(active, m * u_l + h * i_l, u_l), tl.where(active, s * i_l, i_l)
                        pos, outside = tl.where(active, at, pos), outside | active
                        if SUBTRACT:
                            u_l = tl.where(active, u_l - (level - r), u_l)
                        else:
                            u_l = tl.where(active, r, u_l)
                        waits = active & (pos + t_ref > pos)
                        kept = active & (k < room)
                        tl.store(times + first + k, t, mask=kept)
                        tl.store(current + first + k, i_l.to(real), mask=kept)
                        tl.store(release_time + first + k, tl.where(waits, float("inf"), pos).to(real), mask=kept)
                        tl.store(release_current + first + k, tl.where(waits, 0.0, i_l).to(real), mask=kept)
                        until = tl.where(active, tl.where(waits, pos + t_ref, float("-inf")), until)
                        k = tl.where(active, k + 1, k)
                        if max_spikes > 0:
                            c = tl.where(active & (k >= max_spikes), float("inf"), c)
                            level = c.to(tl.float64)
            u, i = u_new, i_new
        else:
            i += w
        t_now, e, more = t_next, e + 1, arrives
    tl.store(counts + b * n + lane, k, mask=ok)


@device_kernel
def replay_tile(
    t_in, u_in, n_in, width, ends, weight, n, neurons, threshold, row, offsets,
    times, current, release_time, release_current, residual,
    SUBTRACT: tl.constexpr, HOLD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The layer with its resets at the spikes in ``times``, which are sorted neuron by neuron; writes the rest of the trace."""
    b = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = lane < n
    rate_m = 1.0 / tl.load(neurons + lane, mask=ok, other=1.0).to(tl.float64)
    rate_s = 1.0 / tl.load(neurons + n + lane, mask=ok, other=1.0).to(tl.float64)
    t_ref = tl.load(neurons + 2 * n + lane, mask=ok, other=0.0).to(tl.float64)
    r = tl.load(neurons + 3 * n + lane, mask=ok, other=0.0).to(tl.float64)
    u = tl.load(neurons + 4 * n + lane, mask=ok, other=0.0)
    c = tl.load(threshold + b * row + lane, mask=ok, other=float("inf")).to(tl.float64)
    k = tl.load(offsets + b * n + lane, mask=ok, other=0)
    last = tl.load(offsets + b * n + lane + 1, mask=ok, other=0)
    real = u.dtype
    short_m, short_s = rate_m.to(real), rate_s.to(real)
    i = tl.zeros_like(u)
    until = tl.full([BLOCK], float("-inf"), tl.float64)
    t_spike = tl.load(times + k, mask=k < last, other=float("inf")).to(tl.float64)
    end, n_events = tl.load(ends), tl.load(n_in + b)
    t_now, e, more = end - end, 0, n_events >= 0
    while more:
        t_event = tl.load(t_in + b * width + e, mask=e < n_events, other=float("inf"))
        arrives = t_event < end
        t_next = tl.minimum(t_event, end)
        unit = tl.load(u_in + b * width + e, mask=arrives, other=0)
        w = tl.load(weight + unit * n + lane, mask=lane < tl.where(arrives, n, 0), other=0.0)
        begin, stop = t_now.to(tl.float64), t_next.to(tl.float64)
        e_m, e_s, g = respond((stop - begin).to(real), short_m, short_s)
        u_new, i_new = e_m * u + g * i, e_s * i + w
        todo = t_spike <= stop
        own = todo | (until > begin)  # outside of the common update
        if some(own):
            u_l, i_l, pos = u.to(tl.float64), i.to(tl.float64), tl.zeros_like(r) + begin
            while some(todo):
                early = todo & (until > t_spike)  # within the model's refractory time
                if HOLD:
                    freed = todo & (early == 0) & (until > pos)
                    _, fade, _ = respond(tl.where(freed, until - pos, 0.0), rate_m, rate_s)
                    i_l, pos = tl.where(freed, fade * i_l, i_l), tl.where(freed, until, pos)
                    tl.store(release_time + k - 1, until.to(real), mask=freed)
                    tl.store(release_current + k - 1, i_l.to(real), mask=freed)
                m, s, h = respond(tl.where(todo, t_spike - pos, 0.0), rate_m, rate_s)
                u_l, i_l = tl.where(todo & (early == 0), m * u_l + h * i_l, u_l), tl.where(todo, s * i_l, i_l)
                tl.store(residual + k, (u_l - c).to(real), mask=todo)
                tl.store(current + k, tl.where(early, float("-inf"), i_l).to(real), mask=todo)
                if SUBTRACT:
                    u_l = tl.where(todo, tl.where(early, r, u_l - (c - r)), u_l)
                else:
                    u_l = tl.where(todo, r, u_l)
                pos = tl.where(todo, t_spike, pos)
                waits = todo & (pos + t_ref > pos)
                tl.store(release_time + k, tl.where(waits, float("inf"), pos).to(real), mask=todo)
                tl.store(release_current + k, tl.where(waits, 0.0, i_l).to(real), mask=todo)
                until = tl.where(todo, tl.where(waits, pos + t_ref, float("-inf")), until)
                k = tl.where(todo, k + 1, k)
                t_spike = tl.load(times + k, mask=k < last, other=float("inf")).to(tl.float64)
                todo = t_spike <= stop
            held = own & (until > stop)
            if HOLD:
                freed = own & (held == 0) & (until > pos)
                _, fade, _ = respond(tl.where(freed, until - pos, 0.0), rate_m, rate_s)
                i_l, pos = tl.where(freed, fade * i_l, i_l), tl.where(freed, until, pos)
                tl.store(release_time + k - 1, until.to(real), mask=freed)
                tl.store(release_current + k - 1, i_l.to(real), mask=freed)
            m, s, h = respond(stop - pos, rate_m, rate_s)
            u_new = tl.where(own, tl.where(held, u_l, m * u_l + h * i_l).to(real), u_new)
            i_new = tl.where(own, (s * i_l).to(real) + w, i_new)
        u, i, t_now, e, more = u_new, i_new, t_next, e + 1, arrives
