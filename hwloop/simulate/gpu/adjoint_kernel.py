"""Adjoint of a tile of neurons in one sample, backwards in time, and the gathering of the weights' gradient.

The equations of :mod:`hwloop.simulate.kernels.adjoint`. What arrives at an event is written down event by event
(``arrived [batch, width, n]``); :func:`gather_rows` then adds up the events of each input unit, one after the other.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton.language as tl

from .closed_forms import inverse_slope, respond, some
from .jit import device_kernel


@device_kernel
def adjoint_tile(
    t_in, u_in, n_in, width, ends, weight, n, neurons, threshold, row, offsets,
    times, current, release_time, release_current, grad, floors, arrived, by_time, tiles,
    SKIP: tl.constexpr, HOLD: tl.constexpr, WANT_TIMES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write ``arrived`` and, per tile, the gradient of the input times: ``by_time [batch, width, tiles]``.

    Arguments as in :mod:`.forward_kernel`, spikes sorted neuron by neuron; ``floors [1]`` float64. A spike is passed
    in one step, or in two where it has a refractory time: its release, then the spike.
    """
    b = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    lane = tile * BLOCK + tl.arange(0, BLOCK)
    ok = lane < n
    tm = tl.load(neurons + lane, mask=ok, other=1.0).to(tl.float64)
    rate_m, rate_s = 1.0 / tm, 1.0 / tl.load(neurons + n + lane, mask=ok, other=1.0).to(tl.float64)
    r = tl.load(neurons + 3 * n + lane, mask=ok, other=0.0).to(tl.float64)
    level = tl.load(threshold + b * row + lane, mask=ok, other=float("inf"))
    first = tl.load(offsets + b * n + lane, mask=ok, other=0)
    k = tl.load(offsets + b * n + lane + 1, mask=ok, other=0) - 1
    real = level.dtype
    c = level.to(tl.float64)
    short_m, short_s = rate_m.to(real), rate_s.to(real)
    u, i = tl.zeros_like(level), tl.zeros_like(level)
    plus, waits = (
        tl.zeros_like(tm),
        lane < 0,
    )  # adjoint at the release that is waiting for its spike, and whether one is
    floor, end = tl.load(floors), tl.load(ends)
    t_spike = tl.load(times + k, mask=k >= first, other=float("-inf")).to(tl.float64)
    item, at_release = t_spike, lane < 0  # what comes next, backwards
    if HOLD:
        t_free = tl.load(release_time + k, mask=k >= first, other=float("-inf")).to(tl.float64)
        at_release = (t_free > t_spike) & (t_free <= end.to(tl.float64))
        item = tl.where(at_release, t_free, t_spike)
    t_end, e = end, tl.load(n_in + b) - 1
    while e >= 0:
        t_event = tl.load(t_in + b * width + e)
        if t_event < end:
            begin, stop = t_event.to(tl.float64), t_end.to(tl.float64)
            e_m, e_s, g = respond((stop - begin).to(real), short_m, short_s)
            u_new, i_new = e_m * u, e_s * i + g * u
            own = item > begin
            if some(own):
                u_l, i_l, pos, todo = u.to(tl.float64), i.to(tl.float64), tl.zeros_like(tm) + stop, own
                while some(todo):
                    m, s, h = respond(tl.where(todo, tl.maximum(pos - item, 0.0), 0.0), rate_m, rate_s)
                    i_l, u_l = tl.where(todo, s * i_l + h * u_l, i_l), tl.where(todo, m * u_l, u_l)
                    pos = tl.where(todo, item, pos)
                    spikes = todo
                    if HOLD:
                        frees = todo & at_release
                        spikes = todo & (at_release == 0)
                        plus, waits = tl.where(frees, u_l, plus), waits | frees
                        u_l, at_release = tl.where(frees, 0.0, u_l), at_release & (frees == 0)
                        item = tl.where(frees, t_spike, item)
                    i_k = tl.load(current + k, mask=spikes, other=0.0).to(tl.float64)
                    i_free = tl.load(release_current + k, mask=spikes, other=0.0).to(tl.float64)
                    upstream = tl.load(grad + k, mask=spikes, other=0.0).to(tl.float64)
                    slope = inverse_slope(i_k, c, r, floor, SKIP)
                    after = tl.where(waits, plus, u_l)
                    jumped = tl.where(slope > 0.0, slope * (after * (i_free - r) - tm * upstream), 0.0)
                    u_l, waits = tl.where(spikes, jumped, u_l), waits & (spikes == 0)
                    k = tl.where(spikes, k - 1, k)
                    there = spikes & (k >= first)
                    t_spike = tl.where(
                        spikes, tl.load(times + k, mask=there, other=float("-inf")).to(tl.float64), t_spike
                    )
                    item = tl.where(spikes, t_spike, item)
                    if HOLD:
                        t_free = tl.load(release_time + k, mask=there, other=float("-inf")).to(tl.float64)
                        next_frees = spikes & (t_free > t_spike) & (t_free <= end.to(tl.float64))
                        at_release, item = at_release | next_frees, tl.where(next_frees, t_free, item)
                    todo = todo & (item > begin)
                m, s, h = respond(tl.where(own, pos - begin, 0.0), rate_m, rate_s)
                u_new = tl.where(own, (m * u_l).to(real), u_new)
                i_new = tl.where(own, (s * i_l + h * u_l).to(real), i_new)
            u, i, t_end = u_new, i_new, t_event
            tl.store(arrived + (b * width + e) * n + lane, i, mask=ok)
            if WANT_TIMES:
                unit = tl.load(u_in + b * width + e)
                w = tl.load(weight + unit * n + lane, mask=ok, other=0.0)
                tl.store(by_time + (b * width + e) * tiles + tile, tl.sum(w * (i * short_s - u * short_m), 0))
        e -= 1


@device_kernel
def gather_rows(arrived, n, order, starts, total, BLOCK: tl.constexpr):
    """Add to ``total [n_in, n]`` float64 the rows of ``arrived [events, n]`` whose places ``order`` lists by input unit."""
    unit = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = lane < n
    q, stop = tl.load(starts + unit), tl.load(starts + unit + 1)
    found = tl.load(total + unit * n + lane, mask=ok, other=0.0)
    while q < stop:
        place = tl.load(order + q)
        found += tl.load(arrived + place * n + lane, mask=ok, other=0.0).to(tl.float64)
        q += 1
    tl.store(total + unit * n + lane, found, mask=ok)
