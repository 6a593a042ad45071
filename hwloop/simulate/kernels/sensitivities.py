"""Derivatives of spike times and of the membrane maximum with respect to neuron parameters.

Forward sensitivities, neuron by neuron: ``S_x = du/dx`` is carried along the trajectory and

    dT/dx = ([x = c] - S_x) tau_mem / D ,
    S_x   <- [x = r] - (i(R) - r) / tau_mem (dT/dx + [x = t_ref])          at the release R = T + t_ref,

for ``x`` in tau_mem, tau_syn, threshold c, reset r and t_ref. Independent of the adjoint, and the rows of the
Jacobian that Gauss-Newton calibration needs.
"""

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from .adjoint import inverse_slope
from .neuron import peak_time, response, response_and_derivatives

#: Columns of the Jacobian.
TAU_MEM, TAU_SYN, THRESHOLD, RESET, T_REF = range(5)


@kernel()
def _carry(state, s, tau_mem, tau_syn, moves):  # type: ignore[no-untyped-def]
    """``state = (u, i, S[5], di/dtau_syn)`` a time ``s`` later; ``moves`` is false while refractory."""
    e_m, e_s, g, g_m, g_s = response_and_derivatives(s, tau_mem, tau_syn)
    u, i, d_i = state[0], state[1], state[7]
    de_s = e_s * s / (tau_syn * tau_syn)
    if moves:
        for x in range(5):
            state[2 + x] *= e_m
        state[2 + TAU_MEM] += e_m * s / (tau_mem * tau_mem) * u + g_m * i
        state[2 + TAU_SYN] += g_s * i + g * d_i
        state[0] = e_m * u + g * i
    state[1] = e_s * i
    state[7] = e_s * d_i + de_s * i


@kernel()
def _pass_spike(state, time_row, current, release_current, c, r, tau_mem, floor, skip, subtract):  # type: ignore[no-untyped-def]
    """Fill ``time_row = dT/dx`` and reset the sensitivities as of the release."""
    slope = inverse_slope(current, c, r, floor, skip)
    for x in range(5):
        unit = 1.0 if x == THRESHOLD else 0.0
        time_row[x] = (unit - state[2 + x]) * tau_mem * slope
    for x in range(5):
        late = 1.0 if x == T_REF else 0.0
        own = 1.0 if x == RESET else 0.0
        state[2 + x] = own - (release_current - r) / tau_mem * (time_row[x] + late)
    state[0] = state[0] - (c - r) if subtract else r


@kernel(allocates=True)
def jacobian_range(lo, hi, inputs, weight, neurons, spikes, limits, jacobian):  # type: ignore[no-untyped-def]
    """``dT_k/dx`` of every spike, ``[batch, spikes, 5]`` (own parameters of the spike's neuron).

    ``inputs`` as in :func:`~.forward.forward_range`, ``spikes`` as in :func:`~.adjoint.backward_range`. Plain tuples:

    neurons : tau_mem, tau_syn, t_ref, threshold, reset, start, whether a spike subtracts.
    limits : share of the floor, whether it skips.
    """
    state, u_out, n_out = np.zeros(8), spikes[1], spikes[2]
    for b in range(lo, hi):
        order = np.argsort(u_out[b, : n_out[b]], kind="mergesort")
        _jacobian_of(b, order, inputs, weight, neurons, spikes, limits, jacobian, state)


@kernel()
def _jacobian_of(b, order, inputs, weight, neurons, spikes, limits, jacobian, state):  # type: ignore[no-untyped-def]
    """Sample ``b``, whose spikes have their neurons' order in ``order``."""
    t_in, u_in, n_in, _ = inputs
    tau_mem, tau_syn, t_ref, threshold, reset, start, subtract = neurons
    t_out, u_out, n_out, current, _, release_current = spikes
    floor, skip = limits
    first = 0
    while first < n_out[b]:
        lane = u_out[b, order[first]]
        stop = first
        while stop < n_out[b] and u_out[b, order[stop]] == lane:
            stop += 1
        tm, ts = float(tau_mem[lane]), float(tau_syn[lane])
        c, r = float(threshold[b if threshold.shape[0] > 1 else 0, lane]), float(reset[lane])
        state[:] = 0.0
        state[0] = float(start[lane])
        state[2 + RESET] = 1.0 if start[lane] != 0 else 0.0
        pos, free_from, e = 0.0, 0.0, 0
        for a in range(first, stop):
            q = order[a]
            t = float(t_out[b, q])
            while True:
                t_next = t
                arrival = e < n_in[b] and float(t_in[b, e]) < t
                if arrival:
                    t_next = float(t_in[b, e])
                if pos < free_from and free_from < t_next:
                    _carry(state, free_from - pos, tm, ts, False)
                    pos = free_from
                _carry(state, t_next - pos, tm, ts, pos >= free_from)
                pos = t_next
                if not arrival:
                    break
                state[1] += float(weight[u_in[b, e], lane])
                e += 1
            _pass_spike(
                state,
                jacobian[b, q],
                float(current[b, q]),
                float(release_current[b, q]),
                c,
                r,
                tm,
                floor,
                skip,
                subtract and current[b, q] != -math.inf,
            )
            free_from = t + float(t_ref[lane])
        first = stop


@kernel()
def maximum_range(lo, hi, inputs, weight, neurons, mask, value, when):  # type: ignore[no-untyped-def]
    """Largest membrane without resets over ``[0, t_stop]`` and its time, where ``mask`` is true.

    ``inputs`` as in :func:`~.forward.forward_range`; ``neurons``, a plain tuple: tau_mem, tau_syn, start.
    """
    t_in, u_in, n_in, t_stop = inputs
    tau_mem, tau_syn, start = neurons
    for b in range(lo, hi):
        for lane in range(weight.shape[1]):
            if not mask[b, lane]:
                continue
            tm, ts = float(tau_mem[lane]), float(tau_syn[lane])
            u, i, pos = float(start[lane]), 0.0, 0.0
            best, at = u, 0.0
            for e in range(n_in[b] + 1):
                t_next = t_stop
                if e < n_in[b] and float(t_in[b, e]) < t_stop:
                    t_next = float(t_in[b, e])
                s = t_next - pos
                if s > 0.0:
                    e_m, e_s, g = response(s, tm, ts)
                    u_end, i_end = e_m * u + g * i, e_s * i
                    if i > u and i_end < u_end:
                        peak = peak_time(u, i, tm, ts)
                        if 0.0 < peak < s:
                            p_m, _, p_g = response(peak, tm, ts)
                            u_peak = p_m * u + p_g * i
                            if u_peak > best:
                                best, at = u_peak, pos + peak
                    if u_end > best:
                        best, at = u_end, t_next
                    u, i, pos = u_end, i_end, t_next
                if t_next >= t_stop:
                    break
                i += float(weight[u_in[b, e], lane])
            value[b, lane], when[b, lane] = best, at


@kernel()
def maximum_gradient_range(lo, hi, inputs, weight, neurons, when, grad, out):  # type: ignore[no-untyped-def]
    """Gradient of the maxima at fixed ``when``: exact, since the slope there is zero or the time is an event's.

    ``inputs`` and ``neurons`` as in :func:`maximum_range`. Added to the plain tuple ``out``: gradients of the weights, input
    times, tau_mem and tau_syn.
    """
    t_in, u_in, n_in, t_stop = inputs
    tau_mem, tau_syn, start = neurons
    d_weight, d_times, d_mem, d_syn = out
    for b in range(lo, hi):
        for lane in range(weight.shape[1]):
            up = float(grad[b, lane])
            if up == 0.0:
                continue
            tm, ts, at = float(tau_mem[lane]), float(tau_syn[lane]), float(when[b, lane])
            u, i, kink = float(start[lane]) * math.exp(-at / tm), 0.0, -1
            d_mem[lane] += up * u * at / (tm * tm)
            for e in range(n_in[b]):
                s = at - float(t_in[b, e])
                if s <= 0.0:
                    if s == 0.0 and at < t_stop and kink < 0:
                        kink = e
                    break
                w = float(weight[u_in[b, e], lane])
                _, e_s, g, g_m, g_s = response_and_derivatives(s, tm, ts)
                u += w * g
                i += w * e_s
                d_weight[u_in[b, e], lane] += up * g
                d_times[b, e] -= up * w * (e_s - g) / tm
                d_mem[lane] += up * w * g_m
                d_syn[lane] += up * w * g_s
            if kink >= 0:  # the peak stands at the arrival that ends the rise, and moves with it
                d_times[b, kink] += up * (i - u) / tm
