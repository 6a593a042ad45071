"""Propagators of all neurons of a layer between two events, where each has time constants of its own.

No exponential in any lane: the interval is common to all neurons, so one exponential of the slowest rate and a short
polynomial of each neuron's excess rate give them all. Contiguous loops written for the vectoriser, in strict
arithmetic: simulation and replay, compiled apart, must get equal bits.
"""

from __future__ import annotations

import math

import numpy as np

from .kernel import kernel
from .scalar import SERIES, phi

#: Largest |x| for which the short polynomials below give exp(x) to rounding: .1^6/720 = 1.4e-9 in float32
#: (degree 5), .1^10/10! = 3e-17 in float64 (degree 9).
EXP_RANGE = 0.1

#: Largest argument for which degree 3 gives them all to rounding in float32: .02^4/24 = 7e-9.
TINY = 0.02

#: |z| below which phi(z) = (1 - e^-z)/z is taken from its series: .25^7/8! = 1.5e-9 (float32, degree 6),
#: .25^13/14! < 2e-19 (float64, degree 12).
PHI_RANGE = 0.25


@kernel()
def _exponentials(out, rate, dt, powers):  # type: ignore[no-untyped-def]
    """``out = exp(-dt rate)`` for any ``dt rate >= 0``: ``2^n`` from a table times a polynomial on +-ln 2 / 2."""
    one, half, step = out.dtype.type(1), out.dtype.type(0.5), out.dtype.type(-dt)
    per_ln2, ln2_high, ln2_low = (
        out.dtype.type(1.4426950408889634),
        out.dtype.type(0.693145751953125),
        out.dtype.type(1.4286068203094173e-06),
    )
    a2, a3, a4 = out.dtype.type(1 / 2), out.dtype.type(1 / 6), out.dtype.type(1 / 24)
    a5, a6, a7 = out.dtype.type(1 / 120), out.dtype.type(1 / 720), out.dtype.type(1 / 5040)
    lowest = out.dtype.type(-(powers.shape[0] - 2) * 0.6931)
    if out.itemsize == 4:
        for j in range(out.shape[0]):
            x = max(step * rate[j], lowest)
            n = np.int32(half - x * per_ln2)
            f = out.dtype.type(n)
            x = (x + f * ln2_high) + f * ln2_low
            out[j] = powers[n] * (one + x * (one + x * (a2 + x * (a3 + x * (a4 + x * (a5 + x * (a6 + x * a7)))))))
    else:
        a8, a9, a10 = out.dtype.type(1 / 40320), out.dtype.type(1 / 362880), out.dtype.type(1 / 3628800)
        a11, a12, a13 = out.dtype.type(1 / 39916800), out.dtype.type(1 / 479001600), out.dtype.type(1 / 6227020800)
        for j in range(out.shape[0]):
            x = max(step * rate[j], lowest)
            n = np.int32(half - x * per_ln2)
            f = out.dtype.type(n)
            x = (x + f * ln2_high) + f * ln2_low
            high = a7 + x * (a8 + x * (a9 + x * (a10 + x * (a11 + x * (a12 + x * a13)))))
            out[j] = powers[n] * (one + x * (one + x * (a2 + x * (a3 + x * (a4 + x * (a5 + x * (a6 + x * high)))))))


@kernel()
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


@kernel()
def _short_interval(e_m, e_s, g, dt, rates, base_m, base_s, tiny):  # type: ignore[no-untyped-def]
    """All three in one pass, where ``dt`` is short enough for every series: the usual case, and the fast one.

    ``tiny``: arguments below ``TINY``, where degree 3 is enough for float32.
    """
    one, step = g.dtype.type(1), g.dtype.type(-dt)
    b_m, b_s, b_g = g.dtype.type(base_m), g.dtype.type(base_s), g.dtype.type(dt)
    a2, a3, a4 = g.dtype.type(1 / 2), g.dtype.type(1 / 6), g.dtype.type(1 / 24)
    a5, a6, a7 = g.dtype.type(1 / 120), g.dtype.type(1 / 720), g.dtype.type(1 / 5040)
    if g.itemsize == 4 and tiny:
        for j in range(g.shape[0]):
            x, y, z = step * rates[0, j], step * rates[1, j], step * rates[3, j]
            m = b_m * (one + x * (one + x * (a2 + x * a3)))
            e_m[j] = m
            e_s[j] = b_s * (one + y * (one + y * (a2 + y * a3)))
            g[j] = b_g * rates[2, j] * m * (one + z * (a2 + z * (a3 + z * a4)))
    elif g.itemsize == 4:
        for j in range(g.shape[0]):
            x, y, z = step * rates[0, j], step * rates[1, j], step * rates[3, j]
            m = b_m * (one + x * (one + x * (a2 + x * (a3 + x * (a4 + x * a5)))))
            e_m[j] = m
            e_s[j] = b_s * (one + y * (one + y * (a2 + y * (a3 + y * (a4 + y * a5)))))
            phi = one + z * (a2 + z * (a3 + z * (a4 + z * (a5 + z * (a6 + z * a7)))))
            g[j] = b_g * rates[2, j] * m * phi
    else:
        a8, a9, a10 = g.dtype.type(1 / 40320), g.dtype.type(1 / 362880), g.dtype.type(1 / 3628800)
        a11, a12, a13 = g.dtype.type(1 / 39916800), g.dtype.type(1 / 479001600), g.dtype.type(1 / 6227020800)
        for j in range(g.shape[0]):
            x, y, z = step * rates[0, j], step * rates[1, j], step * rates[3, j]
            p = a5 + x * (a6 + x * (a7 + x * (a8 + x * a9)))
            m = b_m * (one + x * (one + x * (a2 + x * (a3 + x * (a4 + x * p)))))
            q = a5 + y * (a6 + y * (a7 + y * (a8 + y * a9)))
            e_m[j] = m
            e_s[j] = b_s * (one + y * (one + y * (a2 + y * (a3 + y * (a4 + y * q)))))
            r = a7 + z * (a8 + z * (a9 + z * (a10 + z * (a11 + z * (a12 + z * a13)))))
            phi = one + z * (a2 + z * (a3 + z * (a4 + z * (a5 + z * (a6 + z * r)))))
            g[j] = b_g * rates[2, j] * m * phi


@kernel(inline="always")
def decays(result, times, n, end_time, tau):  # type: ignore[no-untyped-def]
    """``result[e] = one_minus_exp((t_e - t_{e-1}) / tau)`` for e = 0 .. n, from time 0 to ``end_time``; times beyond count as it.

    Before the loop over the events, and vectorised: in that loop its latency would outweigh a narrow layer's update.
    """
    for e in range(n + 1):
        begin = np.float64(min(times[e - 1], end_time)) if e > 0 else 0.0
        result[e] = (np.float64(min(times[e], end_time) if e < n else end_time) - begin) / tau
    for e in range(n + 1):
        x = result[e]
        result[e] = x * phi(x) if abs(x) < SERIES else -math.expm1(-x)


@kernel()
def is_short(dt, bases):  # type: ignore[no-untyped-def]
    """Whether an interval is short enough for every series; ``bases`` from :func:`rate_tables`."""
    return dt * max(bases[1], bases[3]) <= EXP_RANGE and dt * bases[4] <= PHI_RANGE


@kernel()
def propagators(e_m, e_s, g, dt, rates, bases, powers):  # type: ignore[no-untyped-def]
    """Fill ``e_m, e_s, g`` of every neuron for an interval ``dt`` (s); ``rates`` and ``bases`` from :func:`rate_tables`."""
    if is_short(dt, bases):
        tiny = dt * max(bases[1], bases[3], bases[4]) <= TINY
        _short_interval(e_m, e_s, g, dt, rates, math.exp(-dt * bases[0]), math.exp(-dt * bases[2]), tiny)
        return
    _exponentials(e_m, rates[2], dt, powers)
    _exponentials(e_s, rates[5], dt, powers)
    _responses(e_m, e_s, g, dt, rates[2], rates[3], rates[4])


def rate_tables(tau_mem: np.ndarray, tau_syn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``rates [6, n]`` in the dtype of the taus, ``bases [5]`` float64 and ``powers`` for the kernels.

    rates: excess membrane rate, excess synaptic rate, 1/tau_mem, 1/tau_syn - 1/tau_mem, k, 1/tau_syn;
    bases: slowest rate and largest excess, of membrane and synapse, and the
    largest difference between the two rates of a neuron; powers: ``2^-n``.
    """
    mem, syn = 1.0 / tau_mem.astype(np.float64), 1.0 / tau_syn.astype(np.float64)
    difference = syn - mem
    with np.errstate(divide="ignore"):
        k = np.where(difference == 0, 0.0, mem / difference)
    rates = np.stack([mem - mem.min(), syn - syn.min(), mem, difference, k, syn]).astype(tau_mem.dtype)
    bases = np.array([mem.min(), np.ptp(mem), syn.min(), np.ptp(syn), np.abs(difference).max()])
    lowest = 125 if tau_mem.dtype == np.float32 else 1021  # below that the result is 0 for all purposes
    powers = (2.0 ** -np.arange(lowest + 1.0)).astype(tau_mem.dtype)
    return rates, bases, powers
