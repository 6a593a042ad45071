"""Numba kernels of HM2-BP in continuous time for populations that any maps drive: synapse by synapse.

What :mod:`.event_kernels` does for a matrix, in the same order of operations, for listed synapses with delays, and for constant
currents (biases), whose potential is that of a membrane that starts anew at every cut.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...simulate.compile_kernel import kernel
from ...simulate.contract import FloatArray, IntArray
from .event_kernels import Constants, Trains, _shape


class Wires(NamedTuple):
    """Synapses sorted by neuron: neuron i has ``[starts[i]:starts[i + 1]]`` of the others.

    ``units``: what drives each, numbered through all that leads in; ``weights``; ``delays`` (s), or of no rows: none.
    """

    starts: IntArray
    units: IntArray
    weights: FloatArray
    delays: FloatArray


class OfWires(NamedTuple):
    """What belongs to synapses and biases of a population: ``synapses [synapses]``, and ``constant [n_out]``."""

    synapses: FloatArray
    constant: FloatArray


@kernel()
def effects_of_wires(inputs: Trains, outputs: Trains, constants: Constants, wires: Wires, effects: OfWires) -> None:
    """Fill the ``effects`` of one sample: of every synapse, and of a constant current of 1 from time 0 on."""
    effect, constant = effects
    pre, pre_starts = inputs
    post, post_starts = outputs
    tau_m, tau_s, hold = constants
    starts, units, _, delays = wires
    for i in range(len(constant)):
        effect[starts[i] : starts[i + 1]] = 0.0
        constant[i] = 0.0
        cut = -math.inf
        for f in range(post_starts[i], post_starts[i + 1]):
            t_f = post[f]
            if cut < t_f:
                after = _shape(t_f - cut, tau_m[i], tau_s[i]) if cut > -math.inf else 0.0
                constant[i] -= math.expm1((max(cut, 0.0) - t_f) / tau_m[i])
                for s in range(starts[i], starts[i + 1]):
                    late = delays[s] if len(delays) else 0.0
                    for k in range(pre_starts[units[s]], pre_starts[units[s] + 1]):
                        t_j = pre[k] + late
                        if t_j >= t_f:
                            break
                        if t_j >= cut:
                            effect[s] += _shape(t_f - t_j, tau_m[i], tau_s[i])
                        else:
                            effect[s] += math.exp((t_j - cut) / tau_s[i]) * after
            cut = t_f + hold[i]


@kernel()
def wires_gradient(
    inputs: Trains, outputs: Trains, constants: Constants, wires: Wires, bias: FloatArray, threshold: FloatArray,
    delta: FloatArray, effects: OfWires, gradients: OfWires, below: FloatArray,
) -> None:  # fmt: skip
    """Add one sample's ``gradients``, and what its inputs are told to ``below [units]``; ``effects`` is written over."""
    starts, units, weights, _ = wires
    effect, constant = effects
    gradient, of_bias = gradients
    pre_starts, post_starts = inputs.starts, outputs.starts
    effects_of_wires(inputs, outputs, constants, wires, effects)
    for i in range(len(delta)):
        spikes = post_starts[i + 1] - post_starts[i]
        if spikes > 0 and delta[i] != 0.0:
            total = 0.0
            for s in range(starts[i], starts[i + 1]):
                total += weights[s] * effect[s]
            if bias[i] != 0.0:
                total += bias[i] * constant[i]
            factor = delta[i] * (1.0 + total / (threshold[i] * spikes))
            for s in range(starts[i], starts[i + 1]):
                gradient[s] += factor * effect[s]
            of_bias[i] += factor * constant[i]
        for s in range(starts[i], starts[i + 1]):
            own = pre_starts[units[s] + 1] - pre_starts[units[s]]
            empty = own == 0 or spikes == 0
            below[units[s]] += delta[i] * weights[s] * (1.0 if empty else effect[s] / own)
