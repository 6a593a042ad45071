"""Layers: a population of a graph with what drives it, in fixed and in floating point."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hwloop.arguments import whole
from hwloop.errors import InputError

from .registers import (
    BIAS_EXPONENT,
    BIAS_MANTISSA,
    DECAY_UNITY,
    MAX_STATE,
    MAX_THRESHOLD,
    Array,
    delay_array,
    finite_array,
    shaped,
    whole_array,
)
from .synapses import Synapses


class Block(NamedTuple):
    """Columns of a layer's synapses: units ``start .. start + size`` of layer ``source``, of the input where it is -1.

    Each block is a Dense of its own: it shifts its sum by itself. Its weights are clipped and truncated as the whole matrix is.
    """

    source: int
    start: int
    size: int


@dataclass(frozen=True, eq=False)
class FixedLayer:
    """One fixed-point Dense and the LIF population that it drives.

    Attributes
    ----------
    synapses : Synapses, ``[n, n_in]``
    du, dv : int, 0..4095
        Decays of current and membrane, one for the population: factors ``(4096 - (du + 1)) / 4096`` and
        ``(4096 - dv) / 4096``.
    vth : int, 0..131071
    bias_mant, bias_exp : ``[n]`` int32, -4096..4095 and 0..7; default 0
    recurrent : Synapses, ``[n, n]``, or None
    blocks : where the columns of ``synapses`` come from, see :class:`Block`; none: the layer before, or the input
    late : ticks, or None
        A spike of tick n stands for the time ``(n - late) dt``; None: half a tick for each layer up to it.
    u_start, v_start : ``[n]`` int32, or None
        Current and membrane before tick 0; None: 0.

    Raises :class:`InputError` where a value is outside its declared width: Lava's simulation does not check.
    """

    synapses: Synapses
    du: int
    dv: int
    vth: int
    bias_mant: Array | None = None
    bias_exp: Array | None = None
    recurrent: Synapses | None = None
    blocks: tuple[Block, ...] = ()
    late: float | None = None
    u_start: Array | None = None
    v_start: Array | None = None

    def __post_init__(self) -> None:
        for name, high in (("du", DECAY_UNITY - 1), ("dv", DECAY_UNITY - 1), ("vth", MAX_THRESHOLD)):
            object.__setattr__(self, name, whole(name, getattr(self, name), 0, high))
        for name, allowed in (("bias_mant", BIAS_MANTISSA), ("bias_exp", BIAS_EXPONENT)):
            value = getattr(self, name)
            value = np.zeros(self.n, np.int32) if value is None else value
            whole_array(name, value, 1, allowed)
            shaped(name, value, (self.n,))
            object.__setattr__(self, name, np.ascontiguousarray(value, np.int32))
        if self.recurrent is not None:
            shaped("recurrent.weight", self.recurrent.weight, (self.n, self.n))
        for name in ("u_start", "v_start"):
            if (value := getattr(self, name)) is not None:
                whole_array(name, value, 1, (1 - MAX_STATE, MAX_STATE - 1))
                shaped(name, value, (self.n,))
                object.__setattr__(self, name, np.ascontiguousarray(value, np.int32))
        check_source(self)

    @property
    def bias(self) -> Array:
        """What is added to the membrane each tick, ``[n]`` int32."""
        if self.bias_mant is None or self.bias_exp is None:
            return np.zeros(self.n, np.int32)
        shifted: Array = self.bias_mant << self.bias_exp
        return shifted

    @property
    def n(self) -> int:
        """Neurons."""
        return int(self.synapses.weight.shape[0])

    @property
    def n_in(self) -> int:
        """Input units."""
        return int(self.synapses.weight.shape[1])


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """One floating-point Dense and the LIF population that it drives; sizes as in :class:`FixedLayer`.

    Attributes
    ----------
    weight : ``[n, n_in]`` float64
    du, dv : float, 0..1
        Decays; factors ``1 - du`` and ``1 - dv``.
    vth : float
    bias : ``[n]`` float64, default 0
    delay : ``[n, n_in]`` int32 (ticks), 0..63, or None
    recurrent : ``[n, n]`` float64, or None
    refractory : int (ticks), >= 0
        0 is process ``LIF``; more is ``LIFRefractory``.
    blocks, late, u_start, v_start : as of :class:`FixedLayer`, float64
    """

    weight: Array
    du: float
    dv: float
    vth: float
    bias: Array | None = None
    delay: Array | None = None
    recurrent: Array | None = None
    refractory: int = 0
    blocks: tuple[Block, ...] = ()
    late: float | None = None
    u_start: Array | None = None
    v_start: Array | None = None

    def __post_init__(self) -> None:
        bias = np.zeros(self.n) if self.bias is None else self.bias
        starts = (("u_start", self.u_start, 1), ("v_start", self.v_start, 1))
        for name, value, ndim in (
            ("weight", self.weight, 2),
            ("bias", bias, 1),
            ("recurrent", self.recurrent, 2),
            *starts,
        ):
            if value is not None:
                finite_array(name, value, ndim)
                object.__setattr__(self, name, np.ascontiguousarray(value, np.float64))
        shaped("bias", bias, (self.n,))
        for name in ("du", "dv"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} = {getattr(self, name)}; allowed: 0..1")
        if not math.isfinite(self.vth):
            raise InputError(f"vth = {self.vth}; allowed: finite")
        if self.delay is not None:
            object.__setattr__(self, "delay", delay_array(self.delay, self.weight.shape))
        if self.recurrent is not None:
            shaped("recurrent", self.recurrent, (self.n, self.n))
        for name, value, _ in starts:
            if value is not None:
                shaped(name, value, (self.n,))
        object.__setattr__(self, "refractory", whole("refractory", self.refractory, 0, 2**31 - 1))
        check_source(self)

    @property
    def n(self) -> int:
        """Neurons."""
        return int(self.weight.shape[0])

    @property
    def n_in(self) -> int:
        """Input units."""
        return int(self.weight.shape[1])


def check_source(layer: FixedLayer | FloatLayer) -> None:
    """Refuse (:class:`InputError`) blocks that are not the columns of ``layer``; they become tuples of :class:`Block`."""
    blocks = tuple(Block(*map(int, block)) for block in layer.blocks)
    object.__setattr__(layer, "blocks", blocks)
    if layer.late is not None and not math.isfinite(layer.late):
        raise InputError(f"late = {layer.late} ticks; allowed: finite, or None")
    if not blocks:
        return
    if min(_least(blocks)) < 0 or sum(block.size for block in blocks) != layer.n_in:
        listed = ", ".join(map(str, map(tuple, blocks)))
        raise InputError(
            f"blocks (source, start, size) {listed} of {layer.n_in} columns; allowed: sources from -1, starts from 0, sizes from "
            "1, together the columns"
        )


def _least(blocks: Iterable[Block]) -> Iterable[int]:
    return (min(block.source + 1, block.start, block.size - 1) for block in blocks)
