"""Synapse lists: what an event of one unit reaches, for event-driven simulation of stages of any map.

A stage's pools and factors are part of its connection: an input event reaches through its pooling windows, and its weight is
that of the kernel, over the window where the pool is a mean, times the factors on its way. So a stage is a list of synapses
whatever it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Conv2d, Scale, Sparse
from ...network.composition import Composition
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
    gain : ``[synapses]`` float64
        Product of the factors (``Scale``) on each synapse's way; None: there is none.
    """

    starts: Array
    targets: Array
    parameters: Array
    share: float
    gain: Array | None = None

    @property
    def n_in(self) -> int:
        """Sources."""
        return len(self.starts) - 1

    def transposed(self, n_out: int) -> Synapses:
        """The same synapses sorted by target: what a backward event of each of ``n_out`` neurons reaches."""
        sources = np.repeat(np.arange(self.n_in), np.diff(self.starts))
        order = np.argsort(self.targets, kind="stable")
        gain = None if self.gain is None else self.gain[order]
        return Synapses(_starts(self.targets, n_out), sources[order], self.parameters[order], self.share, gain)

    def weights(self, stage: Stage) -> Array:
        """``[synapses]`` float64: what an event of value 1 adds to each target."""
        flat = stage.connection.weight.detach().double().numpy().reshape(-1)
        found: Array = flat[self.parameters] * self.share
        return found if self.gain is None else found * self.gain


def synapses(stage: Stage) -> Synapses:
    """The synapses of ``stage``."""
    paths = Composition([*stage.before, stage.connection, *stage.after], stage.in_shape, stage.name).paths
    gain: Array | None = None
    parameters = np.zeros(0, np.int64)
    for layer, place in paths.weights:
        if isinstance(layer, Scale):
            factor = layer.factor.detach().double().numpy()[place]
            gain = factor if gain is None else gain * factor
        else:
            parameters = place
    return Synapses(_starts(paths.sources, stage.n_in), paths.targets, parameters, paths.share, gain)


def backward_synapses(connection: Conv2d | Sparse, in_shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Synapses of ``connection`` from units of ``in_shape``, sorted by target: what its neurons reach backwards.

    ``(starts [neurons + 1], sources, parameters)``: neuron i has ``sources[starts[i]:starts[i + 1]]``, int32; read only.
    """
    if isinstance(connection, Conv2d):
        sizes = (connection.kernel_size, connection.stride, connection.padding_size, connection.dilation)
        return _convolution((connection.c_in, connection.c_out), sizes, connection.groups, in_shape)
    return _by_target(connection, in_shape)


@lru_cache(maxsize=8)
def _convolution(
    channels: tuple[int, int], sizes: tuple[tuple[int, int], ...], groups: int, in_shape: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """The same of a convolution of these sizes: the list depends on them alone, and is asked for in every batch."""
    kernel, stride, padding, dilation = sizes
    like = Conv2d(*channels, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _by_target(like, in_shape)


def _by_target(connection: Conv2d | Sparse, in_shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
    found = Composition([connection], in_shape, type(connection).__name__)
    ((_, parameters),) = found.paths.weights
    order = np.argsort(found.paths.targets, kind="stable")
    starts = _starts(found.paths.targets, found.n_out)
    return starts, found.paths.sources[order].astype(np.int32), parameters[order].astype(np.int32)


def _starts(sorted_by: Array, n: int) -> Array:
    starts = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(sorted_by, minlength=n), out=starts[1:])
    return starts
