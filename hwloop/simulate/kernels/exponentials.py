"""Exponential and logarithm without a library call and without a branch: a loop over them becomes vector instructions.

A power of two, made from the bits of its exponent, times a polynomial on +-ln 2 / 2. Strict arithmetic gives one lane the
bits of eight, so that what is computed for many neurons together equals what is computed for one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compile_kernel import kernel

#: Bits of the fraction and bias of the exponent, by bytes of the float.
_FORMAT = {4: (23, 127), 8: (52, 1023)}

#: 1 / ln 2, and ln 2 in two parts of which the first, times any exponent, is exact.
PER_LN2, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10

#: Largest argument of an exponential: e^-708 = 3e-308 is the least normal number, 0 for all purposes.
LARGEST = 708.0

#: Below this 1 - e^-x is x for all purposes, and (1 - e^-x)/x is 1.
LEAST = 1e-300


@intrinsic
def half_to(typingctx: Any, like: Any, n: Any) -> Any:
    """``2^-n`` in the type of ``like``, for ``n`` that leaves it normal."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = signature.args[0].bitwidth
        fraction, bias = _FORMAT[size // 8]
        word = ir.IntType(size)
        count = arguments[1] if size == 32 else builder.sext(arguments[1], word)
        bits = builder.shl(builder.sub(ir.Constant(word, bias), count), ir.Constant(word, fraction))
        return builder.bitcast(bits, context.get_value_type(signature.return_type))

    return like(like, types.int32), generate


@intrinsic
def split(typingctx: Any, y: Any) -> Any:
    """``(m, k)`` with ``y = m 2^k``, ``m`` in sqrt(1/2) .. sqrt(2) and ``k`` an int32; for normal ``y > 0`` in float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, real = ir.IntType(64), context.get_value_type(types.float64)
        bits = builder.bitcast(arguments[0], word)
        half = ir.Constant(word, int(np.array(0.5**0.5).view(np.int64)))
        exponent = builder.ashr(builder.sub(bits, half), ir.Constant(word, 52))
        m = builder.bitcast(builder.sub(bits, builder.shl(exponent, ir.Constant(word, 52))), real)
        k = builder.trunc(exponent, ir.IntType(32))
        return context.make_tuple(builder, signature.return_type, (m, k))

    return types.Tuple((types.float64, types.int32))(types.float64), generate


@kernel(forceinline=True)
def decay(x):  # type: ignore[no-untyped-def]
    """``(1 - e^-x, e^-x)`` for ``x >= 0`` in float64, both to rounding, the first also where it is small.

    ``e^r - 1 = r q(r)`` by Taylor's series in Estrin's order; what is left out is below .347^13 / 14! = 1.3e-17.
    """
    x = min(x, LARGEST)
    n = np.int32(x * PER_LN2 + 0.5)
    f = np.float64(n)
    r = (f * LN2_HIGH - x) + f * LN2_LOW
    r2 = r * r
    r4 = r2 * r2
    a = (1.0 + r * (1 / 2)) + r2 * (1 / 6 + r * (1 / 24))
    b = (1 / 120 + r * (1 / 720)) + r2 * (1 / 5040 + r * (1 / 40320))
    c = (1 / 362880 + r * (1 / 3628800)) + r2 * (1 / 39916800 + r * (1 / 479001600))
    p = r * ((a + r4 * b) + (r4 * r4) * (c + r4 * (1 / 6227020800)))
    scale = half_to(1.0, n)
    share = scale * p
    return (1.0 - scale) - share, scale + share


@kernel(forceinline=True)
def log_1p(x):  # type: ignore[no-untyped-def]
    """``ln(1 + x)`` for finite ``x > -1``, to some roundings, also where it is small; float64.

    ``2 artanh(f)``, ``f = (m - 1) / (m + 1)``, by its series: |f| < .172 leaves .172^20 / 21 < 1e-16.
    """
    m, k = split(1.0 + x)
    f = (m - 1.0) / (m + 1.0) if k != 0 else x / (2.0 + x)
    z = f * f
    z2 = z * z
    z4 = z2 * z2
    low = (2.0 + z * (2 / 3)) + z2 * (2 / 5 + z * (2 / 7))
    high = ((2 / 9 + z * (2 / 11)) + z2 * (2 / 13 + z * (2 / 15))) + z4 * (2 / 17 + z * (2 / 19))
    return np.float64(k) * 0.6931471805599453 + f * (low + z4 * high)


@kernel(forceinline=True)
def respond(s, rate_mem, rate_syn):  # type: ignore[no-untyped-def]
    """``(e^(-s/tau_mem), e^(-s/tau_syn), g(s))`` with ``u(s) = e_m u0 + g i0``, from the rates ``1 / tau``; ``s >= 0``.

    ``g = (s/tau_mem) e_slow phi(a)``, ``phi(a) = (1 - e^-a)/a``, with the slower of the two exponentials and the difference
    of the rates times ``s``: no difference of nearly equal numbers for any taus, and nothing that overflows.
    """
    a = s * abs(rate_syn - rate_mem)
    _, slow = decay(s * min(rate_mem, rate_syn))
    gone, left = decay(a)
    fast = slow * left
    phi = gone / a if a > LEAST else 1.0
    membrane_slower = rate_syn >= rate_mem
    return slow if membrane_slower else fast, fast if membrane_slower else slow, (s * rate_mem) * (slow * phi)


@kernel(forceinline=True)
def respond_2(s, rate_mem):  # type: ignore[no-untyped-def]
    """:func:`respond` for ``tau_mem = 2 tau_syn``: ``e_s = e_m^2``, ``g = e_m (1 - e_m)``."""
    gone, left = decay(s * rate_mem)
    return left, left * left, left * gone
