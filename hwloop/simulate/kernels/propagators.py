"""Propagators of all neurons of a layer between two events, where each has time constants of its own.

No library call in any lane. The interval is common to all neurons: where it is short, one exponential of the slowest rate
and a short polynomial of each neuron's excess rate give them all; else each has its own from :mod:`.exponentials`. Contiguous loops written for the vectoriser, in strict
arithmetic: simulation and replay, compiled apart, must get equal bits.
"""

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from .exponentials import PER_LN2, decay, half_to, respond

#: Largest |x| for which the short polynomials below give exp(x) to rounding: .1^6/720 = 1.4e-9 in float32
#: (degree 5), .1^10/10! = 3e-17 in float64 (degree 9).
EXP_RANGE = 0.1

#: Largest argument for which degree 3 gives them all to rounding in float32: .02^4/24 = 7e-9.
TINY = 0.02

#: |z| below which phi(z) = (1 - e^-z)/z is taken from its series: .25^7/8! = 1.5e-9 (float32, degree 6),
#: .25^13/14! < 2e-19 (float64, degree 12).
PHI_RANGE = 0.25


#: Largest argument of an exponential in float32: e^-87 = 1.6e-38 is normal, and 0 for all purposes.
LARGEST_SINGLE = 87.0


@kernel(inline="always")
def _long_interval(e_m, e_s, g, dt, rates):  # type: ignore[no-untyped-def]
    """All three where ``dt`` is long: :func:`~.exponentials.respond`, or the same in float32."""
    if g.itemsize == 8:
        for j in range(g.shape[0]):
            e_m[j], e_s[j], g[j] = respond(dt, rates[2, j], rates[4, j])
        return
    real = g.dtype.type
    one, half, step, most, least = real(1), real(0.5), real(dt), real(LARGEST_SINGLE), real(1e-30)
    per_ln2, ln2_high, ln2_low = real(PER_LN2), real(0.693145751953125), real(1.4286068203094173e-06)
    a2, a3, a4, a5, a6, a7 = real(1 / 2), real(1 / 6), real(1 / 24), real(1 / 120), real(1 / 720), real(1 / 5040)
    for j in range(g.shape[0]):
        x = min(step * min(rates[2, j], rates[4, j]), most)
        n = np.int32(x * per_ln2 + half)
        f = real(n)
        x = (f * ln2_high - x) + f * ln2_low
        slow = half_to(one, n) * (one + x * (one + x * (a2 + x * (a3 + x * (a4 + x * (a5 + x * (a6 + x * a7)))))))
        apart = step * abs(rates[3, j])
        z = min(apart, most)
        n = np.int32(z * per_ln2 + half)
        f = real(n)
        z = (f * ln2_high - z) + f * ln2_low
        scale = half_to(one, n)
        share = scale * (z * (one + z * (a2 + z * (a3 + z * (a4 + z * (a5 + z * (a6 + z * a7)))))))
        fast = slow * (scale + share)
        phi = ((one - scale) - share) / apart if apart > least else one
        membrane_slower = rates[3, j] >= 0
        e_m[j], e_s[j] = slow if membrane_slower else fast, fast if membrane_slower else slow
        g[j] = (step * rates[2, j]) * (slow * phi)


@kernel(inline="always")
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
        result[e] = decay(result[e])[0]


@kernel(inline="always")
def is_short(dt, bases):  # type: ignore[no-untyped-def]
    """Whether an interval is short enough for every series; ``bases`` from :func:`rate_tables`."""
    return dt * max(bases[1], bases[3]) <= EXP_RANGE and dt * bases[4] <= PHI_RANGE


@kernel(inline="always")
def propagators(e_m, e_s, g, dt, rates, bases):  # type: ignore[no-untyped-def]
    """Fill ``e_m, e_s, g`` of every neuron for an interval ``dt`` (s); ``rates`` and ``bases`` from :func:`rate_tables`."""
    if is_short(dt, bases):
        tiny = dt * max(bases[1], bases[3], bases[4]) <= TINY
        _short_interval(e_m, e_s, g, dt, rates, math.exp(-dt * bases[0]), math.exp(-dt * bases[2]), tiny)
    else:
        _long_interval(e_m, e_s, g, dt, rates)


def rate_tables(tau_mem: np.ndarray, tau_syn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``rates [..., 5, n]`` in the dtype of the taus ``[..., n]`` and ``bases [..., 5]`` float64, for the kernels.

    rates: excess membrane rate, excess synaptic rate, 1/tau_mem, 1/tau_syn - 1/tau_mem, 1/tau_syn;
    bases: slowest rate and largest excess, of membrane and synapse, and the
    largest difference between the two rates of a neuron.
    """
    mem, syn = 1.0 / tau_mem.astype(np.float64), 1.0 / tau_syn.astype(np.float64)
    difference = syn - mem
    slowest = mem.min(-1), syn.min(-1)
    excess = mem - slowest[0][..., None], syn - slowest[1][..., None]
    rates = np.stack([*excess, mem, difference, syn], axis=-2).astype(tau_mem.dtype)
    bases = [slowest[0], np.ptp(mem, -1), slowest[1], np.ptp(syn, -1), np.abs(difference).max(-1)]
    return rates, np.stack(bases, axis=-1)
