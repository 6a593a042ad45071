"""One neuron between two events, for a tile of them: propagators, extremum, and the step of the search for a crossing.

The formulas of :mod:`hwloop.simulate.kernels.exponentials` and :mod:`hwloop.simulate.kernels.neuron`, where they are
explained; here in Triton, which can call neither. Times and rates in float64 or in the layer's float32.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton.language as tl

from .jit import device_kernel


@device_kernel
def half_to(like, n):
    """``2^-n`` in the type of ``like``."""
    if like.dtype == tl.float64:
        return ((1023 - n.to(tl.int64)) << 52).to(tl.float64, bitcast=True)
    else:
        return ((127 - n.to(tl.int32)) << 23).to(tl.float32, bitcast=True)


@device_kernel
def decay(x):
    """``(1 - e^-x, e^-x)`` for ``x >= 0``, both to rounding, the first also where it is small."""
    if x.dtype == tl.float64:
        x = tl.minimum(x, 708.0)
        n = (x * 1.4426950408889634 + 0.5).to(tl.int32)
        f = n.to(tl.float64)
        r = (f * 0.6931471803691238 - x) + f * 1.9082149292705877e-10
        r2 = r * r
        r4 = r2 * r2
        a = (1.0 + r * (1 / 2)) + r2 * (1 / 6 + r * (1 / 24))
        b = (1 / 120 + r * (1 / 720)) + r2 * (1 / 5040 + r * (1 / 40320))
        c = (1 / 362880 + r * (1 / 3628800)) + r2 * (1 / 39916800 + r * (1 / 479001600))
        p = r * ((a + r4 * b) + (r4 * r4) * (c + r4 * (1 / 6227020800)))
    else:
        x = tl.minimum(x, 87.0)
        n = (x * 1.4426950408889634 + 0.5).to(tl.int32)
        f = n.to(tl.float32)
        r = (f * 0.693145751953125 - x) + f * 1.4286068203094173e-06
        high = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040)))
        p = r * (1.0 + r * (1 / 2 + r * (1 / 6 + r * high)))
    scale = half_to(x, n)
    share = scale * p
    return (1.0 - scale) - share, scale + share


@device_kernel
def log_1p(x):
    """``ln(1 + x)`` in float64 for finite ``x > -1``, to some roundings, also where it is small."""
    bits = (1.0 + x).to(tl.int64, bitcast=True)
    k = (bits - 4604544271217802189) >> 52  # the bits of sqrt(1/2)
    m = (bits - (k << 52)).to(tl.float64, bitcast=True)
    f = tl.where(k != 0, (m - 1.0) / (m + 1.0), x / (2.0 + x))
    z = f * f
    z2 = z * z
    z4 = z2 * z2
    low = (2.0 + z * (2 / 3)) + z2 * (2 / 5 + z * (2 / 7))
    high = ((2 / 9 + z * (2 / 11)) + z2 * (2 / 13 + z * (2 / 15))) + z4 * (2 / 17 + z * (2 / 19))
    return k.to(tl.float64) * 0.6931471805599453 + f * (low + z4 * high)


@device_kernel
def respond(s, rate_mem, rate_syn):
    """``(e^(-s/tau_mem), e^(-s/tau_syn), g(s))`` with ``u(s) = e_m u0 + g i0``; ``s >= 0``."""
    a = s * tl.abs(rate_syn - rate_mem)
    _, slow = decay(s * tl.minimum(rate_mem, rate_syn))
    gone, left = decay(a)
    fast = slow * left
    if a.dtype == tl.float64:
        apart = a > 1e-300
    else:
        apart = a > 1e-30
    phi = tl.where(apart, gone / tl.where(apart, a, 1.0), 1.0)
    membrane_slower = rate_syn >= rate_mem
    e_m, e_s = tl.where(membrane_slower, slow, fast), tl.where(membrane_slower, fast, slow)
    return e_m, e_s, (s * rate_mem) * (slow * phi)


@device_kernel
def response_and_derivatives(s, rate_mem, rate_syn):
    """:func:`respond`, and ``(dg/dtau_mem, dg/dtau_syn)`` of its ``g`` at fixed ``s``; float64."""
    e_m, e_s, g = respond(s, rate_mem, rate_syn)
    z = s * (rate_syn - rate_mem)
    near = tl.abs(z) < 0.3
    y = tl.where(near, z, 0.0)
    last = 1 / 43545600 - y * (1 / 518918400 - y * (1 / 6706022400))
    high = 1 / 840 - y * (1 / 5760 - y * (1 / 45360 - y * (1 / 403200 - y * (1 / 3991680 - y * last))))
    series = -e_m * (1 / 2 - y * (1 / 3 - y * (1 / 8 - y * (1 / 30 - y * (1 / 144 - y * high)))))
    far = tl.where(near, 1.0, z)
    slope = tl.where(near, series, (e_s * (1.0 + far) - e_m) / (far * far))
    x = s * rate_mem
    scale = x * slope * s
    return e_m, e_s, g, g * (x - 1.0) * rate_mem + scale * rate_mem * rate_mem, -scale * rate_syn * rate_syn


@device_kernel
def peak_after(u, i, tau_mem, rate_mem, rate_syn):
    """Time of the extremum of ``u(s)``; meaningful where the slope starts positive and ``i > 0``."""
    delta = rate_syn - rate_mem
    scaled = delta * tau_mem
    denominator = i + scaled * u
    equal = (i - u) / denominator
    x = scaled * equal
    finite = (denominator > 0.0) & (x > -1.0) & (x < float("inf"))
    late = log_1p(tl.where(finite, x, 0.0)) / tl.where(delta == 0.0, 1.0, delta)
    return tl.where(finite, tl.where(delta == 0.0, tau_mem * equal, late), float("inf"))


@device_kernel
def first_guess(u, i, c, tau_mem, ratio, high):
    """Where a search for ``u(s) = c`` in ``0 .. high`` begins: exact for ``tau_mem = 2 tau_syn``."""
    q, p = c - u, i - u
    d = p * p - 2.0 * (i * ratio) * q
    y = 2.0 * q / (p + tl.sqrt(tl.maximum(d, 0.0)))
    known = (p > 0.0) & (d >= 0.0) & (y < 1.0)
    s = -tau_mem * log_1p(tl.where(known, -y, 0.0))
    return tl.where(known & (s < high), s, 0.5 * high)


@device_kernel
def halley(s, lo, hi, u, i, c, tau_mem, rate_mem, rate_syn):
    """One safeguarded step of the search from ``s`` in the bracket: ``(next or found, lo, hi, whether found)``."""
    e_m, e_s, g = respond(s, rate_mem, rate_syn)
    own, came, i_s = e_m * u, g * i, e_s * i
    u_s = own + came
    f, df = u_s - c, i_s - u_s
    ddf = -(i_s * (tau_mem * rate_syn) + df)
    above = f >= 0.0
    hi, lo = tl.where(above, s, hi), tl.where(above, lo, s)
    denominator = 2.0 * df * df - f * ddf
    middle = 0.5 * (lo + hi)
    steep = (denominator > 0.0) & (df > 0.0)
    t = tl.where(steep, s - tau_mem * (2.0 * f * df / denominator), middle)
    beyond = (hi < t) & (t <= hi * (1.0 + 1e-12))
    inside = (lo <= t) & (t <= hi)
    steep = steep & (beyond | inside)
    t = tl.where(beyond, hi, tl.where(inside, t, middle))
    quiet = tl.abs(f) <= 6e-16 * (tl.abs(own) + tl.abs(came) + tl.abs(c))
    short = steep & (tl.abs(t - s) * (df + tl.abs(ddf)) <= 1e-6 * tau_mem * df)
    narrow = hi - lo <= 4e-16 * hi
    found = tl.where(quiet, tl.where(steep, t, s), tl.where(short, t, hi))
    done = quiet | short | narrow
    return tl.where(done, found, t), lo, hi, done


@device_kernel
def next_above(t):
    """The next larger number of ``t >= 0`` in its dtype."""
    if t.dtype == tl.float64:
        return (t.to(tl.int64, bitcast=True) + 1).to(tl.float64, bitcast=True)
    else:
        return (t.to(tl.int32, bitcast=True) + 1).to(tl.float32, bitcast=True)


@device_kernel
def inverse_slope(current, c, r, floor, SKIP: tl.constexpr):
    """``1 / D`` with the floor applied; 0 where no derivative exists or the policy skips the spike."""
    d = current - c
    least = floor * (c - r)
    positive = d > 0.0
    plain = tl.where(positive, 1.0 / tl.where(positive, d, 1.0), 0.0)
    if SKIP:
        low = tl.zeros_like(d)
    else:
        low = tl.where(least > 0.0, 1.0 / tl.where(least > 0.0, least, 1.0), 0.0)
    return tl.where(d == float("-inf"), 0.0, tl.where(d < least, low, plain))


@device_kernel
def some(lanes):
    """Whether any lane is true."""
    return tl.max(lanes.to(tl.int32), 0) > 0
