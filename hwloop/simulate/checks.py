"""Passes over spikes that are too small for a chain of array operations: each of those would cost as much again."""

from __future__ import annotations

import numpy as np

from .compile_kernel import kernel


@kernel()
def below_floor(current, units, counts, threshold, reset, share):  # type: ignore[no-untyped-def]
    """``(count, sample, spike, used, silent)``: spikes with ``D_k`` below the floor, and the first of them.

    Sample and spike are -1 where none is; ``used`` are all spikes, ``silent`` the samples without one.
    """
    found, sample, spike, used, silent = 0, -1, -1, 0, 0
    for b in range(counts.shape[0]):
        row = b if threshold.shape[0] > 1 else 0
        used += counts[b]
        silent += counts[b] == 0
        for k in range(counts[b]):
            c = threshold[row, units[b, k]]
            if not current[b, k] - c >= share * (c - reset[units[b, k]]) and np.isfinite(c):
                if found == 0:
                    sample, spike = b, k
                found += 1
    return found, sample, spike, used, silent


@kernel()
def within(weight, bound):  # type: ignore[no-untyped-def]
    """Whether all of ``|weight [n_in, n_out]|`` are at most ``bound``, of their dtype; NaN is not."""
    flat, bad = weight.reshape(-1), np.int32(0)
    for k in range(len(flat)):
        bad |= np.int32(not abs(flat[k]) <= bound)
    return bad == 0


@kernel()
def masked(values, counts, result):  # type: ignore[no-untyped-def]
    """Copy ``values [batch, spikes]`` to ``result``, 0 where padded; whether all of them are finite."""
    finite = True
    for b in range(counts.shape[0]):
        for k in range(counts[b]):
            finite &= np.isfinite(values[b, k])
            result[b, k] = values[b, k]
        for k in range(counts[b], result.shape[1]):
            result[b, k] = 0
    return finite


@kernel()
def span(values):  # type: ignore[no-untyped-def]
    """The lowest and the largest of ``values``, of which there is one at least."""
    lowest = largest = values[0]
    for k in range(1, len(values)):
        lowest, largest = min(lowest, values[k]), max(largest, values[k])
    return lowest, largest


@kernel()
def widest(counts):  # type: ignore[no-untyped-def]
    """The largest of ``counts``."""
    width = 0
    for b in range(counts.shape[0]):
        width = max(width, counts[b])
    return width


@kernel()
def pack(counts, room, times, units, current, to_times, to_units, to_current, to_release):  # type: ignore[no-untyped-def]
    """Copy the spikes to arrays that are just wide enough, released as they spike; empty where they had no ``room``.

    The caller makes the arrays: one that compiled code returns costs five times as much.
    """
    for b in range(counts.shape[0]):
        n = counts[b] if counts[b] <= room else 0
        for k in range(n):
            to_times[b, k], to_units[b, k], to_current[b, k] = times[b, k], units[b, k], current[b, k]
            to_release[b, k] = times[b, k]
        for k in range(n, to_times.shape[1]):
            to_times[b, k], to_units[b, k], to_current[b, k], to_release[b, k] = np.inf, 0, 0, 0


@kernel(allocates=True)
def copied(counts, room, values, width):  # type: ignore[no-untyped-def]
    """``values [batch, room]`` in an array ``[batch, width]``, 0 where padded and where a sample has no room."""
    result = np.zeros((counts.shape[0], width), values.dtype)
    for b in range(counts.shape[0]):
        if counts[b] <= room:
            for k in range(counts[b]):
                result[b, k] = values[b, k]
    return result


@kernel(allocates=True)
def mean_residuals(units, counts, residual, n):  # type: ignore[no-untyped-def]
    """Mean of ``residual`` over the spikes of each of ``n`` neurons; 0 where it has none."""
    total, spikes = np.zeros(n), np.zeros(n)
    for b in range(counts.shape[0]):
        for k in range(counts[b]):
            total[units[b, k]] += residual[b, k]
            spikes[units[b, k]] += 1
    return total / np.maximum(spikes, 1)
