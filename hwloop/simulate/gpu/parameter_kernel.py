"""Derivatives of spike times with respect to neuron parameters: a tile of neurons in one sample, forward in time.

The recursion of :mod:`hwloop.simulate.kernels.sensitivities`; float64 throughout.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton.language as tl

from .closed_forms import inverse_slope, response_and_derivatives, some
from .jit import device_kernel


@device_kernel
def carry(s, moves, u, i, d_i, s_mem, s_syn, s_c, s_r, s_ref, tau_mem, tau_syn):
    """Membrane, current, ``di/dtau_syn`` and ``du/dx`` a time ``s`` later, where the membrane ``moves``; else the currents alone."""
    e_m, e_s, g, g_m, g_s = response_and_derivatives(s, 1.0 / tau_mem, 1.0 / tau_syn)
    s_mem = tl.where(moves, e_m * s_mem + e_m * s / (tau_mem * tau_mem) * u + g_m * i, s_mem)
    s_syn = tl.where(moves, e_m * s_syn + g_s * i + g * d_i, s_syn)
    s_c, s_r = tl.where(moves, e_m * s_c, s_c), tl.where(moves, e_m * s_r, s_r)
    s_ref, u = tl.where(moves, e_m * s_ref, s_ref), tl.where(moves, e_m * u + g * i, u)
    d_i = e_s * d_i + e_s * s / (tau_syn * tau_syn) * i
    return u, e_s * i, d_i, s_mem, s_syn, s_c, s_r, s_ref


@device_kernel
def parameters_tile(
    t_in, u_in, n_in, width, ends, weight, n, neurons, threshold, row, offsets,
    times, current, release_current, grad, floors, total, size,
    SUBTRACT: tl.constexpr, SKIP: tl.constexpr, HOLD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write ``sum_k grad_k dT_k/dx`` to ``total``: five arrays of ``size = batch * n``, for x = tau_mem, tau_syn, threshold, reset, t_ref."""
    b = tl.program_id(0).to(tl.int64)
    lane = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = lane < n
    tm = tl.load(neurons + lane, mask=ok, other=1.0).to(tl.float64)
    ts = tl.load(neurons + n + lane, mask=ok, other=1.0).to(tl.float64)
    t_ref = tl.load(neurons + 2 * n + lane, mask=ok, other=0.0).to(tl.float64)
    r = tl.load(neurons + 3 * n + lane, mask=ok, other=0.0).to(tl.float64)
    u = tl.load(neurons + 4 * n + lane, mask=ok, other=0.0).to(tl.float64)
    c = tl.load(threshold + b * row + lane, mask=ok, other=float("inf")).to(tl.float64)
    k = tl.load(offsets + b * n + lane, mask=ok, other=0)
    last = tl.load(offsets + b * n + lane + 1, mask=ok, other=0)
    floor = tl.load(floors)
    i, d_i, s_mem, s_syn, s_c = tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u)
    s_r, s_ref = tl.where(u != 0.0, 1.0, 0.0).to(tl.float64), tl.zeros_like(u)
    by_mem, by_syn, by_c, by_r, by_ref = s_c, s_c, s_c, s_c, s_c
    pos, free = tl.zeros_like(u), tl.zeros_like(u)
    t_spike = tl.load(times + k, mask=k < last, other=float("inf")).to(tl.float64)
    end, n_events, e, more = tl.load(ends).to(tl.float64), tl.load(n_in + b), 0, some(k < last)
    while more:
        t_event = tl.load(t_in + b * width + e, mask=e < n_events, other=float("inf")).to(tl.float64)
        arrives = t_event < end
        t_next = tl.minimum(t_event, end)
        going, spikes = lane >= 0, t_spike <= t_next
        while some(going):  # to each of the neuron's spikes until t_next, and then there
            spikes = t_spike <= t_next
            t = tl.where(going, tl.minimum(t_spike, t_next), pos)
            if HOLD:
                wait = tl.maximum(tl.minimum(free, t) - pos, 0.0)
                u, i, d_i, s_mem, s_syn, s_c, s_r, s_ref = carry(
                    wait, lane < 0, u, i, d_i, s_mem, s_syn, s_c, s_r, s_ref, tm, ts
                )
                pos = tl.maximum(pos, tl.minimum(free, t))
            moves = pos >= free
            u, i, d_i, s_mem, s_syn, s_c, s_r, s_ref = carry(
                tl.maximum(t - pos, 0.0), moves, u, i, d_i, s_mem, s_syn, s_c, s_r, s_ref, tm, ts
            )
            pos, spikes = t, going & spikes
            if some(spikes):
                i_k = tl.load(current + k, mask=spikes, other=0.0).to(tl.float64)
                late = tl.load(release_current + k, mask=spikes, other=0.0).to(tl.float64)
                up = tl.load(grad + k, mask=spikes, other=0.0).to(tl.float64)
                slope = tm * inverse_slope(i_k, c, r, floor, SKIP)
                # dT/dx = ([x = c] - S_x) tau_mem / D
                row_mem, row_syn = -s_mem * slope, -s_syn * slope
                row_c, row_r, row_ref = (1.0 - s_c) * slope, -s_r * slope, -s_ref * slope
                by_mem = tl.where(spikes, by_mem + up * row_mem, by_mem)
                by_syn = tl.where(spikes, by_syn + up * row_syn, by_syn)
                by_c = tl.where(spikes, by_c + up * row_c, by_c)
                by_r = tl.where(spikes, by_r + up * row_r, by_r)
                by_ref = tl.where(spikes, by_ref + up * row_ref, by_ref)
                # S_x <- [x = r] - (i(R) - r) / tau_mem (dT/dx + [x = t_ref])
                drift = -(late - r) / tm
                s_mem, s_syn = tl.where(spikes, drift * row_mem, s_mem), tl.where(spikes, drift * row_syn, s_syn)
                s_c, s_r = tl.where(spikes, drift * row_c, s_c), tl.where(spikes, 1.0 + drift * row_r, s_r)
                s_ref = tl.where(spikes, drift * (row_ref + 1.0), s_ref)
                if SUBTRACT:
                    u = tl.where(spikes, tl.where(i_k == float("-inf"), r, u - (c - r)), u)
                else:
                    u = tl.where(spikes, r, u)
                free = tl.where(spikes, pos + t_ref, free)
                k = tl.where(spikes, k + 1, k)
                t_spike = tl.where(
                    spikes, tl.load(times + k, mask=spikes & (k < last), other=float("inf")).to(tl.float64), t_spike
                )
            going = spikes
        unit = tl.load(u_in + b * width + e, mask=arrives, other=0)
        i += tl.load(weight + unit * n + lane, mask=lane < tl.where(arrives, n, 0), other=0.0).to(tl.float64)
        e, more = e + 1, arrives & some(k < last)
    place = b * n + lane
    tl.store(total + place, by_mem, mask=ok)
    tl.store(total + size + place, by_syn, mask=ok)
    tl.store(total + 2 * size + place, by_c, mask=ok)
    tl.store(total + 3 * size + place, by_r, mask=ok)
    tl.store(total + 4 * size + place, by_ref, mask=ok)
