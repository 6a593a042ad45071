"""What a run does to events, as chains of array operations: the specification of ``hwloop_emulator.compiled``."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hwloop.spikes import Spikes
from hwloop_emulator.streams import Stream


def jittered(spikes: Spikes, sigma: float, rng: Stream) -> Spikes:
    """Every event moved by a normal ``sigma`` (s), kept inside the window, sorted again."""
    noise = torch.from_numpy(sigma * rng.normal(tuple(spikes.times.shape))).to(spikes.times.dtype)
    moved = torch.minimum(torch.clamp(spikes.times + noise, min=0.0), _last(spikes))
    return _sorted(torch.where(spikes.valid, moved, math.inf), spikes.units, spikes)


def lossy(spikes: Spikes, probability: float, rng: Stream) -> tuple[Spikes, int]:
    """``spikes`` of which each event is lost with ``probability``; and how many were."""
    lost = torch.from_numpy(rng.random(tuple(spikes.times.shape)) < probability) & spikes.valid
    return _sorted(torch.where(lost, math.inf, spikes.times), spikes.units, spikes), int(lost.sum())


def stamped(spikes: Spikes, latency: float, tick: float) -> tuple[Spikes, int]:
    """Events as the read-out stamps them: later by ``latency`` (s), rounded down to ``tick`` (s).

    Stamps after ``t_stop`` fall out of the recording; their number comes second.
    """
    times = spikes.times + latency
    if tick > 0:
        # NumPy's floor: torch's goes through MKL's thread pool, milliseconds on a busy machine
        times = torch.from_numpy(np.floor((times / tick).numpy())) * tick
    late = (times > _last(spikes)) & spikes.valid
    return _sorted(torch.where(late, math.inf, times), spikes.units, spikes), int(late.sum())


def rescaled(spikes: Spikes, factor: float, t_stop: float) -> Spikes:
    """Times multiplied by ``factor``; ``t_stop`` is the new window. Exact where ``factor`` is 1."""
    if factor == 1.0:
        return Spikes.trusted(spikes.times, spikes.units, spikes.counts, spikes.n_units, t_stop)
    last = torch.tensor(t_stop, dtype=spikes.times.dtype)
    times = torch.where(spikes.valid, torch.minimum(spikes.times * factor, last), math.inf)
    return Spikes.trusted(times, spikes.units, spikes.counts, spikes.n_units, t_stop)


def _last(spikes: Spikes) -> Tensor:
    """``t_stop`` in the dtype of the times, not rounded beyond what a reader of the float64 value allows."""
    return torch.tensor(spikes.t_stop, dtype=spikes.times.dtype)


def _sorted(times: Tensor, units: Tensor, like: Spikes) -> Spikes:
    """Events in order of time (stable), those at ``inf`` dropped."""
    times, order = torch.sort(times, dim=1, stable=True)
    counts = torch.isfinite(times).sum(1)
    width = int(counts.max())
    times = times[:, :width]
    units = torch.where(torch.isfinite(times), torch.gather(units, 1, order[:, :width]), 0)
    return Spikes.trusted(times.contiguous(), units.contiguous(), counts, like.n_units, like.t_stop)
