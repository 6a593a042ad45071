"""The bit-exact emulator: a :class:`FixedGraph` on batches of spikes in ticks, by Numba. Its specification is :mod:`.reference`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwloop.errors import InputError
from hwloop.simulate.threads import spread

from .graph import DECAY_UNITY, STATE_SHIFT, Array, FixedGraph, FixedLayer, Synapses
from .kernels import layer_range
from .ticks import TickSpikes

#: Spikes a sample that the first attempt has room for, per neuron; a larger answer is run again with room for it.
FIRST_ROOM, LEAST_ROOM = 4, 64
#: Output events that one layer may answer a batch with; more is a runaway network.
MAX_EVENTS = 1 << 27
#: Updates of neurons (samples x ticks x neurons, some 2 ms) below which a second thread costs more than it brings.
PARALLEL_UPDATES = 2_000_000


@dataclass(frozen=True)
class Ran:
    """What a run brought: spikes of every layer, and how often a ``u`` wrapped, ``[batch]`` a layer."""

    layers: tuple[TickSpikes, ...]
    wraps: tuple[Array, ...]


class Emulator:
    """A graph made ready to run; building one costs a pass over the weights."""

    def __init__(self, graph: FixedGraph) -> None:
        self.graph = graph
        self._layers = [_Ready(layer) for layer in graph.layers]

    def run(self, inputs: TickSpikes, n_ticks: int) -> Ran:
        """Run ``n_ticks`` from rest on every sample; input events at ``n_ticks`` or later do nothing.

        Raises :class:`InputError` where the input has another number of units, or a layer's answer has no room in memory.
        """
        if inputs.n_units != self.graph.n_in:
            raise InputError(f"the input has {inputs.n_units} units; the graph takes {self.graph.n_in}")
        if n_ticks < 1:
            raise InputError(f"n_ticks = {n_ticks}; allowed: >= 1")
        layers, wraps, current = [], [], inputs
        for ready in self._layers:
            current, wrapped = ready.run(current, n_ticks)
            layers.append(current)
            wraps.append(wrapped)
        return Ran(tuple(layers), tuple(wraps))


class _Ready:
    """A layer's arrays as the kernel reads them."""

    def __init__(self, layer: FixedLayer) -> None:
        self.n = layer.n
        none = np.zeros((0, layer.n), np.int16)
        self.forward = _columns(layer.synapses)
        self.own = (none, none, 0, 0) if layer.recurrent is None else _columns(layer.recurrent)
        self.neurons = (
            np.uint32(DECAY_UNITY - (layer.du + 1)),
            np.uint32(DECAY_UNITY - layer.dv),
            np.int32(layer.vth << STATE_SHIFT),
            layer.bias,
        )

    @cached_property
    def _first_room(self) -> int:
        return max(LEAST_ROOM, self.n * FIRST_ROOM)

    def run(self, inputs: TickSpikes, n_ticks: int) -> tuple[TickSpikes, Array]:
        """Spikes of the layer, and wraps of ``u [batch]``."""
        batch, room = len(inputs), self._first_room
        while True:
            if batch * room > MAX_EVENTS:
                raise InputError(
                    f"a layer answers {batch} samples with up to {room} spikes each; allowed: {MAX_EVENTS} in one call. "
                    "Use smaller batches, lower weights, or a shorter window"
                )
            ticks, units = np.empty((batch, room), np.int32), np.empty((batch, room), np.int32)
            counts, wraps = np.zeros(batch, np.int64), np.zeros(batch, np.int64)

            def work(low: int, high: int) -> None:
                layer_range(
                    low, high, n_ticks, inputs.ticks, inputs.units, inputs.counts, *self.forward, *self.own,
                    *self.neurons, ticks, units, counts, wraps,  # noqa: B023 (called below)
                )  # fmt: skip

            spread(work, batch, batch * n_ticks * self.n, PARALLEL_UPDATES)
            largest = int(counts.max())
            # a recurrent layer without room went on without its own spikes: its count is no more than a lower bound
            if largest <= room:
                return TickSpikes(ticks[:, :largest], units[:, :largest], counts, self.n), wraps
            room = max(largest, 2 * room)


def _columns(synapses: Synapses) -> tuple[Array, Array, int, int]:
    """Pre-major weights int16 (they lie in -256..255), delays, exponent and depth of the ring buffer."""
    weight = np.ascontiguousarray(synapses.effective().T, np.int16)
    if synapses.delay is None:
        return weight, np.zeros((0, weight.shape[1]), np.int16), synapses.exponent, 1
    delay = np.ascontiguousarray(synapses.delay.T, np.int16)
    return weight, delay, synapses.exponent, int(delay.max()) + 1
