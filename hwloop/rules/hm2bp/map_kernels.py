"""Numba kernels of HM2-BP in steps for stages that are any linear map: what is left beside the map itself.

Rasters are uint8 ``[batch, steps, n]``. A train's *coefficients* ``C[t]`` are what ``e_i|j = sum_t C_i[t] P_j[t]`` weighs the
potentials with: +1 at a spike, ``-exp(-(t - cut)/tau_m)`` at the end of the hold after the spike before it.
"""

from __future__ import annotations

import math

import numpy as np

from ...simulate.compile_kernel import kernel
from ...simulate.contract import FloatArray, IntArray
from .step_kernels import coupling, spiking


@kernel(allocates=True, fastmath={"contract"})
def lif_driven(
    drive: FloatArray, v_th: FloatArray, tau_m: FloatArray, tau_s: FloatArray, t_ref: int, lateral: FloatArray,
    spikes: IntArray,
) -> None:  # fmt: skip
    """As :func:`.step_kernels.lif_steps`, from ``drive [batch, steps, n]``: what arrives of the spikes of each step."""
    batch, steps, n = drive.shape
    v, e = np.zeros(n, drive.dtype), np.zeros(n, drive.dtype)
    wait = np.zeros(n, np.int32)
    keep_m, keep_s = drive.dtype.type(1) / tau_m, drive.dtype.type(1) / tau_s
    zero, rest = drive.dtype.type(0), np.int32(t_ref)
    for b in range(batch):
        v[:], e[:], wait[:] = zero, zero, 0
        for t in range(steps):
            for i in range(n):
                v[i] -= v[i] * keep_m
                e[i] -= e[i] * keep_s
            if t > 0:
                arrived = drive[b, t - 1]
                for i in range(n):
                    e[i] += arrived[i]
                if lateral != zero:
                    total = 0
                    for i in range(n):
                        total += spikes[b, t - 1, i]
                    if total:
                        for i in range(n):
                            e[i] += lateral * (total - spikes[b, t - 1, i])
            out = spikes[b, t]
            for i in range(n):
                u = v[i] + e[i] * keep_s if wait[i] == 0 else zero
                fired = u > v_th
                v[i] = zero if fired else u
                wait[i] = rest if fired else max(wait[i] - np.int32(1), np.int32(0))
                out[i] = np.uint8(fired)


@kernel(allocates=True, fastmath={"contract"})
def potentials(x: FloatArray, tau_m: float, tau_s: float, backwards: bool) -> None:
    """Turn ``x [batch, steps, n]`` into the potentials of membranes that are never reset, in place.

    ``backwards``: against time, which is the adjoint. Twin: :func:`hwloop.rules.steps.trace.potential`.
    """
    batch, steps, n = x.shape
    kind = x.dtype.type
    keep_m, keep_s = kind(math.exp(-1.0 / tau_m)), kind(math.exp(-1.0 / tau_s))
    gain = kind(coupling(tau_m, tau_s))
    value, current = np.zeros(n, x.dtype), np.zeros(n, x.dtype)
    for b in range(batch):
        value[:], current[:] = kind(0), kind(0)
        for k in range(steps):
            row = x[b, steps - 1 - k if backwards else k]
            for i in range(n):
                value[i] = value[i] * keep_m + current[i] * gain
                current[i] = current[i] * keep_s + row[i]
                row[i] = value[i]


@kernel(allocates=True)
def coefficients(spikes: IntArray, hold: int, tau_m: float, scale: FloatArray, found: FloatArray) -> None:
    """Add the coefficients of every train, times ``scale [batch, n]``, to ``found [batch, steps, n]``."""
    batch, steps, n = spikes.shape
    last, units = np.empty(n, np.int64), np.empty(n, np.int64)
    decay = np.exp(-np.arange(steps) / tau_m)
    for b in range(batch):
        last[:] = -1
        for t in range(steps):
            for k in range(spiking(spikes[b, t], units)):
                i = units[k]
                found[b, t, i] += scale[b, i]
                if last[i] >= 0:
                    cut = min(last[i] + hold, t)
                    found[b, cut, i] -= scale[b, i] * decay[t - cut]
                last[i] = t


@kernel(allocates=True, fastmath={"contract"})
def totals(spikes: IntArray, drive: FloatArray, hold: int, tau_m: float, tau_s: float, found: FloatArray) -> None:
    """``a_i = sum_t C_i[t] (W P)_i[t]`` into ``found [batch, n]``, from ``drive [batch, steps, n]``: W of the spikes."""
    batch, steps, n = spikes.shape
    last, units = np.empty(n, np.int64), np.empty(n, np.int64)
    received = np.empty((1, steps, n), drive.dtype)
    decay = np.exp(-np.arange(steps) / tau_m)
    for b in range(batch):
        received[0] = drive[b]
        potentials(received, tau_m, tau_s, False)  # the map commutes with the filter: W P = P(W s)
        last[:] = -1
        found[b] = 0
        for t in range(steps):
            for k in range(spiking(spikes[b, t], units)):
                i = units[k]
                found[b, i] += received[0, t, i]
                if last[i] >= 0:
                    cut = min(last[i] + hold, t)
                    found[b, i] -= decay[t - cut] * received[0, cut, i]
                last[i] = t


@kernel(allocates=True)
def gathered(spikes: IntArray, sent: FloatArray, place: IntArray, share: FloatArray, found: FloatArray) -> None:
    """``found[b, j] = share sum_t spikes[b, t, j] sent[b, t, place[j]]``: what comes back to every spike, added up."""
    batch, steps, n = spikes.shape
    units = np.empty(n, np.int64)
    for b in range(batch):
        found[b] = 0
        for t in range(steps):
            for k in range(spiking(spikes[b, t], units)):
                found[b, units[k]] += sent[b, t, place[units[k]]]
        found[b] *= share
