"""Neurons that would spike practically without end: refused before they run, not after the minutes that it takes.

Two bounds from below, both of the membrane that never stands above the threshold ``c`` and falls by ``c - r`` at each spike:

- Without spikes it would follow ``v(t)``, of which each spike takes ``c - r`` at most: ``(v(t) - c) / (c - r)`` spikes until t.
- ``tau_mem u' = i - u`` in sum: ``(Integral of (i - c) / tau_mem until t + start - c) / (c - r)`` spikes until t.

Refractory neurons lose current besides: about as many spikes, but no more than one each ``t_ref``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from ..errors import InputError
from .contract import Events, FloatArray, Layer

#: Spikes a sample from which on a neuron is looked at: a bound of them that costs nothing is far too high.
SUSPECT = 1e5


def calm_sum(layer: Layer, t_stop: float) -> float:
    """Sum of ``|weight|`` over the events of a sample up to which no neuron is suspect; 0 where one is without input."""
    threshold, tau_mem = layer.threshold.astype(np.float64), layer.tau_mem.astype(np.float64)
    own = np.abs(threshold) + np.abs(layer.start) + np.maximum(-threshold, 0.0) * t_stop / tau_mem
    most = (SUSPECT * (threshold - layer.reset) - own) / (1.0 + layer.tau_syn / tau_mem)
    return float(np.maximum(most, 0.0).min())


def refuse_endless(layer: Layer, inputs: Events, t_stop: float, where: str, engine: ModuleType) -> None:
    """Raise :class:`InputError` where a sample has more spikes for sure than ``engine`` answers in one call."""
    if layer.max_spikes:
        return
    batch = len(inputs.counts)
    least = least_spikes(layer, inputs, t_stop, engine)
    totals = least.sum(1)
    sample = int(totals.argmax())
    if totals[sample] * batch <= engine.MAX_EVENTS:
        return
    neuron = int(least[sample].argmax())
    spikes, first = least[sample, neuron], float(inputs.times[sample, 0]) if inputs.counts[sample] else 0.0
    raise InputError(
        f"{where}: in sample {sample} neuron {neuron} spikes {spikes:.2g} times or more between t = {first:.4g} s and {t_stop:g} s "
        f"({spikes / t_stop:.2g} a second), its layer {totals[sample]:.2g} times; allowed: {engine.MAX_EVENTS} in one call of "
        f"{batch} samples. Use lower weights, a larger v_th - v_reset, a refractory time, or max_spikes"
    )


@np.errstate(all="ignore")
def least_spikes(layer: Layer, inputs: Events, t_stop: float, engine: ModuleType) -> FloatArray:
    """``[batch, n_out]`` spikes that there are at least; inf where numbers are too large to tell."""
    everyone = np.ones((len(inputs.counts), layer.weight.shape[1]), np.bool_)
    threshold = layer.threshold.astype(np.float64)
    top = engine.membrane_maximum(layer, inputs, t_stop, everyone)[0] - threshold
    charge = _largest_charge(layer, inputs, t_stop, threshold) + layer.start - threshold
    least = np.maximum(top, charge) / (threshold - layer.reset)
    least = np.minimum(np.where(np.isnan(least), np.inf, least), t_stop / layer.t_ref.astype(np.float64))
    return np.maximum(least, 0.0)


def _largest_charge(layer: Layer, inputs: Events, t_stop: float, threshold: FloatArray) -> FloatArray:
    """Largest integral of ``(i - threshold) / tau_mem`` from 0 to any event or the end, ``[batch, n_out]``."""
    tau_mem, tau_syn = layer.tau_mem.astype(np.float64), layer.tau_syn.astype(np.float64)
    weight = layer.weight.astype(np.float64)
    current: Any = np.zeros((len(inputs.counts), weight.shape[1]))
    charge, most, now = current.copy(), np.full(current.shape, -np.inf), np.zeros((len(current), 1))
    for k in range(inputs.times.shape[1] + 1):
        comes = (k < inputs.counts)[:, None]
        column = min(k, inputs.times.shape[1] - 1)
        t = np.where(comes, inputs.times[:, column, None], t_stop) if column >= 0 else np.full_like(now, t_stop)
        kept = np.exp((now - t) / tau_syn)
        charge += (current * tau_syn * (1.0 - kept) - threshold * (t - now)) / tau_mem
        most, current, now = np.maximum(most, charge), current * kept, t
        if column == k:
            current += np.where(comes, weight[inputs.units[:, k]], 0.0)
    return most
