"""One neuron between two events: propagators, their derivatives, and the threshold crossing.

Strict IEEE arithmetic in float64 (no contraction, no reassociation): simulation and replay call these functions
from different loops and must get equal bits. ``u`` is measured from ``v_leak``.
"""

from __future__ import annotations

import math

from .kernel import kernel

#: Kinds of a layer's time constants, which choose the closed form.
GENERAL, RATIO_1, RATIO_2 = 0, 1, 2

#: Largest argument of the series in place of exponentials.
SERIES = 0.7

#: Share of an interval's decay up to which what is left of it follows by division; see :func:`remaining`.
DIVIDE = 0.9

#: Iterations of the safeguarded Halley search; bisection alone needs 64 for a double.
MAX_ITERATIONS = 100


@kernel(inline="always")
def phi(x: float) -> float:
    """``(1 - e^-x) / x`` for ``|x| < SERIES`` by its Taylor series in Estrin's order (.7^16/17! < 1e-16)."""
    x2 = x * x
    x4 = x2 * x2
    a = (1.0 - x * (1 / 2)) + x2 * (1 / 6 - x * (1 / 24))
    b = (1 / 120 - x * (1 / 720)) + x2 * (1 / 5040 - x * (1 / 40320))
    c = (1 / 362880 - x * (1 / 3628800)) + x2 * (1 / 39916800 - x * (1 / 479001600))
    d = (1 / 6227020800 - x * (1 / 87178291200)) + x2 * (1 / 1307674368000 - x * (1 / 20922789888000))
    return (a + x4 * b) + (x4 * x4) * (c + x4 * d)


@kernel()
def one_minus_exp(x: float) -> float:
    """``1 - e^-x``, by the series in the usual case of a short interval."""
    if abs(x) < SERIES:
        return x * phi(x)
    return -math.expm1(-x)


@kernel(inline="always")
def short_response(x: float, z: float) -> tuple[float, float, float]:
    """:func:`response` where ``x = s/tau_mem`` and ``|z|`` are below ``SERIES``."""
    e_m = 1.0 - x * phi(x)
    f = phi(z)
    return e_m, e_m * (1.0 - z * f), x * e_m * f


@kernel()
def response(s: float, tau_mem: float, tau_syn: float) -> tuple[float, float, float]:
    """``(e^(-s/tau_mem), e^(-s/tau_syn), g(s))`` with ``u(s) = e_m u0 + g i0``, exact also for equal taus.

    ``g = (s/tau_mem) e^(-s/tau_mem) phi(z)``, ``phi(z) = (1 - e^-z)/z``, ``z = s (1/tau_syn - 1/tau_mem)``: no
    difference of nearly equal numbers, unlike ``k (e_m - e_s)``.
    """
    x = s / tau_mem
    z = s / tau_syn - x
    if x < SERIES and abs(z) < SERIES:
        return short_response(x, z)
    e_m = math.exp(-x)
    if abs(z) < SERIES:
        f = phi(z)
        return e_m, e_m * (1.0 - z * f), x * e_m * f
    e_s = math.exp(-s / tau_syn)
    if abs(z) < 1.0:
        return e_m, e_s, x * e_m * (-math.expm1(-z) / z)
    return e_m, e_s, tau_syn / (tau_mem - tau_syn) * (e_m - e_s)  # e^(-z) may overflow; the difference loses nothing


@kernel()
def advance(kind: int, u: float, i: float, s: float, tau_mem: float, tau_syn: float) -> tuple[float, float, float]:
    """``(u, i)`` a time ``s`` later, without input, and ``1 - e^(-s/tau_mem)`` where that is all it takes (RATIO_2)."""
    if kind == RATIO_2:
        y = one_minus_exp(s / tau_mem)
        return u + y * ((i - u) - i * y), i * (1.0 - y) * (1.0 - y), y
    e_m, e_s, g = response(s, tau_mem, tau_syn)
    return e_m * u + g * i, e_s * i, 0.0


@kernel()
def arrive(kind: int, u: float, i: float, s: float, rest: float, tau_mem: float, tau_syn: float) -> tuple[float, float]:
    """``(u, i)`` at the end of the interval, a time ``s`` away; ``rest = 1 - e^(-s/tau_mem)`` for RATIO_2."""
    if kind == RATIO_2:
        return u + rest * ((i - u) - i * rest), i * (1.0 - rest) * (1.0 - rest)
    e_m, e_s, g = response(s, tau_mem, tau_syn)
    return e_m * u + g * i, e_s * i


@kernel()
def remaining(kind: int, rest: float, y: float, s: float, tau_mem: float) -> float:
    """``1 - e^(-s/tau_mem)`` over the ``s`` left of an interval of which ``rest`` was left before ``y`` went by.

    A division in place of an exponential; absolute error of one rounding, as all its uses are.
    """
    if kind != RATIO_2:
        return 0.0
    if rest < DIVIDE:
        return max((rest - y) / (1.0 - y), 0.0)
    return one_minus_exp(s / tau_mem)


@kernel()
def free_adjoint(kind: int, a_u: float, a_i: float, s: float, tau_mem: float, tau_syn: float) -> tuple[float, float]:
    """The transpose of :func:`advance`: adjoints ``(a_u, a_i)`` a time ``s`` earlier."""
    if kind == RATIO_2:
        y = one_minus_exp(s / tau_mem)
        e_m = 1.0 - y
        return e_m * a_u, e_m * (e_m * a_i + y * a_u)
    e_m, e_s, g = response(s, tau_mem, tau_syn)
    return e_m * a_u, e_s * a_i + g * a_u


@kernel()
def response_derivatives(s: float, tau_mem: float, tau_syn: float) -> tuple[float, float]:
    """``(dg/dtau_mem, dg/dtau_syn)`` of the response ``g`` at fixed ``s``."""
    e_m, e_s, g = response(s, tau_mem, tau_syn)
    z = s * (1.0 / tau_syn - 1.0 / tau_mem)
    if abs(z) < 0.3:
        # e_m phi'(z), phi'(z) = sum_n (-1)^n n z^(n-1)/(n+1)!; 14 terms leave .3^14/15! < 1e-19
        total, term = 0.0, -1.0
        for n in range(1, 15):
            term = -0.5 if n == 1 else -term * z / (n + 1)
            total += term * n
        slope = e_m * total
    else:
        slope = (e_s * (1.0 + z) - e_m) / (z * z)
    scale = s / tau_mem * slope * s
    return -g / tau_mem + g * s / (tau_mem * tau_mem) + scale / (tau_mem * tau_mem), -scale / (tau_syn * tau_syn)


@kernel()
def lambert_w(x: float) -> float:
    """Principal branch of ``w e^w = x`` for ``-1/e <= x``, by Halley's iteration."""
    if x < -0.32:
        p = math.sqrt(max(0.0, 2.0 * (math.e * x + 1.0)))
        w = -1.0 + p * (1.0 - p / 3.0 * (1.0 - p * (11.0 / 24.0)))
    elif x < 1.0:
        w = x * (1.0 - x * (1.0 - 1.5 * x)) if abs(x) < 0.1 else x / (1.0 + x)
    else:
        w = math.log1p(x) * (1.0 - math.log1p(math.log1p(x)) / (2.0 + math.log1p(x)))
    for _ in range(20):
        e = math.exp(w)
        f = w * e - x
        if w == -1.0:
            return w
        step = f / (e * (w + 1.0) - (w + 2.0) * f / (2.0 * w + 2.0))
        w -= step
        if abs(step) <= 1e-16 * abs(w) + 1e-300:
            break
    return w


@kernel()
def crossing_ratio_2(u: float, i: float, c: float, tau_mem: float, end: float, rest: float, forced: bool) -> float:
    """First up-crossing for ``tau_mem = 2 tau_syn``, or -1; ``rest = 1 - e^(-end/tau_mem)``.

    With ``y = 1 - e^(-s/tau_mem)``: ``u(s) = u0 + p y - i0 y^2``, ``p = i0 - u0``; a quadratic in ``y`` whose small
    root has no cancellation: ``y = 2 q / (p + sqrt(p^2 - 4 i0 q))``, ``q = c - u0 > 0``.
    """
    q = c - u
    p = i - u
    d = p * p - 4.0 * i * q
    if not (forced or (d >= 0.0 and 0.0 < p < 2.0 * i * rest)):
        return -1.0
    root = math.sqrt(max(d, 0.0))
    if p >= 0.0:
        y = 2.0 * q / (p + root) if p + root > 0.0 else rest
    else:
        y = (p - root) / (2.0 * i) if i < 0.0 else rest
    return -tau_mem * math.log1p(-max(y, 0.0)) if y < rest else end


@kernel()
def peak_time(u: float, i: float, tau_mem: float, tau_syn: float) -> float:
    """Time of the extremum of ``u(s)`` after ``s = 0``; meaningful where the slope starts positive and ``i > 0``.

    ``s* = ln(1 + x)/delta``, ``x = delta tau_mem p / (i + delta tau_mem u)`` with ``delta = 1/tau_syn - 1/tau_mem``:
    the page's formula, rewritten so that equal taus are its smooth limit ``s* = tau p / i``.
    """
    delta = 1.0 / tau_syn - 1.0 / tau_mem
    scaled = delta * tau_mem
    denominator = i + scaled * u
    if denominator <= 0.0:
        return math.inf
    x = scaled * (i - u) / denominator
    if delta == 0.0:
        return tau_mem * (i - u) / denominator
    if x <= -1.0:
        return math.inf
    return math.log1p(x) / delta


@kernel()
def crossing_search(u: float, i: float, c: float, tau_mem: float, tau_syn: float, end: float, forced: bool) -> float:
    """First up-crossing for any pair of taus, or -1: bracketed, safeguarded Halley iteration.

    At most one extremum per interval, so: none unless ``u(end) >= c`` (forced) or the interior maximum reaches ``c``.
    """
    hi = end
    if not forced:
        hi = peak_time(u, i, tau_mem, tau_syn)
        if not 0.0 < hi < end:
            return -1.0
        e_m, e_s, g = response(hi, tau_mem, tau_syn)
        if e_m * u + g * i < c:
            return -1.0
    lo, s = 0.0, _first_guess(c - u, i - u, i * tau_mem / (2.0 * tau_syn), tau_mem, hi)
    for _ in range(MAX_ITERATIONS):
        e_m, e_s, g = response(s, tau_mem, tau_syn)
        u_s, i_s = e_m * u + g * i, e_s * i
        f = u_s - c
        if f >= 0.0:
            hi = s
        else:
            lo = s
        df = (i_s - u_s) / tau_mem
        ddf = -(i_s / tau_syn + df) / tau_mem
        denominator = 2.0 * df * df - f * ddf
        steep = denominator > 0.0 and df > 0.0
        t = s - 2.0 * f * df / denominator if steep else 0.5 * (lo + hi)
        if hi < t <= hi * (1.0 + 1e-12):  # beyond the end by rounding alone
            t = hi
        elif not lo <= t <= hi:
            t, steep = 0.5 * (lo + hi), False
        # 3 ulp of the terms of f: below that f is rounding noise, and where u grazes c no step would get shorter
        noise = 6e-16 * (abs(e_m * u) + abs(g * i) + abs(c))
        if abs(f) <= noise:
            return t if steep else s
        # the step is cubic: after one below 1e-6 the next would be below 1e-18 (a bisection is not)
        if steep and abs(t - s) <= 1e-6 * tau_mem * _steepness(df, ddf, tau_mem):
            return t
        if hi - lo <= 4e-16 * hi:
            return hi
        s = t
    return s


@kernel()
def _steepness(df: float, ddf: float, tau: float) -> float:
    """How far from grazing: 1 where the slope outweighs the curvature over tau, towards 0 at a maximum."""
    bend = abs(ddf) * tau
    return df / (df + bend) if df > 0.0 else 0.0


@kernel()
def _first_guess(q: float, p: float, bend: float, tau_mem: float, hi: float) -> float:
    """Root of the quadratic in ``y = 1 - e^(-s/tau_mem)`` with the right value, slope and curvature at ``s = 0``.

    Exact for ``tau_mem = 2 tau_syn``, where it is :func:`crossing_ratio_2`.
    """
    d = p * p - 4.0 * bend * q
    if p > 0.0 and d >= 0.0:
        y = 2.0 * q / (p + math.sqrt(d))
        if y < 1.0:
            s = -tau_mem * math.log1p(-y)
            if s < hi:
                return s
    return 0.5 * hi


@kernel()
def crossing_ratio_1(u: float, i: float, c: float, tau: float, end: float, forced: bool) -> float:
    """First up-crossing for ``tau_mem = tau_syn``, or -1, by the Lambert W function.

    ``(u0 + i0 z) e^-z = c`` with ``z = s/tau`` gives ``z = -W(-(c/i0) e^(-u0/i0)) - u0/i0``; one Newton step removes
    the cancellation of that form.
    """
    if i <= 0.0 or u < -20.0 * i:
        return crossing_search(u, i, c, tau, tau, end, forced)
    z_end = end / tau
    if not forced:
        z_peak = (i - u) / i
        if not 0.0 < z_peak < z_end or i * math.exp(-z_peak) < c:
            return -1.0
    shift = u / i
    z = -lambert_w(max(-c / i * math.exp(-shift), -1.0 / math.e)) - shift
    z = min(max(z, 0.0), z_end)
    for _ in range(2):
        e = math.exp(-z)
        slope = (i - u - i * z) * e
        if slope > 0.0:
            z = min(max(z - ((u + i * z) * e - c) / slope, 0.0), z_end)
    return z * tau


@kernel()
def crossing(
    kind: int, u: float, i: float, c: float, tau_mem: float, tau_syn: float, end: float, rest: float, forced: bool,
    turns: bool,
) -> float:  # fmt: skip
    """Time of the first crossing of ``c`` from below in ``(0, end]`` starting at ``u < c``, or -1.

    ``forced`` says that the membrane is known to have reached ``c`` at ``end``: rounding must not lose that spike.
    ``turns`` says that it falls at ``end`` (not needed for RATIO_2, which knows by itself). ``rest`` as in :func:`arrive`.
    """
    if end <= 0.0 or c == math.inf or i <= 0.0 <= c:  # without input the membrane only tends to 0
        return -1.0
    if kind == RATIO_2:
        return crossing_ratio_2(u, i, c, tau_mem, end, rest, forced)
    if not (forced or (turns and i > u)):
        return -1.0
    if kind == RATIO_1:
        return crossing_ratio_1(u, i, c, tau_mem, end, forced)
    return crossing_search(u, i, c, tau_mem, tau_syn, end, forced)
