"""Search for the next spike of a component: who is the first in an interval, and when a neuron spikes on a leg of its way.

Part of :func:`~.simulation.simulate_range`, and compiled into it: that says what the arrays hold.
"""

# mypy: disable-error-code="assignment"
# Numba joins the types of a variable: here float with float64

from __future__ import annotations

import numpy as np

from ..compile_kernel import kernel
from ..kernels.bits import lowest
from ..kernels.crossings import CURRENT, END_I, END_U, FORCED, LEVEL, POS, RATE_M, RATE_S, RATIO, TAU, U
from ..kernels.legs import WIDTH
from ..kernels.neuron import fading
from .arrays import TAU_MEM, TAU_SYN
from .contract import INTEGRATE
from .crossings import over, spike_first


@kernel(inline="always")
def first_to_act(  # type: ignore[no-untyped-def]
    form, holding, start, t_next, state, rows, share, flags, c, until, due, lanes, a, ids, neurons,
):  # fmt: skip
    """Lists the neurons that may spike in ``(start, t_next]``, or are held; returns how many, and when what one causes arrives.

    Those who may be the first know the time of their spike thereafter: ``due``. Nobody is reached before the time that is
    returned, ``t_next`` where all spikes there act later. ``rows`` of the state before and after; ``share`` of the current that
    is left, by neuron or of all; ``flags``: who may spike and who is held, a byte a lane, eight in a word.
    """
    (u_old, i_old, u_new), (flag_words, held_words), (rates, a_s, e_s) = rows, flags, share
    kinds, ramp, least, table, per = neurons
    dtype = c.dtype
    inf = dtype.type(np.inf)
    listed, best, m, late = 0, t_next, 0, False
    for word in range(flag_words.shape[0]):
        marked = np.int64(flag_words[word] | held_words[word])  # a byte a lane, of which one bit is used
        while marked != 0:
            lanes[listed] = 8 * word + (lowest(marked) >> 3)
            marked, listed = marked & (marked - 1), listed + 1
    for x in range(listed):
        lane = lanes[x]
        pos, u_l, i_l = start, np.float64(state[u_old, lane]), np.float64(state[i_old, lane])
        r_m, r_s, free = per[lane, TAU_MEM], per[lane, TAU_SYN], True
        if holding and until[lane] > start:
            free = until[lane] < best
            if free:
                i_l, pos = i_l * fading(form, until[lane] - start, r_m, r_s), until[lane]
        if free and kinds[lane] == INTEGRATE:
            free = False
            if ramp[lane] > 0.0 and c[lane] < inf:
                t = dtype.type(pos + (c[lane] - u_l) / ramp[lane])
                t = t if t > pos else np.nextafter(dtype.type(pos), inf)
                t = min(t, best) if dtype.type(u_l + ramp[lane] * (best - pos)) >= c[lane] else t
                if t <= best:
                    due[lane] = t
                    best = min(best, t + least[lane])
        if free:
            tm, left = table[lane, TAU_MEM], np.float64(a_s if rates is None else e_s[lane])
            a[U + m], a[CURRENT + m], a[LEVEL + m], a[POS + m], ids[m] = u_l, i_l, c[lane], pos, lane
            a[TAU + m], a[RATE_M + m], a[RATE_S + m], a[RATIO + m] = tm, r_m, r_s, tm * r_s
            a[END_U + m], a[END_I + m] = state[u_new, lane], left * i_l
            a[FORCED + m] = 1.0 if state[u_new, lane] >= c[lane] else 0.0
            late |= pos > start
            m += 1
        if m == WIDTH or (x == listed - 1 and m > 0):
            m = spike_first(form, a, ids, m, np.float64(best), best, late or best < t_next, c)
            for k in range(m):
                due[ids[k]] = a[POS + k]
                best = min(best, dtype.type(a[POS + k]) + least[ids[k]])
            m, late = 0, False
    return listed, best


@kernel(inline="always")
def next_on_leg(  # type: ignore[no-untyped-def]
    form, measured, first_leg, kind, lane, pos, end, t_next, u_l, i_l, c_l, own_rates, c, ramp, table, a, ids,
):  # fmt: skip
    """When neuron ``lane`` spikes on its way from ``pos`` to ``end``; inf: not there. And its state at the end if it does not.

    Where spikes are ``measured`` there are no others. On the ``first_leg`` the neuron was looked at before: nothing but
    rounding lets it spike at the end.
    """
    (r_m, r_s), dtype = own_rates, c.dtype
    inf, s = dtype.type(np.inf), end - pos
    u_e, i_e = u_l + ramp[lane] * s, i_l
    if kind != INTEGRATE and s > 0.0:
        f_m, f_s, f_g = over(form, s, r_m, r_s)
        u_e, i_e = f_m * u_l + f_g * i_l, f_s * i_l
    t, forced = np.inf, dtype.type(u_e) >= c[lane]
    if measured is None and c[lane] < inf and s > 0.0:
        if first_leg:
            t = end if forced and (i_l > 0.0 or c_l < 0.0 or kind == INTEGRATE) else np.inf
        elif kind == INTEGRATE:
            if forced:
                rounded = dtype.type(pos + (c_l - u_l) / ramp[lane])
                rounded = rounded if rounded > pos else np.nextafter(dtype.type(pos), inf)
                t = min(rounded, t_next)
        elif forced or (i_l > u_l and i_e <= u_e):
            a[U], a[CURRENT], a[LEVEL], a[POS], ids[0] = u_l, i_l, c_l, pos, lane
            a[TAU], a[RATE_M], a[RATE_S] = table[lane, TAU_MEM], r_m, r_s
            a[RATIO], a[END_U], a[END_I] = a[TAU] * r_s, u_e, i_e
            a[FORCED] = 1.0 if forced else 0.0
            if spike_first(form, a, ids, 1, end, t_next, False, c):
                t = a[POS]
    return t, u_e, i_e
