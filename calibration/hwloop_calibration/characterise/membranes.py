"""What membranes add to spikes: the unit and the zero of the potential, which no spike depends on.

From spikes the membrane is known in swings, ``u(t) = (v(t) - v_reset) / (v_th - v_reset)``. A converter shows ``v(t)``;
``v = v_reset + swing u`` is a straight line, whose two numbers a regression gives for every neuron. Driven below
threshold no reset disturbs it: at rest ``u`` is the leak, a single pulse lifts it by ``w g(t)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwloop.device.trim import MembraneReader

from .bench import Bench
from .model import Array, Neurons
from .stimuli import Pattern, Stimuli

#: Samples of a membrane in a run, repeats of the run, and pulse of the drive at these times (tau_syn).
SAMPLES, REPEATS, PULSE = 48, 8, 1.0
#: Length of a run (tau_mem).
WINDOW = 6.0


@dataclass(frozen=True, eq=False)
class Potentials:
    """``v_reset`` and ``swing`` ``[n]`` (model units) with standard errors; NaN where the membrane says nothing."""

    v_reset: Array
    swing: Array
    v_reset_error: Array
    swing_error: Array


def read_potentials(bench: Bench, neurons: Neurons) -> Potentials | None:
    """Read every membrane at rest and under one pulse; None where the device has no converter."""
    device = bench.device
    if not isinstance(device, MembraneReader) or device.membrane_channels < 1:
        return None
    tau_mem, tau_syn = bench.targets.typical("tau_mem"), bench.targets.typical("tau_syn")
    pulse = PULSE * tau_syn
    t_stop = pulse + WINDOW * tau_mem
    stimuli = Stimuli((Pattern((pulse,)),) * REPEATS, (0,) * REPEATS, bench.columns, t_stop)
    times = np.linspace(0.0, t_stop, SAMPLES)
    n, channels = len(neurons), device.membrane_channels
    seen = np.empty((n, REPEATS * SAMPLES))
    for first in range(0, n, channels):
        chosen = np.arange(first, min(n, first + channels))
        read = device.read_membrane(stimuli.spikes(), 0, chosen, times)
        seen[chosen] = np.swapaxes(read, 0, 1).reshape(len(chosen), -1)
    model = np.tile(membrane(neurons, pulse, times), REPEATS)
    return regress(model, seen)


def membrane(neurons: Neurons, pulse: float, times: Array) -> Array:
    """Membranes ``[n, samples]`` (swing) without spikes, from rest, with one pulse on column 0; Neurons' own closed form."""
    s = np.maximum(times[None] - pulse, 0.0)
    tau_mem, tau_syn = neurons.tau_mem[:, None], neurons.tau_syn[:, None]
    # the slower exponential is taken out: no difference of nearly equal numbers
    x = s * np.abs(tau_mem - tau_syn) / (tau_mem * tau_syn)
    phi = np.where(x == 0.0, 1.0, -np.expm1(-x) / np.where(x == 0.0, 1.0, x))
    response = s / tau_mem * np.exp(-s / np.maximum(tau_mem, tau_syn)) * phi
    return np.asarray(neurons.leak[:, None] + neurons.weight[:, :1] * response)


def regress(model: Array, seen: Array) -> Potentials:
    """Straight line ``seen = v_reset + swing model`` of every row, least squares with standard errors."""
    m = model.shape[1]
    centre = model.mean(1, keepdims=True)
    x = model - centre
    power = (x * x).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        swing = (x * seen).sum(1) / power
        v_reset = seen.mean(1) - swing * centre[:, 0]
        left = seen - v_reset[:, None] - swing[:, None] * model
        variance = (left * left).sum(1) / (m - 2)
        swing_error = np.sqrt(variance / power)
        v_reset_error = np.sqrt(variance * (1 / m + centre[:, 0] ** 2 / power))
    bad = ~(swing > 0)
    return Potentials(*(np.where(bad, np.nan, values) for values in (v_reset, swing, v_reset_error, swing_error)))
