"""All neurons of a layer between two events: contiguous loops written for the vectoriser.

Multiplications and compares alone; lanes that may cross are flagged and solved one by one (``scalar``). A flag may
be set too often, never too seldom. FMA contraction and reassociation are allowed here: simulation, replay and the
backward pass run the same compiled loops, so equal inputs give equal bits.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: Not nnan or ninf: an infinite threshold (a capped neuron) is a value here.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

#: Largest |x| for which the short polynomials below give exp(x) to rounding: .1^6/720 = 1.4e-9 in float32
#: (degree 5), .1^10/10! = 3e-17 in float64 (degree 9).
EXP_RANGE = 0.1

#: |z| below which phi(z) = (1 - e^-z)/z is taken from its series: .25^7/8! = 1.5e-9 (float32, degree 6),
#: .25^13/14! < 2e-19 (float64, degree 12).
PHI_RANGE = 0.25


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def advance_ratio_2(u, i, u_new, i_new, c, w, flag, e_m, e_s, g, y):  # type: ignore[no-untyped-def]
    """One interval for ``tau_mem = 2 tau_syn``; flags are exact up to rounding. ``y = 1 - e_m``.

    A crossing needs ``u_end >= c``, or a positive slope ``p``, the vertex ``p / 2 i`` of the quadratic inside the
    interval, and real roots.
    """
    zero, four, y2 = u.dtype.type(0), u.dtype.type(4), y + y
    for j in range(u.shape[0]):
        u_j, i_j = u[j], i[j]
        u_end = e_m * u_j + g * i_j
        p = i_j - u_j
        inside = (p > zero) & (p < y2 * i_j) & (p * p >= four * i_j * (c[j] - u_j))
        flag[j] = (u_end >= c[j]) | inside
        u_new[j] = u_end
        i_new[j] = e_s * i_j + w[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def advance_shared(u, i, u_new, i_new, c, w, flag, e_m, e_s, g, rise, peak):  # type: ignore[no-untyped-def]
    """One interval for equal taus in all neurons, any ratio. ``rise = dt/tau_mem``; ``peak = max_s g(s)``.

    A crossing inside needs a slope that turns from positive to negative and two upper bounds that reach ``c``: the
    tangent at the start (where ``i > 0`` the rise is concave) and ``max(u, 0) + max(i, 0) peak``.
    """
    zero = u.dtype.type(0)
    for j in range(u.shape[0]):
        u_j, i_j, c_j = u[j], i[j], c[j]
        u_end = e_m * u_j + g * i_j
        i_end = e_s * i_j
        p = i_j - u_j
        bound = max(u_j, zero) + max(i_j, zero) * peak
        inside = (p > zero) & (i_end <= u_end) & (bound >= c_j) & (u_j + rise * p >= c_j)
        flag[j] = (u_end >= c_j) | inside
        u_new[j] = u_end
        i_new[j] = i_end + w[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def advance_general(u, i, u_new, i_new, c, w, flag, e_m, e_s, g, dt, rate_mem, peak):  # type: ignore[no-untyped-def]
    """As :func:`advance_shared` with propagators, rates and peaks of each neuron."""
    zero = u.dtype.type(0)
    for j in range(u.shape[0]):
        u_j, i_j, c_j = u[j], i[j], c[j]
        u_end = e_m[j] * u_j + g[j] * i_j
        i_end = e_s[j] * i_j
        p = i_j - u_j
        bound = max(u_j, zero) + max(i_j, zero) * peak[j]
        inside = (p > zero) & (i_end <= u_end) & (bound >= c_j) & (u_j + dt * rate_mem[j] * p >= c_j)
        flag[j] = (u_end >= c_j) | inside
        u_new[j] = u_end
        i_new[j] = i_end + w[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def _exp_series(out, rate, dt):  # type: ignore[no-untyped-def]
    """``out = exp(-dt rate)`` for ``0 <= dt rate <= EXP_RANGE``."""
    one = out.dtype.type(1)
    step = out.dtype.type(-dt)
    if out.itemsize == 4:
        a5, a4, a3 = out.dtype.type(1 / 120), out.dtype.type(1 / 24), out.dtype.type(1 / 6)
        a2 = out.dtype.type(0.5)
        for j in range(out.shape[0]):
            x = step * rate[j]
            out[j] = one + x * (one + x * (a2 + x * (a3 + x * (a4 + x * a5))))
    else:
        b9, b8, b7 = out.dtype.type(1 / 362880), out.dtype.type(1 / 40320), out.dtype.type(1 / 5040)
        b6, b5, b4 = out.dtype.type(1 / 720), out.dtype.type(1 / 120), out.dtype.type(1 / 24)
        b3, b2 = out.dtype.type(1 / 6), out.dtype.type(0.5)
        for j in range(out.shape[0]):
            x = step * rate[j]
            high = b5 + x * (b6 + x * (b7 + x * (b8 + x * b9)))
            out[j] = one + x * (one + x * (b2 + x * (b3 + x * (b4 + x * high))))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def _scale(out, factor):  # type: ignore[no-untyped-def]
    for j in range(out.shape[0]):
        out[j] = out[j] * factor


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def _square(out):  # type: ignore[no-untyped-def]
    for j in range(out.shape[0]):
        out[j] = out[j] * out[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def _exponentials(out, dt, slowest, excess, largest):  # type: ignore[no-untyped-def]
    """``exp(-dt (slowest + excess_j))``: one exp for the layer, a short polynomial for each neuron's excess rate.

    ``excess >= 0``, so no factor exceeds 1. Beyond EXP_RANGE the argument is halved and the result squared.
    """
    doublings, reach = 0, dt * largest
    while reach > EXP_RANGE:
        reach *= 0.5
        doublings += 1
        if doublings > 12:  # .1 * 2^12 = 410: every such factor is 0 or would need an exp of its own
            break
    if doublings > 12:
        for j in range(out.shape[0]):
            out[j] = math.exp(-dt * (slowest + float(excess[j])))
        return
    _exp_series(out, excess, dt * 0.5**doublings)
    for _ in range(doublings):
        _square(out)
    _scale(out, out.dtype.type(math.exp(-dt * slowest)))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def _responses(e_m, e_s, g, dt, rate_mem, rate_difference, k):  # type: ignore[no-untyped-def]
    """``g = (dt/tau_mem) e_m phi(z)`` by series for small ``z``, else ``k (e_m - e_s)``."""
    one, limit, step = g.dtype.type(1), g.dtype.type(PHI_RANGE), g.dtype.type(dt)
    p2, p3, p4 = g.dtype.type(1 / 2), g.dtype.type(1 / 3), g.dtype.type(1 / 4)
    p5, p6, p7 = g.dtype.type(1 / 5), g.dtype.type(1 / 6), g.dtype.type(1 / 7)
    if g.itemsize == 4:
        for j in range(g.shape[0]):
            z = -step * rate_difference[j]
            phi = one + z * p2 * (one + z * p3 * (one + z * p4 * (one + z * p5 * (one + z * p6 * (one + z * p7)))))
            near = step * rate_mem[j] * e_m[j] * phi
            far = k[j] * (e_m[j] - e_s[j])
            g[j] = near if abs(z) < limit else far
    else:
        p8, p9, p10 = g.dtype.type(1 / 8), g.dtype.type(1 / 9), g.dtype.type(1 / 10)
        p11, p12, p13 = g.dtype.type(1 / 11), g.dtype.type(1 / 12), g.dtype.type(1 / 13)
        for j in range(g.shape[0]):
            z = -step * rate_difference[j]
            high = one + z * p8 * (one + z * p9 * (one + z * p10 * (one + z * p11 * (one + z * p12 * (one + z * p13)))))
            low = one + z * p4 * (one + z * p5 * (one + z * p6 * (one + z * p7 * high)))
            phi = one + z * p2 * (one + z * p3 * low)
            near = step * rate_mem[j] * e_m[j] * phi
            far = k[j] * (e_m[j] - e_s[j])
            g[j] = near if abs(z) < limit else far


@njit(cache=True, nogil=True, error_model="numpy")
def propagators(e_m, e_s, g, dt, rates, bases):  # type: ignore[no-untyped-def]
    """Fill ``e_m, e_s, g`` of every neuron for an interval ``dt`` (s); ``rates`` and ``bases`` from :func:`rate_tables`."""
    _exponentials(e_m, dt, bases[0], rates[0], bases[1])
    _exponentials(e_s, dt, bases[2], rates[1], bases[3])
    _responses(e_m, e_s, g, dt, rates[2], rates[3], rates[4])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def retreat_shared(a_u, a_i, a_u_new, a_i_new, e_m, e_s, g):  # type: ignore[no-untyped-def]
    """Adjoint of one interval, backwards in time, equal taus in all neurons."""
    for j in range(a_u.shape[0]):
        a_i_new[j] = e_s * a_i[j] + g * a_u[j]
        a_u_new[j] = e_m * a_u[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def retreat_general(a_u, a_i, a_u_new, a_i_new, e_m, e_s, g):  # type: ignore[no-untyped-def]
    """Adjoint of one interval with propagators of each neuron."""
    for j in range(a_u.shape[0]):
        a_i_new[j] = e_s[j] * a_i[j] + g[j] * a_u[j]
        a_u_new[j] = e_m[j] * a_u[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def add_rows(total, row):  # type: ignore[no-untyped-def]
    """``total += row``."""
    for j in range(total.shape[0]):
        total[j] += row[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FASTMATH)
def arrival_gradient(w, a_u, a_i, rate_mem, rate_syn):  # type: ignore[no-untyped-def]
    """``dL/dt = sum_j w_j (a_i / tau_syn - a_u / tau_mem)_j`` of one input event."""
    total = w.dtype.type(0)
    for j in range(w.shape[0]):
        total += w[j] * (a_i[j] * rate_syn[j] - a_u[j] * rate_mem[j])
    return total


def rate_tables(tau_mem: np.ndarray, tau_syn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``rates [6, n]`` in the dtype of the taus, ``bases [4]`` float64 and ``peak [n]`` for the loops above.

    rates: excess membrane rate, excess synaptic rate, 1/tau_mem, 1/tau_syn - 1/tau_mem, k, 1/tau_syn;
    bases: slowest rate and largest excess, of membrane and synapse; peak: the largest value of ``g``.
    """
    mem, syn = 1.0 / tau_mem.astype(np.float64), 1.0 / tau_syn.astype(np.float64)
    difference = syn - mem
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        k = np.where(difference == 0, 0.0, mem / difference)
        # g peaks at s* = ln(tau_mem/tau_syn)/(1/tau_syn - 1/tau_mem), where it equals e^(-s*/tau_syn)
        ratio = np.where(np.abs(difference) < 1e-9 * mem, 1.0 / mem, np.log(syn / mem) / difference)
    rates = np.stack([mem - mem.min(), syn - syn.min(), mem, difference, k, syn]).astype(tau_mem.dtype)
    bases = np.array([mem.min(), mem.max() - mem.min(), syn.min(), syn.max() - syn.min()])
    peak = (np.exp(-ratio * syn) * (1.0 + 1e-5)).astype(tau_mem.dtype)  # a bound: it must not round below the peak
    return rates, bases, peak
