"""Numba kernels of NA on the CPU; the same sums as the torch path of :mod:`hwloop.rules.na`, without its temporaries."""

from __future__ import annotations

import numpy as np

from ..simulate.contract import FloatArray
from ..simulate.kernel import kernel


@kernel(fastmath={"contract"})
def run_steps(drive: FloatArray, v_th: FloatArray, keep: FloatArray, membrane: FloatArray, spikes: FloatArray) -> None:
    """Membranes and spikes ``[batch, steps, n]`` on ``drive``; scalars come in the dtype of the arrays."""
    batch, steps, n = drive.shape
    one, zero = v_th / v_th, v_th - v_th
    for b in range(batch):
        for t in range(steps):
            for i in range(n):
                left = zero if t == 0 else keep * membrane[b, t - 1, i] * (one - spikes[b, t - 1, i])
                u = left + drive[b, t, i]
                membrane[b, t, i] = u
                spikes[b, t, i] = one if u > v_th else zero


@kernel(fastmath={"contract"})
def credited(
    drive: FloatArray, spikes: FloatArray, credit: FloatArray, half_curvature: FloatArray, v_th: FloatArray,
    keep_m: FloatArray, keep_s: FloatArray, gain: FloatArray, found: FloatArray,
) -> None:  # fmt: skip
    """``found[b, k] = sum_t credit c + half_curvature c^2`` over the changes ``c = a^(k) - a`` of every neighbour k."""
    batch, steps, n = drive.shape
    one, zero = v_th / v_th, v_th - v_th
    left, change, total = np.empty(n, drive.dtype), np.empty(n, drive.dtype), np.empty(n, drive.dtype)
    for b in range(batch):
        for k in range(steps):
            for i in range(n):
                flipped = one - spikes[b, k, i]
                left[i] = v_th * (one - flipped)
                change[i] = (flipped - spikes[b, k, i]) * gain
                total[i] = (credit[b, k, i] + half_curvature * change[i]) * change[i]
            for t in range(k + 1, steps):
                for i in range(n):
                    u = keep_m * left[i] + drive[b, t, i]
                    spike = one if u > v_th else zero
                    left[i] = u * (one - spike)
                    change[i] = keep_s * change[i] + (spike - spikes[b, t, i]) * gain
                    total[i] += (credit[b, t, i] + half_curvature * change[i]) * change[i]
            for i in range(n):
                found[b, k, i] = total[i]
