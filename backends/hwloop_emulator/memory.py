"""The synapse cells of a chip: codes in, effective weights out."""

from __future__ import annotations

from typing import Any

import numpy as np

from .analog import Analog
from .cells import Cells
from .silicon import Deviations
from .streams import Array


class SynapseMemory:
    """Weight cells ``[physical neuron, synapse]``; written cell by cell, each with the error of its own write.

    ``silicon`` may be of several chips that are all written alike; their weights then lie beside each other.
    """

    def __init__(self, silicon: Deviations, analog: Analog, session: int) -> None:
        self._silicon = silicon
        self._analog = analog
        self._session = session
        bits = silicon.preset.limits.weight_bits
        self._max_code = None if bits is None else 2 ** (bits.value - 1) - 1
        self._codes = np.zeros((0, 0), dtype=np.float64 if bits is None else np.int32)
        self._written = np.zeros((0, 0), dtype=bool)
        self._errors: Array | None = None
        if silicon.preset.scale("programming") > 0:
            self._errors = np.zeros((*silicon.lead, 0, 0))
        self._loads = 0

    def write(self, layers: list[Cells]) -> int:
        """Write the cells of each layer, and of it what differs; cells written."""
        cells = 0
        self._loads += 1
        for number, (neurons, codes, used) in enumerate(layers):
            self._grow(int(neurons.max()) + 1, codes.shape[1])
            block = np.ix_(neurons, np.arange(codes.shape[1]))
            changed = ~self._written[block] | (self._codes[block] != codes)
            if used is not None:
                changed &= used
            count = int(np.count_nonzero(changed))
            if count == 0:
                continue
            cells += count
            self._codes[block] = codes if used is None else np.where(used, codes, self._codes[block])
            self._written[block] = True if used is None else self._written[block] | used
            if self._errors is not None:
                error = self._write_errors(codes.shape, number)
                of_all: tuple[Any, ...] = (..., *block)
                self._errors[of_all] = np.where(changed, error, self._errors[of_all])
        return cells

    def forget(self) -> None:
        """What the cells hold is not known: the next write writes them all."""
        self._written = np.zeros_like(self._written)

    def codes(self, neurons: Array, n_in: int) -> Array:
        """Codes ``[n, n_in]`` that the cells of ``neurons`` hold."""
        return self._codes[np.ix_(neurons, np.arange(n_in))]

    def weight(self, neurons: Array, n_in: int, scale: float) -> Array:
        """Effective weights ``[*lead, n, n_in]`` (model units, ``scale`` each LSB) of ``neurons``."""
        block = np.ix_(neurons, np.arange(n_in))
        codes = self._codes[block]
        value = self._convert(neurons, codes) * scale
        if self._errors is not None:
            # a cell at code 0 is switched off: it has no current that could be wrong
            of_all: tuple[Any, ...] = (..., *block)
            value = value + np.where(codes != 0, self._errors[of_all], 0.0) * scale
        return self._transmit(neurons, value)

    def _convert(self, neurons: Array, codes: Array) -> Array:
        """Codes through each synapse's converter (LSB): monotone bow, binary-weighted unit elements."""
        preset = self._silicon.preset
        bow, unit = preset.scale("dac_integral"), preset.scale("dac_differential")
        if self._max_code is None or (bow == 0 and unit == 0):
            return codes
        magnitude = np.abs(codes)
        value = magnitude.astype(np.float64)
        if bow > 0:
            share = magnitude / self._max_code
            z = self._silicon.synapses("dac_integral", neurons, codes.shape[1])[..., 0]
            value = value + bow * z * self._max_code * 4 * share * (1 - share)
        if unit > 0:
            bits = np.arange(self._max_code.bit_length())
            z = self._silicon.synapses("dac_differential", neurons, codes.shape[1], depth=len(bits))
            # bit b is 2^b unit elements in parallel, whose independent errors add in square
            errors, chosen = unit * np.sqrt(2.0**bits) * z, (magnitude[..., None] >> bits) & 1
            value = value + _summed(chosen, errors)
        signed: Array = np.sign(codes) * np.maximum(value, 0.0)
        return signed

    def _transmit(self, neurons: Array, value: Array) -> Array:
        """Gain of neuron and synapse; dead synapses have none."""
        silicon, preset = self._silicon, self._silicon.preset
        gain = self._analog.factor("gain", neurons)
        if gain is not None:
            value = value * gain[..., None]
        spread = preset.scale("synapse")
        if spread > 0:
            z = silicon.synapses("synapse", neurons, value.shape[-1])[..., 0]
            value = value * np.maximum(1 + spread * z, 0.0)
        dead = preset.scale("dead_synapse")
        if dead > 0:
            draw = silicon.synapses("dead_synapse", neurons, value.shape[-1], uniform=True)[..., 0]
            value = np.where(draw < dead, 0.0, value)
        return value

    def _write_errors(self, shape: tuple[int, ...], layer: int) -> Array:
        silicon = self._silicon
        drawn = silicon.normal_at("programming", shape, self._session, self._loads, layer)
        return silicon.preset.scale("programming") * drawn

    def _grow(self, neurons: int, synapses: int) -> None:
        rows, columns = self._codes.shape
        if neurons <= rows and synapses <= columns:
            return
        size = (max(rows, neurons), max(columns, synapses))
        self._codes, self._written = _enlarged(self._codes, size), _enlarged(self._written, size)
        if self._errors is not None:
            self._errors = _enlarged(self._errors, size)


def _summed(chosen: Array, errors: Array) -> Array:
    """Sum over bits of ``errors [*lead, n, n_in, bits]`` where ``chosen [n, n_in, bits]``; chip by chip, in one order."""
    if errors.ndim > chosen.ndim:
        return np.stack([_summed(chosen, chip) for chip in errors])
    return np.asarray(np.einsum("ijb,ijb->ij", chosen, errors))


def _enlarged(array: Array, size: tuple[int, int]) -> Array:
    result = np.zeros((*array.shape[:-2], *size), dtype=array.dtype)
    result[..., : array.shape[-2], : array.shape[-1]] = array
    return result
