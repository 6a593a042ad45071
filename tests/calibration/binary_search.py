"""The usual way, to compare with: stage by stage, one parameter at a time, a binary search of its code on one observable.

As calix does for BrainScaleS-2: every neuron's search runs in parallel, each step writes one code a neuron and looks at one
number. Here the number is the mean time of a spike under a pattern that depends on that parameter most, its goal the
nominal model's. Parameters are taken in the order from strong to weak influence, twice, since each search assumes that
the others are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.mapping import Program
from hwloop_calibration.bench import Bench, targets_of
from hwloop_calibration.design import sample_information
from hwloop_calibration.fit import Noise
from hwloop_calibration.model import OWN, predict
from hwloop_calibration.stimuli import candidates, on_columns, window
from hwloop_emulator import EmulatorDevice

#: Cell, and the coordinate of the model that it moves.
STAGES = (("gain", OWN), ("tau_syn", 1), ("v_leak", 2), ("tau_mem", 0))
SWEEPS, REPEATS = 2, 16


@dataclass(frozen=True)
class Search:
    """What a search cost: cells written and device time (s)."""

    writes: int
    device_seconds: float


def binary_search(device: EmulatorDevice, program: Program) -> Search:
    """Trim all neurons of ``device`` by binary searches."""
    bench = Bench(device, targets_of(program, device), 4)
    bench.load()
    clock, writes = device.device_time, device.writes.trims
    limits = device.capabilities
    nominal = bench.targets.nominal(4, limits.latency * limits.speedup, limits.refractory_min * limits.speedup)
    patterns = candidates(10e-3, 5e-3)
    t_stop = window(patterns, 10e-3, 5e-3, 2e-3)
    stimuli = on_columns(patterns, [0], 4, t_stop)
    model = predict(nominal, stimuli)
    information = sample_information(model, Noise(0.015, 1e-4, 0.0), 5e-3)[:, 0]
    for _ in range(SWEEPS):
        for name, coordinate in STAGES:
            chosen = _pattern(model, information, coordinate)
            _stage(device, bench, name, on_columns([patterns[chosen]], range(4), 4, t_stop), model, chosen, coordinate)
    return Search(device.writes.trims - writes, device.device_time - clock)


def _pattern(model, information: np.ndarray, coordinate: int) -> int:
    """The pattern whose first spike says most about this coordinate and least about the others."""
    rows = np.abs(model.rows[:, 0, 0]) * np.array([1, 1, 0.3, 1e-3, 1e-3, 1])
    share = rows[:, coordinate] / np.maximum(rows.sum(1), 1e-12)
    good = np.isfinite(model.times[:, 0, 0]) & (np.abs(model.threshold[:, 0, 0]) < 60 * 5e-3)
    return int(np.argmax(np.where(good, share * np.sqrt(information[:, coordinate, coordinate]), -1.0)))


def _stage(device: EmulatorDevice, bench: Bench, name: str, stimuli, model, chosen: int, coordinate: int) -> None:
    allowed = device.trim_ranges[name]
    n = len(bench.targets.neurons)
    goal, rising = model.times[chosen, 0, 0], model.rows[chosen, 0, 0, coordinate] > 0
    low, high = np.full(n, allowed.codes_min), np.full(n, allowed.codes_max)
    while (high - low).max() > 1:
        middle = (low + high) // 2
        device.write_trim(name, middle)
        seen = bench.measure(stimuli, REPEATS)
        first = np.where(seen.agreed > 0, seen.mean[..., 0], np.inf).mean(0)  # over the four columns
        # a spike that comes too late wants the value lower where time rises with it; no spike is a late one
        too_high = (first > goal) == rising
        high, low = np.where(too_high, middle, high), np.where(too_high, low, middle)
    device.write_trim(name, low)
