"""Shapes of a convolution: which outputs an input unit reaches, and with which weight; pools as other names for units.

Units are numbered as torch flattens an image: ``(channel * height + y) * width + x``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from ...errors import InputError
from ..contract import IntArray

#: A number for both axes, or one for the height and one for the width.
Pair: TypeAlias = "int | Sequence[int]"


class Reach(NamedTuple):
    """Outputs that every input pixel reaches: entries ``first[pixel] .. first[pixel + 1]`` of ``position`` and ``tap``.

    ``position`` is ``y * width + x`` in the output, ``tap`` is ``ky * kernel width + kx``.
    """

    first: IntArray
    position: IntArray
    tap: IntArray


@dataclass(frozen=True)
class Geometry:
    """A convolution of an image ``in_shape = (channels, height, width)``, with the meaning of ``torch.nn.Conv2d``.

    Raises :class:`InputError` for numbers out of bounds, channels that ``groups`` does not divide, and a kernel that does
    not fit into the padded image.
    """

    in_shape: tuple[int, int, int]
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            object.__setattr__(self, name, pair(name, getattr(self, name), least))
        object.__setattr__(self, "in_shape", image("in_shape", self.in_shape))
        for name in ("out_channels", "groups"):
            object.__setattr__(self, name, _whole(name, getattr(self, name), 1))
        for name, channels in (("in_shape", self.in_shape[0]), ("out_channels", self.out_channels)):
            if channels % self.groups:
                raise InputError(f"{name}: {channels} channels; allowed: a multiple of groups = {self.groups}")
        sizes = zip(self.in_shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        object.__setattr__(self, "_size", tuple(_outputs(*size) for size in sizes))

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the output."""
        return (self.out_channels, *self._size)  # type: ignore[attr-defined]

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """``(out_channels, in_channels / groups, kernel height, kernel width)``, as torch has it."""
        return (self.out_channels, self.in_shape[0] // self.groups, *self.kernel)

    @property
    def n_in(self) -> int:
        """Units of the input."""
        return self.in_shape[0] * self.in_shape[1] * self.in_shape[2]

    @property
    def n_out(self) -> int:
        """Neurons of the output."""
        return self.out_channels * self.positions

    @property
    def positions(self) -> int:
        """Pixels of the output."""
        _, height, width = self.out_shape
        return height * width

    @property
    def taps(self) -> int:
        """Weights of one neuron."""
        _, channels, height, width = self.weight_shape
        return channels * height * width

    @cached_property
    def reach(self) -> Reach:
        """Outputs that every input pixel reaches."""
        (_, oh, ow), (kh, kw) = self.out_shape, self.kernel
        y, x, ky, kx = (axis.ravel() for axis in np.indices((oh, ow, kh, kw)))
        row = y * self.stride[0] - self.padding[0] + ky * self.dilation[0]
        column = x * self.stride[1] - self.padding[1] + kx * self.dilation[1]
        _, height, width = self.in_shape
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        pixel = (row * width + column)[inside]
        order = np.argsort(pixel, kind="stable")
        first = np.searchsorted(pixel[order], np.arange(height * width + 1))
        return Reach(first.astype(np.int64), (y * ow + x)[inside][order], (ky * kw + kx)[inside][order])

    @cached_property
    def synapses(self) -> tuple[IntArray, IntArray, IntArray]:
        """``(input unit, neuron, index into the flattened weight)`` of every synapse of the unrolled layer."""
        pixels, per_group = self.in_shape[1] * self.in_shape[2], self.in_shape[0] // self.groups
        pixel = np.repeat(np.arange(pixels), np.diff(self.reach.first))
        out, within = np.indices((self.out_channels, per_group))
        channel = out // (self.out_channels // self.groups) * per_group + within
        shape = (self.out_channels, per_group, len(pixel))
        unit = channel[..., None] * pixels + pixel
        neuron = np.broadcast_to(out[..., None] * self.positions + self.reach.position, shape)
        weight = (out * per_group + within)[..., None] * (self.kernel[0] * self.kernel[1]) + self.reach.tap
        return unit.ravel(), neuron.ravel(), weight.ravel()


def pooled_units(
    in_shape: Sequence[int], kernel: Pair, stride: Pair | None = None, padding: Pair = 0
) -> tuple[IntArray, tuple[int, int, int]]:
    """Sum pooling of spike trains as another number for every unit: ``(pooled unit of each unit, pooled shape)``.

    The trains of a window are merged. Arguments as ``torch.nn.AvgPool2d`` (``stride``: that of the window by default);
    a unit in no window has -1: its spikes end there.

    Raises
    ------
    InputError
        Windows that overlap, where a unit would have two numbers: such a pool is a convolution with weights of one.
    """
    shape, window = image("in_shape", in_shape), pair("kernel", kernel, 1)
    step = window if stride is None else pair("stride", stride, 1)
    if step[0] < window[0] or step[1] < window[1]:
        raise InputError(
            f"a pool with kernel {window} and stride {step}: its windows overlap, so that a spike belongs to several; "
            "allowed: stride >= kernel. Use a convolution with weights of one and groups = channels"
        )
    pads = pair("padding", padding, 0)
    if 2 * pads[0] > window[0] or 2 * pads[1] > window[1]:
        raise InputError(f"a pool with padding {pads} and kernel {window}; allowed: padding up to half of the kernel")
    reach = (one := Geometry((1, *shape[1:]), 1, window, step, pads)).reach
    names: IntArray = np.full(shape[1] * shape[2], -1, np.int64)
    reached = np.diff(reach.first) > 0
    names[reached] = reach.position[reach.first[:-1][reached]]
    channel = np.arange(shape[0])[:, None] * one.positions
    return np.where(names < 0, -1, channel + names).ravel(), (shape[0], *one.out_shape[1:])


def pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """``value`` for both axes; :class:`InputError` unless it is one whole number or two, each at least ``least``."""
    numbers = list(value) if isinstance(value, Sequence | torch.Size | np.ndarray) else [value, value]
    if len(numbers) != 2:
        raise InputError(f"{name} = {value!r}; allowed: one whole number, or one for the height and one for the width")
    return _whole(name, numbers[0], least), _whole(name, numbers[1], least)


def image(name: str, value: Sequence[int]) -> tuple[int, int, int]:
    """``(channels, height, width)``, each at least 1; else :class:`InputError`."""
    if len(value) != 3:
        raise InputError(f"{name} = {tuple(value)}; allowed: (channels, height, width)")
    channels, height, width = (_whole(name, number, 1) for number in value)
    return channels, height, width


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} = {value!r}; allowed: whole numbers >= {least}")
    return int(value)


def _outputs(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Output pixels along one axis."""
    span = dilation * (kernel - 1) + 1
    if span > size + 2 * padding:
        raise InputError(
            f"a kernel that spans {span} pixels (kernel {kernel}, dilation {dilation}) on {size} pixels with padding "
            f"{padding}; allowed: up to {size + 2 * padding}. Use a smaller kernel or more padding"
        )
    return (size + 2 * padding - span) // stride + 1
