"""One run of each of many fresh chips: what :class:`~hwloop_emulator.chip.Chip` does, bit for bit, in few calls.

The usual effects run through :mod:`~hwloop_emulator.many.events` and the simulator's kernel, with buffers that all chips
share; whatever is rarer falls back on the chip's own methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop.mapping import LayerProgram, Program
from hwloop.simulate.cpu import MAX_EVENTS
from hwloop.simulate.kernels.forward import forward_range
from hwloop.simulate.kernels.narrow import LANES
from hwloop.simulate.kernels.neuron import GENERAL
from hwloop.simulate.kernels.propagators import rate_tables
from hwloop.simulate.room import FIRST_ROOM, LEAST_ROOM
from hwloop.spikes import Spikes

from .. import events
from ..chip import Chip
from ..loaded import LEAST_SWING, Loaded, to_device
from ..preset import Preset
from ..streams import Array
from . import events as passes
from .silicon import Wafer, load
from .streams import Streams

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
        self.inputs = events.rescaled(spikes, to_device(preset), spikes.t_stop * to_device(preset))
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

    def noise(self, name: str, layer: int, index: int) -> Streams:
        """Trial noise ``name`` of one chip in its first run."""
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
        self._latest = -math.inf

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
        arriving, senders, arrivals = _arrays(inputs)
        given = arriving.astype(dtype, copy=False), senders, arrivals
        holding, none, current = (
            True if engine.holding[index] else None,
            np.empty((1, 1), dtype),
            get("current", shape, dtype),
        )
        release = [get(name, shape, dtype) if holding else none for name in ("release", "released")]
        forward_range(
            0, batch, GENERAL, *given, engine.weight[index], engine.table[index], threshold, start, low, holding,
            engine.rates[index], engine.bases[index], inputs.t_stop, layer.reset == "subtract", layer.max_spikes or 0,
            None, None, None, times, units, counts, current, *release, none,
        )  # fmt: skip
        largest = int(counts.max())
        self._of.fullest[number] = max(self._of.fullest[number], largest)
        if largest > room:
            return None
        return _scaled(times, units, counts, layer.n_out, 1.0, inputs.t_stop)

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
        noise = self._of.noise("threshold_sample", number, index).all_normal(batch * n)[0]
        level = np.empty((batch, lanes), dtype)
        sigma, swing = scale("threshold_sample"), engine.swing
        allowed, low = passes.thresholds(noise, sigma, v_th, swing, v_leak, v_reset, LEAST_SWING, level)
        return level, allowed, low

    def _received(self, spikes: Spikes) -> Spikes:
        return self._of.inputs

    def _jittered(self, number: int, out: Spikes, sigma: float) -> Spikes:
        times, units, counts = _arrays(out)
        noise = self._drawn("jitter", number, counts, uniform=False)
        moved, places = np.empty(times.shape, times.dtype), np.empty(times.shape, np.int64)
        passes.jitter(times, units, counts, noise, sigma, out.t_stop, moved, places)
        return _spikes(moved, places, counts, out)

    def _read_out(self, number: int, spikes: Spikes) -> tuple[Spikes, int, int]:
        scale = self.preset.scale
        probability, latency, tick = scale("event_loss"), scale("latency"), scale("time_stamp")
        times, units, counts = _arrays(spikes)
        draws = self._drawn("event_loss", number, counts, uniform=True) if probability > 0 else np.empty(0)
        out = self._of.buffer(f"stamps {number}", times.shape, times.dtype)
        to, left = self._of.buffer(f"stamped {number}", times.shape, np.int64), np.empty_like(counts)
        lost, late, latest = passes.read_out(
            times, units, counts, draws, probability, latency, tick, spikes.t_stop, out, to, left
        )
        self._latest = max(self._latest, latest)
        return _spikes(out, to, left, spikes), lost, late

    def _delivered(self, stamped: list[Spikes], t_stop: float) -> tuple[tuple[Spikes, ...], int, int]:
        most = int(np.sum([_arrays(p)[2] for p in stamped], axis=0).max())
        if self._link.may_change(most, stamped[0].t_stop, self._latest):
            return super()._delivered([_scaled(*_arrays(p), p.n_units, 1.0, p.t_stop) for p in stamped], t_stop)
        speedup = float(self.preset.limits.speedup.value)
        return tuple(_scaled(*_arrays(p), p.n_units, speedup, t_stop) for p in stamped), 0, 0

    def _drawn(self, name: str, layer: int, counts: Array, uniform: bool) -> Array:
        """Trial noise of every event and no padding, of what a chip alone draws for ``[batch, most events]``."""
        streams = self._of.noise(name, layer, self._index)
        runs = np.zeros_like(counts), counts.max() * np.arange(len(counts)), counts
        return streams.random(*runs) if uniform else streams.normal(*runs)


def _arrays(spikes: Spikes) -> tuple[Array, Array, Array]:
    return spikes.times.numpy(), spikes.units.numpy(), spikes.counts.numpy()


def _spikes(times: Array, units: Array, counts: Array, like: Spikes) -> Spikes:
    return _of_arrays(times, units, counts, like.n_units, like.t_stop)


def _scaled(times: Array, units: Array, counts: Array, n_units: int, factor: float, t_stop: float) -> Spikes:
    """Events in arrays of their own, as narrow as can be, with times multiplied by ``factor``."""
    shape = len(counts), int(counts.max())
    out, to = np.empty(shape, times.dtype), np.empty(shape, np.int64)
    passes.rescale(times, units, counts, factor, t_stop, out, to)
    return _of_arrays(out, to, counts, n_units, t_stop)


def _of_arrays(times: Array, units: Array, counts: Array, n_units: int, t_stop: float) -> Spikes:
    tensors = torch.from_numpy(times), torch.from_numpy(units), torch.from_numpy(counts)
    return Spikes.trusted(*tensors, n_units, t_stop)


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
