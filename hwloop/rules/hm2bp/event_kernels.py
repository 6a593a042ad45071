"""Numba kernels of HM2-BP in continuous time: closed-form double sums over the spikes of two trains."""

from __future__ import annotations

import math
from typing import NamedTuple

from ...simulate.compile_kernel import kernel
from ...simulate.contract import FloatArray, IntArray
from ...simulate.kernels.neuron import response


class Trains(NamedTuple):
    """Spikes of one sample by unit: ``times`` (s), ascending in each group, and where each unit's begin ``[units + 1]``."""

    times: FloatArray
    starts: IntArray


class Constants(NamedTuple):
    """Time constants of each neuron and how long it is held after a spike, ``[n_out]`` (s)."""

    tau_mem: FloatArray
    tau_syn: FloatArray
    hold: FloatArray


@kernel(inline="always")
def _shape(x: float, tau_m: float, tau_s: float) -> float:
    """Potential per unit weight a time x after the input spike, ``tau_m u' = -u + i``; exact for any two time constants."""
    return response(x, tau_m, tau_s)[2]


@kernel()
def effects_of(inputs: Trains, outputs: Trains, constants: Constants, effect: FloatArray) -> None:
    """``effect [n_out, n_in]`` of one sample."""
    pre, pre_starts = inputs
    post, post_starts = outputs
    tau_m, tau_s, hold = constants
    n_out, n_in = effect.shape
    for i in range(n_out):
        effect[i, :] = 0.0
        cut = -math.inf
        for f in range(post_starts[i], post_starts[i + 1]):
            t_f = post[f]
            if cut < t_f:
                after = _shape(t_f - cut, tau_m[i], tau_s[i]) if cut > -math.inf else 0.0
                for j in range(n_in):
                    for k in range(pre_starts[j], pre_starts[j + 1]):
                        t_j = pre[k]
                        if t_j >= t_f:
                            break
                        if t_j >= cut:
                            effect[i, j] += _shape(t_f - t_j, tau_m[i], tau_s[i])
                        else:
                            effect[i, j] += math.exp((t_j - cut) / tau_s[i]) * after
            cut = t_f + hold[i]


@kernel()
def layer_gradient(
    inputs: Trains, outputs: Trains, constants: Constants, weight: FloatArray, threshold: FloatArray, delta: FloatArray,
    effect: FloatArray, gradient: FloatArray, below: FloatArray,
) -> None:  # fmt: skip
    """Add one sample's weight gradient; write what its inputs are told, where ``below`` has columns."""
    n_out, n_in = weight.shape
    pre_starts, post_starts = inputs.starts, outputs.starts
    effects_of(inputs, outputs, constants, effect)
    for i in range(n_out):
        spikes = post_starts[i + 1] - post_starts[i]
        if spikes == 0 or delta[i] == 0.0:
            continue
        total = 0.0
        for j in range(n_in):
            total += weight[i, j] * effect[i, j]
        factor = delta[i] * (1.0 + total / (threshold[i] * spikes))
        for j in range(n_in):
            gradient[i, j] += factor * effect[i, j]
    for j in range(len(below)):
        own = pre_starts[j + 1] - pre_starts[j]
        told = 0.0
        for i in range(n_out):
            empty = own == 0 or post_starts[i + 1] == post_starts[i]
            told += delta[i] * weight[i, j] * (1.0 if empty else effect[i, j] / own)
        below[j] = told
