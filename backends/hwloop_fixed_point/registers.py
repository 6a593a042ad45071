"""Registers of Loihi-style neurons: their widths, and checks of what is put into them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InputError

Array: TypeAlias = NDArray[Any]

#: Width of state, weights, threshold; largest DelayDense delay (ticks). Lava's simulation enforces only the last.
STATE_BITS, WEIGHT_BITS, THRESHOLD_BITS, DECAY_BITS, MAX_DELAY = 24, 8, 17, 12, 63
#: Bits by which synaptic input and threshold are shifted up against the state.
STATE_SHIFT = 6
MAX_STATE = 2 ** (STATE_BITS - 1)
DECAY_UNITY = 2**DECAY_BITS
MAX_THRESHOLD = 2**THRESHOLD_BITS - 1
EXPONENTS = (-8, 7)
BIAS_MANTISSA = (-4096, 4095)
BIAS_EXPONENT = (0, 7)


def whole_array(name: str, value: Array, ndim: int, allowed: tuple[int, int]) -> None:
    """The same of all numbers of an array of ``ndim`` dimensions."""
    ranked(name, value, ndim)
    if value.dtype.kind not in "iu":
        raise InputError(f"{name} has dtype {value.dtype}; allowed: whole numbers")
    low, high = int(value.min()), int(value.max())
    if low < allowed[0] or high > allowed[1]:
        raise InputError(f"{name} spans {low}..{high}; allowed: {allowed[0]}..{allowed[1]}")


def finite_array(name: str, value: Array, ndim: int) -> None:
    """Refuse an array of other dimensions, or with numbers that are not finite."""
    ranked(name, value, ndim)
    if not np.isfinite(value).all():
        raise InputError(f"{name} holds values that are not finite; allowed: finite")


def ranked(name: str, value: Array, ndim: int) -> None:
    """Refuse what is no array of ``ndim`` dimensions with anything in it."""
    if not isinstance(value, np.ndarray) or value.ndim != ndim or value.size == 0:
        found = value.shape if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{name} is {found}; expected an array of {ndim} dimensions, not empty")


def shaped(name: str, value: Array, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if value.shape != shape:
        raise InputError(f"{name} has shape {value.shape}; expected {shape}")


def delay_array(delay: Array, shape: tuple[int, ...]) -> Array:
    """``delay`` of ``shape`` as int32 (ticks); :class:`InputError` outside of 0..63."""
    whole_array("delay (ticks)", delay, 2, (0, MAX_DELAY))
    shaped("delay", delay, shape)
    return np.ascontiguousarray(delay, np.int32)
