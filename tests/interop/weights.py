"""Weights and stimuli that all packages get, in units of the threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from .package import WINDOW, Raster

#: Units of input, hidden layer and output; sides of a map.
N_IN, N_HIDDEN, N_OUT, SIDE = 4, 6, 8, 6
#: Channels after the convolution, its kernel, and units after a pool of 2.
CHANNELS, KERNEL, POOLED = 2, 3, 2 * 3 * 3
#: Spikes of an input a coarsest step; of a map's.
RATE, RATE_OF_A_MAP = 0.15, 0.06

Array = np.ndarray[Any, np.dtype[np.float64]]


def _drawn(shape: tuple[int, ...], mean: float, seed: int) -> Array:
    """Around ``mean``, one in six negative and half as large."""
    generator = np.random.default_rng(seed)
    sign = np.where(generator.random(shape) < 1 / 6, -0.5, 1.0)
    return mean * sign * generator.uniform(0.6, 1.4, shape)


def currents() -> tuple[Array, Array]:
    """``[hidden, in], [out, hidden]``: by how much a spike moves the drive of a neuron with a synaptic current."""
    return _drawn((N_HIDDEN, N_IN), 0.45, 1), _drawn((N_OUT, N_HIDDEN), 0.7, 2)


def jumps() -> tuple[Array, Array]:
    """The same, by how much a spike moves the membrane of a neuron without one."""
    return _drawn((N_HIDDEN, N_IN), 0.23, 3), _drawn((N_OUT, N_HIDDEN), 0.31, 4)


def kernels(current: bool) -> tuple[Array, Array]:
    """``[channels, 1, kernel, kernel], [out, pooled]`` of a convolution, and of the weights after a pool that adds up."""
    strength = (0.55, 0.25) if current else (0.27, 0.11)
    return _drawn((CHANNELS, 1, KERNEL, KERNEL), strength[0], 5), _drawn((N_OUT, POOLED), strength[1], 6)


def biases() -> tuple[Array, Array]:
    """``[hidden], [out]``: constant drive, in units of the threshold."""
    return _drawn((N_HIDDEN,), 0.25, 7), _drawn((N_OUT,), 0.2, 8)


def recurrent() -> Array:
    """``[hidden, hidden]`` weights of a loop, current by spike."""
    return 0.5 * _drawn((N_HIDDEN, N_HIDDEN), 0.12, 9)


def stimulus(fineness: int, maps: bool) -> Raster:
    """``[steps, 4]``, or ``[steps, 1, 6, 6]``: the same spikes at the same times, whatever the step."""
    generator = np.random.default_rng(10)
    shape = (1, SIDE, SIDE) if maps else (N_IN,)
    coarse = generator.random((WINDOW, *shape)) < (RATE_OF_A_MAP if maps else RATE)
    raster = np.zeros((WINDOW * fineness, *shape))
    raster[::fineness] = coarse
    return raster
