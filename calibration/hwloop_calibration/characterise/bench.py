"""The bench: what is calibrated of a chip as one layer of single neurons, each driven through synapse columns of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from hwloop.device.registry import Device
from hwloop.errors import InputError, TargetError
from hwloop.mapping import LayerProgram, Program
from hwloop.network import LIF, Dense, Network
from hwloop.neurons import PARAMETERS
from hwloop.record import Recording

from ..extent import Wanted, chosen_of
from .kernels import agree, tabulate
from .model import KEEP, SHARED, Array, Neurons
from .stimuli import Stimuli, pulse_weight

#: Spikes of a neuron and sample that are recorded; more are counted.
ROOM = 12
#: Samples sent in one run.
RUN_SAMPLES = 2048
#: Share of the repeats that has to have a spike for it to be used.
LEAST_SUPPORT = 0.9
#: Deviations (device s) below which repeats count as equal: the resolution of float64 times of a second.
RESOLUTION = 1e-13


@dataclass(frozen=True, eq=False)
class Targets:
    """What is asked of the physical neurons that are calibrated, ``[n]`` each (model units, s).

    ``weight``: of one pulse of the bench, in swings. ``swing``: ``v_th - v_reset``. ``fan_in``: synapse columns that each
    may have inputs on: where not the whole chip is asked for, those of the program in their own layer, the others in any.
    """

    neurons: Array
    values: dict[str, Array]
    weight: float
    fan_in: Array

    @property
    def swing(self) -> Array:
        """``v_th - v_reset`` ``[n]``."""
        return np.asarray(self.values["v_th"] - self.values["v_reset"])

    @property
    def leak(self) -> Array:
        """``(v_leak - v_reset) / swing`` ``[n]``."""
        return np.asarray((self.values["v_leak"] - self.values["v_reset"]) / self.swing)

    def nominal(self, columns: int, latency: float, least_t_ref: float) -> Neurons:
        """The neurons as the data sheet promises them."""
        n = len(self.neurons)
        return Neurons(
            self.values["tau_mem"].copy(), self.values["tau_syn"].copy(), self.leak,
            np.maximum(self.values["t_ref"], least_t_ref), np.full(n, latency), np.full((n, columns), self.weight),
        )  # fmt: skip

    def typical(self, name: str) -> float:
        """Median over the neurons of a parameter, or of ``swing`` or ``leak``."""
        values = getattr(self, name) if name in ("swing", "leak") else self.values[name]
        return float(np.median(values))


def targets_of(program: Program, device: Device, neurons: Wanted = None) -> Targets:
    """What ``program`` asks of its own neurons; the others of the chip are asked what its first layer is asked.

    ``neurons``: physical neurons to calibrate; by default the program's, and some to spare; ``"all"``: the whole chip.

    Raises
    ------
    InputError
        Neurons that are not LIF; pieces that ask different things of a neuron that they share, which holds one set of codes.
    """
    limit = device.capabilities.n_neurons
    for layer in program.layers:
        if layer.kind != "LIF":
            raise InputError(
                f"population {layer.name!r} is {layer.kind}; calibration measures LIF, whose synaptic time constant shapes its "
                "spikes: calibrate for a network of LIF"
            )
    chosen = chosen_of(program, limit, neurons)
    values = {name: np.full(limit, float(np.median(program.layers[0].parameters[name]))) for name in PARAMETERS}
    asked, fan_in = np.zeros(limit, bool), np.zeros(limit, np.int64)
    for layer in program.layers:
        for name in PARAMETERS:
            before = np.where(asked[layer.neurons], values[name][layer.neurons], layer.parameters[name])
            values[name][layer.neurons] = layer.parameters[name]
            _refuse_two(name, layer, before)
            _refuse_two(name, layer, values[name][layer.neurons])
        asked[layer.neurons] = True
        np.maximum.at(fan_in, layer.neurons, layer.fan_in)
    fan_in[~asked | isinstance(neurons, str)] = max(layer.fan_in for layer in program.layers)
    picked = {name: value[chosen] for name, value in values.items()}
    weight = pulse_weight(float(np.median(picked["tau_mem"])), float(np.median(picked["tau_syn"])))
    return Targets(chosen, picked, weight, fan_in[chosen])


def _refuse_two(name: str, layer: LayerProgram, values: Array) -> None:
    """:class:`InputError` where ``layer`` asks something else than ``values`` of its neurons, as another piece does."""
    other = np.flatnonzero(values != layer.parameters[name])
    if len(other):
        raise InputError(
            f"pieces of the program ask two values of {name} of physical neuron {layer.neurons[other[0]]}: "
            f"{values[other[0]]:g} and {layer.parameters[name][other[0]]:g}; allowed: one, for a neuron holds one set of trim codes. Give the populations "
            "that share neurons the same parameters"
        )


@dataclass(frozen=True, eq=False)
class Observations:
    """What the repeats of each stimulus agree on.

    Attributes
    ----------
    stimuli : Stimuli
    mean, variance, support : ``[samples, n, KEEP]``; times (model s), their variance between repeats, repeats that
        have the spike. Spikes from ``agreed`` on are not to be used.
    agreed : ``[samples, n]``
    repeats : int
    extra : ``[n]`` samples in which some repeat has spikes that most lack
    spikes : ``[n]`` all spikes recorded
    halves : ``[2, samples, n, KEEP]`` means of the first and the second half of the repeats, NaN where unused
    """

    stimuli: Stimuli
    mean: Array
    variance: Array
    support: Array
    agreed: Array
    repeats: int
    extra: Array
    spikes: Array
    halves: Array

    def usable(self) -> Array:
        """Bool ``[samples, n, KEEP]``."""
        return np.asarray(np.arange(self.mean.shape[2]) < self.agreed[..., None])

    def of(self, index: Array) -> Observations:
        """Observations of neurons ``index`` alone."""
        return Observations(
            self.stimuli, self.mean[:, index], self.variance[:, index], self.support[:, index],
            self.agreed[:, index], self.repeats, self.extra[index], self.spikes[index], self.halves[:, :, index],
        )  # fmt: skip

    def samples(self, index: Array) -> Observations:
        """Observations of samples ``index`` alone (counts of all)."""
        chosen = Stimuli(
            tuple(self.stimuli.patterns[i] for i in index), tuple(self.stimuli.columns[i] for i in index),
            self.stimuli.n_columns, self.stimuli.t_stop,
        )  # fmt: skip
        return Observations(
            chosen, self.mean[index], self.variance[index], self.support[index], self.agreed[index], self.repeats,
            self.extra, self.spikes, self.halves[:, index],
        )  # fmt: skip


@dataclass
class Bench:
    """A device set up for calibration: all neurons in one layer, every column at the code of the stimulus weight.

    ``columns``: synapse columns that are driven. Counts runs and device time for the report.
    """

    device: Device
    targets: Targets
    columns: int
    runs: int = 0
    samples: int = 0
    lost: int = 0
    late: int = 0
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.columns <= self.device.capabilities.fan_in:
            raise InputError(f"columns = {self.columns}; allowed: 1..{self.device.capabilities.fan_in}, the fan-in")
        self.program = self._compile()

    def _compile(self) -> Program:
        targets, limits = self.targets, self.device.capabilities
        n = len(targets.neurons)
        unused = np.setdiff1d(np.arange(int(targets.neurons[-1]) + 1), targets.neurons)
        values = {name: torch.from_numpy(np.asarray(value, np.float64)) for name, value in targets.values.items()}
        net = Network([Dense(self.columns, n), LIF(n, **values, reset=limits.reset_kinds[0])]).to(torch.float64)  # type: ignore[arg-type]
        with torch.no_grad():
            net.blocks[0][0].weight.copy_(
                torch.from_numpy(targets.weight * targets.swing)[:, None].expand(n, self.columns)
            )
        # the target itself: a calibration that the device has now masks nothing here
        return self.device.target.compile(net, mask=unused.tolist())

    def nominal(self, columns: int | None = None) -> Neurons:
        """The neurons as the data sheet promises them, with ``columns`` synapse columns (default: all of the bench)."""
        limits = self.device.capabilities
        latency, least = limits.latency * limits.speedup, limits.refractory_min * limits.speedup
        return self.targets.nominal(self.columns if columns is None else columns, latency, least)

    def load(self) -> None:
        """Write the bench's program to the device."""
        self.device.load(self.program)

    @property
    def asked_weight(self) -> Array:
        """Weights that the codes stand for, ``[n, columns]`` (swing)."""
        return np.asarray(self.program.weights()[0] / self.targets.swing[:, None], dtype=np.float64)

    @property
    def tick(self) -> float:
        """Resolution of time stamps (model s)."""
        return self.device.capabilities.time_step * self.device.capabilities.speedup

    def measure(self, stimuli: Stimuli, repeats: int) -> Observations:
        """Run ``stimuli`` ``repeats`` times and reduce what comes back.

        Raises :class:`TargetError` where the device fails while running.
        """
        n, samples = len(self.targets.neurons), len(stimuli)
        times = np.full((repeats, samples, n, ROOM), math.inf)
        found = np.zeros((repeats, samples, n), np.int64)
        inputs = stimuli.spikes()
        chunk = max(1, RUN_SAMPLES // samples)
        for first in range(0, repeats, chunk):
            size = min(chunk, repeats - first)
            recording = self.device.run(inputs, repeats=size)
            out = recording.output
            if out.n_units != n or len(out) != size * samples:
                raise TargetError(
                    f"{self.device.device_id} returned {len(out)} samples of {out.n_units} neurons; expected "
                    f"{size * samples} of {n}: check the backend"
                )
            block = slice(first, first + size)
            tabulate(
                stamps(recording), np.ascontiguousarray(out.units.numpy()),
                out.counts.numpy(), times[block].reshape(size * samples, n, ROOM),
                found[block].reshape(size * samples, n),
            )  # fmt: skip
            self.runs, self.samples = self.runs + 1, self.samples + size * samples
            self.lost, self.late = self.lost + recording.lost_events, self.late + recording.late_events
        return reduce(stimuli, times, found, self.tick, self.device.capabilities.speedup)


def stamps(recording: Recording) -> Array:
    """Time stamps of the output ``[batch, events]`` (model s) as the device sent them: latency is one of the estimates."""
    return np.ascontiguousarray(recording.output.times.detach().double().numpy() + recording.latency)


def reduce(stimuli: Stimuli, times: Array, found: Array, tick: float, speedup: float) -> Observations:
    """Observations from ``times [repeats, samples, n, room]`` and ``found [repeats, samples, n]``."""
    repeats, samples, n, _ = times.shape
    resolution = max(tick, RESOLUTION * speedup)
    whole = _agree(times, found, resolution)
    halves = np.full((2, samples, n, KEEP), np.nan)
    if repeats >= 4:
        for half, part in enumerate((slice(0, repeats // 2), slice(repeats // 2, repeats))):
            mean, _, _, agreed, _ = _agree(times[part], found[part], resolution)
            halves[half] = np.where(np.arange(KEEP) < agreed[..., None], mean, np.nan)
    mean, variance, support, agreed, extra = whole
    return Observations(stimuli, mean, variance, support, agreed, repeats, extra, found.sum((0, 1)), halves)


def _agree(times: Array, found: Array, resolution: float) -> tuple[Array, Array, Array, Array, Array]:
    _, samples, n, _ = times.shape
    shape = (samples, n, KEEP)
    mean, variance, support = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
    agreed, extra = np.zeros((samples, n), np.int64), np.zeros(n, np.int64)
    agree(times, found, LEAST_SUPPORT, resolution, mean, variance, support, agreed, extra)
    return mean, variance, support, np.minimum(agreed, KEEP), extra


__all__ = ["SHARED", "Bench", "Observations", "Targets", "reduce", "stamps", "targets_of"]
