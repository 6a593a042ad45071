"""One neuron between two events: propagators, their derivatives, and the threshold crossing.

Strict IEEE arithmetic in float64 (no contraction, no reassociation): simulation and replay call these functions
from different loops and must get equal bits. ``u`` is measured from ``v_leak``.
"""

from __future__ import annotations

import math

from ..compile_kernel import kernel
from .exponentials import log_1p, respond, respond_2

#: Kinds of a layer's time constants, which choose the closed form; None, for the compiler leaves out what is not None then.
GENERAL, RATIO_2 = 0, None

#: Iterations of the safeguarded Halley search; bisection alone needs 64 for a double.
MAX_ITERATIONS = 100


#: Relative rounding, in float32, of the question whether a neuron may cross; with room to spare, none that does is left out.
SLACK = 1e-6


@kernel(inline="always")
def may_cross(kind, u, i, u_end, i_end, c, gone, slack):  # type: ignore[no-untyped-def]
    """Whether a neuron may reach ``c`` in an interval: at its end, or at a maximum inside; few operations, one dtype.

    ``u_end, i_end`` at its end, ``gone = 1 - e_m``. While ``i > 0`` the membrane stays below ``u + gone (i - u)``, for the input
    decays, and it has a maximum inside only if it falls at the end, ``i_end <= u_end``. For ``RATIO_2`` the maximum is
    ``u + p^2 / (4 i)``, ``p = i - u``, and it lies inside if ``0 < p < 2 i gone``. :mod:`.crossings` decides.
    """
    p = i - u
    if kind is RATIO_2:
        twice = i + i
        inside = (i > u) & (p <= twice * (gone + slack)) & (p * p + slack * (p * p) >= (twice + twice) * (c - u))
    else:
        inside = (u + gone * p >= c) & (i_end <= u_end + slack * (i + p))
    return (u_end >= c) | inside


@kernel()
def response(s: float, tau_mem: float, tau_syn: float) -> tuple[float, float, float]:
    """``(e^(-s/tau_mem), e^(-s/tau_syn), g(s))`` with ``u(s) = e_m u0 + g i0``; see :func:`~.exponentials.respond`."""
    return respond(s, 1.0 / tau_mem, 1.0 / tau_syn)


@kernel()
def fading(kind: int | None, s: float, rate_mem: float, rate_syn: float) -> float:
    """``e^(-s/tau_syn)`` as the neuron's responses have it: what is left of a current while the membrane is held."""
    if kind is RATIO_2:
        return respond_2(s, rate_mem)[1]
    return respond(s, rate_mem, rate_syn)[1]


@kernel()
def response_and_derivatives(s: float, tau_mem: float, tau_syn: float) -> tuple[float, float, float, float, float]:
    """:func:`response`, and ``(dg/dtau_mem, dg/dtau_syn)`` of its ``g`` at fixed ``s``."""
    rate_mem, rate_syn = 1.0 / tau_mem, 1.0 / tau_syn
    e_m, e_s, g = respond(s, rate_mem, rate_syn)
    z = s * (rate_syn - rate_mem)
    if abs(z) < 0.3:
        # e_m phi'(z), phi'(z) = sum_n (-1)^n n z^(n-1)/(n+1)!; 13 terms leave .3^13 28/15! < 4e-18 of the first
        last = 1 / 43545600 - z * (1 / 518918400 - z * (1 / 6706022400))
        high = 1 / 840 - z * (1 / 5760 - z * (1 / 45360 - z * (1 / 403200 - z * (1 / 3991680 - z * last))))
        slope = -e_m * (1 / 2 - z * (1 / 3 - z * (1 / 8 - z * (1 / 30 - z * (1 / 144 - z * high)))))
    else:
        slope = (e_s * (1.0 + z) - e_m) / (z * z)
    x = s * rate_mem
    scale = x * slope * s
    return e_m, e_s, g, g * (x - 1.0) * rate_mem + scale * rate_mem * rate_mem, -scale * rate_syn * rate_syn


@kernel(forceinline=True)
def peak_after(u: float, i: float, tau_mem: float, rate_mem: float, rate_syn: float) -> float:
    """Time of the extremum of ``u(s)`` after ``s = 0``; meaningful where the slope starts positive and ``i > 0``.

    ``s* = ln(1 + x)/delta``, ``x = delta tau_mem p / (i + delta tau_mem u)`` with ``delta = 1/tau_syn - 1/tau_mem``:
    the page's formula, rewritten so that equal taus are its smooth limit ``s* = tau p / i``.
    """
    delta = rate_syn - rate_mem
    scaled = delta * tau_mem
    denominator = i + scaled * u
    equal = (i - u) / denominator
    x = scaled * equal
    finite = (denominator > 0.0) & (x > -1.0) & (x < math.inf)
    late = log_1p(x if finite else 0.0) / delta
    return (tau_mem * equal if delta == 0.0 else late) if finite else math.inf


@kernel()
def peak_time(u: float, i: float, tau_mem: float, tau_syn: float) -> float:
    """:func:`peak_after` from the time constants."""
    return peak_after(u, i, tau_mem, 1.0 / tau_mem, 1.0 / tau_syn)


@kernel(forceinline=True)
def first_guess(u: float, i: float, c: float, tau_mem: float, ratio: float, hi: float) -> float:
    """Where a search for ``u(s) = c`` in ``0 .. hi`` begins; ``ratio = tau_mem / tau_syn``.

    Root of the quadratic in ``y = 1 - e^(-s/tau_mem)`` with the right value, slope and curvature at ``s = 0``: exact for
    ``tau_mem = 2 tau_syn``.
    """
    q, p = c - u, i - u
    d = p * p - 2.0 * (i * ratio) * q
    y = 2.0 * q / (p + math.sqrt(max(d, 0.0)))
    known = (p > 0.0) & (d >= 0.0) & (y < 1.0)
    s = -tau_mem * log_1p(-y if known else 0.0)
    return s if known & (s < hi) else 0.5 * hi


@kernel(forceinline=True)
def halley(s, lo, hi, u, i, c, tau_mem, rate_mem, rate_syn, ratio):  # type: ignore[no-untyped-def]
    """One step of the search from ``s`` in the bracket ``lo .. hi``: ``(next or found, lo, hi, whether found)``.

    Safeguarded Halley iteration, with time measured in ``tau_mem``; a bisection where it would leave the bracket.
    """
    e_m, e_s, g = respond(s, rate_mem, rate_syn)
    own, came, i_s = e_m * u, g * i, e_s * i
    u_s = own + came
    f, df = u_s - c, i_s - u_s
    ddf = -(i_s * ratio + df)
    above = f >= 0.0
    hi, lo = s if above else hi, lo if above else s
    denominator = 2.0 * df * df - f * ddf
    middle = 0.5 * (lo + hi)
    steep = (denominator > 0.0) & (df > 0.0)
    t = s - tau_mem * (2.0 * f * df / denominator) if steep else middle
    beyond = (hi < t) & (t <= hi * (1.0 + 1e-12))  # beyond the end by rounding alone
    inside = (lo <= t) & (t <= hi)
    steep = steep & (beyond | inside)
    t = hi if beyond else (t if inside else middle)
    # 3 ulp of the terms of f: below that f is rounding noise, and where u grazes c no step would get shorter
    quiet = abs(f) <= 6e-16 * (abs(own) + abs(came) + abs(c))
    # the step is cubic: after one below 1e-6 the next would be below 1e-18 (a bisection is not); the less, the nearer u
    # comes to grazing c, where curvature outweighs slope
    short = steep & (abs(t - s) * (df + abs(ddf)) <= 1e-6 * tau_mem * df)
    narrow = hi - lo <= 4e-16 * hi
    found = (t if steep else s) if quiet else (t if short else hi)
    done = quiet | short | narrow
    return found if done else t, lo, hi, done
