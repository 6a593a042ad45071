"""Largest membrane without resets, and its gradient: a tile of neurons in one sample; float64.

The twins of ``maximum_range`` and ``maximum_gradient_range`` in :mod:`hwloop.simulate.kernels.sensitivities`.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton.language as tl

from .closed_forms import decay, peak_after, respond, response_and_derivatives, some
from .jit import device_kernel


@device_kernel
def maximum_tile(t_in, u_in, n_in, width, ends, weight, n, neurons, mask, value, when, BLOCK: tl.constexpr):
    """Largest membrane over ``[0, t_stop]`` and its time, ``[batch, n]``, where ``mask`` is not 0; ``ends [1]`` float64."""
    b = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = lane < n
    wanted = ok & (tl.load(mask + b * n + lane, mask=ok, other=0) != 0)
    tm = tl.load(neurons + lane, mask=ok, other=1.0).to(tl.float64)
    rate_m, rate_s = 1.0 / tm, 1.0 / tl.load(neurons + n + lane, mask=ok, other=1.0).to(tl.float64)
    u = tl.load(neurons + 4 * n + lane, mask=ok, other=0.0).to(tl.float64)
    i, best, at = tl.zeros_like(u), u, tl.zeros_like(u)
    end, n_events, e, more = tl.load(ends), tl.load(n_in + b), 0, some(wanted)
    pos = end - end
    while more:
        t_event = tl.load(t_in + b * width + e, mask=e < n_events, other=float("inf")).to(tl.float64)
        arrives = t_event < end
        t_next = tl.minimum(t_event, end)
        if t_next > pos:
            e_m, e_s, g = respond(tl.zeros_like(u) + (t_next - pos), rate_m, rate_s)
            u_end, i_end = e_m * u + g * i, e_s * i
            turns = wanted & (i > u) & (i_end < u_end)
            if some(turns):
                top = peak_after(u, i, tm, rate_m, rate_s)
                turns = turns & (top > 0.0) & (top < t_next - pos)
                top = tl.where(turns, top, 0.0)
                m, _, h = respond(top, rate_m, rate_s)
                higher = turns & (m * u + h * i > best)
                best, at = tl.where(higher, m * u + h * i, best), tl.where(higher, pos + top, at)
            higher = u_end > best
            best, at = tl.where(higher, u_end, best), tl.where(higher, t_next, at)
            u, i, pos = u_end, i_end, t_next
        unit = tl.load(u_in + b * width + e, mask=arrives, other=0)
        i += tl.load(weight + unit * n + lane, mask=lane < tl.where(arrives, n, 0), other=0.0).to(tl.float64)
        e, more = e + 1, arrives
    tl.store(value + b * n + lane, tl.where(wanted, best, 0.0), mask=ok)
    tl.store(when + b * n + lane, tl.where(wanted, at, 0.0), mask=ok)


@device_kernel
def maximum_gradient_tile(
    t_in, u_in, n_in, width, ends, weight, n, neurons, when, grad, arrived, by_time, tiles, by_tau, size,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write what each event brings (``arrived``, ``by_time`` as in :mod:`.adjoint_kernel`) and ``by_tau``: two arrays of ``size``."""
    b = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    lane = tile * BLOCK + tl.arange(0, BLOCK)
    ok = lane < n
    tm = tl.load(neurons + lane, mask=ok, other=1.0).to(tl.float64)
    rate_m, rate_s = 1.0 / tm, 1.0 / tl.load(neurons + n + lane, mask=ok, other=1.0).to(tl.float64)
    start = tl.load(neurons + 4 * n + lane, mask=ok, other=0.0).to(tl.float64)
    up = tl.load(grad + b * n + lane, mask=ok, other=0.0)
    at = tl.load(when + b * n + lane, mask=ok, other=0.0)
    end, n_events, e = tl.load(ends), tl.load(n_in + b), 0
    _, left = decay(at * rate_m)
    u, i = start * left, tl.zeros_like(up)
    d_mem, d_syn, fresh = up * u * at * rate_m * rate_m, tl.zeros_like(up), up != 0.0
    while e < n_events:
        t_event = tl.load(t_in + b * width + e).to(tl.float64)
        unit = tl.load(u_in + b * width + e)
        w = tl.load(weight + unit * n + lane, mask=ok, other=0.0).to(tl.float64)
        before, there = t_event < at, (t_event == at) & (at < end) & fresh
        fresh = fresh & (there == 0)
        _, e_s, g, g_m, g_s = response_and_derivatives(tl.where(before, at - t_event, 0.0), rate_m, rate_s)
        share = tl.where(before, up, 0.0)
        # a peak that stands at the arrival that ends the rise moves with it
        moved = tl.where(there, up * (i - u) * rate_m, -share * w * (e_s - g) * rate_m)
        u, i = tl.where(before, u + w * g, u), tl.where(before, i + w * e_s, i)
        d_mem, d_syn = d_mem + share * w * g_m, d_syn + share * w * g_s
        tl.store(arrived + (b * width + e) * n + lane, share * g, mask=ok)
        tl.store(by_time + (b * width + e) * tiles + tile, tl.sum(moved, 0))
        e += 1
    tl.store(by_tau + b * n + lane, d_mem, mask=ok)
    tl.store(by_tau + size + b * n + lane, d_syn, mask=ok)
