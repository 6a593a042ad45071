"""Replay: neurons carried through the spikes that a device measured, with the arithmetic of the simulation."""

from __future__ import annotations

import math

import numpy as np

from .kernel import kernel
from .scalar import advance, arrive, one_minus_exp, remaining

#: Columns of the table of neuron constants.
TAU_MEM, TAU_SYN, REFRACTORY, RESET = range(4)

#: Columns of the state of a neuron while replay keeps it outside the common update.
OWN_U, OWN_I, OWN_TIME, OWN_REST = range(4)


@kernel()
def replay_lanes(  # type: ignore[no-untyped-def]
    b, first, stop, kind, t_now, t_next, y_all, subtract, holding, u_old, i_old, u_new, i_new, c, row, table, held, until,
    last, own, lanes, t_meas, u_meas, current, residual, release, released,
):  # fmt: skip
    """Carry the neurons through their measured spikes in ``(t_now, t_next]``, in order, with the same arithmetic."""
    end, n, dtype = np.float64(t_next), 0, c.dtype
    for k in range(first, stop):
        n = _take(u_meas[b, k], lanes, n, t_now, y_all, u_old, i_old, own)
    if holding:
        for lane in range(held.shape[0]):
            if held[lane] != 0:
                n = _take(lane, lanes, n, t_now, y_all, u_old, i_old, own)
    for k in range(first, stop):
        lane, t = u_meas[b, k], np.float64(t_meas[b, k])
        tm, ts, t_ref, r = table[lane, TAU_MEM], table[lane, TAU_SYN], table[lane, REFRACTORY], table[lane, RESET]
        u_l, i_l, pos, rest, c_l = (
            own[lane, OWN_U],
            own[lane, OWN_I],
            own[lane, OWN_TIME],
            own[lane, OWN_REST],
            np.float64(c[lane]),
        )
        refractory = holding and until[lane] > t
        if refractory:
            i_l *= math.exp(-(t - pos) / ts)
        else:
            if holding and until[lane] > pos:
                i_l *= math.exp(-(until[lane] - pos) / ts)
                release[b, last[lane]], released[b, last[lane]] = until[lane], i_l
                pos = until[lane]
                rest = one_minus_exp((end - pos) / tm)
            u_l, i_l, y = advance(kind, u_l, i_l, t - pos, tm, ts)
            rest = remaining(kind, rest, y, end - t, tm)
        residual[b, k], current[b, k] = u_l - c_l, -np.inf if refractory else i_l
        own[lane, OWN_U] = u_l - (c_l - r) if subtract and not refractory else r
        own[lane, OWN_I], own[lane, OWN_TIME], own[lane, OWN_REST] = i_l, t, rest
        if holding:
            release[b, k], released[b, k] = np.inf if t_ref > 0.0 else t, 0.0 if t_ref > 0.0 else i_l
            last[lane], until[lane] = k, t + t_ref if t_ref > 0.0 else -np.inf
    for a in range(n):
        lane = lanes[a]
        tm, ts = table[lane, TAU_MEM], table[lane, TAU_SYN]
        u_l, i_l, pos, rest = own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME], own[lane, OWN_REST]
        own[lane, OWN_TIME] = -1.0
        if holding and until[lane] > end:
            held[lane] = 1
            i_l *= math.exp(-(end - pos) / ts)
        else:
            held[lane] = 0
            if holding and until[lane] > pos:
                i_l *= math.exp(-(until[lane] - pos) / ts)
                release[b, last[lane]], released[b, last[lane]] = until[lane], i_l
                pos = until[lane]
                rest = one_minus_exp((end - pos) / tm)
            u_l, i_l = arrive(kind, u_l, i_l, end - pos, rest, tm, ts)
        u_new[lane], i_new[lane] = u_l, dtype.type(i_l) + row[lane]


@kernel()
def _take(lane, lanes, n, t_now, y_all, u_old, i_old, own):  # type: ignore[no-untyped-def]
    """Take a neuron out of the common update of this interval, once; returns the number taken."""
    if own[lane, OWN_TIME] >= 0.0:
        return n
    lanes[n] = lane
    own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME], own[lane, OWN_REST] = (
        u_old[lane],
        i_old[lane],
        t_now,
        y_all,
    )
    return n + 1
