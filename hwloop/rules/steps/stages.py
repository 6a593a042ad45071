"""Stages of a network that runs in steps: pools and factors, one connection, factors, one population of neurons.

The maps are those of networks in continuous time (:mod:`hwloop.network`). A stage's are one linear map together, and three
functions are all that a rule needs of it: :meth:`Stage.drive` (``W x``), :meth:`Stage.adjoint` (``W^T y``) and
:meth:`Stage.weight_gradient` (``sum y x^T``, summed over all leading dimensions). Leading dimensions are free: ``[batch, n]``,
or ``[batch, steps, n]``. Units are flat; maps are ``channels x height x width`` in that order.

With ``P`` the pools, ``C`` the connection and ``g``, ``h`` the factors (:class:`hwloop.Scale`) before and after it, the map is
``W = h C P g``: a synapse of weight ``w`` from unit j to neuron i acts with ``h_i w g_j``, and ``dL/dw = h_i (dL/dW_ij) g_j``.
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
from ...network import AvgPool2d, Conv2d, Dense, Flatten, Scale, Sparse, SumPool2d
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
    """One population and what drives it. ``name`` is how errors call its connection.

    ``before``: pools and factors, first to last; ``after``: factors of what the connection gives.
    """

    name: str
    before: tuple[SumPool2d | Scale, ...]
    connection: Connection
    after: tuple[Scale, ...]
    neurons: Neurons
    in_shape: Shape
    out_shape: Shape

    @property
    def pools(self) -> tuple[SumPool2d, ...]:
        """The pools, first to last."""
        return tuple(layer for layer in self.before if isinstance(layer, SumPool2d))

    @property
    def scaled(self) -> bool:
        """Whether a factor stands before or after the connection."""
        return bool(self.after) or len(self.pools) < len(self.before)

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
        """The same without what stands before the connection, on units that are pooled (and scaled) already."""
        return replace(self, before=(), in_shape=self.pooled_shape) if self.before else self

    @property
    def pooled_shape(self) -> Shape:
        """Shape of the units that the connection sees."""
        shape = self.in_shape
        for pool in self.pools:
            shape = _pooled(self.name, shape, pool)
        return shape

    @property
    def places(self) -> tuple[Tensor, float]:
        """For every unit, number ``[n_in]`` of the pooled unit that it is part of; its share of that, without factors."""
        shape, share = self.pooled_shape, 1.0
        place = torch.arange(math.prod(shape)).reshape(shape)
        for pool in reversed(self.pools):
            rows, columns = pool.kernel_size
            place = place.repeat_interleave(columns, -1).repeat_interleave(rows, -2)
            share *= pool.share
        return place.reshape(-1), share

    @property
    def gain(self) -> Tensor | None:
        """``[n_in]`` product of the factors on every unit's way to the connection, in the weights' dtype; None: no factor."""
        if len(self.pools) == len(self.before):
            return None
        gain = self.connection.weight.new_ones(self.pooled_shape, requires_grad=False)
        for layer in reversed(self.before):
            if isinstance(layer, Scale):
                gain = gain * layer.factor.to(gain).reshape(gain.shape)
            else:
                rows, columns = layer.kernel_size
                gain = gain.repeat_interleave(columns, -1).repeat_interleave(rows, -2)
        return gain.reshape(-1)

    @property
    def gain_after(self) -> Tensor | None:
        """``[n_out]`` product of the factors after the connection, in the weights' dtype; None: no factor."""
        if not self.after:
            return None
        gain = self.after[0].factor.to(self.connection.weight)
        for layer in self.after[1:]:
            gain = gain * layer.factor.to(gain)
        return gain

    def pooled(self, x: Tensor) -> Tensor:
        """``x [..., n_in]`` after pools and factors, as the connection sees it, flat."""
        if not self.before:
            return x
        shape = self.in_shape
        for layer in self.before:
            if isinstance(layer, Scale):
                x = x * layer.factor.to(x)
                continue
            rows, columns = layer.kernel_size
            maps = mean_pooled(x.reshape(-1, *shape), rows, columns)
            maps = maps if isinstance(layer, AvgPool2d) else maps * (layer.share * rows * columns)
            x, shape = maps.reshape(*x.shape[:-1], -1), tuple(maps.shape[1:])
        return x

    def drive(self, x: Tensor) -> Tensor:
        """``W x``: ``[..., n_out]`` from ``x [..., n_in]``."""
        return self._scaled_after(self.connection.apply_to(self.pooled(x), self.pooled_shape))

    def adjoint(self, y: Tensor) -> Tensor:
        """``W^T y``: ``[..., n_in]`` from ``y [..., n_out]``."""
        back = adjoint(self.connection, self._scaled_after(y), self.pooled_shape, self.out_shape)
        return self._unpooled(back) if self.before else back

    def weight_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """``sum y x^T`` over all leading dimensions, of the weight's shape; ``x`` before pooling."""
        y = self._scaled_after(y)
        return weight_gradient(self.connection, self.pooled(x), y, self.pooled_shape, self.out_shape)

    def _scaled_after(self, y: Tensor) -> Tensor:
        gain = self.gain_after
        return y if gain is None else y * gain.to(y)

    def _unpooled(self, y: Tensor) -> Tensor:
        shape = self.pooled_shape
        for layer in reversed(self.before):
            if isinstance(layer, Scale):
                y = y * layer.factor.to(y)
                continue
            rows, columns = layer.kernel_size
            maps = y.reshape(-1, *shape) * layer.share
            wide = maps[:, :, :, None, :, None].expand(-1, -1, -1, rows, -1, columns)
            shape = (shape[0], rows * shape[1], columns * shape[2])
            y = wide.reshape(*y.shape[:-1], -1)
        return y


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
    before: list[SumPool2d | Scale] = []
    after: list[Scale] = []
    connection: Connection | None = None
    name, shape = "", in_shape  # of the units so far, from population to population
    units = in_shape
    for k, layer in enumerate(layers):
        where = f"layer {k} ({type(layer).__name__})"
        if isinstance(layer, Flatten):
            continue  # units are flat in any case
        if isinstance(layer, Scale):
            _check_scale(layer, units, where)
            (before if connection is None else after).append(layer)
        elif isinstance(layer, SumPool2d) and connection is None:
            before.append(layer)
            units = _pooled(where, units, layer)
        elif isinstance(layer, Dense | Conv2d | Sparse) and connection is None:
            connection, name = layer, where
            units = _out_shape(where, units, connection)
        elif isinstance(layer, Neurons) and connection is not None:
            layer.place(where, units)
            stages.append(Stage(name, tuple(before), connection, tuple(after), layer, shape, units))
            before, after, connection, shape = [], [], None, units
        else:
            wanted = "neurons" if connection is not None else "AvgPool2d, SumPool2d, Scale, Dense, Conv2d or Sparse"
            raise InputError(
                f"{where}: expected {wanted} here (a stage is pools and Scales, one connection, Scales, neurons)"
            )
    if connection is not None or before or not stages:
        raise InputError("the layers end without neurons; a network's last layer is a population of neurons")
    return stages


def _check_scale(scale: Scale, units: Shape, where: str) -> None:
    """Refuse a Scale of another size, or one that is trained: rules in steps have no gradient of a factor."""
    scale.out_shape(units, where)
    if scale.factor.requires_grad:
        raise InputError(
            f"{where}: a trained factor in a network that runs in steps, whose rules train weights and biases alone; give its "
            f"values: hl.Scale({scale.n}, factor.detach()), and train the weights beside it"
        )


def _out_shape(where: str, units: Shape, connection: Connection) -> Shape:
    """Shape after ``connection``; :class:`InputError` where it does not fit, or has a delay or a bias."""
    kind = type(connection).__name__
    if connection.delays() is not None:
        raise InputError(f"{where}: a delay in a network that runs in steps; build {kind} without delay")
    if connection.bias is not None:
        raise InputError(
            f"{where}: a bias in a network that runs in steps belongs to the neurons; build {kind} without bias"
        )
    return connection.out_shape(units, where)
