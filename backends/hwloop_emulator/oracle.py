"""The chip's secrets, for tests alone: what it really is, which no interface of a real chip tells."""

from __future__ import annotations

import numpy as np

from hwloop.errors import TargetError

from .cells import columns_of
from .chip import Chip
from .device import EmulatorDevice
from .streams import Array


class Oracle:
    """True parameters of an opened emulated chip, by layer of the loaded program (layers count from 0)."""

    def __init__(self, device: EmulatorDevice) -> None:
        if device.program is None:
            raise TargetError(f"{device.device_id} holds no program; load one before asking the oracle")
        self._program = device.program
        self._chip: Chip = device._chip

    def parameter(self, layer: int, name: str) -> Array:
        """True values ``[n]`` of parameter ``name`` (model units, s) in logical order, without session or trial noise.

        A dead or stuck neuron has the parameters of its circuit, though it never shows them.
        """
        values, _ = self._chip.true_parameters(self._program.layers[layer])
        time = float(self._chip.preset.limits.speedup.value) if name.startswith("t") else 1.0
        return np.asarray(values[name], dtype=np.float64) * time

    def weight(self, layer: int) -> Array:
        """Effective weights ``[n_out, n_in]`` (model units) in logical order; 0 where there is no synapse."""
        program = self._program.layers[layer]
        cells = self._chip.memory.weight(program.neurons, program.fan_in, program.scale)
        weight = columns_of(cells, program.synapses)
        return np.asarray(weight if program.gain is None else weight * program.gain[:, None], dtype=np.float64)

    def struck(self, layer: int, defect: str) -> Array:
        """Bool ``[n]``: neurons with ``defect``, one of ``dead``, ``stuck``, ``hot``."""
        return self._chip.silicon.chosen(defect, self._program.layers[layer].neurons)

    def factors(self, name: str) -> Array:
        """Present factors of ``name`` by physical neuron, trims and drift included; ones where nothing moves it."""
        neurons = np.arange(self._chip.silicon.n_neurons)
        factor = self._chip.analog.factor(name, neurons)
        return np.ones(len(neurons)) if factor is None else factor

    def offsets(self, name: str) -> Array:
        """Present offsets (swing) of ``name`` by physical neuron, trims and drift included; zeros where nothing does."""
        neurons = np.arange(self._chip.silicon.n_neurons)
        offset = self._chip.analog.offset(name, neurons)
        return np.zeros(len(neurons)) if offset is None else offset
