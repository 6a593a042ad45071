"""The emulated chip: device codes in, time-stamped events out, by the exact engine with the chip's own parameters.

All times inside are device seconds. The potential unit is the program's (``membrane_scale`` 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop import simulate
from hwloop.errors import TargetError
from hwloop.mapping import LayerProgram, Program
from hwloop.neurons import PARAMETERS, check_reset
from hwloop.spikes import Spikes
from hwloop.target import Measured

from . import events, membranes
from .analog import Analog
from .link import Link
from .memory import SynapseMemory
from .preset import Preset
from .silicon import Silicon
from .streams import Array, Stream
from .trimming import TrimCells

#: Events a stuck or hot neuron may add to a sample: a rate beyond it is a slip in the preset's unit, not a chip.
MOST_EXTRA_EVENTS = 100_000
#: Least distance of threshold and reset, of the asked swing: comparators of real chips cannot cross either.
LEAST_SWING = 0.05
#: Range of the membrane converter, in swings above reset.
ADC_RANGE = (-1.0, 2.0)


@dataclass(frozen=True)
class _Loaded:
    """One layer as the silicon realises it: weights ``[n_out, n_in]``, parameters ``[n_out]`` (device s)."""

    neurons: Array
    weight: Tensor
    parameters: dict[str, Tensor]
    swing: Tensor
    delay: Tensor | None
    dead: Array
    stuck: Array
    hot: Array


class Chip:
    """Chip ``number`` of wafer ``preset`` in one session (opened once); its noise depends on both and the run."""

    def __init__(self, preset: Preset, number: int, session: int, batch: int = 0, clock: float = 0.0) -> None:
        self.preset = preset
        self.number = number
        self.silicon = Silicon(preset, number)
        self.trims = TrimCells(self.silicon, session)
        self.analog = Analog(self.silicon, self.trims, clock)
        self.seek(session, batch)

    def seek(self, session: int, batch: int) -> None:
        """Forget what is loaded, and let the noise go on where that of ``session`` stood before run ``batch``."""
        self.session, self.batch = session, batch
        self.memory = SynapseMemory(self.silicon, self.analog, session)
        self._layers: list[_Loaded] = []
        self._realised: tuple[Any, ...] | None = None
        self.__dict__.pop("_session_noise", None)

    # -- loading ------------------------------------------------------------------------------

    def write(self, program: Program) -> int:
        """Write the cells that differ; their number."""
        cells = self.memory.write([(layer.neurons, layer.codes) for layer in program.layers])
        self.analog.clock += cells * self.preset.scale("cell_write")
        self._realise(program)
        return cells

    def write_trim(self, parameter: str, codes: Array, neurons: Array) -> None:
        """Write trim cells, ascending ``neurons``, and wait until they have settled."""
        self.trims.write(parameter, codes, neurons)
        self.analog.clock += len(neurons) * self.preset.scale("cell_write") + self.preset.scale("settling")

    def _realise(self, program: Program) -> None:
        self._layers = [self.realise(layer) for layer in program.layers]
        self._realised = self.analog.state

    def realise(self, layer: LayerProgram) -> _Loaded:
        """``layer`` with the parameters of the physical neurons and synapses that it was placed on."""
        neurons = layer.neurons
        dead, stuck = self.silicon.chosen("dead", neurons), self.silicon.chosen("stuck", neurons)
        weight = self.memory.weight(neurons, layer.n_in, layer.scale)
        parameters, swing = self.true_parameters(layer)
        silent = dead | stuck
        if silent.any():
            # without input and leak a membrane rests at its reset potential and never crosses
            weight = np.where(silent[:, None], 0.0, weight)
            parameters["v_leak"] = np.where(silent, parameters["v_reset"], parameters["v_leak"])
        dtype = np.dtype(layer.dtype)
        # the engine stores weights pre-major, [n_in, n_out]: no copy at each run if that is how they lie here
        columns = torch.from_numpy(np.ascontiguousarray(weight.T, dtype=dtype))
        tensors = {name: torch.from_numpy(value.astype(dtype)) for name, value in parameters.items()}
        return _Loaded(
            neurons=neurons,
            weight=columns.t(),
            parameters=tensors,
            swing=torch.from_numpy(swing.astype(dtype)),
            delay=None if layer.delay is None else torch.from_numpy(layer.delay * self._to_device),
            dead=dead,
            stuck=stuck,
            hot=self.silicon.chosen("hot", neurons) & ~silent,
        )

    @property
    def _to_device(self) -> float:
        return 1.0 / float(self.preset.limits.speedup.value)

    def true_parameters(self, layer: LayerProgram) -> tuple[dict[str, Array], Array]:
        """The neurons' true parameters (device s), and the asked swing that threshold noise is measured in."""
        asked = layer.parameters
        swing = asked["v_th"].astype(np.float64) - asked["v_reset"].astype(np.float64)
        values: dict[str, Array] = {}
        for name in PARAMETERS:
            if name.startswith("v_"):
                offset = self.analog.offset(name, layer.neurons)
                values[name] = asked[name] if offset is None else asked[name] + swing * offset
            else:
                factor = self.analog.factor(name, layer.neurons)
                in_device = asked[name] if self._to_device == 1.0 else asked[name] * self._to_device
                values[name] = in_device if factor is None else in_device * factor
        least = float(self.preset.limits.refractory_min.value)
        if least > 0:
            factor = self.analog.factor("t_ref", layer.neurons)
            values["t_ref"] = np.maximum(values["t_ref"], least if factor is None else least * factor)
        if any(self.analog.offset(name, layer.neurons) is not None for name in ("v_th", "v_reset")):
            values["v_th"] = np.maximum(values["v_th"], values["v_reset"] + LEAST_SWING * swing)
        return values, swing

    # -- running ------------------------------------------------------------------------------

    def run(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        """Run ``spikes`` (model s, already repeated ``repeats`` times) through all layers."""
        speedup = float(self.preset.limits.speedup.value)
        if self._realised != self.analog.state:
            self._realise(program)
        inputs = events.rescaled(spikes, self._to_device, spikes.t_stop * self._to_device)
        stamped, lost, late = [], 0, 0
        for number, (layer, loaded) in enumerate(zip(program.layers, self._layers, strict=True)):
            fired, _, _ = self._fire(number, layer, loaded, inputs, repeats)
            inputs = self._disturbed(number, loaded, fired)
            stamps, n_lost, n_late = self._read_out(number, inputs)
            stamped.append(stamps)
            lost, late = lost + n_lost, late + n_late
        delivered, n_lost, n_late = self._link.deliver(stamped)
        recorded = tuple(events.rescaled(population, speedup, spikes.t_stop) for population in delivered)
        self._passed(spikes)
        return Measured(recorded, lost + n_lost, late + n_late)

    def read_membrane(self, program: Program, spikes: Spikes, population: int, neurons: Array, times: Array) -> Array:
        """Membranes ``[batch, k, samples]`` of ``neurons`` of layer ``population`` as its converter samples them."""
        if self._realised != self.analog.state:
            self._realise(program)
        inputs = events.rescaled(spikes, self._to_device, spikes.t_stop * self._to_device)
        for number in range(population):
            layer, loaded = program.layers[number], self._layers[number]
            inputs = self._disturbed(number, loaded, self._fire(number, layer, loaded, inputs, 1)[0])
        layer, loaded = program.layers[population], self._layers[population]
        fired, arrived, parameters = self._fire(population, layer, loaded, inputs, 1)
        subtract = layer.reset == "subtract"
        found = membranes.sampled(arrived, loaded.weight, parameters, fired, neurons, times * self._to_device, subtract)
        base = parameters["v_reset"].double().numpy()[neurons][:, None]
        swing = loaded.swing.double().numpy()[neurons][:, None]
        found = base + swing * self._converted((found - base) / swing, population)
        self._passed(spikes)
        return found

    def _converted(self, share: Array, layer: int) -> Array:
        """Membranes (swing above reset) through the converter: its noise, its steps, its range."""
        if (sigma := self.preset.scale("adc_noise")) > 0:
            share = share + sigma * self._noise("adc_noise", layer).normal(share.shape)
        if (step := self.preset.scale("adc_step")) > 0:
            share = np.clip(np.round(share / step) * step, *ADC_RANGE)
        return share

    def _passed(self, spikes: Spikes) -> None:
        """A run is over: the noise goes on, and time has passed."""
        self.batch += 1
        self.analog.clock += len(spikes) * spikes.t_stop * self._to_device

    def _fire(
        self, number: int, layer: LayerProgram, loaded: _Loaded, inputs: Spikes, repeats: int
    ) -> tuple[Spikes, Spikes, dict[str, Tensor]]:
        """Spikes (device s) that the layer fires, the events that reached it, and its parameters in this run."""
        if loaded.delay is not None:
            inputs = events.delayed(inputs, loaded.delay)
        if (sigma := self.preset.scale("delay_jitter")) > 0:
            inputs = events.jittered(inputs, sigma, self._noise("delay_jitter", number))
        parameters = {**loaded.parameters, "v_th": self._threshold(number, loaded, len(inputs), repeats)}
        reset = check_reset(layer.reset)
        out = simulate.run(inputs, loaded.weight, parameters, reset=reset, max_spikes=layer.max_spikes)
        return out, inputs, parameters

    def _disturbed(self, number: int, loaded: _Loaded, out: Spikes) -> Spikes:
        """What leaves the layer and travels on: its spikes, those of defective neurons, jitter."""
        batch, t_stop = len(out), out.t_stop
        if (rate := self._rate("stuck_rate", t_stop)) > 0 and loaded.stuck.any():
            phase = self.silicon.phase(loaded.neurons[loaded.stuck])
            out = events.with_events(out, *events.regular(batch, rate, phase, np.flatnonzero(loaded.stuck), t_stop))
        if (rate := self._rate("hot_rate", t_stop)) > 0 and loaded.hot.any():
            rng = self._noise("hot_rate", number)
            out = events.with_events(out, *events.spurious(batch, rate, np.flatnonzero(loaded.hot), t_stop, rng))
        sigma = self.preset.scale("jitter")
        return events.jittered(out, sigma, self._noise("jitter", number)) if sigma > 0 else out

    def _rate(self, name: str, t_stop: float) -> float:
        rate = self.preset.scale(name)
        if rate * t_stop > MOST_EXTRA_EVENTS:
            raise TargetError(
                f"preset {self.preset.name}: effects.{name}.scale = {rate:g} device_hz gives {rate * t_stop:g} events a "
                f"sample of {t_stop:g} device s; allowed: {MOST_EXTRA_EVENTS}. Lower the rate or shorten the sample"
            )
        return rate

    @cached_property
    def _link(self) -> Link:
        scale = self.preset.scale
        return Link(scale("link_rate"), int(scale("link_fifo")), scale("clock_wrap"))

    @cached_property
    def _session_noise(self) -> Array:
        rng = Stream(self.preset.family, self.number, self.preset.stream("threshold_session"), self.session)
        return self.preset.scale("threshold_session") * rng.normal(self.silicon.n_neurons)

    def _threshold(self, number: int, loaded: _Loaded, samples: int, repeats: int) -> Tensor:
        """Thresholds of this run, ``[n]``, or ``[batch, n]`` where they differ between samples."""
        v_th, n = loaded.parameters["v_th"], len(loaded.neurons)
        noise: Array | float = 0.0
        if self.preset.scale("threshold_session") > 0:
            noise = noise + self._session_noise[loaded.neurons]
        if (sigma := self.preset.scale("threshold_batch")) > 0:
            draws = self._noise("threshold_batch", number).normal((repeats, n))
            noise = noise + sigma * np.repeat(draws, samples // repeats, axis=0)
        if (sigma := self.preset.scale("threshold_sample")) > 0:
            noise = noise + sigma * self._noise("threshold_sample", number).normal((samples, n))
        if isinstance(noise, float):
            return v_th
        moved = v_th + loaded.swing * torch.from_numpy(noise).to(v_th.dtype)
        return torch.maximum(moved, loaded.parameters["v_reset"] + LEAST_SWING * loaded.swing)

    def _read_out(self, number: int, spikes: Spikes) -> tuple[Spikes, int, int]:
        """What the host receives of ``spikes``: ``(events, lost, late)``."""
        lost = late = 0
        if (probability := self.preset.scale("event_loss")) > 0:
            spikes, lost = events.lossy(spikes, probability, self._noise("event_loss", number))
        latency, tick = self.preset.scale("latency"), self.preset.scale("time_stamp")
        if latency > 0 or tick > 0:
            spikes, late = events.stamped(spikes, latency, tick)
        return spikes, lost, late

    def _noise(self, name: str, layer: int) -> Stream:
        return Stream(self.preset.family, self.number, self.preset.stream(name), self.session, self.batch, layer)
