"""Adjoint of the event-driven layer (EventProp), event-major and backwards in time.

With ``a_u = dL/du`` and ``a_i = dL/di`` at the running time, over an interval ``s`` without spikes

    a_i <- e_s a_i + g a_u ,   a_u <- e_m a_u ;

at a spike ``T`` with ``D = i(T) - c``, refractory until ``R``, upstream gradient ``G = dL/dT`` and ``a_u^+`` the
adjoint at the release

    a_u <- (tau_mem / D) [ a_u^+ (i(R) - r) / tau_mem - G ] ;

``dL/dw = a_i`` and ``dL/dt = w (a_i / tau_syn - a_u / tau_mem)`` at an arrival. With ``a_u = -tau_mem lambda_u`` and
``a_i = -tau_syn lambda_i`` this is Wunderlich & Pehle 2021, eq. 5-8, with refractory time added.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .forward import REFRACTORY, RESET, TAU_MEM, TAU_SYN
from .scalar import RATIO_2, free_adjoint, response
from .vector import FASTMATH, propagators

#: Columns of the table of neurons that are outside the common update: adjoints, time, adjoint at the release that is
#: waiting for its spike, whether one waits, and the interval in which the neuron was taken out.
OWN_U, OWN_I, OWN_TIME, PLUS, WAITS, STAMP = range(6)


@njit(cache=True, nogil=True, error_model="numpy")
def inverse_slope(current, c, r, floor, skip):  # type: ignore[no-untyped-def]
    """``1 / D`` with the floor applied; 0 where no derivative exists or the policy skips the spike."""
    d = current - c
    if d == -math.inf:
        return 0.0
    least = floor * (c - r)
    if d < least:
        return 0.0 if skip or least <= 0.0 else 1.0 / least
    return 1.0 / d if d > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _spiking_lanes(  # type: ignore[no-untyped-def]
    b, k, p, kind, t_e, t_end, u_old, i_old, u_new, i_new, lanes, own, stamps, table, threshold,
    t_out, u_out, current, release_time, release_current, released, grad, floor, skip,
):
    """Neurons with a spike or a release in ``(t_e, t_end]``: their adjoints from ``t_end`` back to ``t_e``."""
    stamps, taken, row = stamps + 1, 0, b if threshold.shape[0] > 1 else 0
    while True:
        spike_next = k >= 0 and t_out[b, k] > t_e
        release_next = p >= 0 and release_time[b, released[p]] > t_e
        if not (spike_next or release_next):
            break
        release = release_next and (not spike_next or release_time[b, released[p]] > t_out[b, k])
        q = released[p] if release else k
        lane = u_out[b, q]
        tm, ts, r = table[lane, TAU_MEM], table[lane, TAU_SYN], table[lane, RESET]
        if release and table[lane, REFRACTORY] == 0.0:  # released at its spike: nothing lies between
            p -= 1
            continue
        if own[lane, STAMP] != stamps:
            own[lane, STAMP] = stamps
            lanes[taken] = lane
            taken += 1
            own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME] = u_old[lane], i_old[lane], t_end
        t = float(release_time[b, q]) if release else float(t_out[b, q])
        u_l, i_l = free_adjoint(kind, own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME] - t, tm, ts)
        if release:
            own[lane, PLUS], own[lane, WAITS], u_l = u_l, 1.0, 0.0
            p -= 1
        else:
            plus = own[lane, PLUS] if own[lane, WAITS] > 0.0 else u_l
            own[lane, WAITS] = 0.0
            slope = inverse_slope(float(current[b, k]), float(threshold[row, lane]), r, floor, skip)
            u_l = slope * (plus * (float(release_current[b, k]) - r) - tm * float(grad[b, k]))
            k -= 1
        own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME] = u_l, i_l, t
    for a in range(taken):
        lane = lanes[a]
        s = own[lane, OWN_TIME] - float(t_e)
        tm, ts = table[lane, TAU_MEM], table[lane, TAU_SYN]
        u_new[lane], i_new[lane] = free_adjoint(kind, own[lane, OWN_U], own[lane, OWN_I], s, tm, ts)
    return k, p, stamps


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def backward_range(  # type: ignore[no-untyped-def]
    lo, hi, kind, shared, t_in, u_in, n_in, weight, table, threshold, rates, bases, powers, t_stop,
    t_out, u_out, n_out, current, release_time, release_current, grad, floor, skip, want_times, d_weight, d_times,
):
    """Samples ``lo .. hi``; adds to ``d_weight [n_in, n_out]`` and writes ``d_times [batch, events]``."""
    n, dtype = weight.shape[1], weight.dtype
    zero = dtype.type(0)
    a_u, a_i, u_old, i_old = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)
    e_m, e_s, g, rate_mem, rate_syn = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), (1.0 / table[:, 0]).astype(dtype), (1.0 / table[:, 1]).astype(dtype)
    own, lanes, stamps = np.zeros((n, 6)), np.zeros(n, np.int64), 0
    tm_0, ts_0 = table[0, TAU_MEM], table[0, TAU_SYN]
    refractory = table[:, REFRACTORY].max() > 0
    end_time = dtype.type(t_stop)
    for b in range(lo, hi):
        k = n_out[b] - 1
        while k >= 0 and grad[b, k] == 0:
            k -= 1
        if k < 0:
            continue
        last = n_in[b] - 1
        while last >= 0 and t_in[b, last] >= end_time:
            last -= 1
        while last >= 0 and t_in[b, last] >= t_out[b, k]:  # inputs after the last spike that matters
            last -= 1
        a_u[:] = 0
        a_i[:] = 0
        own[:, WAITS] = 0.0
        if refractory:
            released = np.argsort(release_time[b, : k + 1])
            p = k
            while p >= 0 and release_time[b, released[p]] > end_time:
                p -= 1
        else:
            released, p = np.zeros(0, np.int64), -1
        t_end = end_time
        for e in range(last, -1, -1):
            t_e = t_in[b, e]
            dt = float(t_end) - float(t_e)
            if dt > 0.0:
                if not shared:
                    propagators(e_m, e_s, g, dt, rates, bases, powers)
                    for j in range(n):
                        u_j, i_j = a_u[j], a_i[j]
                        a_u[j], a_i[j], u_old[j], i_old[j] = e_m[j] * u_j, e_s[j] * i_j + g[j] * u_j, u_j, i_j
                else:
                    f_m, f_s, f_g = 0.0, 0.0, 0.0
                    if kind == RATIO_2:
                        y = -math.expm1(-dt / tm_0)
                        f_m, f_s, f_g = 1.0 - y, (1.0 - y) * (1.0 - y), (1.0 - y) * y
                    else:
                        f_m, f_s, f_g = response(dt, tm_0, ts_0)
                    c_m, c_s, c_g = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g)
                    for j in range(n):
                        u_j, i_j = a_u[j], a_i[j]
                        a_u[j], a_i[j], u_old[j], i_old[j] = c_m * u_j, c_s * i_j + c_g * u_j, u_j, i_j
                if (k >= 0 and t_out[b, k] > t_e) or (p >= 0 and release_time[b, released[p]] > t_e):
                    k, p, stamps = _spiking_lanes(
                        b, k, p, kind, t_e, t_end, u_old, i_old, a_u, a_i, lanes, own, stamps, table, threshold,
                        t_out, u_out, current, release_time, release_current, released, grad, floor, skip,
                    )
            unit = u_in[b, e]
            for j in range(n):
                d_weight[unit, j] += a_i[j]
            if want_times:
                total = zero
                for j in range(n):
                    total += weight[unit, j] * (a_i[j] * rate_syn[j] - a_u[j] * rate_mem[j])
                d_times[b, e] = total
            t_end = t_e
