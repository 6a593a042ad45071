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

from .scalar import free_adjoint, response
from .vector import add_rows, arrival_gradient, propagators, retreat_general, retreat_shared


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
def _back(kind, lane, t, lane_u, lane_i, lane_pos, tau_mem, tau_syn):  # type: ignore[no-untyped-def]
    """Adjoint of one neuron carried back to time ``t``."""
    lane_u[lane], lane_i[lane] = free_adjoint(kind, lane_u[lane], lane_i[lane], lane_pos[lane] - t, tau_mem, tau_syn)
    lane_pos[lane] = t


@njit(cache=True, nogil=True, error_model="numpy")
def backward_range(  # type: ignore[no-untyped-def]
    lo, hi, kind, shared, t_in, u_in, n_in, weight, tau_mem, tau_syn, t_ref, threshold, reset, rates, bases, t_stop,
    t_out, u_out, n_out, current, release_time, release_current, grad, floor, skip, want_times, d_weight, d_times,
):
    """Samples ``lo .. hi``; adds to ``d_weight [n_in, n_out]`` and writes ``d_times [batch, events]``."""
    n = weight.shape[1]
    dtype = weight.dtype
    a_u, a_i = np.zeros(n, dtype), np.zeros(n, dtype)
    b_u, b_i = np.zeros(n, dtype), np.zeros(n, dtype)
    e_m, e_s, g = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)
    lane_u, lane_i, lane_pos = np.zeros(n), np.zeros(n), np.zeros(n)
    plus, waits = np.zeros(n), np.zeros(n, np.uint8)
    touched, stamp = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    stamps = 0
    refractory = t_ref.max() > 0
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
        waits[:] = 0
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
                if shared:
                    em, es, gg = response(dt, float(tau_mem[0]), float(tau_syn[0]))
                    retreat_shared(a_u, a_i, b_u, b_i, dtype.type(em), dtype.type(es), dtype.type(gg))
                else:
                    propagators(e_m, e_s, g, dt, rates, bases)
                    retreat_general(a_u, a_i, b_u, b_i, e_m, e_s, g)
                stamps += 1
                n_touched = 0
                while True:
                    spike_next = k >= 0 and t_out[b, k] > t_e
                    release_next = p >= 0 and release_time[b, released[p]] > t_e
                    if not (spike_next or release_next):
                        break
                    release = release_next and (not spike_next or release_time[b, released[p]] > t_out[b, k])
                    q = released[p] if release else k
                    lane = u_out[b, q]
                    if release and t_ref[lane] == 0:  # released at its spike: nothing lies between
                        p -= 1
                        continue
                    if stamp[lane] != stamps:
                        stamp[lane] = stamps
                        touched[n_touched] = lane
                        n_touched += 1
                        lane_u[lane], lane_i[lane], lane_pos[lane] = float(a_u[lane]), float(a_i[lane]), float(t_end)
                    tm, ts = float(tau_mem[lane]), float(tau_syn[lane])
                    if release:
                        _back(kind, lane, float(release_time[b, q]), lane_u, lane_i, lane_pos, tm, ts)
                        plus[lane], waits[lane], lane_u[lane] = lane_u[lane], 1, 0.0
                        p -= 1
                        continue
                    _back(kind, lane, float(t_out[b, k]), lane_u, lane_i, lane_pos, tm, ts)
                    a_plus = plus[lane] if waits[lane] != 0 else lane_u[lane]
                    waits[lane] = 0
                    c, r = float(threshold[b if threshold.shape[0] > 1 else 0, lane]), float(reset[lane])
                    slope = inverse_slope(float(current[b, k]), c, r, floor, skip)
                    lane_u[lane] = slope * (a_plus * (float(release_current[b, k]) - r) - tm * float(grad[b, k]))
                    k -= 1
                for a in range(n_touched):
                    lane = touched[a]
                    _back(kind, lane, float(t_e), lane_u, lane_i, lane_pos, float(tau_mem[lane]), float(tau_syn[lane]))
                    b_u[lane], b_i[lane] = lane_u[lane], lane_i[lane]
                a_u, b_u = b_u, a_u
                a_i, b_i = b_i, a_i
            unit = u_in[b, e]
            add_rows(d_weight[unit], a_i)
            if want_times:
                d_times[b, e] = arrival_gradient(weight[unit], a_u, a_i, rates[2], rates[5])
            t_end = t_e
