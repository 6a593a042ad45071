"""Synapses: what one fixed-point Dense of Lava computes with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from hwloop.arguments import whole
from hwloop.errors import InputError

from .registers import EXPONENTS, WEIGHT_BITS, Array, delay_array, whole_array

#: ``"auto"``: Lava finds out; ``"mixed"`` keeps the resolution fixed while weights change sign.
SignMode: TypeAlias = Literal["auto", "mixed", "excitatory", "inhibitory"]


@dataclass(frozen=True, eq=False)
class Synapses:
    """One fixed-point Dense, or DelayDense where ``delay`` is given.

    Attributes
    ----------
    weight : ``[n_out, n_in]`` int32
        Mantissas as declared to Lava, before it clips and truncates.
    exponent : int, -8..7
        Lava's ``weight_exp``.
    sign_mode : "auto" | "mixed" | "excitatory" | "inhibitory"
    weight_bits : int, 1..8
        Lava's ``num_weight_bits``.
    delay : ``[n_out, n_in]`` int32 (ticks), 0..63, or None

    Raises :class:`InputError` where a value is outside these bounds.
    """

    weight: Array
    exponent: int = 0
    sign_mode: SignMode = "auto"
    weight_bits: int = WEIGHT_BITS
    delay: Array | None = None

    def __post_init__(self) -> None:
        whole_array("weight", self.weight, 2, (-(2**31), 2**31 - 1))
        object.__setattr__(self, "weight", np.ascontiguousarray(self.weight, np.int32))
        object.__setattr__(self, "exponent", whole("exponent", self.exponent, *EXPONENTS))
        object.__setattr__(self, "weight_bits", whole("weight_bits", self.weight_bits, 1, WEIGHT_BITS))
        if self.sign_mode not in get_args(SignMode):
            raise InputError(f"sign_mode = {self.sign_mode!r}; allowed: {', '.join(get_args(SignMode))}")
        if self.delay is not None:
            object.__setattr__(self, "delay", delay_array(self.delay, self.weight.shape))

    @property
    def acting_mode(self) -> SignMode:
        """:attr:`sign_mode`, found out where Lava finds it out."""
        return _sign_mode(self.weight) if self.sign_mode == "auto" else self.sign_mode

    def columns(self, start: int, size: int) -> Synapses:
        """Those of inputs ``start .. start + size`` alone, clipped and truncated as in the whole."""
        chosen = np.zeros(self.weight.shape[1], bool)
        chosen[start : start + size] = True
        return self.some(chosen)

    def some(self, inputs: Array) -> Synapses:
        """Those of ``inputs [n_in]`` (bool) alone, clipped and truncated as in the whole."""
        if inputs.all():
            return self
        delay = None if self.delay is None else self.delay[:, inputs]
        return replace(self, weight=self.weight[:, inputs], sign_mode=self.acting_mode, delay=delay)

    def effective(self) -> Array:
        """The weights ``[n_out, n_in]`` int32 that Dense computes with, after its clipping and truncation."""
        mode = self.acting_mode
        sign = -1 if mode == "inhibitory" else 1
        mixed = mode == "mixed"
        top = 2**WEIGHT_BITS
        # int64: the negative of the smallest int32 does not exist
        clipped = np.clip(sign * self.weight.astype(np.int64), -top if mixed else 0, top - 1)
        dropped = WEIGHT_BITS - self.weight_bits + mixed
        result: Array = (sign * ((clipped >> dropped) << dropped)).astype(np.int32)
        return result


def _sign_mode(weight: Array) -> SignMode:
    """What Lava makes of a matrix: one sign if no entry has the other; zeros alone count as excitatory."""
    if int(weight.min()) >= 0:
        return "excitatory"
    return "inhibitory" if int(weight.max()) <= 0 else "mixed"
