"""A model of Lava's stock sink that keeps every spike in memory shared with the worker.

Lava reads a Var of a running model value by value through two channels: minutes for the spikes of one batch. The
memory here is an anonymous mapping made before Lava forks its processes; it has no name, so nothing can leak.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lava import PyReceiveModelFixed, PyReceiveModelFloat


def shared_raster(ticks: int, n: int) -> NDArray[np.int8]:
    """Zeros ``[ticks, n]`` in memory that forked processes share; spikes are 0, 1 or, signed, -1."""
    memory = mmap.mmap(-1, max(1, ticks * n))
    return np.frombuffer(memory, dtype=np.int8, count=ticks * n).reshape(ticks, n)


class FixedRecorder(PyReceiveModelFixed):
    """The stock sink in fixed point, that writes row ``tick - 1`` of the raster in its parameters."""

    def run_spk(self) -> None:
        """Take what arrives in this tick."""
        _record(self)


class FloatRecorder(PyReceiveModelFloat):
    """The stock sink in floating point, that writes row ``tick - 1`` of the raster in its parameters."""

    def run_spk(self) -> None:
        """Take what arrives in this tick."""
        _record(self)


def _record(model: Any) -> None:
    model.proc_params["raster"][model.time_step - 1] = np.sign(model.a_in.recv())
