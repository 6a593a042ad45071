"""Adjoint of a component (EventProp), event-major and backwards in time.

With ``a_u = dL/du`` and ``a_i = dL/di`` at the running time, over an interval ``s`` without spikes

    a_i <- e_s a_i + g a_u ,   a_u <- e_m a_u ;

at an arrival of bundle ``b``, summed over its synapses, ``dL/dw = a_i`` (``a_u`` where the membrane jumps) and

    dL/dt = w (a_i / tau_syn - a_u / tau_mem) ,    w a_u / tau_mem (JUMP) ,    0 (INTEGRATE) ,

which is the gradient of the delay too, and goes to the spike that caused the arrival: that spike is passed later, with all
that it caused. At a spike ``T`` with upstream gradient ``G``, released at ``R``, ``a_u^+`` the adjoint at the release and
``v = tau_mem u'(R) = i(R) - r``

    a_u <- (tau_mem / D) [ a_u^+ v / tau_mem - G ] ,   D = i(T) - c ;

a ramp has ``tau_mem u' = ramp`` throughout. A spike that an arrival fired at its own instant moves with it: ``G`` and what the
reset adds are the arrival's, ``G - a_u^+ v / tau_mem`` and ``a_u <- 0``, or for a subtracting reset of height ``h = c - r``
``G - a_u^+ h / tau_mem`` (JUMP; ``G`` for INTEGRATE) and ``a_u <- a_u^+``.
"""

# mypy: disable-error-code="assignment"
# Numba joins the types of a variable: here float with float64

from __future__ import annotations

import numpy as np

from ..compile_kernel import kernel
from ..kernels.adjoint import FASTMATH, inverse_slope
from ..kernels.neuron import RATIO_2, response
from ..kernels.propagators import propagators
from .arrays import REFRACTORY, RESET, SCATTERED, TAU_MEM, TAU_SYN
from .contract import CURRENT, INTEGRATE
from .crossings import over

#: Columns of the state of neurons: adjoint at the release that waits for its spike, and whether one waits.
PLUS, WAITS = range(2)


@kernel(inline="always")
def _arrival_time(b, x, delay, external_times, out_times, origin, bundle):  # type: ignore[no-untyped-def]
    """Time of arrival ``x``, computed as the simulation did."""
    o = origin[b, x]
    t = out_times[b, o] if o >= 0 else external_times[b, -1 - o]
    return t + delay[bundle[b, x]]


@kernel(allocates=True)
def backward_range(lo, hi, t_stop, plan, rates, bases, times_in, trace, grads, floor):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi``; ``grads``: ``(total [batch, spikes], d_weight, d_delay, d_times)``.

    ``total`` holds the gradients of the spikes and receives what they caused; the others are added to. ``floor``:
    ``(share, skip)``.
    """
    n, dtype, room = plan.start.shape[0], plan.weight.dtype, trace.times.shape[1]
    space = (
        (np.zeros((4, n), dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros((n, 2))),
        (plan.per[:, TAU_MEM].astype(dtype), plan.per[:, TAU_SYN].astype(dtype)),
        (np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(room, np.int64)),
        (np.zeros(room if plan.holding else 1, np.int64), np.zeros(trace.bundle.shape[1], dtype)),
    )
    _pass_back(lo, hi, t_stop, plan, rates, bases, times_in, trace, (*grads, *floor), space)


@kernel(fastmath=FASTMATH)
def _pass_back(lo, hi, t_stop, plan, rates, bases, times_in, trace, grads, space):  # type: ignore[no-untyped-def]
    total, d_weight, d_delay, d_times, share, skip = grads
    form, holding, table, per, threshold = plan.form, plan.holding, plan.table, plan.per, plan.threshold
    subtract, kinds, ramp_of, ramps = plan.subtract, plan.kind, plan.ramp, plan.ramps
    delay, synapse_from, target, weight, layout = plan.delay, plan.first, plan.target, plan.weight, plan.layout
    out_t, out_u, out_current, out_release = trace.times, trace.units, trace.current, trace.release_time
    out_released, out_after, out_cause = trace.release_current, trace.after, trace.cause
    log_bundle, log_origin = trace.bundle, trace.origin
    (state, e_m, e_s, g, own), (rate_mem, rate_syn) = space[0], space[1]
    (recent, stamps, lanes, previous), (released, fired) = space[2], space[3]
    n, dtype, stamp = plan.start.shape[0], weight.dtype, 0
    zero = dtype.type(0)
    u_new, i_new, u_old, i_old = 0, 1, 2, 3
    tm_0, ts_0, end_time = table[0, TAU_MEM], table[0, TAU_SYN], dtype.type(t_stop)
    c_m, c_s, c_g, over_all = zero, zero, zero, (1.0, 1.0, 0.0)
    for b in range(lo, hi):
        k, row = trace.counts[b] - 1, b if threshold.shape[0] > 1 else 0
        while k >= 0 and total[b, k] == 0:
            k -= 1
        if k < 0:
            continue
        for j in range(n):
            state[u_new, j], state[i_new, j] = zero, zero
            own[j, WAITS], recent[j] = 0.0, -1
        for q in range(k + 1):
            previous[q], recent[out_u[b, q]] = recent[out_u[b, q]], q
        x, p = out_after[b, k] - 1, -1
        if holding:
            for q in range(k + 1):  # in the order of their release: nearly that of the spikes
                place = q
                while place > 0 and out_release[b, released[place - 1]] > out_release[b, q]:
                    released[place] = released[place - 1]
                    place -= 1
                released[place] = q
            p = k
            while p >= 0 and out_release[b, released[p]] > end_time:
                p -= 1
        for y in range(x + 1):
            fired[y] = zero
        t_end = end_time
        while k >= 0 or p >= 0 or x >= 0:
            t_x = zero
            if x >= 0:
                t_x = _arrival_time(b, x, delay, times_in, out_t, log_origin, log_bundle)
            # the interval after the instant t_x
            begin, end = np.float64(t_x), np.float64(t_end)
            if x < 0:
                begin = -1.0  # spikes at 0 belong here
            dt = end - max(begin, 0.0)
            u_new, i_new, u_old, i_old = u_old, i_old, u_new, i_new
            if rates is None:
                if form is RATIO_2:
                    f_m, f_s, f_g = over(form, dt, 1.0 / tm_0, 1.0 / ts_0)
                else:
                    f_m, f_s, f_g = response(dt, tm_0, ts_0)
                over_all = f_m, f_s, f_g
                c_m, c_s, c_g = dtype.type(f_m), dtype.type(f_s), dtype.type(f_g)
                for j in range(n):
                    u_j, i_j = state[u_old, j], state[i_old, j]
                    state[u_new, j], state[i_new, j] = c_m * u_j, c_s * i_j + c_g * u_j
            else:
                propagators(e_m, e_s, g, dt, rates, bases)
                for j in range(n):
                    u_j, i_j = state[u_old, j], state[i_old, j]
                    state[u_new, j], state[i_new, j] = e_m[j] * u_j, e_s[j] * i_j + g[j] * u_j
            for y in range(ramps.shape[0]):
                state[u_new, ramps[y]] = state[u_old, ramps[y]]
            stamp, listed = stamp + 1, 0
            while True:
                spike_next = k >= 0 and out_t[b, k] > begin
                release_next = p >= 0 and out_release[b, released[p]] > begin
                if spike_next:
                    lane, k = out_u[b, k], k - 1
                elif release_next:
                    lane, p = out_u[b, released[p]], p - 1
                else:
                    break
                if stamps[lane] != stamp:
                    stamps[lane], lanes[listed] = stamp, lane
                    listed += 1
            for y in range(listed):
                lane, pos = lanes[y], end
                u_l, i_l = np.float64(state[u_old, lane]), np.float64(state[i_old, lane])
                r_m, r_s, ramp, tm = per[lane, TAU_MEM], per[lane, TAU_SYN], ramp_of[lane], table[lane, TAU_MEM]
                r, t_ref, kind = table[lane, RESET], table[lane, REFRACTORY], kinds[lane]
                while True:
                    q = recent[lane]
                    to, what = max(begin, 0.0), 0
                    if q >= 0 and own[lane, WAITS] == 0.0 and t_ref > 0.0:
                        release = np.float64(out_release[b, q])
                        if release <= end and release > begin:
                            to, what = release, 1
                    if q >= 0 and what == 0 and out_t[b, q] > begin:
                        to, what = np.float64(out_t[b, q]), 2
                    if to < pos:
                        f_m, f_s, f_g = over_all
                        if rates is not None or pos < end or to > begin:
                            f_m, f_s, f_g = over(form, pos - to, r_m, r_s)
                        if kind == INTEGRATE:
                            f_m, f_g = 1.0, 0.0
                        u_l, i_l, pos = f_m * u_l, f_s * i_l + f_g * u_l, to
                    if what == 0:
                        break
                    if what == 1:
                        own[lane, PLUS], own[lane, WAITS], u_l = u_l, 1.0, 0.0
                        continue
                    plus = own[lane, PLUS] if own[lane, WAITS] > 0.0 else u_l
                    own[lane, WAITS], recent[lane] = 0.0, previous[q]
                    current, upstream = np.float64(out_current[b, q]), np.float64(total[b, q])
                    if kind == INTEGRATE:
                        u_l = plus - upstream / ramp if current > 0.0 else 0.0
                    else:
                        slope = inverse_slope(current, np.float64(threshold[row, lane]), r, share, skip)
                        u_l = slope * (plus * (np.float64(out_released[b, q]) - r) - tm * upstream)
                        u_l = u_l if slope > 0.0 else 0.0
                state[u_new, lane], state[i_new, lane] = u_l, i_l
            if x < 0:
                break
            # the instant t_x
            while x >= 0:
                while k >= 0 and out_t[b, k] == t_x and out_after[b, k] == x + 1:
                    lane, q = out_u[b, k], k
                    k -= 1
                    if recent[lane] != q:
                        continue
                    r, kind, ramp = table[lane, RESET], kinds[lane], ramp_of[lane]
                    plus = own[lane, PLUS] if own[lane, WAITS] > 0.0 else np.float64(state[u_new, lane])
                    own[lane, WAITS], recent[lane] = 0.0, previous[q]
                    upstream, c_l = np.float64(total[b, q]), np.float64(threshold[row, lane])
                    if out_cause[b, q] >= 0:
                        u_l = 0.0
                        if subtract[lane]:
                            u_l = plus
                            moved = 0.0 if kind == INTEGRATE else plus * (r - c_l) * rate_mem[lane]
                        else:
                            moved = -plus * ramp if kind == INTEGRATE else plus * r * rate_mem[lane]
                        fired[out_cause[b, q]] += upstream + moved
                    elif kind == INTEGRATE:
                        u_l = plus - upstream / ramp if out_current[b, q] > 0.0 else 0.0
                    else:
                        slope = inverse_slope(np.float64(out_current[b, q]), c_l, r, share, skip)
                        u_l = slope * (-plus * r - table[lane, TAU_MEM] * upstream) if slope > 0.0 else 0.0
                    state[u_new, lane] = u_l
                bundle, origin = log_bundle[b, x], log_origin[b, x]
                s_0, s_1, base, late = synapse_from[bundle], synapse_from[bundle + 1], layout[bundle], zero
                if base >= 0:
                    w, d_w, stop = weight[s_0:s_1], d_weight[s_0:s_1], base + s_1 - s_0
                    a_u, a_i = state[u_new, base:stop], state[i_new, base:stop]
                    per_m, per_s = rate_mem[base:stop], rate_syn[base:stop]
                    for y in range(w.shape[0]):
                        d_w[y] += a_i[y]
                        late += w[y] * (a_i[y] * per_s[y] - a_u[y] * per_m[y])
                elif base == SCATTERED:
                    for s in range(s_0, s_1):
                        j = target[s]
                        u_j, i_j = state[u_new, j], state[i_new, j]
                        d_weight[s] += i_j
                        late += weight[s] * (i_j * rate_syn[j] - u_j * rate_mem[j])
                else:
                    for s in range(s_0, s_1):
                        j = target[s]
                        u_j, i_j = state[u_new, j], state[i_new, j]
                        if kinds[j] == CURRENT:
                            d_weight[s] += i_j
                            late += weight[s] * (i_j * rate_syn[j] - u_j * rate_mem[j])
                        else:
                            d_weight[s] += u_j
                            late += zero if kinds[j] == INTEGRATE else weight[s] * u_j * rate_mem[j]
                late += fired[x]
                d_delay[bundle] += late
                if origin >= 0:
                    total[b, origin] += late
                else:
                    d_times[b, -1 - origin] += late
                x -= 1
                if x < 0 or _arrival_time(b, x, delay, times_in, out_t, log_origin, log_bundle) != t_x:
                    break
            t_end = t_x
