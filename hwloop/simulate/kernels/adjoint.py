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

from ..compile_kernel import kernel
from .legs import E_M, E_S, LEG_ROWS, RATE_M, RATE_S, SPAN, WIDTH, G, respond_to_all
from .measured import RESET, TAU_MEM, TAU_SYN
from .narrow import LANES as NARROW
from .narrow import aligned_rows, backward_step, short_propagators
from .neuron import RATIO_2, response
from .propagators import decays, is_short, propagators

#: Not nnan or ninf: an infinite current marks a spike without derivative.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

#: Columns of the table of neurons that are outside the common update: adjoints, time, adjoint at the release that is
#: waiting for its spike, and whether one waits.
OWN_U, OWN_I, OWN_TIME, PLUS, WAITS = range(5)

#: What a passage leads back to: a spike, the end of a refractory time, or the begin of the interval.
SPIKE, RELEASE, BEGIN = range(3)


@kernel()
def inverse_slope(current, c, r, floor, skip):  # type: ignore[no-untyped-def]
    """``1 / D`` with the floor applied; 0 where no derivative exists or the policy skips the spike."""
    d = current - c
    if d == -math.inf:
        return 0.0
    least = floor * (c - r)
    if d < least:
        return 0.0 if skip or least <= 0.0 else 1.0 / least
    return 1.0 / d if d > 0.0 else 0.0


@kernel(inline="always")
def _spiking_lanes(  # type: ignore[no-untyped-def]
    b, k, q, kind, refractory, t_e, t_end, state, rows, lanes, own, stamps, stamp, table, tau, per, lists, threshold, t_out,
    u_out, current, release_time, release_current, link, grad, floor, skip,
):  # fmt: skip
    """Neurons with a spike or a release in ``(t_e, t_end]``: their adjoints from ``t_end`` back to ``t_e``.

    Spikes from ``k`` backwards; ``q`` is the first of those spikes before ``t_e`` whose release lies in the interval, ``link``
    leads to the others. The times alone say how long each passage lasts, from one spike or release to the one before: first
    they are listed, then the responses of all are computed together, and then the adjoints pass.
    """
    (u_old, i_old, u_new, i_new), (kinds, places, spans, legs) = rows, lists
    stamp, taken, row, n, begin = stamp + 1, 0, b if threshold.shape[0] > 1 else 0, 0, np.float64(t_e)
    while True:
        spikes = k >= 0 and t_out[b, k] > t_e
        if spikes:
            place, k = k, k - 1
        elif refractory is not None and q >= 0:
            place, q = q, link[q]
        else:
            break
        lane = u_out[b, place]
        if stamps[lane] != stamp:
            stamps[lane] = stamp
            lanes[taken] = lane
            taken += 1
            own[lane, OWN_U], own[lane, OWN_I] = state[u_old, lane], state[i_old, lane]
            own[lane, OWN_TIME] = np.float64(t_end)
        if refractory is not None:
            r = release_time[b, place]
            if not spikes or t_out[b, place] < r <= t_end:
                kinds[n], places[n], spans[n] = RELEASE, place, own[lane, OWN_TIME] - np.float64(r)
                own[lane, OWN_TIME] = np.float64(r)
                n += 1
        if spikes:
            kinds[n], places[n], spans[n] = SPIKE, place, own[lane, OWN_TIME] - np.float64(t_out[b, place])
            own[lane, OWN_TIME] = np.float64(t_out[b, place])
            n += 1
    for x in range(taken):
        kinds[n], places[n], spans[n] = BEGIN, lanes[x], own[lanes[x], OWN_TIME] - begin
        n += 1
    for block in range(0, n, WIDTH):
        m = min(WIDTH, n - block)
        for x in range(m):
            q = places[block + x]
            lane = q if kinds[block + x] == BEGIN else u_out[b, q]
            legs[SPAN + x] = spans[block + x]
            if tau is not None:
                legs[RATE_M + x], legs[RATE_S + x] = per[lane, TAU_MEM], per[lane, TAU_SYN]
        respond_to_all(kind, legs, m)
        for x in range(m):
            q, what = places[block + x], kinds[block + x]
            lane = q if what == BEGIN else u_out[b, q]
            u_l, i_l = own[lane, OWN_U], own[lane, OWN_I]
            u_l, i_l = legs[E_M + x] * u_l, legs[E_S + x] * i_l + legs[G + x] * u_l
            if what == SPIKE:
                tm, r = table[lane, TAU_MEM], table[lane, RESET]
                plus = own[lane, PLUS] if own[lane, WAITS] > 0.0 else u_l
                own[lane, WAITS] = 0.0
                slope = inverse_slope(np.float64(current[b, q]), np.float64(threshold[row, lane]), r, floor, skip)
                u_l = slope * (plus * (np.float64(release_current[b, q]) - r) - tm * np.float64(grad[b, q]))
                u_l = u_l if slope > 0.0 else 0.0
            elif what == RELEASE:
                own[lane, PLUS], own[lane, WAITS], u_l = u_l, 1.0, 0.0
            else:
                state[u_new, lane], state[i_new, lane] = u_l, i_l
            own[lane, OWN_U], own[lane, OWN_I] = u_l, i_l
    return k, stamp


@kernel(inline="always")
def _link_releases(b, k, last, t_in, end_time, t_out, release_time, head, link):  # type: ignore[no-untyped-def]
    """Chains ``head[e], link[..], ..`` of the spikes ``0 .. k`` that are released in a later interval, number e, than they fell into."""
    for e in range(last + 1):
        head[e] = -1
    e = 0
    for q in range(k + 1):
        t = release_time[b, q]
        if t_out[b, q] < t <= end_time:
            while e < last and t_in[b, e + 1] < t:
                e += 1
            while e > 0 and t_in[b, e] >= t:
                e -= 1
            if t_out[b, q] <= t_in[b, e] < t:
                link[q] = head[e]
                head[e] = q


@kernel(allocates=True)
def backward_range(lo, hi, kind, inputs, weight, neurons, tau, refractory, spikes, grads):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi``; adds to ``d_weight [n_in, n_out]`` and writes ``d_times [batch, events]``.

    ``inputs, tau`` and ``refractory`` as in :func:`~.forward.forward_range`, whose ``holding`` this is. Plain tuples:

    neurons : table of constants ``[n, 4]``, threshold.
    spikes : times, units, counts, current, release times, currents at the release.
    grads : gradient of the spike times, share of the floor, whether it skips, whether ``d_times`` is wanted, ``d_weight``,
        ``d_times``.

    One pass per event: it takes the adjoints at the end of the interval to the gradients of the event there (``late``)
    and on to the start of the interval.
    """
    n, dtype, table, wide, long = weight.shape[1], weight.dtype, neurons[0], inputs[0].shape[1], spikes[0].shape[1]
    work = 2 * long + n
    space = (  # first of all two rows of a_u and of a_i
        (aligned_rows(4, n, weight), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(wide + 1)),
        ((1.0 / table[:, TAU_MEM]).astype(dtype), (1.0 / table[:, TAU_SYN]).astype(dtype), 1.0 / table[:, :2]),
        (np.zeros((n, 5)), np.zeros(n, np.int64), np.zeros(n, np.int64)),
        (np.zeros(work, np.int64), np.zeros(work, np.int64), np.zeros(work), np.zeros(LEG_ROWS)),
        (np.zeros(long, np.int64), np.zeros(wide + 1, np.int64)),
    )
    _pass_back(lo, hi, kind, inputs, weight, neurons, tau, refractory, spikes, (grads, space))


@kernel(fastmath=FASTMATH)
def _pass_back(lo, hi, kind, inputs, weight, neurons, tau, refractory, spikes, written):  # type: ignore[no-untyped-def]
    grads, space = written
    t_in, u_in, n_in, t_stop = inputs
    table, threshold = neurons
    t_out, u_out, n_out, current, release_time, release_current = spikes
    grad, floor, skip, want_times, d_weight, d_times = grads
    if tau is not None:
        rates, bases = tau
    (state, e_m, e_s, g, gone), (rate_mem, rate_syn, per), (own, lanes, stamps) = space[:3]
    lists, (link, head) = space[3:]
    n, dtype, legs, stamp = weight.shape[1], weight.dtype, lists[3], 0
    zero = dtype.type(0)
    u_new, i_new, u_old, i_old = 0, 1, 2, 3
    legs[RATE_M : RATE_M + WIDTH], legs[RATE_S : RATE_S + WIDTH] = per[0, TAU_MEM], per[0, TAU_SYN]
    tm_0, ts_0 = table[0, TAU_MEM], table[0, TAU_SYN]
    c_m, c_s, c_g, end_time = zero, zero, zero, dtype.type(t_stop)
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
        if last < 0:
            continue
        for j in range(n):
            state[u_new, j], state[i_new, j] = zero, zero
        if refractory is not None:
            for j in range(n):
                own[j, WAITS] = 0.0
            _link_releases(b, k, last, t_in, end_time, t_out, release_time, head, link)
        if kind is RATIO_2:
            decays(gone, t_in[b], last + 1, end_time, tm_0)
        t_end, late = end_time, u_in[b, last]  # nothing arrives at t_stop: zeros are added there
        for e in range(last, -1, -1):
            t_e = t_in[b, e]
            dt = np.float64(t_end) - np.float64(t_e)
            if want_times and e < last and not (n == NARROW and dt > 0.0):
                total = zero
                for j in range(n):
                    total += weight[late, j] * (state[i_new, j] * rate_syn[j] - state[u_new, j] * rate_mem[j])
                d_times[b, e + 1] = total
            if dt <= 0.0:
                for j in range(n):
                    d_weight[late, j] += state[i_new, j]
                late = u_in[b, e]
                continue
            f_m, f_s, f_g = 0.0, 0.0, 0.0
            if tau is None:
                if kind is RATIO_2:
                    y = gone[e + 1]
                    f_m, f_s, f_g = 1.0 - y, (1.0 - y) * (1.0 - y), (1.0 - y) * y
                else:
                    f_m, f_s, f_g = response(dt, tm_0, ts_0)
                c_m, c_s, c_g = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g)
            elif n == NARROW and is_short(dt, bases):
                short_propagators(e_m, e_s, g, rates, dt, math.exp(-dt * bases[0]), math.exp(-dt * bases[2]))
            else:
                propagators(e_m, e_s, g, dt, rates, bases)
            if n == NARROW:
                u_new, i_new, u_old, i_old = 0, 1, 2, 3
                if tau is None:
                    total = backward_step(state, weight, late, f_m, f_s, f_g, d_weight, rate_mem, rate_syn)
                else:
                    total = backward_step(state, weight, late, e_m, e_s, g, d_weight, rate_mem, rate_syn)
                if want_times and e < last:
                    d_times[b, e + 1] = total
            elif tau is None:
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                for j in range(n):
                    u_j, i_j = state[u_old, j], state[i_old, j]
                    d_weight[late, j] += i_j
                    state[u_new, j], state[i_new, j] = c_m * u_j, c_s * i_j + c_g * u_j
            else:
                u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
                for j in range(n):
                    u_j, i_j = state[u_old, j], state[i_old, j]
                    d_weight[late, j] += i_j
                    state[u_new, j], state[i_new, j] = e_m[j] * u_j, e_s[j] * i_j + g[j] * u_j
            waiting = -1 if refractory is None else head[e]
            if (k >= 0 and t_out[b, k] > t_e) or waiting >= 0:
                k, stamp = _spiking_lanes(
                    b, k, waiting, kind, refractory, t_e, t_end, state, (u_old, i_old, u_new, i_new), lanes, own, stamps,
                    stamp, table, tau, per, lists, threshold, t_out, u_out, current, release_time, release_current, link,
                    grad, floor, skip,
                )  # fmt: skip
            t_end, late = t_e, u_in[b, e]
        total = zero
        for j in range(n):
            d_weight[late, j] += state[i_new, j]
            total += weight[late, j] * (state[i_new, j] * rate_syn[j] - state[u_new, j] * rate_mem[j])
        if want_times:
            d_times[b, 0] = total
