"""Conv2d: every output position sees a window of the maps before it, through the same weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..arguments import whole
from ..errors import InputError
from .linear_map import LinearMap, Shape, Synapses, maps_of, out_side, pair, windows


class Conv2d(LinearMap):
    """Convolution from ``c_in`` to ``c_out`` channels; sizes as of :class:`torch.nn.Conv2d`.

    Parameters
    ----------
    c_in, c_out : int, >= 1
    kernel, stride, dilation : int >= 1, or two for rows and columns
    padding : int >= 0, or two
    groups : int, divides ``c_in`` and ``c_out``
    bias : bool
        A constant current per channel, trained.
    generator : torch.Generator, optional
        Source of the initial weights, normal with mean 0 and deviation ``1 / sqrt(c_in / groups * kernel^2)``.

    Attributes
    ----------
    weight : nn.Parameter, ``[c_out, c_in / groups, kernel, kernel]``
    bias : nn.Parameter ``[c_out]``, or None
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.c_in, self.c_out = whole("Conv2d: c_in", c_in), whole("Conv2d: c_out", c_out)
        self.kernel_size, self.stride = pair("Conv2d: kernel", kernel), pair("Conv2d: stride", stride)
        self.padding_size, self.dilation = pair("Conv2d: padding", padding, 0), pair("Conv2d: dilation", dilation)
        self.groups = whole("Conv2d: groups", groups)
        if self.c_in % self.groups or self.c_out % self.groups:
            raise InputError(
                f"Conv2d: groups = {self.groups}; allowed: a number that divides c_in = {self.c_in} and c_out = {self.c_out}"
            )
        self.weight = nn.Parameter(torch.empty(self.c_out, self.c_in // self.groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.zeros(self.c_out)) if bias else None
        self.init_normal_(0.0, 1.0 / math.sqrt(self.weight[0].numel()), generator)

    @torch.no_grad()
    def init_normal_(self, mean: float, std: float, generator: torch.Generator | None = None) -> Conv2d:
        """Draw all weights anew from N(mean, std^2); returns the layer."""
        self.weight.normal_(mean, std, generator=generator)
        return self

    def out_shape(self, shape: Shape, where: str) -> Shape:
        channels, *sides = maps_of(shape, where)
        if channels != self.c_in:
            raise InputError(
                f"{where}: takes {self.c_in} channels, the units before it are {shape}; build Conv2d({channels}, ...)"
            )
        out = tuple(
            out_side(side, *sizes)
            for side, *sizes in zip(sides, self.kernel_size, self.stride, self.padding_size, self.dilation, strict=True)
        )
        if min(out) < 1:
            raise InputError(
                f"{where}: kernel {self.kernel_size} on maps of {tuple(sides)}; give it larger maps or padding"
            )
        return (self.c_out, *out)

    def synapses(self, shape: Shape) -> Synapses:
        """Every offset of the kernel is one weight, at every place of the map."""
        _, height, width = shape
        _, rows, columns = self.out_shape(shape, "Conv2d")
        (kh, kw), per_group, group_out = self.kernel_size, self.c_in // self.groups, self.c_out // self.groups
        y, dy, row = windows(height, kh, self.stride[0], self.padding_size[0], self.dilation[0], rows)
        x, dx, column = windows(width, kw, self.stride[1], self.padding_size[1], self.dilation[1], columns)
        o, c, v, h = (
            a.reshape(-1)
            for a in np.meshgrid(
                np.arange(self.c_out), np.arange(per_group), np.arange(len(y)), np.arange(len(x)), indexing="ij"
            )
        )
        source = ((o // group_out) * per_group + c) * height * width + row[v] * width + column[h]
        target = (o * rows + y[v]) * columns + x[h]
        return Synapses(source, target, ((o * per_group + c) * kh + dy[v]) * kw + dx[h])

    def apply_to(self, x: Tensor, shape: Shape) -> Tensor:
        maps = functional.conv2d(
            x.reshape(-1, *shape), self.weight, None, self.stride, self.padding_size, self.dilation, self.groups
        )
        return maps.reshape(*x.shape[:-1], -1)

    def values(self) -> Tensor:
        return self.weight

    def offset(self, shape: Shape) -> Tensor | None:
        if self.bias is None:
            return None
        _, rows, columns = self.out_shape(shape, "Conv2d")
        return self.bias.repeat_interleave(rows * columns)

    def extra_repr(self) -> str:
        text = f"{self.c_in}, {self.c_out}, kernel={_short(self.kernel_size)}"
        for name, value, usual in (
            ("stride", self.stride, (1, 1)),
            ("padding", self.padding_size, (0, 0)),
            ("dilation", self.dilation, (1, 1)),
        ):
            text += "" if value == usual else f", {name}={_short(value)}"
        return (
            text
            + ("" if self.groups == 1 else f", groups={self.groups}")
            + ("" if self.bias is None else ", bias=True")
        )


def _short(sides: tuple[int, int]) -> Any:
    return sides[0] if sides[0] == sides[1] else sides
