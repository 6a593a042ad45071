"""Replay: neurons carried through the spikes that a device measured, with the arithmetic of the simulation."""

from __future__ import annotations

import numpy as np

from ..compile_kernel import kernel
from .legs import E_M, E_S, RATE_M, RATE_S, SPAN, WIDTH, G, respond_to_all

#: Columns of the table of neuron constants.
TAU_MEM, TAU_SYN, REFRACTORY, RESET = range(4)

#: Columns of the state of a neuron while replay keeps it outside the common update.
OWN_U, OWN_I, OWN_TIME = range(3)

#: What a leg leads to: a measured spike, one within the refractory time, the end of that time; or, of a neuron that is held
#: or free, the end of the interval.
SPIKE, TOO_EARLY, RELEASE, HELD, END = range(5)


@kernel(inline="always")
def replay_lanes(  # type: ignore[no-untyped-def]
    b, first, stop, kind, t_now, t_next, subtract, holding, state, rows, c, arriving, table, tau, per, held, until, last, own,
    lanes, lists, t_meas, u_meas, current, residual, release, released,
):  # fmt: skip
    """Carry the neurons through their measured spikes in ``(t_now, t_next]``, in order, with the same arithmetic.

    The times alone say how long each leg of a neuron's way lasts: first they are listed, then the responses of all are
    computed together, and then the neurons take them.
    """
    (u_old, i_old, u_new, i_new), (kinds, places, spans, legs), (weight, unit) = rows, lists, arriving
    end, begin, n, taken, dtype = np.float64(t_next), np.float64(t_now), 0, 0, c.dtype
    for k in range(first, stop):
        lane, t = u_meas[b, k], np.float64(t_meas[b, k])
        if own[lane, OWN_TIME] < 0.0:  # taken out of the common update of this interval, once
            lanes[taken] = lane
            taken += 1
            own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME] = state[u_old, lane], state[i_old, lane], begin
        refractory = holding is not None and until[lane] > t
        if holding is not None:
            if not refractory and until[lane] > own[lane, OWN_TIME]:
                kinds[n], places[n], spans[n] = RELEASE, last[lane], until[lane] - own[lane, OWN_TIME]
                release[b, last[lane]], own[lane, OWN_TIME] = until[lane], until[lane]
                n += 1
            t_ref = table[lane, REFRACTORY]
            release[b, k] = np.inf if t_ref > 0.0 else t
            last[lane], until[lane] = k, t + t_ref if t_ref > 0.0 else -np.inf
        kinds[n], places[n], spans[n] = TOO_EARLY if refractory else SPIKE, k, t - own[lane, OWN_TIME]
        own[lane, OWN_TIME] = t
        n += 1
    if holding is not None:
        for lane in range(held.shape[0]):
            if held[lane] != 0 and own[lane, OWN_TIME] < 0.0:
                lanes[taken] = lane
                taken += 1
                own[lane, OWN_U], own[lane, OWN_I], own[lane, OWN_TIME] = state[u_old, lane], state[i_old, lane], begin
    for k in range(taken):
        lane = lanes[k]
        waits = holding is not None and until[lane] > end
        if holding is not None:
            held[lane] = waits
            if not waits and until[lane] > own[lane, OWN_TIME]:
                kinds[n], places[n], spans[n] = RELEASE, last[lane], until[lane] - own[lane, OWN_TIME]
                release[b, last[lane]], own[lane, OWN_TIME] = until[lane], until[lane]
                n += 1
        kinds[n], places[n], spans[n] = HELD if waits else END, lane, end - own[lane, OWN_TIME]
        own[lane, OWN_TIME] = -1.0
        n += 1
    for block in range(0, n, WIDTH):
        m = min(WIDTH, n - block)
        for x in range(m):
            lane = places[block + x] if kinds[block + x] >= HELD else u_meas[b, places[block + x]]
            legs[SPAN + x] = spans[block + x]
            if tau is not None:
                legs[RATE_M + x], legs[RATE_S + x] = per[lane, TAU_MEM], per[lane, TAU_SYN]
        respond_to_all(kind, legs, m)
        for x in range(m):
            q, what = places[block + x], kinds[block + x]
            lane = q if what >= HELD else u_meas[b, q]
            u_l, i_l, r, c_l = own[lane, OWN_U], own[lane, OWN_I], table[lane, RESET], np.float64(c[lane])
            if what in (SPIKE, END):
                u_l = legs[E_M + x] * u_l + legs[G + x] * i_l
            i_l = legs[E_S + x] * i_l
            if what == RELEASE:
                released[b, q] = i_l
            elif what >= HELD:
                state[u_new, lane], state[i_new, lane] = u_l, dtype.type(i_l) + weight[unit, lane]
            else:
                residual[b, q], current[b, q] = u_l - c_l, -np.inf if what == TOO_EARLY else i_l
                u_l = u_l - (c_l - r) if subtract and what == SPIKE else r
                if holding is not None:
                    released[b, q] = 0.0 if table[lane, REFRACTORY] > 0.0 else i_l
            own[lane, OWN_U], own[lane, OWN_I] = u_l, i_l
