"""The specification of both graphs in plain NumPy, tick by tick from the numbered rules in :mod:`.graph`. Slow by intent.

All samples of a batch move together, each from rest; nothing passes from one to another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .graph import (
    DECAY_BITS,
    DECAY_UNITY,
    MAX_STATE,
    STATE_SHIFT,
    Array,
    FixedGraph,
    FixedLayer,
    FloatGraph,
    FloatLayer,
    Synapses,
)

_Layer = TypeVar("_Layer", FixedLayer, FloatLayer)


def run_fixed(graph: FixedGraph, raster: Array) -> list[Array]:
    """Spikes ``[batch, ticks, n]`` bool of every layer for input spikes ``raster [batch, ticks, n_in]``, non-zero = spike."""
    return _through(graph.layers, raster, _fixed_layer)


def run_float(graph: FloatGraph, raster: Array) -> list[Array]:
    """The same for a floating-point graph."""
    return _through(graph.layers, raster, _float_layer)


def _through(layers: tuple[_Layer, ...], raster: Array, run: Callable[[_Layer, Array], Array]) -> list[Array]:
    outputs, current = [], raster != 0
    for layer in layers:
        current = run(layer, current)
        outputs.append(current)
    return outputs


def _fixed_layer(layer: FixedLayer, spikes: Array) -> Array:
    batch, ticks, _ = spikes.shape
    u, v = np.zeros((batch, layer.n), np.int32), np.zeros((batch, layer.n), np.int32)
    bias, threshold = layer.bias, np.int32(layer.vth << STATE_SHIFT)
    forward = _FixedDense(layer.synapses, batch)
    back = None if layer.recurrent is None else _FixedDense(layer.recurrent, batch)
    out = np.zeros((batch, ticks, layer.n), dtype=bool)
    for n in range(ticks):
        arrived = forward.send() if back is None else forward.send() + back.send()
        u = _wrapped(_decayed(u, DECAY_UNITY - (layer.du + 1)) + (arrived << STATE_SHIFT))
        v = np.clip(_decayed(v, DECAY_UNITY - layer.dv) + u + bias, 1 - MAX_STATE, MAX_STATE - 1)
        out[:, n] = v > threshold
        v[out[:, n]] = 0
        forward.accumulate(spikes[:, n])
        if back is not None:
            back.accumulate(out[:, n])
    return out


def _decayed(x: Array, factor: int) -> Array:
    """``sgn(x) ((|x| factor) >> 12)`` in int32; the product needs 64 bits."""
    wide = x.astype(np.int64)
    result: Array = (np.sign(wide) * ((np.abs(wide) * factor) >> DECAY_BITS)).astype(np.int32)
    return result


def _wrapped(u: Array) -> Array:
    once = np.where(u > MAX_STATE, u - np.int32(2 * MAX_STATE), u)
    return np.where(once <= -MAX_STATE, u + np.int32(2 * MAX_STATE), once)


class _FixedDense:
    """Rules 1 to 3: what was accumulated, ``[delay, batch, n_out]`` int32, first what is sent next."""

    def __init__(self, synapses: Synapses, batch: int) -> None:
        self.exponent, weight = synapses.exponent, synapses.effective()
        delay = np.zeros_like(weight) if synapses.delay is None else synapses.delay
        # int64 sums and a conversion to int32 after the shift, as NumPy and Lava's ports have it
        self.weights = [np.where(delay == d, weight, 0).astype(np.int64) for d in range(int(delay.max()) + 1)]
        self.buffer = np.zeros((len(self.weights), batch, weight.shape[0]), np.int32)

    def send(self) -> Array:
        """What arrives now."""
        sent = self.buffer[0].copy()
        self.buffer = np.roll(self.buffer, -1, axis=0)
        self.buffer[-1] = 0
        return sent

    def accumulate(self, spikes: Array) -> None:
        """Add the spikes ``[batch, n_in]`` of this tick."""
        for d, weight in enumerate(self.weights):
            total = spikes.astype(np.int64) @ weight.T
            shifted = total << self.exponent if self.exponent > 0 else total >> -self.exponent
            self.buffer[d] += shifted.astype(np.int32)


def _float_layer(layer: FloatLayer, spikes: Array) -> Array:
    batch, ticks, _ = spikes.shape
    u, v, end = np.zeros((batch, layer.n)), np.zeros((batch, layer.n)), np.full((batch, layer.n), -1)
    delay = np.zeros(layer.weight.shape, np.int32) if layer.delay is None else layer.delay
    weights = [np.where(delay == d, layer.weight, 0.0) for d in range(int(delay.max()) + 1)]
    buffer = np.zeros((len(weights), batch, layer.n))
    out = np.zeros((batch, ticks, layer.n), dtype=bool)
    back = np.zeros((batch, layer.n))
    for n in range(ticks):
        u = u * (1 - layer.du) + (buffer[0] + back)
        free = end < n
        v = np.where(free, v * (1 - layer.dv) + (u + layer.bias), v)
        out[:, n] = v > layer.vth
        v[out[:, n]] = 0.0
        if layer.refractory:
            end[out[:, n]] = n + layer.refractory
        buffer = np.roll(buffer, -1, axis=0)
        buffer[-1] = 0.0
        for sample in np.flatnonzero(spikes[:, n].any(1)):
            for d, weight in enumerate(weights):
                buffer[d, sample] += weight[:, spikes[sample, n]].sum(axis=1)
        if layer.recurrent is not None:
            back = out[:, n].astype(np.float64) @ layer.recurrent.T
    return out
