"""Kernel of SPIDE's backward pass in one population with feedback: error spikes are rare, so they are followed one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..simulate.contract import FloatArray
from ..simulate.kernel import kernel


@kernel()
def ring_adjoint(
    weight: FloatArray,
    source: FloatArray,
    gate: FloatArray,
    mask: FloatArray,
    neuron: FloatArray,
    at_lower: bool,
    steps: int,
    counts: FloatArray,
) -> Any:
    """Fill ``counts [batch, n]`` with the net spikes of ``steps`` steps; returns the number of spikes.

    ``weight [n, n]``: what a spike of neuron j adds to each neuron, in row j; ``source``, ``gate``, ``mask`` ``[batch, n]``: g, m
    and dropout; ``neuron``: upper and lower threshold and quantum, in the same dtype. Twin of :func:`hwloop.rules.spide_backward.spiking_adjoint` for a ring of one population.
    """
    batch, n = source.shape
    potential, received = np.zeros(n, source.dtype), np.zeros(n, source.dtype)
    spikes, active = np.zeros(n, np.int32), np.zeros(n, np.int64)
    upper, lower, quantum = neuron[0], neuron[1], neuron[2]
    fired = 0
    for b in range(batch):
        potential[:] = 0
        received[:] = 0
        g, m, kept, count = source[b], gate[b], mask[b], counts[b]
        for _ in range(steps):
            for i in range(n):
                u = potential[i] + (g[i] + received[i] * kept[i])
                below = u <= lower if at_lower else u < lower
                s = np.int32(u >= upper) - np.int32(below)
                spikes[i] = s
                potential[i] = u - quantum * s
                received[i] = 0
            found = 0
            for i in range(n):
                if spikes[i] != 0:
                    count[i] += spikes[i]
                    fired += 1
                    if m[i] != 0:
                        active[found] = i
                        found += 1
            for k in range(found):
                row = weight[active[k]]
                if spikes[active[k]] > 0:
                    for i in range(n):
                        received[i] += row[i]
                else:
                    for i in range(n):
                        received[i] -= row[i]
    return fired
