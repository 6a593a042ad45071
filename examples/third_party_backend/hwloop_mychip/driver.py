"""Stands in for the vendor's library: replace this file by one that talks to the chip.

The chip here is computed on the host. It holds 8-bit codes, adds no noise, and stamps each spike with the start of the
clock tick in which it fell.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from hwloop import simulate
from hwloop.mapping import LayerProgram
from hwloop.neurons import check_reset
from hwloop.spikes import Spikes

Array: TypeAlias = "np.ndarray[Any, Any]"


class DriverError(Exception):
    """The chip does not answer."""


class Driver:
    """A connection to the chip in ``slot``, whose clock ticks every ``tick`` (s)."""

    version = "mychip firmware 1"

    def __init__(self, slot: int, tick: float) -> None:
        self.serial = f"mychip/{slot:04d}"
        self.tick = tick
        self.lost = 0
        self._codes: dict[int, Array] = {}
        self._placed: dict[int, Array] = {}
        self._layers: dict[int, LayerProgram] = {}

    def write_codes(self, layer: int, neurons: Array, codes: Array) -> int:
        """Write the codes ``[n_out, n_in]`` of the synapses of ``neurons`` that differ; how many did."""
        held = self._codes.get(layer)
        fits = held is not None and held.shape == codes.shape and np.array_equal(self._placed[layer], neurons)
        changed = int(np.count_nonzero(held != codes)) if fits else codes.size
        self._codes[layer], self._placed[layer] = codes.copy(), neurons.copy()
        return changed

    def read_codes(self, layer: int) -> Array:
        """The codes ``[n_out, n_in]`` that the synapses of a layer hold."""
        return self._codes[layer].copy()

    def forget(self) -> None:
        """Take nothing for written: the next write writes everything."""
        self._codes.clear()

    def configure(self, layer: int, settings: LayerProgram) -> None:
        """Set the neuron parameters of a layer."""
        self._layers[layer] = settings

    def use_layers(self, count: int) -> None:
        """Switch off the layers of an earlier program."""
        for kept in (self._codes, self._placed, self._layers):
            for number in [n for n in kept if n >= count]:
                del kept[number]

    def play(self, spikes: Spikes) -> list[Spikes]:
        """Run ``spikes``; what every layer sent, as stamped by the clock. Layers pass spikes on unstamped."""
        recorded, current = [], spikes
        for number in sorted(self._layers):
            settings = self._layers[number]
            weight = torch.from_numpy((self._codes[number] * settings.lsb()).astype(settings.dtype))
            parameters = {name: torch.from_numpy(value) for name, value in settings.parameters.items()}
            current = simulate.run(current, weight, parameters, reset=check_reset(settings.reset))
            recorded.append(self._stamped(current))
        return recorded

    def _stamped(self, spikes: Spikes) -> Spikes:
        # the padding, inf, stays inf: floor(inf) * tick
        return Spikes(
            torch.floor(spikes.times / self.tick) * self.tick,
            spikes.units,
            spikes.counts,
            spikes.n_units,
            spikes.t_stop,
        )

    def disconnect(self) -> None:
        """Give the chip back."""
        self._layers.clear()
