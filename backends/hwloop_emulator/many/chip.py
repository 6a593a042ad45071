"""One run of each of many fresh chips: what :class:`~hwloop_emulator.chip.Chip` does, bit for bit, in few calls.

Neurons run through the simulator's kernel, with buffers that all chips share; whatever is rarer falls back on the chip's own
methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from hwloop.mapping import LayerProgram, Program
from hwloop.simulate.cpu import MAX_EVENTS
from hwloop.simulate.kernels.forward import forward_range
from hwloop.simulate.kernels.narrow import LANES
from hwloop.simulate.kernels.neuron import GENERAL
from hwloop.simulate.kernels.propagators import rate_tables
from hwloop.simulate.room import FIRST_ROOM, LEAST_ROOM
from hwloop.spikes import Spikes

from ..chip import Chip
from ..compiled import passes, trains
from ..compiled.streams import Streams
from ..loaded import LEAST_SWING, Loaded, to_device
from ..preset import Preset
from ..streams import Array
from .silicon import Wafer, load

#: Room for spikes that a chip is given beyond the fullest sample of those before it.
SPARE = 1.25


@dataclass(frozen=True)
class _Engine:
    """One layer of all chips as the simulator's kernel reads it: ``[chips, ...]``, padded to ``LANES`` neurons.

    ``table`` holds tau_mem, tau_syn, t_ref and reset (above ``v_leak``) of each neuron, ``plain`` says which chips this
    is for: those with finite, allowed parameters and time constants that differ between neurons.
    """

    weight: Array
    table: Array
    rates: Array
    bases: Array
    reset: Array
    holding: Array
    plain: Array
    parameters: dict[str, Array]
    swing: Array


class Batch:
    """Chips ``numbers``, fresh in ``session``, that ``program`` was loaded on; each runs once, on the same ``spikes``."""

    def __init__(self, preset: Preset, numbers: Sequence[int], session: int, program: Program, spikes: Spikes) -> None:
        self.preset, self.numbers, self.session = preset, numbers, session
        self.inputs = trains.rescaled(spikes, to_device(preset), spikes.t_stop * to_device(preset))
        self.loaded = load(preset, numbers, session, program)
        self.engines = [_engine(loaded, len(numbers)) for loaded in self.loaded]
        wafer, layers = Wafer(preset, numbers), len(program.layers)
        positions = np.array([[session, 0, layer] for layer in range(layers)], dtype=np.uint64)
        self._noise = {
            name: wafer.streams(name, positions)
            for name in ("threshold_sample", "jitter", "event_loss")
            if preset.scale(name) > 0
        }
        #: Spikes of the fullest sample so far, by layer: what room the next chip is given.
        self.fullest = [0] * layers
        self._buffers: dict[tuple[str, str], Array] = {}

    def noise(self, name: str, layer: int, index: int) -> Streams | None:
        """Trial noise ``name`` of one chip in its first run; None where it is of the rarer ones."""
        if name not in self._noise:
            return None
        streams, row = self._noise[name], index * len(self.loaded) + layer
        return Streams(streams.keys[row : row + 1], streams.counters[row : row + 1])

    def buffer(self, name: str, shape: tuple[int, int], dtype: Any) -> Array:
        """Room for an array that the next chip overwrites."""
        key, size = (name, np.dtype(dtype).char), shape[0] * shape[1]
        held = self._buffers.get(key)
        if held is None or held.size < size:
            held = self._buffers[key] = np.empty(size, dtype)
        return held[:size].reshape(shape)


class QuickChip(Chip):
    """A chip of a :class:`Batch` in its first run."""

    def __init__(self, batch: Batch, index: int) -> None:
        super().__init__(batch.preset, batch.numbers[index], batch.session)
        self._of, self._index = batch, index
        self._layers = [
            replace(loaded, dead=loaded.dead[index], stuck=loaded.stuck[index], hot=loaded.hot[index])
            for loaded in batch.loaded
        ]
        self._realised = self.analog.state

    def _fire(
        self, number: int, layer: LayerProgram, loaded: Loaded, inputs: Spikes, repeats: int
    ) -> tuple[Spikes, Spikes, dict[str, Tensor]]:
        engine, n, most = self._of.engines[number], layer.n_out, layer.max_spikes or 0
        room = n * min(FIRST_ROOM, most) if most else max(LEAST_ROOM, n * FIRST_ROOM)
        if engine.plain[self._index] and len(inputs) * room <= MAX_EVENTS:
            arrived = self._arriving(number, loaded, inputs)
            fullest = self._of.fullest[number]
            found = self._simulated(number, layer, arrived, repeats, min(room, int(SPARE * fullest) or room))
            if found is not None:
                return found, arrived, {}
        return super()._fire(number, layer, _of_one(self._of.loaded[number], self._index), inputs, repeats)

    def _simulated(self, number: int, layer: LayerProgram, inputs: Spikes, repeats: int, room: int) -> Spikes | None:
        """Spikes of the layer; None where this way does not do."""
        engine, index, batch = self._of.engines[number], self._index, len(inputs)
        dtype = engine.weight.dtype
        threshold, allowed, low = self._levels(number, engine, batch, repeats)
        if not allowed:
            return None
        start = np.zeros(threshold.shape[1], dtype)
        if low:
            start[: layer.n_out] = np.where((threshold[:, : layer.n_out] <= 0).any(0), engine.reset[index], 0)
        get, shape = self._of.buffer, (batch, room)
        times, units, counts = get("times", shape, dtype), get("units", shape, np.int64), np.zeros(batch, np.int64)
        arriving, senders, arrivals = trains.arrays(inputs)
        given = arriving.astype(dtype, copy=False), senders, arrivals, inputs.t_stop
        holding, none = True if engine.holding[index] else None, np.empty((1, 1), dtype)
        release = [get(name, shape, dtype) if holding else none for name in ("release", "released")]
        neurons = engine.table[index], threshold, start, low, layer.reset == "subtract", layer.max_spikes or 0
        tau, out = (engine.rates[index], engine.bases[index]), (times, units, counts, get("current", shape, dtype))
        forward_range(
            0, batch, GENERAL, given, engine.weight[index], neurons, tau, holding, None, (*out, *release, none)
        )
        largest = int(counts.max())
        self._of.fullest[number] = max(self._of.fullest[number], largest)
        if largest > room:
            return None
        return trains.narrowed(trains.of_arrays(times, units, counts, layer.n_out, inputs.t_stop), 1.0, inputs.t_stop)

    def _levels(self, number: int, engine: _Engine, batch: int, repeats: int) -> tuple[Array, bool, bool]:
        """Thresholds ``[batch or 1, lanes]`` above ``v_leak``; whether all are allowed; whether any is not positive."""
        index, lanes = self._index, engine.weight.shape[2]
        names = ("v_th", "v_leak", "v_reset")
        v_th, v_leak, v_reset = (engine.parameters[name][index] for name in names)
        scale, n, dtype = self.preset.scale, len(v_th), v_th.dtype
        if scale("threshold_session") > 0 or scale("threshold_batch") > 0 or scale("threshold_sample") == 0:
            loaded = _of_one(self._of.loaded[number], index)
            moved = np.atleast_2d(self._threshold(number, loaded, batch, repeats).numpy())
            level = np.full((len(moved), lanes), np.inf, dtype)
            level[:, :n] = moved - v_leak
            allowed = bool(np.isfinite(moved).all() and (moved > v_reset).all())
            return level, allowed, bool((level <= 0).any())
        noise = self._noise("threshold_sample", number).all_normal(batch * n)[0]
        level = np.empty((batch, lanes), dtype)
        sigma, swing = scale("threshold_sample"), engine.swing
        allowed, low = passes.thresholds(noise, sigma, v_th, swing, v_leak, v_reset, LEAST_SWING, level)
        return level, allowed, low

    def _received(self, spikes: Spikes) -> Spikes:
        return self._of.inputs

    def _read_out(self, number: int, spikes: Spikes, room: tuple[Array, Array] | None = None) -> trains.ReadOut:
        shape, get = (len(spikes), spikes.times.shape[1]), self._of.buffer
        stamps = get(f"stamps {number}", shape, spikes.times.numpy().dtype), get(f"stamped {number}", shape, np.int64)
        return super()._read_out(number, spikes, stamps)

    def _noise(self, name: str, layer: int) -> Streams:
        known = self._of.noise(name, layer, self._index)
        return super()._noise(name, layer) if known is None else known


def _of_one(loaded: Loaded, index: int) -> Loaded:
    """One chip of ``loaded`` alone."""
    parameters = {name: value[index] if value.ndim > 1 else value for name, value in loaded.parameters.items()}
    weight = loaded.weight[index] if loaded.weight.ndim > 2 else loaded.weight
    defects = loaded.dead[index], loaded.stuck[index], loaded.hot[index]
    return Loaded(loaded.neurons, weight, parameters, loaded.swing, loaded.delay, *defects)


def _engine(loaded: Loaded, chips: int) -> _Engine:
    """What the kernel reads of ``loaded``, as ``hwloop.simulate`` prepares it for one chip."""
    n_out, n_in = loaded.weight.shape[-2:]
    columns = loaded.weight.transpose(-1, -2).numpy()
    dtype, lanes = columns.dtype, max(n_out, LANES)
    weight = np.zeros((chips, n_in, lanes), dtype)
    weight[..., :n_out] = columns
    values = {name: np.broadcast_to(value.numpy(), (chips, n_out)) for name, value in loaded.parameters.items()}
    parameters = {name: np.ascontiguousarray(value) for name, value in values.items()}
    reset = parameters["v_reset"] - parameters["v_leak"]
    table = np.empty((chips, lanes, 4))
    for column, array in enumerate((parameters["tau_mem"], parameters["tau_syn"], parameters["t_ref"], reset)):
        table[:, :n_out, column], table[:, n_out:, column] = array, array[:, :1]
    rates, bases = rate_tables(table[..., 0].astype(dtype), table[..., 1].astype(dtype))
    finite = [np.isfinite(value).all(1) for value in parameters.values()]
    taus = parameters["tau_mem"], parameters["tau_syn"]
    differ = np.logical_or(*((tau != tau[:, :1]).any(1) for tau in taus))
    allowed = np.logical_and.reduce([*finite, *((tau > 0).all(1) for tau in taus), (parameters["t_ref"] >= 0).all(1)])
    plain = allowed & differ & np.isfinite(weight.sum((1, 2)))
    holding = np.asarray((parameters["t_ref"] > 0).any(1))
    return _Engine(weight, table, rates, bases, reset, holding, plain, parameters, loaded.swing.numpy())
