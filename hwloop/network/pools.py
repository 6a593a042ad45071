"""Pools: units of a window together, channel by channel; linear, without neurons of their own.

Spike trains of a window are merged (their sum), or merged with a share of 1 over the window's units (their mean). There is
no maximum of spike trains: it would not be linear.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .linear_map import LinearMap, Shape, Synapses, maps_of, out_side, pair, windows


class SumPool2d(LinearMap):
    """Sum over windows of each channel; sizes as of :class:`torch.nn.AvgPool2d`.

    Parameters
    ----------
    kernel : int >= 1, or two for rows and columns
    stride : the same; default: ``kernel``
    padding : int >= 0, or two; at most half the kernel
    """

    def __init__(
        self,
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = pair(f"{name}: kernel", kernel)
        self.stride = self.kernel_size if stride is None else pair(f"{name}: stride", stride)
        self.padding_size = pair(f"{name}: padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding_size, self.kernel_size, strict=True)):
            raise InputError(
                f"{name}: padding = {self.padding_size}; allowed: at most half the kernel {self.kernel_size}"
            )

    @property
    def share(self) -> float:
        """Factor of every unit of a window."""
        return 1.0

    @property
    def merges(self) -> bool:
        """Whether every unit is in one window at most: pooling then only gives units other numbers."""
        return all(s >= k for s, k in zip(self.stride, self.kernel_size, strict=True))

    def out_shape(self, shape: Shape, where: str) -> Shape:
        channels, *sides = maps_of(shape, where)
        sizes = zip(sides, self.kernel_size, self.stride, self.padding_size, strict=True)
        out = tuple(out_side(side, *size) for side, *size in sizes)
        if min(out) < 1:
            raise InputError(
                f"{where}: window {self.kernel_size} on maps of {tuple(sides)}; allowed: larger maps, a smaller one"
            )
        return (channels, *out)

    def synapses(self, shape: Shape) -> Synapses:
        channels, height, width = shape
        _, rows, columns = self.out_shape(shape, type(self).__name__)
        y, _, row = windows(height, self.kernel_size[0], self.stride[0], self.padding_size[0], 1, rows)
        x, _, column = windows(width, self.kernel_size[1], self.stride[1], self.padding_size[1], 1, columns)
        c, v, h = (
            a.reshape(-1) for a in np.meshgrid(np.arange(channels), np.arange(len(y)), np.arange(len(x)), indexing="ij")
        )
        source, target = (c * height + row[v]) * width + column[h], (c * rows + y[v]) * columns + x[h]
        return Synapses(source, target, share=self.share)

    def apply_to(self, x: Tensor, shape: Shape) -> Tensor:
        mean = functional.avg_pool2d(x.reshape(-1, *shape), self.kernel_size, self.stride, self.padding_size)
        area = self.kernel_size[0] * self.kernel_size[1]
        return (mean * (self.share * area)).reshape(*x.shape[:-1], -1)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding_size}"


class AvgPool2d(SumPool2d):
    """Mean over windows of each channel, padding counted as units that are silent; parameters as of :class:`SumPool2d`."""

    @property
    def share(self) -> float:
        """1 over the units of a window."""
        return 1.0 / (self.kernel_size[0] * self.kernel_size[1])
