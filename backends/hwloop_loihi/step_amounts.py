"""By how much a network in steps has to change where its run left the registers: figures for the messages."""

from __future__ import annotations

import numpy as np

from hwloop.mapping import rounded_down, rounded_up
from hwloop_fixed_point.graph import FixedLayer
from hwloop_fixed_point.registers import DECAY_UNITY, MAX_STATE, MAX_THRESHOLD, STATE_SHIFT, Array
from hwloop_fixed_point.soft_reset import SoftPopulation

from .soft_codes import power_of_two
from .step_codes import HEADROOM

#: Share of a register that a changed network is meant to fill: codes are rounded.
FILLED = 0.9


def weaker_weights(layer: FixedLayer, raster: Array) -> float:
    """Factor for the weights of HM2-BP's ``layer`` with which no current wraps on ``raster [batch, ticks, n_in]``.

    A threshold takes up to ``1 / HEADROOM`` of the register whatever the weights, so that only their ratio to it counts.
    """
    weight = layer.synapses.effective().astype(np.float64) * 2.0 ** (layer.synapses.exponent + STATE_SHIFT)
    keep, most = 1 - (layer.du + 1) / DECAY_UNITY, 0.0
    current = np.zeros((len(raster), layer.n))
    for tick in range(raster.shape[1]):
        current = keep * current + raster[:, tick].astype(np.float64) @ weight.T
        most = max(most, float(np.abs(current).max()))
    return rounded_down(FILLED * HEADROOM * (layer.vth << STATE_SHIFT) / most, 2)


def weaker_volley(population: SoftPopulation, scale: float, events: Array) -> float:
    """Factor for the weights of SpikeGrad's ``population`` with which no sum of ``events [batch, ticks, n_in]`` wraps.

    Weaker weights are given finer codes, up to the finest that leaves the threshold room.
    """
    most = float(np.abs(events.astype(np.float64) @ population.weight.T.astype(np.float64)).max())
    finest = power_of_two(MAX_THRESHOLD * scale / population.vth)
    return rounded_down(FILLED * (MAX_STATE >> STATE_SHIFT) * scale / (finest * most), 2)


def higher_theta(population: SoftPopulation, theta: float, events: Array, ticks: int) -> float:
    """A theta with which ``population`` needs up to ``ticks`` spikes for all of ``events [batch, ticks, n_in]``."""
    drive = np.abs(events.sum(1).astype(np.float64) @ population.weight.T.astype(np.float64)).max()
    needed = float(drive + np.abs(population.start).max() / 2**STATE_SHIFT) / population.vth
    return rounded_up(theta * needed / (FILLED * ticks), 2)
