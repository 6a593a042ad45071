"""Passes over spikes that are too small for a chain of array operations: each of those would cost as much again."""

from __future__ import annotations

import numpy as np

from .kernel import kernel


@kernel()
def below_floor(current, units, counts, threshold, reset, share):  # type: ignore[no-untyped-def]
    """``(count, sample, spike)``: spikes with ``D_k`` below the floor, and the first of them (-1, -1 where none is)."""
    found, sample, spike = 0, -1, -1
    for b in range(counts.shape[0]):
        row = b if threshold.shape[0] > 1 else 0
        for k in range(counts[b]):
            c = threshold[row, units[b, k]]
            if not current[b, k] - c >= share * (c - reset[units[b, k]]) and np.isfinite(c):
                if found == 0:
                    sample, spike = b, k
                found += 1
    return found, sample, spike


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
