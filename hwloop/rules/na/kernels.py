"""Numba kernels of NA on the CPU; the same sums as the torch path of :mod:`hwloop.rules.na.rule`, without its temporaries."""

from __future__ import annotations

import numpy as np

from ...simulate.compile_kernel import kernel
from ...simulate.contract import FloatArray


@kernel(fastmath={"contract"})
def run_steps(drive: FloatArray, v_th: FloatArray, keep: FloatArray, membrane: FloatArray, spikes: FloatArray) -> None:
    """Membranes and spikes ``[batch, steps, n]`` on ``drive``; scalars come in the dtype of the arrays.

    ``drive [batch, steps, n]``, or ``[batch, 1, n]`` where every step has the same.
    """
    batch, steps, n = membrane.shape
    moves = drive.shape[1] > 1
    one, zero = v_th / v_th, v_th - v_th
    for b in range(batch):
        for t in range(steps):
            now = drive[b, t if moves else 0]
            for i in range(n):
                left = zero if t == 0 else keep * membrane[b, t - 1, i] * (one - spikes[b, t - 1, i])
                u = left + now[i]
                membrane[b, t, i] = u
                spikes[b, t, i] = one if u > v_th else zero


@kernel(allocates=True, fastmath={"contract"})
def credited(
    drive: FloatArray, spikes: FloatArray, grad: FloatArray, half_curvature: FloatArray, v_th: FloatArray,
    keep_m: FloatArray, keep_s: FloatArray, gain: FloatArray, keep_credit: FloatArray, found: FloatArray,
) -> None:  # fmt: skip
    """``found[b, k] = sum_t e c + half_curvature c^2`` over the changes ``c = a^(k) - a`` of every neighbour k.

    ``e[t] = grad[t] + keep_credit e[t+1]``; with 0 the gradient itself. ``drive`` as for :func:`run_steps`.
    """
    batch, steps, n = grad.shape
    moves = drive.shape[1] > 1
    one, zero = v_th / v_th, v_th - v_th
    left, change, credit = np.empty(n, grad.dtype), np.empty(n, grad.dtype), np.empty((steps, n), grad.dtype)
    for b in range(batch):
        credit[steps - 1] = grad[b, steps - 1]
        for t in range(steps - 2, -1, -1):
            for i in range(n):
                credit[t, i] = grad[b, t, i] + keep_credit * credit[t + 1, i]
        for k in range(steps):
            total = found[b, k]
            for i in range(n):
                flipped = one - spikes[b, k, i]
                left[i] = v_th * (one - flipped)
                change[i] = (flipped - spikes[b, k, i]) * gain
                total[i] = (credit[k, i] + half_curvature * change[i]) * change[i]
            for t in range(k + 1, steps):
                now = drive[b, t if moves else 0]
                for i in range(n):
                    u = keep_m * left[i] + now[i]
                    spike = one if u > v_th else zero
                    left[i] = u * (one - spike)
                    change[i] = keep_s * change[i] + (spike - spikes[b, t, i]) * gain
                    total[i] += (credit[t, i] + half_curvature * change[i]) * change[i]


@kernel(fastmath={"contract"})
def divide_by_distance(
    delta: FloatArray, membrane: FloatArray, spikes: FloatArray, v_th: FloatArray, nearest: FloatArray
) -> None:
    """``delta /= v_th - membrane`` in place, flat arrays; a nearer one counts as ``nearest``; a spike's is < 0."""
    for k in range(len(delta)):
        distance = max(abs(v_th - membrane[k]), nearest)
        delta[k] = (-delta[k] if spikes[k] > 0 else delta[k]) / distance
