"""The specification of both graphs in plain NumPy, tick by tick from the numbered rules in :mod:`.graph`. Slow by intent.

All samples of a batch move together, each from rest; nothing passes from one to another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import FixedGraph, FixedLayer, FloatGraph, FloatLayer
from .layers import Block
from .registers import DECAY_BITS, DECAY_UNITY, MAX_STATE, STATE_SHIFT, Array
from .synapses import Synapses


def run_fixed(graph: FixedGraph, raster: Array) -> list[Array]:
    """Spikes ``[batch, ticks, n]`` bool of every layer for input spikes ``raster [batch, ticks, n_in]``, non-zero = spike."""
    return _run(graph, raster, _FixedPopulation)


def run_float(graph: FloatGraph, raster: Array) -> list[Array]:
    """The same for a floating-point graph."""
    return _run(graph, raster, _FloatPopulation)


def _run(graph: FixedGraph | FloatGraph, raster: Array, kind: Any) -> list[Array]:
    batch, ticks, _ = raster.shape
    populations = [kind(layer, graph.sources(k), k, batch) for k, layer in enumerate(graph.layers)]
    outputs = [np.zeros((batch, ticks, n), dtype=bool) for n in graph.sizes]
    for n in range(ticks):
        for out, population in zip(outputs, populations, strict=True):
            out[:, n] = population.step(n)
        # the last is the input: layer -1
        sent = [*(out[:, n] for out in outputs), raster[:, n] != 0]
        for population in populations:
            population.accumulate(sent)
    return outputs


class _FixedPopulation:
    """State of one layer, and the Denses into it."""

    def __init__(self, layer: FixedLayer, sources: tuple[Block, ...], index: int, batch: int) -> None:
        self.layer = layer
        start = [np.zeros(layer.n, np.int32) if s is None else s for s in (layer.u_start, layer.v_start)]
        self.u, self.v = (np.tile(value, (batch, 1)) for value in start)
        self.inputs: list[tuple[Block, _FixedDense]] = []
        first = 0
        for block in sources:
            self.inputs.append((block, _FixedDense(layer.synapses.columns(first, block.size), batch)))
            first += block.size
        if layer.recurrent is not None:
            self.inputs.append((Block(index, 0, layer.n), _FixedDense(layer.recurrent, batch)))

    def step(self, n: int) -> Array:
        """Spikes ``[batch, n]`` of the next tick."""
        layer, arrived = self.layer, np.zeros_like(self.u)
        for _, dense in self.inputs:
            arrived = arrived + dense.send()
        self.u = _wrapped(_decayed(self.u, DECAY_UNITY - (layer.du + 1)) + (arrived << STATE_SHIFT))
        self.v = np.clip(_decayed(self.v, DECAY_UNITY - layer.dv) + self.u + layer.bias, 1 - MAX_STATE, MAX_STATE - 1)
        spikes: Array = self.v > np.int32(layer.vth << STATE_SHIFT)
        self.v[spikes] = 0
        return spikes

    def accumulate(self, sent: list[Array]) -> None:
        """Take what every layer, and last the input, sent in this tick."""
        for block, dense in self.inputs:
            dense.accumulate(sent[block.source][:, block.start : block.start + block.size])


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


class _FloatPopulation:
    """The same in floating point; sums are taken Dense by Dense, spike by spike, as Lava takes them."""

    def __init__(self, layer: FloatLayer, sources: tuple[Block, ...], index: int, batch: int) -> None:
        self.layer = layer
        start = [np.zeros(layer.n) if s is None else s for s in (layer.u_start, layer.v_start)]
        self.u, self.v = (np.tile(value, (batch, 1)) for value in start)
        self.bias = np.zeros(layer.n) if layer.bias is None else layer.bias
        self.end = np.full((batch, layer.n), -1)
        self.inputs: list[tuple[Block, _FloatDense]] = []
        first = 0
        for block in sources:
            part = slice(first, first + block.size)
            delay = None if layer.delay is None else layer.delay[:, part]
            self.inputs.append((block, _FloatDense(layer.weight[:, part], delay, batch)))
            first += block.size
        if layer.recurrent is not None:
            self.inputs.append((Block(index, 0, layer.n), _FloatDense(layer.recurrent, None, batch)))

    def step(self, n: int) -> Array:
        layer, arrived = self.layer, self.inputs[0][1].send()
        for _, dense in self.inputs[1:]:
            arrived = arrived + dense.send()
        self.u = self.u * (1 - layer.du) + arrived
        self.v = np.where(self.end < n, self.v * (1 - layer.dv) + (self.u + self.bias), self.v)
        spikes: Array = self.v > layer.vth
        self.v[spikes] = 0.0
        if layer.refractory:
            self.end[spikes] = n + layer.refractory
        return spikes

    def accumulate(self, sent: list[Array]) -> None:
        for block, dense in self.inputs:
            dense.accumulate(sent[block.source][:, block.start : block.start + block.size])


class _FloatDense:
    """What was accumulated, ``[delay, batch, n_out]``, first what is sent next."""

    def __init__(self, weight: Array, delay: Array | None, batch: int) -> None:
        delay = np.zeros(weight.shape, np.int32) if delay is None else delay
        self.weights = [np.where(delay == d, weight, 0.0) for d in range(int(delay.max()) + 1)]
        self.buffer = np.zeros((len(self.weights), batch, weight.shape[0]))

    def send(self) -> Array:
        sent = self.buffer[0].copy()
        self.buffer = np.roll(self.buffer, -1, axis=0)
        self.buffer[-1] = 0.0
        return sent

    def accumulate(self, spikes: Array) -> None:
        for sample in np.flatnonzero(spikes.any(1)):
            for d, weight in enumerate(self.weights):
                self.buffer[d, sample] += weight[:, spikes[sample]].sum(axis=1)
