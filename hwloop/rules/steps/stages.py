"""Stages of a network that runs in steps: pooling, one connection, one population of neurons.

The maps are those of networks in continuous time (:mod:`hwloop.network`). A stage's are one linear map together, and three
functions are all that a rule needs of it: :meth:`Stage.drive` (``W x``), :meth:`Stage.adjoint` (``W^T y``) and
:meth:`Stage.weight_gradient` (``sum y x^T``, summed over all leading dimensions). Leading dimensions are free: ``[batch, n]``,
or ``[batch, steps, n]``. Units are flat; maps are ``channels x height x width`` in that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ...arguments import whole
from ...errors import InputError
from ...network import AvgPool2d, Conv2d, Dense, Flatten, Sparse, SumPool2d
from .connections import adjoint, mean_pooled, weight_gradient
from .step_neurons import Neurons

#: Shape of one sample's units: ``(n,)``, or ``(channels, height, width)``.
Shape: TypeAlias = tuple[int, ...]
#: What carries the weights of a stage.
Connection: TypeAlias = Dense | Conv2d | Sparse


class AvgPool(AvgPool2d):
    """Mean over ``size x size`` units of a channel: :class:`hwloop.AvgPool2d` of windows side by side."""

    def __init__(self, size: int) -> None:
        side = whole("AvgPool: size", size, 2)
        super().__init__(side)
        self.size = side

    def extra_repr(self) -> str:
        return str(self.size)


@dataclass(frozen=True)
class Stage:
    """One population and what drives it. ``name`` is how errors call its connection."""

    name: str
    pools: tuple[SumPool2d, ...]
    connection: Connection
    neurons: Neurons
    in_shape: Shape
    out_shape: Shape

    @property
    def n_in(self) -> int:
        """Units that drive it, before pooling."""
        return math.prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Its neurons."""
        return math.prod(self.out_shape)

    @property
    def fan_in(self) -> int:
        """Inputs of the neuron that has most, after pooling, padding counted."""
        of = self.connection
        if isinstance(of, Conv2d):
            return of.c_in // of.groups * math.prod(of.kernel_size)
        return of.n_in if isinstance(of, Dense) else int(torch.bincount(of.targets, minlength=1).max())

    @property
    def bare(self) -> Stage:
        """The same connection without its pools, on units that are pooled already."""
        return replace(self, pools=(), in_shape=self.pooled_shape) if self.pools else self

    @property
    def pooled_shape(self) -> Shape:
        """Shape of the units that the connection sees."""
        shape = self.in_shape
        for pool in self.pools:
            shape = _pooled(self.name, shape, pool)
        return shape

    @property
    def places(self) -> tuple[Tensor, float]:
        """For every unit, number ``[n_in]`` of the pooled unit that it is part of; its share of that."""
        shape, share = self.pooled_shape, 1.0
        place = torch.arange(math.prod(shape)).reshape(shape)
        for pool in reversed(self.pools):
            rows, columns = pool.kernel_size
            place = place.repeat_interleave(columns, -1).repeat_interleave(rows, -2)
            share *= pool.share
        return place.reshape(-1), share

    def pooled(self, x: Tensor) -> Tensor:
        """``x [..., n_in]`` after the pools, flat."""
        if not self.pools:
            return x
        maps = x.reshape(-1, *self.in_shape)
        for pool in self.pools:
            rows, columns = pool.kernel_size
            maps = mean_pooled(maps, rows, columns)
            maps = maps if isinstance(pool, AvgPool2d) else maps * (pool.share * rows * columns)
        return maps.reshape(*x.shape[:-1], -1)

    def drive(self, x: Tensor) -> Tensor:
        """``W x``: ``[..., n_out]`` from ``x [..., n_in]``."""
        return self.connection.apply_to(self.pooled(x), self.pooled_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        """``W^T y``: ``[..., n_in]`` from ``y [..., n_out]``."""
        back = adjoint(self.connection, y, self.pooled_shape, self.out_shape)
        return self._unpooled(back) if self.pools else back

    def weight_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """``sum y x^T`` over all leading dimensions, of the weight's shape; ``x`` before pooling."""
        return weight_gradient(self.connection, self.pooled(x), y, self.pooled_shape, self.out_shape)

    def _unpooled(self, y: Tensor) -> Tensor:
        maps = y.reshape(-1, *self.pooled_shape)
        for pool in reversed(self.pools):
            rows, columns = pool.kernel_size
            maps = maps * pool.share
            wide = maps[:, :, :, None, :, None].expand(-1, -1, -1, rows, -1, columns)
            maps = wide.reshape(*maps.shape[:2], rows * maps.shape[2], columns * maps.shape[3])
        return maps.reshape(*y.shape[:-1], -1)


def _pooled(where: str, shape: Shape, pool: SumPool2d) -> Shape:
    """Shape after ``pool``; :class:`InputError` where its windows do not lie side by side over all of the map."""
    rows, columns = pool.kernel_size
    beside = pool.stride == pool.kernel_size and pool.padding_size == (0, 0)
    if len(shape) != 3 or not beside or shape[1] % rows or shape[2] % columns:
        raise InputError(
            f"{where}: {type(pool).__name__}({pool.extra_repr()}) of units {shape}; allowed in steps: windows side by side on maps "
            "whose sides they divide"
        )
    return (shape[0], shape[1] // rows, shape[2] // columns)


def build_stages(layers: Sequence[nn.Module], in_shape: Shape) -> list[Stage]:
    """Stages of ``layers`` (pools, one connection, neurons, ...); :class:`InputError` where they do not fit."""
    stages: list[Stage] = []
    pools: list[SumPool2d] = []
    connection: Connection | None = None
    name, shape = "", in_shape
    for k, layer in enumerate(layers):
        where = f"layer {k} ({type(layer).__name__})"
        if isinstance(layer, Flatten):
            continue  # units are flat in any case
        if isinstance(layer, SumPool2d) and connection is None:
            pools.append(layer)
        elif isinstance(layer, Dense | Conv2d | Sparse) and connection is None:
            connection, name = layer, where
        elif isinstance(layer, Neurons) and connection is not None:
            out = _out_shape(name, shape, pools, connection)
            layer.place(where, out)
            stages.append(Stage(name, tuple(pools), connection, layer, shape, out))
            pools, connection, shape = [], None, out
        else:
            wanted = "neurons" if connection is not None else "AvgPool2d, SumPool2d, Dense, Conv2d or Sparse"
            raise InputError(f"{where}: expected {wanted} here (a stage is pools, one connection, neurons)")
    if connection is not None or pools or not stages:
        raise InputError("the layers end without neurons; a network's last layer is a population of neurons")
    return stages


def _out_shape(where: str, shape: Shape, pools: Sequence[SumPool2d], connection: Connection) -> Shape:
    kind = type(connection).__name__
    for pool in pools:
        shape = _pooled(where, shape, pool)
    if connection.delays() is not None:
        raise InputError(f"{where}: a delay in a network that runs in steps; build {kind} without delay")
    if connection.bias is not None:
        raise InputError(
            f"{where}: a bias in a network that runs in steps belongs to the neurons; build {kind} without bias"
        )
    return connection.out_shape(shape, where)
