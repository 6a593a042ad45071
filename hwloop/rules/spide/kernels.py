"""Kernels of SPIDE: one step of its neurons, and its backward pass, whose spikes are rare and followed one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simulate.compile_kernel import kernel
from ...simulate.contract import FloatArray, IntArray
from .ring import Ring


@kernel()
def integrate(
    potential: FloatArray, constant: FloatArray, received: FloatArray, neuron: FloatArray, count: FloatArray,
    spikes: FloatArray,
) -> None:  # fmt: skip
    """One forward step of a population, all ``[batch, n]``, in place: integrate, fire, reset, count.

    ``constant [batch, n]`` or ``[1, n]``; ``received`` may have no rows, which is nothing; ``neuron``: threshold and quantum.
    """
    upper, quantum = neuron[0], neuron[1]
    one, zero = potential.dtype.type(1), potential.dtype.type(0)
    for b in range(potential.shape[0]):
        u, drive, n, s = potential[b], constant[b % constant.shape[0]], count[b], spikes[b]
        if len(received):
            more = received[b]
            for i in range(len(u)):
                u[i] = u[i] + drive[i] + more[i]
        else:
            for i in range(len(u)):
                u[i] += drive[i]
        for i in range(len(u)):
            s[i] = one if u[i] >= upper else zero
            u[i] -= quantum * s[i]
            n[i] += s[i]


@kernel(allocates=True)
def adjoint_spikes(
    ring: Ring, source: FloatArray, gate: FloatArray, mask: FloatArray, neuron: FloatArray, at_lower: bool, steps: int,
    counts: FloatArray,
) -> Any:  # fmt: skip
    """Fill ``counts [batch, units]`` with the net spikes of ``steps`` steps in a ring; returns the number of spikes.

    All populations stand in one row of units; a step goes through them last to first. What a unit receives stands in a *cell*,
    which units of one pooling window share: see :class:`~.ring.Ring`.

    ``source [batch, n_G]``: g, what the last population gets in every step; ``gate [batch, units]``: m; ``mask`` likewise: dropout, or
    of no rows, which is none.
    ``neuron``: upper and lower threshold and quantum. Twin: :func:`hwloop.rules.spide.adjoint.step_by_step`.
    """
    populations, place, starts, targets, weights = ring
    batch, units = counts.shape
    n_populations = len(populations)
    potential, received = np.zeros(units, counts.dtype), np.zeros(populations[:, 3].max(), counts.dtype)
    given = np.zeros(units, counts.dtype)
    spikes, sent = np.zeros(units, np.int8), np.zeros(units, np.int64)
    quiet = np.zeros(n_populations, np.bool_)
    quantum = neuron[2]
    fired = 0
    for b in range(batch):
        potential[:] = 0
        received[:] = 0
        quiet[:] = True
        m, count = gate[b], counts[b]
        for _ in range(steps):
            for k in range(n_populations - 1, -1, -1):
                first, end, cells, last_cell, row = populations[k]
                last = k == n_populations - 1
                if quiet[k] and not last:
                    continue  # nothing came, and no potential was left beyond a threshold
                for j in range(first, end):
                    given[j] = received[place[j]]
                if len(mask):
                    for j in range(first, end):
                        given[j] *= mask[b, j]
                if last:
                    for j in range(first, end):
                        given[j] = source[b, j - first] + given[j]
                received[cells:last_cell] = 0
                _fire(potential[first:end], given[first:end], neuron, at_lower, spikes[first:end])
                found = _spiking(spikes[first:end], sent)
                quiet[k] = found == 0
                fired += found
                for n in range(found):
                    j = first + sent[n]
                    s = counts.dtype.type(spikes[j])
                    potential[j] -= quantum * s
                    count[j] += s
                    if m[j] == 0 or starts[j + 1] == starts[j]:
                        continue
                    quiet[k - 1] = False  # population 0 sends to the last one
                    begin, own = starts[j], weights[starts[j] : starts[j + 1]]
                    if row >= 0:
                        for i in range(len(own)):
                            received[row + i] += s * own[i]
                    else:
                        for i in range(len(own)):
                            received[targets[begin + i]] += s * own[i]
    return fired


@kernel()
def _fire(potential: FloatArray, given: FloatArray, neuron: FloatArray, at_lower: bool, spikes: IntArray) -> None:
    """Integrate ``given``; ``spikes`` tells who is beyond a threshold. Nothing is reset."""
    upper, lower = neuron[0], neuron[1]
    for j in range(len(potential)):
        u = potential[j] + given[j]
        below = u <= lower if at_lower else u < lower
        spikes[j] = np.int8(u >= upper) - np.int8(below)
        potential[j] = u


@kernel()
def _spiking(spikes: IntArray, found: IntArray) -> int:
    """Units whose entry is not 0, into ``found``; their number. Thirty-two entries are looked at together."""
    n, count = len(spikes), 0
    for start in range(0, n, 32):
        end = min(start + 32, n)
        total = 0
        for j in range(start, end):
            total |= spikes[j]
        if total != 0:
            for j in range(start, end):
                if spikes[j] != 0:
                    found[count] = j
                    count += 1
    return count
