"""Stages of a network that runs in steps: pooling, one connection, one population of neurons.

A stage's connection is a linear map, and three functions are all that a rule needs of it: :meth:`Stage.drive` (``W x``),
:meth:`Stage.adjoint` (``W^T y``) and :meth:`Stage.weight_gradient` (``sum y x^T``, summed over all leading dimensions).
Leading dimensions are free: ``[batch, n]``, or ``[batch, steps, n]``. Units are flat; maps are ``channels x height x width``
in that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from ...arguments import whole
from ...errors import InputError
from ...network import Dense
from .step_neurons import Neurons

#: Shape of one sample's units: ``(n,)``, or ``(channels, height, width)``.
Shape = tuple[int, ...]


class Conv2d(nn.Module):
    """Convolution with stride 1 from ``c_in`` to ``c_out`` channels, without bias (a bias belongs to the neurons).

    Parameters
    ----------
    c_in, c_out, kernel : int, >= 1
    padding : int, >= 0
    generator : torch.Generator, optional
        Source of the initial weights, normal with mean 0 and deviation ``1 / sqrt(c_in kernel^2)``.

    Attributes
    ----------
    weight : nn.Parameter, ``[c_out, c_in, kernel, kernel]``
    """

    c_in: int
    c_out: int
    kernel: int
    padding: int

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, padding: int = 0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("c_in", c_in, 1),
            ("c_out", c_out, 1),
            ("kernel", kernel, 1),
            ("padding", padding, 0),
        ):
            setattr(self, name, whole(f"Conv2d: {name}", value, least))
        self.weight = nn.Parameter(torch.empty(self.c_out, self.c_in, self.kernel, self.kernel))
        self.init_normal_(0.0, 1.0 / math.sqrt(self.c_in * self.kernel**2), generator)

    @torch.no_grad()
    def init_normal_(self, mean: float, std: float, generator: torch.Generator | None = None) -> Conv2d:
        """Draw all weights anew from N(mean, std^2); returns the layer."""
        self.weight.normal_(mean, std, generator=generator)
        return self

    def extra_repr(self) -> str:
        return f"{self.c_in}, {self.c_out}, kernel={self.kernel}, padding={self.padding}"


class AvgPool(nn.Module):
    """Mean over ``size x size`` units of a channel: linear, without neurons of its own."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = whole("AvgPool: size", size, 2)

    def extra_repr(self) -> str:
        return str(self.size)


@dataclass(frozen=True)
class Stage:
    """One population and what drives it. ``name`` is how errors call its connection."""

    name: str
    pools: tuple[AvgPool, ...]
    connection: Dense | Conv2d
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
        """Inputs of one neuron, after pooling."""
        conv = self.connection
        return conv.n_in if isinstance(conv, Dense) else conv.c_in * conv.kernel**2

    @property
    def bare(self) -> Stage:
        """The same connection without its pools, on units that are pooled already."""
        return replace(self, pools=(), in_shape=self._conv_in) if self.pools else self

    @property
    def places(self) -> tuple[Tensor, float]:
        """For every unit, number ``[n_in]`` of the pooled unit that it is part of; its share of that."""
        place, share = torch.arange(math.prod(self._conv_in)).reshape(self._conv_in), 1.0
        for pool in reversed(self.pools):
            place = place.repeat_interleave(pool.size, -1).repeat_interleave(pool.size, -2)
            share /= pool.size**2
        return place.reshape(-1), share

    def pooled(self, x: Tensor) -> Tensor:
        """``x [..., n_in]`` after the pools, flat."""
        if not self.pools:
            return x
        maps = x.reshape(-1, *self.in_shape)
        for pool in self.pools:
            maps = _mean_pooled(maps, pool.size)
        return maps.reshape(*x.shape[:-1], -1)

    def drive(self, x: Tensor) -> Tensor:
        """``W x``: ``[..., n_out]`` from ``x [..., n_in]``."""
        x, conv = self.pooled(x), self.connection
        if isinstance(conv, Dense):
            return x @ conv.weight.t()
        maps = functional.conv2d(x.reshape(-1, *self._conv_in), conv.weight, padding=conv.padding)
        return maps.reshape(*x.shape[:-1], -1)

    def adjoint(self, y: Tensor) -> Tensor:
        """``W^T y``: ``[..., n_in]`` from ``y [..., n_out]``."""
        conv = self.connection
        if isinstance(conv, Dense):
            back = y @ conv.weight
        else:
            maps = functional.conv_transpose2d(y.reshape(-1, *self.out_shape), conv.weight, padding=conv.padding)
            back = maps.reshape(*y.shape[:-1], -1)
        return self._unpooled(back) if self.pools else back

    def weight_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """``sum y x^T`` over all leading dimensions, of the weight's shape; ``x`` before pooling."""
        x, conv = self.pooled(x), self.connection
        if isinstance(conv, Dense):
            return y.reshape(-1, y.shape[-1]).t() @ x.reshape(-1, x.shape[-1])
        gradient: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            x.reshape(-1, *self._conv_in), list(conv.weight.shape), y.reshape(-1, *self.out_shape), padding=conv.padding
        )
        return gradient

    @property
    def _conv_in(self) -> Shape:
        shape = self.in_shape
        for pool in self.pools:
            shape = pooled_shape(self.name, shape, pool)
        return shape

    def _unpooled(self, y: Tensor) -> Tensor:
        maps = y.reshape(-1, *self._conv_in)
        for pool in reversed(self.pools):
            maps, size = maps / pool.size**2, pool.size
            wide = maps[:, :, :, None, :, None].expand(-1, -1, -1, size, -1, size)
            maps = wide.reshape(*maps.shape[:2], size * maps.shape[2], size * maps.shape[3])
        return maps.reshape(*y.shape[:-1], -1)


def _mean_pooled(maps: Tensor, size: int) -> Tensor:
    """Mean over ``size x size`` of ``maps [batch, channels, height, width]``; sums of slices are 4 times avg_pool2d."""
    rows = sum((maps[..., k::size, :] for k in range(1, size)), maps[..., ::size, :])
    return sum((rows[..., k::size] for k in range(1, size)), rows[..., ::size]) / size**2


def pooled_shape(where: str, shape: Shape, pool: AvgPool) -> Shape:
    """Shape after ``pool``; :class:`InputError` where it does not divide."""
    if len(shape) != 3 or shape[1] % pool.size or shape[2] % pool.size:
        raise InputError(f"{where}: AvgPool({pool.size}) of units {shape}; allowed: maps whose sides it divides")
    return (shape[0], shape[1] // pool.size, shape[2] // pool.size)


def build_stages(layers: Sequence[nn.Module], in_shape: Shape) -> list[Stage]:
    """Stages of ``layers`` (pools, a Dense or Conv2d, neurons, ...); :class:`InputError` where they do not fit."""
    stages: list[Stage] = []
    pools: list[AvgPool] = []
    connection: Dense | Conv2d | None = None
    name, shape = "", in_shape
    for k, layer in enumerate(layers):
        where = f"layer {k} ({type(layer).__name__})"
        if isinstance(layer, AvgPool) and connection is None:
            pools.append(layer)
        elif isinstance(layer, Dense | Conv2d) and connection is None:
            connection, name = layer, where
        elif isinstance(layer, Neurons) and connection is not None:
            out = _out_shape(name, shape, pools, connection)
            layer.place(where, out)
            stages.append(Stage(name, tuple(pools), connection, layer, shape, out))
            pools, connection, shape = [], None, out
        else:
            wanted = "neurons" if connection is not None else "AvgPool, Dense or Conv2d"
            raise InputError(f"{where}: expected {wanted} here (a stage is pools, one connection, neurons)")
    if connection is not None or pools or not stages:
        raise InputError("the layers end without neurons; a network's last layer is a population of neurons")
    return stages


def _out_shape(where: str, shape: Shape, pools: Sequence[AvgPool], connection: Dense | Conv2d) -> Shape:
    for pool in pools:
        shape = pooled_shape(where, shape, pool)
    if isinstance(connection, Dense):
        if connection.delay is not None:
            raise InputError(f"{where}: a delay in a network that runs in steps; build Dense without delay")
        if connection.n_in != math.prod(shape):
            raise InputError(
                f"{where}: takes {connection.n_in} inputs, the units before it are {shape}; "
                f"build Dense({math.prod(shape)}, ...)"
            )
        return (connection.n_out,)
    if len(shape) != 3:
        raise InputError(
            f"{where}: takes {connection.c_in} channels, the units before it are {shape}; allowed: maps, (channels, height, width)"
        )
    if connection.c_in != shape[0]:
        raise InputError(
            f"{where}: takes {connection.c_in} channels, the units before it are {shape}; build Conv2d({shape[0]}, ...)"
        )
    sides = [side + 2 * connection.padding - connection.kernel + 1 for side in shape[1:]]
    if min(sides) < 1:
        raise InputError(f"{where}: kernel {connection.kernel} on maps of {shape[1:]}; give it larger maps or padding")
    return (connection.c_out, *sides)
