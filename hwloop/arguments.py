"""Numbers as users write them, Python's, NumPy's or torch's; what is no number, or has a unit, is refused by name."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import InputError

#: Numbers in rows, as users have them.
Numbers: TypeAlias = "Tensor | NDArray[Any] | Sequence[Any]"
#: What times and parameters may be held in.
DTYPES = (torch.float32, torch.float64)
#: Units of time that callers may name, and their worth (s).
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
#: A time written as text, "10ms" or "10 ms".
_WRITTEN = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(s|ms|us|µs|ns)?\s*", re.IGNORECASE)


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """``value`` as an int: Python's, NumPy's, or a tensor of one.

    Raises :class:`InputError` where it is none, < ``least`` or > ``most``.
    """
    if not is_bool(value):
        try:
            number = operator.index(value)
        except (TypeError, RuntimeError):
            pass
        else:
            if number >= least and (most is None or number <= most):
                return number
    if most is not None:
        raise InputError(f"{name} = {shown(value)}; allowed: a whole number {least}..{most}")
    raise InputError(f"{name} = {shown(value)}; allowed: a whole number >= {least}")


def seconds(name: str, value: Any, *, zero: bool = False) -> float:
    """``value`` as a float (s), finite and > 0 (>= 0 where ``zero``); :class:`InputError` otherwise."""
    number = math.nan
    if isinstance(value, (int, float, np.generic, np.ndarray, Tensor)) and not is_bool(value) and not unit_of(value):
        try:
            number = float(value.detach() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
    if math.isfinite(number) and (number > 0 or (zero and number == 0)):
        return number
    unit = " s" if isinstance(value, (int, float, np.number)) else ""
    raise InputError(f"{name} = {shown(value)}{unit}; allowed: finite and {'>=' if zero else '>'} 0{hint(value)}")


def floats(name: str, value: Any, *, keep: bool = False) -> Tensor:
    """``value`` as a tensor of float32 or float64.

    Tensors keep their dtype and gradient; so do NumPy arrays where ``keep``. All else takes torch's default dtype.
    float16 and bfloat16 are widened, which is exact. An array is copied.

    Raises :class:`InputError` for text, booleans, complex numbers, quantities with a unit, and what is no array.
    """
    default = torch.get_default_dtype()
    if isinstance(value, Tensor):
        if value.dtype == torch.bool or value.dtype.is_complex:
            raise InputError(f"{name} is {value.dtype}; allowed: float32 or float64 numbers")
        if value.dtype in DTYPES:
            return value
        return value.to(torch.float32 if value.dtype.is_floating_point else default)
    array = real_array(name, value)
    held = array.dtype in (np.float32, np.float64)
    # longdouble has no tensor; the rest are exact in float64
    tensor = torch.from_numpy(array if held else array.astype(np.float64))
    return tensor if keep and held and isinstance(value, np.ndarray) else tensor.to(default)


def real_array(name: str, value: Any) -> NDArray[Any]:
    """A copy of ``value`` as a NumPy array of whole or floating numbers in the machine's byte order.

    Raises :class:`InputError` as :func:`floats`.
    """
    if unit := unit_of(value):
        raise InputError(
            f"{name} has the unit {unit}, which would be dropped; allowed: plain numbers in seconds{hint(value)}"
        )
    try:
        array = np.array(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} = {shown(value)} is no array of numbers ({error}); allowed: numbers") from None
    if array.dtype.kind not in "fiu" or array.dtype.itemsize == 0:
        raise InputError(f"{name} = {shown(value)}; allowed: numbers{hint(value)}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def allowed_dtype(dtype: torch.dtype | None) -> torch.dtype | None:
    """``dtype`` if times may be held in it, or None; :class:`InputError` otherwise."""
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"times in {dtype}; allowed: torch.float32 or torch.float64, coarser ones merge spikes")
    return dtype


def clock_dtype(
    t_stop: float, tick: float, asked: torch.dtype | None, preferred: torch.dtype | None = None
) -> torch.dtype:
    """The dtype that tells ticks of ``tick`` (s) apart up to ``t_stop`` (s): ``asked``, else ``preferred``, else float64.

    Raises :class:`InputError` where ``asked`` does not.
    """
    dtype = allowed_dtype(asked) or preferred or torch.get_default_dtype()
    if dtype not in DTYPES:
        dtype = torch.float32
    # a quarter: a time is then within an eighth of its own tick, and found again by any reader that rounds
    step = float(np.spacing(np.float32(t_stop))) if dtype == torch.float32 else 0.0
    if step <= tick / 4:
        return dtype
    if asked is None:
        return torch.float64
    raise InputError(
        f"float32 has steps of {step:g} s at t_stop = {t_stop:g} s, too coarse for a clock of {tick:g} s; allowed: "
        "dtype=torch.float64, or a shorter window"
    )


def unit_of(value: Any) -> str | None:
    """The unit that ``value`` carries (a quantity of Neo, quantities, pint or astropy), None where it is a plain number."""
    if isinstance(value, (Tensor, str)) or type(value) in (int, float, list, tuple, np.ndarray):
        return None
    unit = getattr(value, "units", None)
    unit = getattr(value, "unit", None) if unit is None else unit
    if unit is None:
        return None
    return str(getattr(unit, "dimensionality", unit))


def shown(value: Any) -> str:
    """``value`` for a message: short, on one line."""
    if isinstance(value, Tensor) and value.ndim:
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array {value.shape} of {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def hint(value: Any) -> str:
    """What to write instead of ``value``, as a sentence that follows a message; empty where that is not known."""
    if unit_of(value):
        return ". Convert it: value.rescale('s').magnitude (quantities, Neo), value.to('s').magnitude (pint)"
    found = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return ""
    try:
        worth = float(found[1]) * SECONDS.get((found[2] or "s").lower(), 1.0)
    except ValueError:
        return ""
    return f". Times are numbers in seconds: write {worth:g}"


def is_bool(value: Any) -> bool:
    """Whether ``value`` is a truth value, of Python, NumPy or torch."""
    return isinstance(value, bool) or getattr(value, "dtype", None) in (torch.bool, np.dtype(bool))
