"""Derivatives of spike times with respect to the parameters of their own neuron, arrivals held.

Forward sensitivities ``S_x = du/dx``, carried from arrival to arrival of each neuron, for ``x`` in
:data:`~.contract.COLUMNS`; what a spike causes elsewhere is in the whole gradient of its time already, so that

    dL/dx = sum_k dL/dT_k dT_k/dx ,    dT/dx = ([x = c] - S_x) tau_mem / D ,
    S_x  <- [x = r] - u'(R) (dT/dx + [x = t_ref])                            at the release R = T + t_ref.

A spike that an arrival fired at its own instant has ``dT/dx = 0``, and where its reset subtracts
``S_x <- S_x + [x = r] - [x = c] - u'(R) [x = t_ref]``.
"""

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from ..kernels.adjoint import inverse_slope
from ..kernels.neuron import response_and_derivatives
from .arrays import REFRACTORY, RESET, TAU_MEM, TAU_SYN
from .contract import CURRENT, INTEGRATE

#: Columns of the result, and of a neuron's state from its third on; its last are di/dtau_syn, time and end of the hold.
MEM, SYN, LEVEL, BASE, HOLD, START, RAMP = range(7)
U, I_SYN, FIRST = range(3)
D_CURRENT, TIME, FREE = range(9, 12)


@kernel()
def _flow(state, s, tau_mem, tau_syn, kind, ramp, moves):  # type: ignore[no-untyped-def]
    """A time ``s`` without events; ``moves`` is false within the refractory time."""
    if kind == INTEGRATE:
        if moves:
            state[U] += ramp * s
            state[FIRST + RAMP] += s
        return
    e_m, e_s, g, g_m, g_s = response_and_derivatives(s, tau_mem, tau_syn)
    u, i, d_i = state[U], state[I_SYN], state[D_CURRENT]
    if moves:
        for x in range(7):
            state[FIRST + x] *= e_m
        state[FIRST + MEM] += e_m * s / (tau_mem * tau_mem) * u + g_m * i
        state[FIRST + SYN] += g_s * i + g * d_i
        state[U] = e_m * u + g * i
    state[I_SYN] = e_s * i
    state[D_CURRENT] = e_s * d_i + e_s * s / (tau_syn * tau_syn) * i


@kernel()
def _advance(state, t, tau_mem, tau_syn, kind, ramp):  # type: ignore[no-untyped-def]
    """To time ``t``, through the end of the refractory time where it lies between."""
    if state[TIME] < state[FREE]:
        to = min(t, state[FREE])
        _flow(state, to - state[TIME], tau_mem, tau_syn, kind, ramp, False)
        state[TIME] = to
    if t > state[TIME]:
        _flow(state, t - state[TIME], tau_mem, tau_syn, kind, ramp, True)
        state[TIME] = t


@kernel()
def _pass_spike(state, row, b, k, lane, plan, trace, floor):  # type: ignore[no-untyped-def]
    """Fill ``row = dT/dx``, and reset the neuron as of its release."""
    kind, ramp, tm, r = plan.kind[lane], plan.ramp[lane], plan.table[lane, TAU_MEM], plan.table[lane, RESET]
    c, t_ref = np.float64(plan.threshold[b if plan.threshold.shape[0] > 1 else 0, lane]), plan.table[lane, REFRACTORY]
    current, caused = np.float64(trace.current[b, k]), trace.cause[b, k] >= 0
    subtract, held = plan.subtract[lane], state[FREE] > state[TIME]
    slope = 0.0
    if kind == INTEGRATE:
        slope = 1.0 / ramp if current > 0.0 and not caused else 0.0
    elif not caused:
        slope = tm * inverse_slope(current, c, r, floor[0], floor[1])
    for x in range(7):
        row[x] = ((1.0 if x == LEVEL else 0.0) - state[FIRST + x]) * slope
    state[U] = state[U] - (c - r) if subtract and not held else r
    speed = ramp if kind == INTEGRATE else (np.float64(trace.release_current[b, k]) - state[U]) / tm
    if kind == CURRENT or not caused:
        speed = ramp if kind == INTEGRATE else (np.float64(trace.release_current[b, k]) - r) / tm
    for x in range(7):
        kept = state[FIRST + x] - (1.0 if x == LEVEL else 0.0) if caused and subtract else 0.0
        own, late = 1.0 if x == BASE else 0.0, 1.0 if x == HOLD else 0.0
        state[FIRST + x] = kept + own - speed * (row[x] + late)
    state[FREE] = state[TIME] + t_ref if t_ref > 0.0 else -math.inf


@kernel(allocates=True)
def sensitivities_range(lo, hi, plan, times_in, trace, upstream, floor, result):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi``; adds ``dL/dx`` to ``result [N, 7]``, ``upstream`` being the whole gradient of every spike."""
    space = np.zeros((plan.start.shape[0], 12)), np.zeros(7)
    _accumulate(lo, hi, plan, times_in, trace, upstream, floor, result, space)


@kernel()
def _accumulate(lo, hi, plan, times_in, trace, upstream, floor, result, space):  # type: ignore[no-untyped-def]
    (state, row), n = space, plan.start.shape[0]
    for b in range(lo, hi):
        last = trace.counts[b] - 1
        while last >= 0 and upstream[b, last] == 0:
            last -= 1
        for j in range(n):
            state[j] = 0.0
            state[j, U], state[j, FIRST + START], state[j, FREE] = plan.start[j], 1.0, -math.inf
        x = 0
        for k in range(last + 1):
            while x < trace.after[b, k]:
                o, bundle = trace.origin[b, x], trace.bundle[b, x]
                t = trace.times[b, o] if o >= 0 else times_in[b, -1 - o]
                t = t + plan.delay[bundle]
                for s in range(plan.first[bundle], plan.first[bundle + 1]):
                    j = plan.target[s]
                    tm, ts = plan.table[j, TAU_MEM], plan.table[j, TAU_SYN]
                    _advance(state[j], np.float64(t), tm, ts, plan.kind[j], plan.ramp[j])
                    if plan.kind[j] == CURRENT:
                        state[j, I_SYN] += plan.weight[s]
                    elif state[j, FREE] <= t:
                        state[j, U] += plan.weight[s]
                x += 1
            lane = trace.units[b, k]
            tm, ts = plan.table[lane, TAU_MEM], plan.table[lane, TAU_SYN]
            _advance(state[lane], np.float64(trace.times[b, k]), tm, ts, plan.kind[lane], plan.ramp[lane])
            _pass_spike(state[lane], row, b, k, lane, plan, trace, floor)
            for y in range(7):
                result[lane, y] += np.float64(upstream[b, k]) * row[y]
