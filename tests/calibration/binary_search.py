"""The usual way, to compare with: stage by stage, one parameter at a time, a binary search of its code on one observable.

As calix does for BrainScaleS-2: every neuron's search runs in parallel, each step writes one code a neuron, repeats average
the noise, and the parameters are taken in the order in which their observables depend on each other. From spikes alone each
has one that the parameters of later stages do not enter:

    t_ref      interval of spikes under a drive that crosses the threshold at once
    v_leak     asked leak at which half the runs fire: the leak meets the threshold. In swings above reset it is
               ``1 - (onset - asked) / swing``; the swing has no cell here (see :mod:`hwloop_calibration.document.calibration` on the two
               gauges) and is found once, from the intervals at two leaks above the onset
    tau_mem    interval with the leak at ``d`` above the threshold: ``t_ref + tau_mem ln(1 + swing / d)``
    tau_syn    steady drive against short drive: the charge of a pulse, ``w tau_syn``, over its height, ``w``
    gain       first spike after a short strong drive

The stages are passed once over all codes, and once more over the neighbourhood of what was found.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri

import hwloop as hl
from hwloop.mapping import Program
from hwloop_calibration.characterise.bench import ROOM, stamps, targets_of
from hwloop_calibration.characterise.kernels import tabulate
from hwloop_calibration.characterise.model import Array, predict
from hwloop_calibration.characterise.stimuli import Pattern, Stimuli
from hwloop_emulator import EmulatorDevice

COLUMNS = 4
#: Samples a step of each stage, and of the swing, which is found once (onset and intervals).
SAMPLES = {"t_ref": 128, "v_leak": 256, "tau_mem": 256, "gain": 256, "tau_syn": 256}
SWING_SAMPLES = 2048
#: Samples in one run of the device.
RUN = 512
#: Codes to either side of what was found that the second pass looks at; the first pass left the gain as far off as
#: tau_syn, which comes after it, was off then.
NEIGHBOURHOOD = {"t_ref": 24, "v_leak": 24, "tau_mem": 24, "gain": 64, "tau_syn": 24}
#: Leak above the threshold (swing) of the intervals that give swing and tau_mem.
NEAR, FAR = 0.2, 0.75
#: Groups that take turns under the strongest drive, whose bursts would overflow the event link otherwise.
GROUPS = 4
#: Interval (s) of a neuron that does not fire.
NEVER = 1e3


@dataclass(frozen=True)
class Search:
    """What a search cost, and the neurons (rows) whose codes all lie within their range: its own sign of success."""

    trim_cells: int
    synapse_cells: int
    device_seconds: float
    samples: int
    reached: Array


def binary_search(device: EmulatorDevice, program: Program, effort: float = 1.0) -> Search:
    """Trim all neurons of ``device`` by binary searches; ``effort``: factor on all numbers of samples."""
    clock, writes, samples = device.device_time, device.writes, device.samples_run
    search = _Stages(device, program, effort)
    search.run()
    trims = device.writes.trims - writes.trims
    return Search(
        trims, device.writes.total - writes.total - trims, device.device_time - clock, device.samples_run - samples,
        search.reached(),
    )  # fmt: skip


class _Stages:
    def __init__(self, device: EmulatorDevice, program: Program, effort: float) -> None:
        self.device, self.targets, self.effort = device, targets_of(program, device, "all"), effort
        limits = device.capabilities
        self.goal = self.targets.nominal(COLUMNS, limits.latency * limits.speedup, 0.0)
        self.tau_mem, self.tau_syn, self.t_ref = (self.targets.typical(k) for k in ("tau_mem", "tau_syn", "t_ref"))
        self.asked_leak = self.targets.values["v_leak"]
        self.highest_leak = self.targets.values["v_reset"] + limits.ranges["v_leak"].high * self.targets.swing
        self.swing = self.targets.swing.copy()
        self.group = np.arange(len(self.goal)) * GROUPS // len(self.goal)

    def run(self) -> None:
        whole = {name: (r.codes_min, r.codes_max) for name, r in self.device.trim_ranges.items()}
        found: list[Array] = []
        for again in (False, True):
            for name in SAMPLES:
                if name == "v_leak":
                    self._t_ref(self._samples(SWING_SAMPLES // 2))
                    found.append(self._swing())
                    self.swing = np.mean(found, 0)
                self._search(name, *whole[name], again)

    def reached(self) -> Array:
        inside = np.ones(len(self.goal), bool)
        for name in SAMPLES:
            allowed, codes = self.device.trim_ranges[name], self.device.trim_codes(name)[self.targets.neurons]
            inside &= (codes > allowed.codes_min + 1) & (codes < allowed.codes_max - 1)
        return inside

    def _search(self, name: str, least: int, most: int, again: bool) -> None:
        physical = self.targets.neurons
        low, high = np.full(len(physical), least), np.full(len(physical), most)
        if again:
            held = self.device.trim_codes(name)[physical]
            low, high = np.maximum(low, held - NEIGHBOURHOOD[name]), np.minimum(high, held + NEIGHBOURHOOD[name])
        too_high: Callable[[int], Array] = getattr(self, f"_{name}")
        while (high - low).max() > 1:
            middle = (low + high) // 2
            self.device.write_trim(name, middle, physical)
            above = too_high(self._samples(SAMPLES[name]))
            high, low = np.where(above, middle, high), np.where(above, low, middle)
        self.device.write_trim(name, low, physical)

    def _samples(self, count: int) -> int:
        return max(16, round(self.effort * count))

    # -- the device ---------------------------------------------------------------------------

    def _load(self, leak: Array | None = None, weight: float = 0.0, grouped: bool = False) -> None:
        """A program with leaks ``[n]`` (asked units) and one weight (swing a pulse) of all columns, or of a group's own."""
        n, limits = len(self.goal), self.device.capabilities
        values = {
            **self.targets.values,
            "v_leak": self.asked_leak if leak is None else np.minimum(leak, self.highest_leak),
        }
        tensors = {name: torch.from_numpy(np.asarray(value, np.float64)) for name, value in values.items()}
        net = hl.Network([hl.Dense(COLUMNS, n), hl.LIF(n, **tensors, reset=limits.reset_kinds[0])]).double()
        with torch.no_grad():
            on = self.group[:, None] == np.arange(COLUMNS) if grouped else np.ones((n, COLUMNS), bool)
            net.blocks[0][0].weight.copy_(torch.from_numpy(weight * self.targets.swing[:, None] * on))
        unused = np.setdiff1d(np.arange(int(self.targets.neurons[-1]) + 1), self.targets.neurons)
        self.device.load(self.device.target.compile(net, mask=unused.tolist()))

    def _spikes(self, pulses: list[tuple[float, int]], t_stop: float, samples: int) -> Array:
        """Times ``[samples, n, ROOM]`` (s, NaN: none) under ``pulses`` (time, column)."""
        ordered = sorted(pulses)
        pair = ([t for t, _ in ordered], [c for _, c in ordered])
        parts = []
        for first in range(0, samples, RUN):
            size = min(RUN, samples - first)
            recording = self.device.run(
                hl.Spikes.from_events([pair], COLUMNS, t_stop, dtype=torch.float64), repeats=size
            )
            out = recording.output
            times, found = np.full((size, len(self.goal), ROOM), np.nan), np.zeros((size, len(self.goal)), np.int64)
            tabulate(
                stamps(recording), np.ascontiguousarray(out.units.numpy()), out.counts.numpy(),
                times, found,
            )  # fmt: skip
            parts.append(times)
        return np.concatenate(parts)

    # -- observables --------------------------------------------------------------------------

    def _t_ref(self, samples: int) -> Array:
        """Interval less the time of charging, which the nominal model has."""
        pulses, weight = 20, 4.0
        self._load(weight=weight * 2, grouped=True)
        train = [0.01e-3 * k for k in range(pulses)]
        t_stop = train[-1] + 8 * self.t_ref
        found = np.empty(len(self.goal))
        for group in range(GROUPS):
            seen = self._spikes([(t, group) for t in train], t_stop, samples)
            found = np.where(self.group == group, _interval(seen[..., :3], 0.0), found)
        stimuli = Stimuli((Pattern(tuple(train)),), (0,), 1, t_stop)
        nominal = predict(self.goal.with_weight(np.full((len(self.goal), 1), weight * 2)), stimuli, derivatives=False)
        charging = (nominal.times[0, :, 2] - nominal.times[0, :, 0]) / 2 - self.goal.t_ref
        self.held = found - charging
        return np.asarray(self.held > self.goal.t_ref)

    def _fires(self, leak: Array, samples: int) -> Array:
        """Share of runs that fire with the leak at ``leak``, however late."""
        self._load(leak=leak)
        return np.isfinite(self._spikes([], 10 * self.tau_mem, samples)[..., 0]).mean(0)

    def _onset(self) -> Array:
        """Asked leak at which half the runs fire: halving, then the two sides of the normal curve."""
        asked = self.targets.swing
        low, high = self.asked_leak + 0.6 * asked, self.asked_leak + 1.5 * asked
        for _ in range(7):
            middle = (low + high) / 2
            fires = self._fires(middle, 64) > 0.5
            low, high = np.where(fires, low, middle), np.where(fires, middle, high)
        middle, half = (low + high) / 2, 0.012 * asked
        below, above = (
            ndtri(np.clip(self._fires(middle + side * half, self._samples(SWING_SAMPLES // 2)), 0.01, 0.99))
            for side in (-1, 1)
        )
        slope = np.maximum((above - below) / (2 * half), 0.2 / half)
        return middle - np.clip((above + below) / 2 / slope, -3 * half, 3 * half)

    def _free(self, leak: Array, samples: int) -> Array:
        """Interval less the refractory time, with the leak above the threshold and no input."""
        self._load(leak=leak)
        return _interval(self._spikes([], 12 * self.tau_mem, samples), self.tau_mem) - np.minimum(
            self.held, 10 * self.t_ref
        )

    def _far(self, onset: Array) -> Array:
        """Distance above the onset, as far as the leak can be asked to be."""
        return np.asarray(np.clip(self.highest_leak - onset, 0.1, FAR * self.targets.swing))

    def _swing(self) -> Array:
        """Swing of every neuron, and its onset, from two intervals above the onset."""
        onset, asked = self._onset(), self.targets.swing
        near, far = NEAR * asked, self._far(onset)
        ratio = self._free(onset + near, self._samples(SWING_SAMPLES)) / self._free(
            onset + far, self._samples(SWING_SAMPLES)
        )
        low, high = 0.5 * asked, 2.0 * asked  # the ratio falls with the swing
        for _ in range(40):
            middle = (low + high) / 2
            model = np.log1p(middle / near) / np.log1p(middle / far)
            low, high = np.where(model > ratio, middle, low), np.where(model > ratio, high, middle)
        return (low + high) / 2

    def _rest(self) -> Array:
        """Asked leak at which a neuron whose leak is right stands at its threshold."""
        return np.asarray(self.asked_leak + self.swing * (1.0 - self.goal.leak))

    def _v_leak(self, samples: int) -> Array:
        return self._fires(self._rest(), samples) > 0.5

    def _tau_mem(self, samples: int) -> Array:
        far = self._far(self._rest())
        found = self._free(self._rest() + far, samples) / np.log1p(self.swing / far)
        return np.asarray(found > self.goal.tau_mem)

    def _steady(self, samples: int) -> Array:
        """Logarithm of the drift (in thresholds) under a steady drive, over the nominal one."""
        spacing, strength = 1e-3, 2.0
        self._load(weight=strength * spacing / self.tau_syn / COLUMNS)
        begin, stop = 4 * self.tau_syn, 4 * self.tau_syn + 6 * self.tau_mem
        train = [(spacing * (k + c / COLUMNS), c) for k in range(int(stop / spacing)) for c in range(COLUMNS)]
        seen = self._spikes(train, stop, samples)
        interval = _interval(np.where(seen > begin, seen, np.nan), self.tau_mem)
        free = np.maximum(interval - self.goal.t_ref, 1e-6) / self.goal.tau_mem
        height = 1 / -np.expm1(-free)
        return np.log(height - self.goal.leak) - np.log(strength)

    def _short(self, samples: int) -> Array:
        """Logarithm of the weight that would bring the first spike where it came, over the one that was asked."""
        when = 3e-3
        weight = float(1 / _response(np.array(when), self.tau_mem, self.tau_syn))
        self._load(weight=weight / COLUMNS)
        start = 0.2e-3
        seen = self._spikes([(start, c) for c in range(COLUMNS)], start + 4 * self.tau_mem, samples)[..., 0]
        there = np.isfinite(seen)
        missing = there.mean(0) < 0.5
        first = np.where(there, seen, 0.0).sum(0) / np.maximum(there.sum(0), 1) - start - self.goal.latency
        height = _response(np.maximum(first, 0.1e-3), self.goal.tau_mem, self.goal.tau_syn)
        return np.where(missing, -np.inf, np.log((1 - self.goal.leak) / height) - np.log(weight))

    def _tau_syn(self, samples: int) -> Array:
        short = self._short(samples)
        # a weight that is right and brings no spike is cut short by its synapse
        return np.isfinite(short) & (self._steady(samples) > short)

    def _gain(self, samples: int) -> Array:
        return self._short(samples) > 0


def _response(s: Array, tau_mem: Array | float, tau_syn: Array | float) -> Array:
    """Membrane (weights) at ``s`` after a pulse."""
    return np.asarray(tau_syn / (tau_mem - tau_syn) * (np.exp(-s / tau_mem) - np.exp(-s / tau_syn)))


def _interval(times: Array, tau: float) -> Array:
    """Mean interval ``[n]`` of ``times [samples, n, k]`` without outliers (lost events), NEVER where there is none.

    With ``tau`` it is that at the mean threshold: an interval ``tau ln(1 + swing / d)`` bends, by ``variance / (2 tau)``.
    """
    steps = np.diff(times, axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # neurons without any interval
        middle = np.nanmedian(steps, axis=(0, 2))
        kept = np.where(np.abs(steps - middle[:, None]) < 0.5 * middle[:, None], steps, np.nan)
        own = np.nanmean(kept, axis=2)
        mean, variance = np.nanmean(own, 0), np.nanvar(own, 0)
    mean = mean - (variance / (2 * tau) if tau else 0.0)
    return np.asarray(np.where(np.isfinite(mean), mean, NEVER))


__all__ = ["Search", "binary_search"]
