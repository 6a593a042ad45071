"""The spikes of one interval taken together: first crossings of many neurons at once, and their order in time.

Inlined where they are called: every array handed to another compiled function costs two atomic reference counts.
"""

from __future__ import annotations

import math

import numpy as np

from .kernel import kernel
from .scalar import SERIES, phi, short_response

#: Spikes in one interval up to which plain insertion sorts them fastest.
SMALL_SORT = 24

#: Rows of the table of neurons that spike together: where they start, whether ``u_end >= c`` forces a spike, the
#: outcome (1: a spike, 0: none, -1: the neuron needs another way), their state after the spike and at the end, what is
#: left of the interval, whether they may spike again, and their time constants.
START_U, START_I, LEVEL, BASE, FORCED, OUTCOME, AFTER_U, AFTER_I, LEFT, END_U, END_I, AGAIN, SLOW, FAST = range(14)


@kernel(inline="always")
def cross_together(batch, times, n, tau_mem, rest, dt, begin, t_next, subtract):  # type: ignore[no-untyped-def]
    """First spikes of many neurons of a RATIO_2 layer, vectorised: ``crossing``, ``advance``, ``remaining``, ``arrive``.

    ``-ln(1 - y) = 2 artanh(y / (2 - y))`` by its series: for ``y < .3`` ten terms leave
    ``.177^20 / 21 < 1e-16``.
    """
    for k in range(n):
        u_k, i_k, q = batch[START_U, k], batch[START_I, k], batch[LEVEL, k] - batch[START_U, k]
        p = i_k - u_k
        d = p * p - 4.0 * i_k * q
        y = 2.0 * q / (p + math.sqrt(max(d, 0.0)))
        f = y / (2.0 - y)
        z = f * f
        z2 = z * z
        z4 = z2 * z2
        low = (2.0 + z * (2 / 3)) + z2 * (2 / 5 + z * (2 / 7))
        high = ((2 / 9 + z * (2 / 11)) + z2 * (2 / 13 + z * (2 / 15))) + z4 * (2 / 17 + z * (2 / 19))
        s = tau_mem * (f * (low + z4 * high))
        crosses = (batch[FORCED, k] > 0.0) | ((d >= 0.0) & (p > 0.0) & (p < 2.0 * i_k * rest))
        known = (p > 0.0) & (i_k > 0.0) & ((y < 0.3) | (y >= rest))
        batch[OUTCOME, k] = (1.0 if known else -1.0) if crosses else 0.0
        times[k] = min(begin + (s if y < rest else dt), t_next)
    for k in range(n):
        u_k, i_k, c_k, r_k = batch[START_U, k], batch[START_I, k], batch[LEVEL, k], batch[BASE, k]
        s = np.float64(times[k]) - begin
        x = s / tau_mem
        y = x * phi(x)
        u_s, i_s = u_k + y * ((i_k - u_k) - i_k * y), i_k * (1.0 - y) * (1.0 - y)
        u_s = u_s - (c_k - r_k) if subtract else r_k
        left = max((rest - y) / (1.0 - y), 0.0)
        p = i_s - u_s
        u_e = u_s + left * (p - i_s * left)
        batch[AFTER_U, k], batch[AFTER_I, k], batch[LEFT, k] = u_s, i_s, left
        batch[END_U, k], batch[END_I, k] = u_e, i_s * (1.0 - left) * (1.0 - left)
        batch[OUTCOME, k] = (
            batch[OUTCOME, k] if (s > 0.0) & (x < SERIES) else min(batch[OUTCOME, k], -batch[OUTCOME, k])
        )
        again = (u_e >= c_k - 1e-6 * abs(c_k)) | (
            (p * p >= 4.0 * i_s * (c_k - u_s)) & (p > 0.0) & (p < 2.0 * i_s * left)
        )
        batch[AGAIN, k] = 1.0 if again else 0.0


@kernel(inline="always")
def search_together(batch, times, n, dt, begin, t_next, subtract):  # type: ignore[no-untyped-def]
    """As :func:`cross_together` for time constants ``SLOW, FAST`` (membrane, synapse) of each neuron, on a short interval.

    Three steps of Halley's iteration from the first guess of ``crossing_search``; a neuron for which they do not settle,
    or that turns within the interval (``FORCED`` -1), needs another way.
    """
    for k in range(n):
        u_k, i_k, c_k, tm = batch[START_U, k], batch[START_I, k], batch[LEVEL, k], batch[SLOW, k]
        per_m, per_s = 1.0 / tm, 1.0 / batch[FAST, k]
        p, bend = i_k - u_k, 2.0 * i_k * tm * per_s
        y = 2.0 * (c_k - u_k) / (p + math.sqrt(max(p * p - bend * (c_k - u_k), 0.0)))
        f = y / (2.0 - y)
        s = min(tm * f * (2.0 + f * f * (2 / 3 + f * f * (2 / 5))), dt)
        step, df, ddf = 0.0, 0.0, 0.0
        for _ in range(2):
            x = s * per_m
            e_m, e_l, g = short_response(x, s * per_s - x)
            u_s, i_s = e_m * u_k + g * i_k, e_l * i_k
            f = u_s - c_k
            df = (i_s - u_s) * per_m
            ddf = -(i_s * per_s + df) * per_m
            step = 2.0 * f * df / (2.0 * df * df - f * ddf)
            s = s - step
        settled = (
            (abs(step) * (df + abs(ddf) * tm) <= 1e-6 * tm * df) & (s >= 0.0) & (s <= dt) & (p > 0.0) & (i_k > 0.0)
        )
        forced = batch[FORCED, k]
        batch[OUTCOME, k] = (1.0 if settled else -1.0) if forced > 0.0 else forced
        times[k] = min(begin + s, t_next)
    end = np.float64(t_next)
    for k in range(n):
        u_k, i_k, c_k, r_k = batch[START_U, k], batch[START_I, k], batch[LEVEL, k], batch[BASE, k]
        tm, ts = batch[SLOW, k], batch[FAST, k]
        s = np.float64(times[k]) - begin
        x = s / tm
        e_m, e_l, g = short_response(x, s / ts - x)
        u_s, i_s = e_m * u_k + g * i_k, e_l * i_k
        u_s = u_s - (c_k - r_k) if subtract else r_k
        left = end - np.float64(times[k])
        x = left / tm
        e_m, e_l, g = short_response(x, left / ts - x)
        u_e, i_e = e_m * u_s + g * i_s, e_l * i_s
        batch[AFTER_U, k], batch[AFTER_I, k], batch[LEFT, k] = u_s, i_s, 0.0
        batch[END_U, k], batch[END_I, k] = u_e, i_e
        batch[OUTCOME, k] = batch[OUTCOME, k] if s > 0.0 else min(batch[OUTCOME, k], -batch[OUTCOME, k])
        batch[AGAIN, k] = 1.0 if (u_e >= c_k - 1e-6 * abs(c_k)) | ((i_s > u_s) & (i_e <= u_e)) else 0.0


@kernel(inline="always")
def sort_interval(times, order, bins, places, first, stop, t_now, t_next):  # type: ignore[no-untyped-def]
    """Write spikes ``first .. stop`` to ``order`` by time, ties as found: first into as many bins, then by insertion."""
    n_new = stop - first
    if n_new <= SMALL_SORT:
        for a in range(first, stop):
            order[a] = a
    else:
        scale = n_new / (t_next - t_now)
        for a in range(n_new + 1):
            bins[a] = 0
        for a in range(first, stop):
            place = min(n_new - 1, int((times[a] - t_now) * scale))
            places[a - first] = place
            bins[place + 1] += 1
        for a in range(n_new):
            bins[a + 1] += bins[a]
        for a in range(first, stop):
            place = places[a - first]
            order[first + bins[place]] = a
            bins[place] += 1
    for a in range(first + 1, stop):
        item, slot = order[a], a
        t_item = times[item]
        while slot > first and times[order[slot - 1]] > t_item:
            order[slot] = order[slot - 1]
            slot -= 1
        order[slot] = item
