"""Real weights to signed integer codes: one scale a layer, symmetric, saturating."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OptionError

Array: TypeAlias = NDArray[Any]

#: ``"max"``, ``"quantile:Q"`` with Q in (0, 1], or the model weight of 1 LSB itself.
ScaleRule: TypeAlias = "str | float"

QUANTILE = "quantile:"


@dataclass(frozen=True)
class Quantised:
    """``codes`` ``[n_out, n_in]`` and what rounding did: how many ``saturated`` or were ``zeroed``, and ``rounding_rms``, the error's RMS
    in LSB.
    """

    codes: Array
    saturated: int
    zeroed: int
    rounding_rms: float


def scale_of(weight: Array, rule: ScaleRule, max_code: int) -> float:
    """Model weight of 1 LSB for ``weight [n_out, n_in]`` by ``rule``.

    ``max`` puts the largest magnitude on ``max_code``; ``quantile:Q`` puts the Q-quantile of the magnitudes
    there, so that the rest saturates. A layer of zeros gets scale 1.

    Raises :class:`InputError` where the rule is unknown or its number out of range.
    """
    if not isinstance(rule, str):
        if not (math.isfinite(rule) and rule > 0):
            raise InputError(f"weight_scale = {rule}; allowed: a finite model weight of 1 LSB > 0")
        return float(rule)
    magnitude = np.abs(weight)
    top = float(magnitude.max()) if rule == "max" else float(np.quantile(magnitude, _quantile(rule)))
    # a quantile of a sparse layer may be 0: the largest weight is then the only sensible full scale
    top = top or float(magnitude.max())
    return top / max_code if top > 0 else 1.0


def scale_rules(rule: ScaleRule | Sequence[ScaleRule], n_layers: int) -> tuple[ScaleRule, ...]:
    """One rule a layer from what the user gave: one for all, or one each."""
    if isinstance(rule, (str, float)) or not hasattr(rule, "__len__") or getattr(rule, "ndim", 1) == 0:
        return (_one_rule(rule),) * n_layers
    if len(rule) != n_layers:
        raise InputError(f"weight_scale has {len(rule)} entries; the network has {n_layers} layers: give one for each")
    return tuple(_one_rule(entry) for entry in cast(Sequence[Any], rule))


def _one_rule(rule: Any) -> ScaleRule:
    """A string as it is, a number of Python, NumPy or torch as a float."""
    if isinstance(rule, str):
        return rule
    try:
        if isinstance(rule, (bool, np.bool_)):
            raise TypeError
        return float(rule)
    except (TypeError, ValueError):
        raise InputError(
            f"weight_scale = {rule!r}; allowed: 'max', 'quantile:Q' with 0 < Q <= 1, or a number > 0, for all layers or one each"
        ) from None


def quantise(weight: Array, scale: float, max_code: int) -> Quantised:
    """Round ``weight / scale`` to the nearest code (ties to even) and saturate at ``max_code``."""
    exact = weight / scale
    rounded = np.rint(exact)
    inside = np.clip(rounded, -max_code, max_code)
    saturated = np.abs(rounded) > max_code
    error = np.where(saturated, 0.0, exact - inside).astype(np.float64)
    return Quantised(
        codes=inside.astype(np.int16 if max_code < 2**15 else np.int32),
        saturated=int(np.count_nonzero(saturated)),
        zeroed=int(np.count_nonzero((inside == 0) & (weight != 0))),
        rounding_rms=float(np.sqrt(np.mean(error * error))),
    )


def _quantile(rule: str) -> float:
    if not rule.startswith(QUANTILE):
        raise OptionError(f"weight_scale = {rule!r}; allowed: 'max', 'quantile:Q' with 0 < Q <= 1, or a number > 0")
    try:
        value = float(rule.removeprefix(QUANTILE))
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise InputError(f"weight_scale = {rule!r}; allowed: 'quantile:Q' with 0 < Q <= 1, e.g. 'quantile:0.999'")
    return value
