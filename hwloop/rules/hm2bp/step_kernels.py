"""Numba kernels of HM2-BP in steps: sparse simulation, totals ``a_i = sum_j w_ij e_i|j``, and weight gradients.

Work follows the spikes: an input spike adds one row of weights, an output spike one row of traces. Rasters are uint8
``[batch, steps, n]``; weights ``[n_in, n_out]`` (pre-major).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...simulate.compile_kernel import kernel
from ...simulate.contract import FloatArray, IntArray


class Constants(NamedTuple):
    """Constants of a population: threshold, steps for which it is held after a spike, time constants (steps)."""

    v_th: float
    hold: int
    tau_mem: float
    tau_syn: float


@kernel()
def spiking(row: IntArray, found: IntArray) -> int:
    """Units of a raster row that spike, into ``found``; their number. Eight bytes are looked at together."""
    n, count = len(row), 0
    if n % 8 == 0:
        words = row.view(np.uint64)
        for k in range(len(words)):
            if words[k] != 0:
                for j in range(8 * k, 8 * k + 8):
                    if row[j] != 0:
                        found[count] = j
                        count += 1
        return count
    for j in range(n):
        if row[j] != 0:
            found[count] = j
            count += 1
    return count


@kernel(allocates=True, fastmath={"contract"})
def lif_steps(
    inputs: IntArray, weight: FloatArray, v_th: FloatArray, tau_m: FloatArray, tau_s: FloatArray, t_ref: int,
    lateral: FloatArray, spikes: IntArray,
) -> None:  # fmt: skip
    """Simulate one population into ``spikes``; scalars come as 0-d values of the weight's dtype."""
    batch, steps, n_in = inputs.shape
    n = weight.shape[1]
    v, e = np.zeros(n, weight.dtype), np.zeros(n, weight.dtype)
    wait = np.zeros(n, np.int32)
    found = np.empty(n_in, np.int64)
    keep_m, keep_s = weight.dtype.type(1) / tau_m, weight.dtype.type(1) / tau_s
    zero = weight.dtype.type(0)
    for b in range(batch):
        v[:], e[:], wait[:] = zero, zero, 0
        for t in range(steps):
            for i in range(n):
                v[i] -= v[i] * keep_m
                e[i] -= e[i] * keep_s
            if t > 0:
                for k in range(spiking(inputs[b, t - 1], found)):
                    row = weight[found[k]]
                    for i in range(n):
                        e[i] += row[i]
                if lateral != zero:
                    total = 0
                    for i in range(n):
                        total += spikes[b, t - 1, i]
                    if total:
                        for i in range(n):
                            e[i] += lateral * (total - spikes[b, t - 1, i])
            out = spikes[b, t]
            for i in range(n):
                v[i] = v[i] + e[i] * keep_s if wait[i] == 0 else zero
                wait[i] -= wait[i] > 0
                out[i] = v[i] > v_th
            for i in range(n):
                if out[i]:
                    v[i] = zero
                    wait[i] = t_ref


@kernel(allocates=True)
def _entries(
    spikes: IntArray, hold: int, tau_m: float, last: IntArray, starts: IntArray, units: IntArray, worth: FloatArray
) -> int:
    """Coefficients of one sample's ``spikes [steps, n]``, sorted by step: ``e_i = sum worth P(step)``; their number.

    A spike at t counts +1; so does, with ``-exp(-(t - cut)/tau_m)``, the end of the hold after the spike before it.
    """
    steps, n = spikes.shape
    found = np.empty(n, np.int64)
    starts[:] = 0
    last[:] = -1
    for t in range(steps):
        for k in range(spiking(spikes[t], found)):
            i = found[k]
            starts[t + 1] += 1
            if last[i] >= 0:
                starts[min(last[i] + hold, t) + 1] += 1
            last[i] = t
    for t in range(steps):
        starts[t + 1] += starts[t]
    place = starts[:-1].copy()
    last[:] = -1
    for t in range(steps):
        for k in range(spiking(spikes[t], found)):
            i = found[k]
            units[place[t]], worth[place[t]] = i, 1.0
            place[t] += 1
            if last[i] >= 0:
                cut = min(last[i] + hold, t)
                units[place[cut]], worth[place[cut]] = i, -math.exp(-(t - cut) / tau_m)
                place[cut] += 1
            last[i] = t
    return starts[steps]


@kernel()
def count(raster: IntArray, found: IntArray) -> None:
    """Spikes of every unit, ``[batch, n]`` int32, of ``raster [batch, steps, n]``."""
    for b in range(raster.shape[0]):
        for t in range(raster.shape[1]):
            for i in range(raster.shape[2]):
                found[b, i] += raster[b, t, i]


@kernel()
def coupling(tau_m: float, tau_s: float) -> float:
    """What a unit of current adds to the potential in one step: ``(e^(-1/tau_m) - e^(-1/tau_s)) / (1 - tau_s/tau_m)``.

    So that a potential is carried on by itself, and is no difference of two traces, which cancels for nearly equal taus.
    """
    apart = (tau_m - tau_s) / (tau_m * tau_s)
    return math.exp(-1.0 / tau_s) * math.expm1(apart) / (apart * tau_s)


@kernel()
def _members(inputs: IntArray, slot: IntArray, members: IntArray, found: IntArray) -> int:
    """Inputs of one sample that spike at all: ``members`` lists them, ``slot`` is their place in it; their number."""
    slot[:] = -1
    active = 0
    for t in range(len(inputs)):
        for k in range(spiking(inputs[t], found)):
            if slot[found[k]] < 0:
                slot[found[k]] = active
                members[active] = found[k]
                active += 1
    return active


@kernel(allocates=True, fastmath={"contract"})
def gradient_steps(
    inputs: IntArray, weight: FloatArray, spikes: IntArray, counts: IntArray, delta: FloatArray, side: FloatArray,
    constants: Constants, gradient: FloatArray, back: FloatArray,
) -> None:  # fmt: skip
    """Add the batch's weight gradient to ``gradient [n_out, n_in]``; write ``back_j = sum_i delta_i w_ij e_i|j``.

    ``counts``, ``delta``, ``side`` (lateral factor) ``[batch, n_out]``; ``weight [n_out, n_in]``; ``back [batch, n_in]``, or
    of no columns: not wanted.
    """
    v_th, hold, tau_m, tau_s = constants
    batch, steps, n_in = inputs.shape
    n, dtype = spikes.shape[2], gradient.dtype.type
    found, last = np.empty(n_in, np.int64), np.empty(n, np.int64)
    slot, members = np.empty(n_in, np.int64), np.empty(n_in, np.int64)
    room = 2 * steps * n
    starts, units, worth = np.zeros(steps + 1, np.int64), np.empty(room, np.int64), np.empty(room)
    current, value = np.empty(n_in, gradient.dtype), np.empty(n_in, gradient.dtype)
    cells = np.empty(n * n_in, gradient.dtype)
    keep_m, keep_s = dtype(math.exp(-1.0 / tau_m)), dtype(math.exp(-1.0 / tau_s))
    gain = dtype(coupling(tau_m, tau_s))
    for b in range(batch):
        _entries(spikes[b], hold, tau_m, last, starts, units, worth)
        active = _members(inputs[b], slot, members, found)
        effect = cells[: n * active].reshape(n, active)  # only inputs that spike: it stays in the cache
        current[:active], value[:active] = dtype(0), dtype(0)
        for i in range(n):
            if last[i] >= 0:
                effect[i, :] = dtype(0)
        for t in range(steps):
            for j in range(active):
                value[j] = keep_m * value[j] + gain * current[j]
                current[j] *= keep_s
            for k in range(spiking(inputs[b, t], found)):
                current[slot[found[k]]] += dtype(1)
            for entry in range(starts[t], starts[t + 1]):
                i = units[entry]
                if delta[b, i] != dtype(0):
                    scale, row = dtype(worth[entry]), effect[i]
                    for j in range(active):
                        row[j] += scale * value[j]
        for i in range(n):
            if last[i] < 0 or delta[b, i] == dtype(0):
                continue
            row, target, own = effect[i], gradient[i], weight[i]
            total = 0.0
            for j in range(active):
                total += own[members[j]] * row[j]
            scale = delta[b, i] * side[b, i] * dtype(1.0 + total / (v_th * counts[b, i]))
            for j in range(active):
                target[members[j]] += scale * row[j]
            if back.shape[1]:
                for j in range(active):
                    back[b, members[j]] += delta[b, i] * own[members[j]] * row[j]
