"""Synapse lists: what an event of one unit reaches, for event-driven simulation of dense and convolutional stages.

A stage's pools are part of its connection: an input event reaches through its pooling windows, and its weight is that of
the kernel divided by the window. So a stage is a list of synapses whatever it is made of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Dense
from .stages import Stage

Array = NDArray[Any]


@dataclass(frozen=True)
class Synapses:
    """Synapses sorted by source: unit j reaches ``targets[starts[j]:starts[j + 1]]``.

    Attributes
    ----------
    starts : ``[n_in + 1]`` int64
    targets : ``[synapses]`` int64, neurons of the stage
    parameters : ``[synapses]`` int64, where each synapse's weight stands in the flattened weight of the connection
    share : float
        What of that weight an event carries: 1, or 1 over the area of the pooling windows.
    """

    starts: Array
    targets: Array
    parameters: Array
    share: float

    @property
    def n_in(self) -> int:
        """Sources."""
        return len(self.starts) - 1

    def transposed(self, n_out: int) -> Synapses:
        """The same synapses sorted by target: what a backward event of each of ``n_out`` neurons reaches."""
        sources = np.repeat(np.arange(self.n_in), np.diff(self.starts))
        order = np.argsort(self.targets, kind="stable")
        return Synapses(_starts(self.targets, n_out), sources[order], self.parameters[order], self.share)

    def weights(self, stage: Stage) -> Array:
        """``[synapses]`` float64: what an event of value 1 adds to each target."""
        flat = stage.connection.weight.detach().double().numpy().reshape(-1)
        return flat[self.parameters] * self.share


def synapses(stage: Stage) -> Synapses:
    """The synapses of ``stage``."""
    if isinstance(stage.connection, Dense):
        targets = np.tile(np.arange(stage.n_out), stage.connection.n_in)
        sources = np.repeat(np.arange(stage.connection.n_in), stage.n_out)
        parameters = targets * stage.connection.n_in + sources
        shape = _pooled_shape(stage)
    else:
        shape = _pooled_shape(stage)
        conv = stage.connection
        sources, targets, parameters = _convolution(shape, stage.out_shape, conv.kernel, conv.padding)
    window = 1
    for pool in stage.pools:
        window *= pool.size
    if window > 1:
        sources, targets, parameters = _through_pools(shape, window, sources, targets, parameters)
    order = np.argsort(sources, kind="stable")
    return Synapses(_starts(sources, stage.n_in), targets[order], parameters[order], 1.0 / window**2)


def _pooled_shape(stage: Stage) -> tuple[int, ...]:
    shape = stage.in_shape
    for pool in stage.pools:
        shape = (shape[0], shape[1] // pool.size, shape[2] // pool.size)
    return shape


@lru_cache(maxsize=8)
def convolution_adjoint(
    source: tuple[int, ...], target: tuple[int, ...], kernel: int, padding: int
) -> tuple[Array, Array, Array]:
    """Synapses of a convolution between maps of these shapes, sorted by target: what its neurons reach backwards.

    ``(starts [neurons + 1], sources, parameters)``: neuron i has ``sources[starts[i]:starts[i + 1]]``, int32; read only.
    """
    sources, targets, parameters = _convolution(source, target, kernel, padding)
    order = np.argsort(targets, kind="stable")
    starts = _starts(targets, math.prod(target))
    return starts, sources[order].astype(np.int32), parameters[order].astype(np.int32)


def _convolution(
    source: tuple[int, ...], target: tuple[int, ...], side: int, padding: int
) -> tuple[Array, Array, Array]:
    """Walk over the kernel: every offset is one weight, at every place of the map."""
    (depth, height, width), (channels, rows, columns) = source, target
    c, o, dy, dx, y, x = np.meshgrid(
        *(np.arange(n) for n in (depth, channels, side, side, rows, columns)), indexing="ij"
    )
    # output (y, x) reads input (y + dy - padding, x + dx - padding)
    row, column = y + dy - padding, x + dx - padding
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    c, o, dy, dx, y, x, row, column = (a[inside] for a in (c, o, dy, dx, y, x, row, column))
    return (
        (c * height + row) * width + column,
        (o * rows + y) * columns + x,
        ((o * depth + c) * side + dy) * side + dx,
    )


def _through_pools(
    pooled: tuple[int, ...], window: int, sources: Array, targets: Array, parameters: Array
) -> tuple[Array, Array, Array]:
    """Every unit of a pooling window reaches what the pooled unit reaches; pools in a row are one of their product."""
    _, height, width = pooled
    channel, rest = np.divmod(sources, height * width)
    row, column = np.divmod(rest, width)
    parts = [
        ((channel * height + row) * window + i) * width * window + column * window + j
        for i in range(window)
        for j in range(window)
    ]
    return np.concatenate(parts), np.tile(targets, len(parts)), np.tile(parameters, len(parts))


def _starts(sorted_by: Array, n: int) -> Array:
    starts = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(sorted_by, minlength=n), out=starts[1:])
    return starts
