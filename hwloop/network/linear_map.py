"""LinearMap: what stands between one population and the next, as a list of synapses and as operations of torch.

Rules, engines, compilers and exporters need four things of a map and nothing else: what it makes of values
(:meth:`LinearMap.apply`; its adjoint and weight gradient are torch's own derivatives of it), what it adds by itself
(:meth:`LinearMap.offset`), which shape it answers to which (:meth:`LinearMap.out_shape`), and its synapses
(:meth:`LinearMap.synapses`). Units are flat; maps of units are ``channels x height x width`` in that order.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..arguments import shown, whole
from ..errors import InputError

Array: TypeAlias = NDArray[Any]

#: Shape of one sample's units: ``(n,)``, or ``(channels, height, width)``.
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Synapses:
    """Synapses of a map, in any order; several may lead from one unit to another.

    Attributes
    ----------
    sources, targets : ``[synapses]`` int64, units before and after
    parameters : ``[synapses]`` int64, where the weight of each stands in the flattened :meth:`LinearMap.values`; None: all 1
    share : float
        Factor of all weights.
    delays : ``[synapses]`` int64, where the delay of each stands in the flattened :meth:`LinearMap.delays`; None: all 0
    """

    sources: Array
    targets: Array
    parameters: Array | None = None
    share: float = 1.0
    delays: Array | None = None


class LinearMap(nn.Module, ABC):
    """Base of the maps; a subclass says what it does in the methods below. Not called by itself: a network runs it."""

    @abstractmethod
    def out_shape(self, shape: Shape, where: str) -> Shape:
        """Shape after the map of units of ``shape``; :class:`InputError` naming ``where`` where they do not fit."""

    @abstractmethod
    def synapses(self, shape: Shape) -> Synapses:
        """The synapses from units of ``shape``."""

    @abstractmethod
    def apply_to(self, x: Tensor, shape: Shape) -> Tensor:
        """``[..., n_out]`` from ``x [..., n_in]``, units of ``shape``: linear, without :meth:`offset`; no delays."""

    def values(self) -> Tensor | None:
        """The weights, differentiable; None where all are 1."""
        return None

    def delays(self) -> Tensor | None:
        """The delays (s), differentiable; None where there are none."""
        return None

    def offset(self, shape: Shape) -> Tensor | None:
        """``[n_out]`` what the map adds to its result by itself (a bias); None where nothing."""
        return None

    def forward(self, *_: Any) -> NoReturn:
        """No step of its own; raises :class:`InputError` that says what runs it."""
        name = type(self).__name__
        raise InputError(
            f"{name}: it is part of a spiking network and is not called by itself, nor in nn.Sequential; put it into one: "
            f"net = hl.Network([..., hl.{name}(...), ..., hl.LIF(n, tau_mem, tau_syn)]), and call net(spikes)"
        )


def as_shape(name: str, value: Any) -> Shape:
    """``value`` as a shape: a whole number, ``(n,)`` or ``(channels, height, width)``; :class:`InputError` otherwise."""
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(sides) not in (1, 3):
        raise InputError(f"{name} = {shown(value)}; allowed: a whole number, or (channels, height, width)")
    return tuple(whole(name, side) for side in sides)


def pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """``value`` as (rows, columns): one whole number for both, or two; :class:`InputError` otherwise."""
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise InputError(f"{name} = {shown(value)}; allowed: a whole number >= {least}, or two")
    rows, columns = (whole(name, side, least) for side in sides)
    return rows, columns


def maps_of(shape: Shape, where: str) -> tuple[int, int, int]:
    """``shape`` if it is ``(channels, height, width)``; :class:`InputError` naming ``where`` otherwise."""
    if len(shape) != 3:
        raise InputError(
            f"{where}: takes maps, (channels, height, width); the units before it are {shape}. "
            "Give the population or input before it such a shape, as in hl.LIF((15, 24, 24), ...)"
        )
    return shape[0], shape[1], shape[2]


def windows(side: int, kernel: int, stride: int, padding: int, dilation: int, count: int) -> tuple[Array, Array, Array]:
    """``(place, offset, unit)`` of every element of ``count`` windows over ``side`` units that lies on a unit."""
    place, offset = np.meshgrid(np.arange(count), np.arange(kernel), indexing="ij")
    unit = place * stride + offset * dilation - padding
    inside = (unit >= 0) & (unit < side)
    return place[inside], offset[inside], unit[inside]


def out_side(side: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Windows that fit on ``side`` units."""
    return (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def size_of(shape: Shape) -> int:
    """Units of ``shape``."""
    return math.prod(shape)
