"""Spike trains of all samples and neurons in one flat array, the layout that the kernels take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ..errors import InputError
from ..spikes import Spikes

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trains:
    """Spike trains of a batch, one after the other; train ``sample * n_units + unit``.

    Attributes
    ----------
    times : ``[events]`` float64 (s)
        Sorted within a train.
    start : ``[batch * n_units + 1]`` int64
        Train ``k`` is ``times[start[k]:start[k + 1]]``.
    batch, n_units : int
    t_stop : float (s)
    """

    times: Floats
    start: Ints
    batch: int
    n_units: int
    t_stop: float

    @cached_property
    def train(self) -> Ints:
        """``[events]``: the train of each event."""
        return np.repeat(np.arange(len(self.start) - 1, dtype=np.int64), np.diff(self.start))

    @cached_property
    def unit(self) -> Ints:
        """``[events]``: the neuron of each event."""
        return self.train % self.n_units

    def of_sample(self, sample: int) -> slice:
        """The events of one sample."""
        return slice(int(self.start[sample * self.n_units]), int(self.start[(sample + 1) * self.n_units]))

    def units_in(self, where: slice) -> Ints:
        """The neurons of the events ``where``."""
        return self.train[where] % self.n_units

    def of_unit(self, sample: int, unit: int) -> Floats:
        """Spike times (s) of one neuron in one sample."""
        k = sample * self.n_units + unit
        return self.times[int(self.start[k]) : int(self.start[k + 1])]


def as_trains(spikes: Spikes, dtype: torch.dtype = torch.float64) -> Trains:
    """Sort a batch by sample and neuron; times are rounded to ``dtype`` first, then held as float64."""
    times = spikes.times.detach().to(device="cpu", dtype=dtype).double().numpy()
    counts, valid = spikes.counts.cpu().numpy(), spikes.valid.cpu().numpy()
    key = np.repeat(np.arange(len(spikes), dtype=np.int64), counts) * spikes.n_units + spikes.units.cpu().numpy()[valid]
    order = np.argsort(key, kind="stable")  # stable: events of a sample are sorted by time, and stay so
    start = np.zeros(len(spikes) * spikes.n_units + 1, dtype=np.int64)
    np.cumsum(np.bincount(key, minlength=len(start) - 1), out=start[1:])
    return Trains(times[valid][order], start, len(spikes), spikes.n_units, spikes.t_stop)


def paired_trains(simulated: Spikes, measured: Spikes, where: str = "spikes") -> tuple[Trains, Trains]:
    """Both batches as :class:`Trains`, in the coarser of the two dtypes so that rounding alone never differs.

    Raises :class:`InputError` where batch size, units or ``t_stop`` differ.
    """
    check_alike(simulated, measured, where)
    single = torch.float32 in (simulated.times.dtype, measured.times.dtype)
    dtype = torch.float32 if single else torch.float64
    return as_trains(simulated, dtype), as_trains(measured, dtype)


def check_alike(simulated: Spikes, measured: Spikes, where: str) -> None:
    """Refuse batches that cannot be compared, naming both values."""
    facts: tuple[tuple[str, Any, Any], ...] = (
        ("samples", len(simulated), len(measured)),
        ("units", simulated.n_units, measured.n_units),
    )
    for what, ours, theirs in facts:
        if ours != theirs:
            raise InputError(
                f"{where}: simulated has {ours} {what}, measured has {theirs}; both must stem from one network and batch"
            )
    # 1e-6: the same window, once rounded to float32
    if not math.isclose(simulated.t_stop, measured.t_stop, rel_tol=1e-6):
        raise InputError(
            f"{where}: simulated has t_stop = {simulated.t_stop:g} s, measured has t_stop = {measured.t_stop:g} s; "
            "run both over the same window"
        )


def positive(name: str, value: float, unit: str) -> float:
    """``value`` if finite and above 0; :class:`InputError` otherwise."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} = {value} {unit}; allowed: finite and > 0 {unit}")
    return float(value)
