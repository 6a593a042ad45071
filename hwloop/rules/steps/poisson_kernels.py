"""Numba kernel of :mod:`hwloop.rules.steps.poisson`."""

from __future__ import annotations

import numpy as np

from ...simulate.compile_kernel import kernel
from ...simulate.contract import FloatArray, IntArray


@kernel()
def mixed(z: np.uint64) -> np.uint64:
    """A 64-bit finaliser with full avalanche (Steele, Lea, Flood, OOPSLA 2014: SplitMix64)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel()
def poisson(chances: FloatArray, keys: IntArray, raster: IntArray) -> None:
    """Set ``raster[b, t, j]`` where the draw of (key, unit, step) lies below ``chances[b, j]``; it has to be zero before."""
    batch, steps, n = raster.shape
    golden = np.uint64(0x9E3779B97F4A7C15)
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for b in range(batch):
        key = mixed(np.uint64(keys[b]) + golden)
        for j in range(n):
            if chances[b, j] <= 0.0:
                continue
            limit = np.uint64(chances[b, j] * 4294967296.0)
            unit = mixed(key + np.uint64(j + 1) * golden)
            for pair in range((steps + 1) // 2):
                drawn = mixed(unit + np.uint64(pair) * golden)
                if (drawn & low) < limit:
                    raster[b, 2 * pair, j] = 1
                if 2 * pair + 1 < steps and (drawn >> half) < limit:
                    raster[b, 2 * pair + 1, j] = 1
