"""The emulated chip: device codes in, time-stamped events out, by the exact engine with the chip's own parameters.

All times inside are device seconds. The potential unit is the program's (``membrane_scale`` 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop import simulate
from hwloop.device.registry import Measured
from hwloop.errors import TargetError
from hwloop.mapping import LayerProgram, Program
from hwloop.mapping.run_order import in_a_row, run_order
from hwloop.neurons import check_reset
from hwloop.spikes import Spikes

from . import events, membranes
from .analog import Analog
from .cells import cells_of, columns_of
from .compiled import trains
from .compiled.streams import Streams
from .link import Link
from .loaded import LEAST_SWING, Loaded, realise, reweighted, same_neurons, to_device, true_parameters
from .memory import SynapseMemory
from .preset import Preset
from .silicon import Silicon
from .streams import Array, Stream
from .trimming import TrimCells
from .wires import INPUT, Wires, driving, needs_wires, silence, wires_of

#: Events a stuck or hot neuron may add to a sample: a rate beyond it is a slip in the preset's unit, not a chip.
MOST_EXTRA_EVENTS = 100_000
#: Range of the membrane converter, in swings above reset.
ADC_RANGE = (-1.0, 2.0)


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
        self.trims.seek(session)
        memory = SynapseMemory(self.silicon, self.analog, session)
        self.session, self.batch, self.memory = session, batch, memory
        self._layers: list[Loaded] = []
        self._programmed: tuple[LayerProgram, ...] = ()
        self._wires: dict[tuple[int, ...], Wires] = {}
        self._realised: tuple[Any, ...] | None = None
        self.__dict__.pop("_session_noise", None)

    # -- loading ------------------------------------------------------------------------------

    def write(self, program: Program) -> int:
        """Write the cells that differ; their number."""
        cells = self.memory.write([cells_of(layer) for layer in program.layers])
        self.analog.clock += cells * self.preset.scale("cell_write")
        self._realise(program)
        return cells

    def held_codes(self, program: Program) -> tuple[Array, ...]:
        """Codes ``[n_out, n_in]`` that the cells of each layer hold, 0 where there is no synapse."""
        found = []
        for layer in program.layers:
            neurons, codes, _ = cells_of(layer)
            found.append(columns_of(self.memory.codes(neurons, codes.shape[1]), layer.synapses))
        return tuple(found)

    def write_trim(self, parameter: str, codes: Array, neurons: Array) -> None:
        """Write trim cells, ascending ``neurons``, and wait until they have settled."""
        self.trims.write(parameter, codes, neurons)
        self.analog.clock += len(neurons) * self.preset.scale("cell_write") + self.preset.scale("settling")

    def _realise(self, program: Program) -> None:
        self._layers = [self._layer(number, layer) for number, layer in enumerate(program.layers)]
        self._wires = self._wired(program) if program.is_graph else {}
        self._realised, self._programmed = self.analog.state, program.layers

    def _layer(self, number: int, layer: LayerProgram) -> Loaded:
        """A layer as the silicon realises it; of one whose neurons are as they were, only the synapses are looked at."""
        before = self._programmed[number] if number < len(self._programmed) else None
        if before is not None and self._realised == self.analog.state and same_neurons(layer, before):
            return reweighted(self._layers[number], layer, self.memory)
        return realise(layer, self.silicon, self.analog, self.memory)

    def _wired(self, program: Program) -> dict[tuple[int, ...], Wires]:
        """Wires of the layers that run together, by their numbers."""
        layers, loaded = program.layers, self._layers
        fires = [self._strikes(one) for one in loaded]
        struck = [k for k, one in enumerate(fires) if one]
        return {
            group.members: wires_of(layers, group, program.n_in, struck, self._to_device)
            for group in run_order(layers)
            if any(needs_wires(layers[k], group.loop, loaded[k].start is not None) for k in group.members)
        }

    def _strikes(self, loaded: Loaded) -> bool:
        """Whether neurons of a layer fire whatever their membranes do."""
        scale = self.preset.scale
        return bool((scale("stuck_rate") > 0 and loaded.stuck.any()) or (scale("hot_rate") > 0 and loaded.hot.any()))

    @property
    def _to_device(self) -> float:
        return to_device(self.preset)

    def true_parameters(self, layer: LayerProgram) -> tuple[dict[str, Array], Array]:
        """See :func:`~hwloop_emulator.loaded.true_parameters`."""
        return true_parameters(layer, self.preset, self.analog)

    # -- running ------------------------------------------------------------------------------

    def run(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        """Run ``spikes`` (model s, already repeated ``repeats`` times) through all layers."""
        if self._realised != self.analog.state:
            self._realise(program)
        sent = {INPUT: self._received(spikes)}
        read: dict[int, trains.ReadOut] = {}
        for members, fired in self._groups(program, sent, repeats):
            for number, out in zip(members, fired, strict=True):
                sent[number] = self._disturbed(number, self._layers[number], out)
                read[number] = self._read_out(number, sent[number])
        recorded, lost, late = self._delivered([read[k] for k in range(len(read))], spikes.t_stop)
        self._passed(spikes)
        return Measured(recorded, lost, late)

    def _groups(
        self, program: Program, sent: dict[int, Spikes], repeats: int
    ) -> Iterator[tuple[tuple[int, ...], list[Spikes]]]:
        """``(layers, spikes that each fires)`` of all that run together, one after the other; ``sent`` is filled meanwhile."""
        for group in run_order(program.layers) if program.is_graph else in_a_row(program.layers):
            wires = self._wires.get(group.members)
            if wires is not None:
                yield group.members, self._fire_together(program, wires, sent, repeats)
            else:
                (number,) = group.members
                layer, loaded = program.layers[number], self._layers[number]
                yield group.members, [self._fire(number, layer, loaded, driving(layer, number, sent), repeats)[0]]

    def _fire_together(self, program: Program, wires: Wires, sent: Mapping[int, Spikes], repeats: int) -> list[Spikes]:
        """Spikes (device s) of layers that run together; what their stuck and hot neurons send acts in them too."""
        layers, loaded = program.layers, dict(enumerate(self._layers))
        samples = len(sent[INPUT])
        outside = [self._late(wires.members[0], sent[k]) for k in wires.external]
        none = [silence(layers[k].n_out, sent[INPUT]) for k in wires.struck]
        struck = [self._struck(k, loaded[k], train) for k, train in zip(wires.struck, none, strict=True)]
        thresholds = [self._threshold(k, loaded[k], samples, repeats) for k in wires.members]
        return wires.fire(layers, loaded, [*outside, *struck], thresholds, 1.0 / self._to_device, like=sent[INPUT])

    def _delivered(self, read: list[trains.ReadOut], t_stop: float) -> tuple[tuple[Spikes, ...], int, int]:
        """What the link delivers of what was ``read`` (device s), in model seconds; how many are lost and late in all."""
        stamped, lost, late = [one.spikes for one in read], sum(one.lost for one in read), sum(one.late for one in read)
        most = int(sum(one.counts for one in stamped).max())  # type: ignore[union-attr]
        if self._link.may_change(most, stamped[0].t_stop, max(one.latest for one in read)):
            stamped, n_lost, n_late = self._link.deliver(stamped)
            lost, late = lost + n_lost, late + n_late
        speedup = float(self.preset.limits.speedup.value)
        return tuple(trains.narrowed(population, speedup, t_stop) for population in stamped), lost, late

    def read_membrane(self, program: Program, spikes: Spikes, population: int, neurons: Array, times: Array) -> Array:
        """Membranes ``[batch, k, samples]`` of ``neurons`` of layer ``population`` as its converter samples them."""
        if self._realised != self.analog.state:
            self._realise(program)
        sent, own = {INPUT: self._received(spikes)}, None
        for members, group in self._groups(program, sent, 1):
            if population in members:
                own = group[members.index(population)]
            for number, out in zip(members, group, strict=True):
                sent[number] = self._disturbed(number, self._layers[number], out)
            if own is not None:
                break
        layer, loaded = program.layers[population], self._layers[population]
        fired, arrived, parameters = self._membranes_of(
            population, layer, loaded, driving(layer, population, sent), own
        )
        subtract = layer.reset == "subtract"
        when = times * self._to_device
        found = membranes.sampled(arrived, loaded.weight, parameters, fired, neurons, when, subtract, loaded.start)
        base = parameters["v_reset"].double().numpy()[neurons][:, None]
        swing = loaded.swing.double().numpy()[neurons][:, None]
        found = base + swing * self._converted((found - base) / swing, population)
        self._passed(spikes)
        return found

    def _membranes_of(
        self, number: int, layer: LayerProgram, loaded: Loaded, inputs: Spikes, own: Spikes | None
    ) -> tuple[Spikes, Spikes, dict[str, Tensor]]:
        """What :meth:`_fire` returns, of a layer that fired ``own``."""
        if own is None:
            raise TargetError(f"layer {number} did not run")
        parameters = {**loaded.parameters, "v_th": self._threshold(number, loaded, len(inputs), 1)}
        return own, self._arriving(number, loaded, inputs), parameters

    def _converted(self, share: Array, layer: int) -> Array:
        """Membranes (swing above reset) through the converter: its noise, its steps, its range."""
        if (sigma := self.preset.scale("adc_noise")) > 0:
            share = share + sigma * self._stream("adc_noise", layer).normal(share.shape)
        if (step := self.preset.scale("adc_step")) > 0:
            share = np.clip(np.round(share / step) * step, *ADC_RANGE)
        return share

    def _received(self, spikes: Spikes) -> Spikes:
        """``spikes`` (model s) in device seconds."""
        return trains.rescaled(spikes, self._to_device, spikes.t_stop * self._to_device)

    def _passed(self, spikes: Spikes) -> None:
        """A run is over: the noise goes on, and time has passed."""
        lasted = len(spikes) * spikes.t_stop * self._to_device
        self.batch, self.analog.clock = self.batch + 1, self.analog.clock + lasted

    def _fire(
        self, number: int, layer: LayerProgram, loaded: Loaded, inputs: Spikes, repeats: int
    ) -> tuple[Spikes, Spikes, dict[str, Tensor]]:
        """Spikes (device s) that the layer fires, the events that reached it, and its parameters in this run."""
        inputs = self._arriving(number, loaded, inputs)
        parameters = {**loaded.parameters, "v_th": self._threshold(number, loaded, len(inputs), repeats)}
        reset = check_reset(layer.reset)
        out = simulate.run(inputs, loaded.weight, parameters, reset=reset, max_spikes=layer.max_spikes)
        return out, inputs, parameters

    def _arriving(self, number: int, loaded: Loaded, inputs: Spikes) -> Spikes:
        """Events as they reach the layer: after delays."""
        return self._late(number, inputs if loaded.delay is None else events.delayed(inputs, loaded.delay))

    def _late(self, number: int, inputs: Spikes) -> Spikes:
        """Events with the jitter of their arrival."""
        if (sigma := self.preset.scale("delay_jitter")) > 0:
            inputs = trains.jittered(inputs, sigma, self._noise("delay_jitter", number))
        return inputs

    def _disturbed(self, number: int, loaded: Loaded, out: Spikes) -> Spikes:
        """What leaves the layer and travels on: its spikes, those of defective neurons, jitter."""
        out = self._struck(number, loaded, out)
        sigma = self.preset.scale("jitter")
        return trains.jittered(out, sigma, self._noise("jitter", number)) if sigma > 0 else out

    def _struck(self, number: int, loaded: Loaded, out: Spikes) -> Spikes:
        """``out`` with the spikes of defective neurons."""
        batch, t_stop = len(out), out.t_stop
        if (rate := self._rate("stuck_rate", t_stop)) > 0 and loaded.stuck.any():
            phase = self.silicon.phase(loaded.neurons[loaded.stuck])
            out = events.with_events(out, *events.regular(batch, rate, phase, np.flatnonzero(loaded.stuck), t_stop))
        if (rate := self._rate("hot_rate", t_stop)) > 0 and loaded.hot.any():
            rng = self._stream("hot_rate", number)
            out = events.with_events(out, *events.spurious(batch, rate, np.flatnonzero(loaded.hot), t_stop, rng))
        return out

    def _rate(self, name: str, t_stop: float) -> float:
        rate = self.preset.scale(name)
        if rate * t_stop > MOST_EXTRA_EVENTS:
            most = 0.999 * MOST_EXTRA_EVENTS  # what is printed may be rounded up
            raise TargetError(
                f"preset {self.preset.name}: effects.{name}.scale = {rate:g} device_hz gives {rate * t_stop:g} events a "
                f"sample of {t_stop:g} device s; allowed: {MOST_EXTRA_EVENTS}. Lower the rate to {most / t_stop:.4g} "
                f"device_hz, or shorten the sample to {most / rate:.4g} device s"
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

    def _threshold(self, number: int, loaded: Loaded, samples: int, repeats: int) -> Tensor:
        """Thresholds of this run, ``[n]``, or ``[batch, n]`` where they differ between samples."""
        v_th, n = loaded.parameters["v_th"], len(loaded.neurons)
        noise: Array | float = 0.0
        if self.preset.scale("threshold_session") > 0:
            noise = noise + self._session_noise[loaded.neurons]
        if (sigma := self.preset.scale("threshold_batch")) > 0:
            draws = self._noise("threshold_batch", number).all_normal(repeats * n).reshape(repeats, n)
            noise = noise + sigma * np.repeat(draws, samples // repeats, axis=0)
        if (sigma := self.preset.scale("threshold_sample")) > 0:
            draws = self._noise("threshold_sample", number).all_normal(samples * n).reshape(samples, n)
            noise = noise + sigma * draws
        if isinstance(noise, float):
            return v_th
        moved = v_th + loaded.swing * torch.from_numpy(noise).to(v_th.dtype)
        return torch.maximum(moved, loaded.parameters["v_reset"] + LEAST_SWING * loaded.swing)

    def _read_out(self, number: int, spikes: Spikes, room: tuple[Array, Array] | None = None) -> trains.ReadOut:
        """What the host receives of ``spikes``."""
        scale = self.preset.scale
        probability = scale("event_loss")
        streams = self._noise("event_loss", number) if probability > 0 else None
        return trains.read_out(spikes, probability, scale("latency"), scale("time_stamp"), streams, room)

    def _noise(self, name: str, layer: int) -> Streams:
        """Trial noise ``name`` of a layer in this run."""
        position = self.session, self.batch, layer
        return Streams.one(self.preset.family, self.number, self.preset.stream(name), position)

    def _stream(self, name: str, layer: int) -> Stream:
        """As :meth:`_noise`, in the form in which rare effects draw."""
        return Stream(self.preset.family, self.number, self.preset.stream(name), self.session, self.batch, layer)
