"""Operations on event lists: jitter, spurious spikes, loss, latency and time stamps. Whole batches at once."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hwloop.spikes import Spikes

from .streams import Array, Stream


def delayed(spikes: Spikes, delay: Tensor) -> Spikes:
    """Each unit's events later by ``delay [n_units]`` (s); what passes ``t_stop`` can no longer act and is left out."""
    times = spikes.times + torch.where(spikes.valid, delay.to(spikes.times.dtype)[spikes.units], 0.0)
    return _sorted(torch.where(times <= spikes.t_stop, times, math.inf), spikes.units, spikes)


def jittered(spikes: Spikes, sigma: float, rng: Stream) -> Spikes:
    """Every event moved by a normal ``sigma`` (s), kept inside the window, sorted again."""
    noise = torch.from_numpy(sigma * rng.normal(tuple(spikes.times.shape))).to(spikes.times.dtype)
    moved = torch.minimum(torch.clamp(spikes.times + noise, min=0.0), _last(spikes))
    return _sorted(torch.where(spikes.valid, moved, math.inf), spikes.units, spikes)


def with_events(spikes: Spikes, times: Array, units: Array) -> Spikes:
    """``spikes`` merged with extra events ``times [batch, k]`` (s, ``inf``: none) of ``units [batch, k]``."""
    extra = torch.from_numpy(np.where(times <= float(_last(spikes)), times, np.inf)).to(spikes.times.dtype)
    all_times = torch.cat([spikes.times, extra], 1)
    return _sorted(all_times, torch.cat([spikes.units, torch.from_numpy(units)], 1), spikes)


def without_units(spikes: Spikes, silent: Array) -> Spikes:
    """``spikes`` without those of units where ``silent [n_units]`` is true."""
    gone = torch.from_numpy(silent)[spikes.units]
    return _sorted(torch.where(gone, math.inf, spikes.times), spikes.units, spikes)


def without(spikes: Spikes, gone: Tensor) -> Spikes:
    """``spikes`` without the events where ``gone [batch, events]`` is true."""
    return _sorted(torch.where(gone, math.inf, spikes.times), spikes.units, spikes)


def regular(batch: int, rate: float, phase: Array, units: Array, t_stop: float) -> tuple[Array, Array]:
    """Events of ``units [k]`` that fire at ``rate`` (Hz) from ``phase [k]`` of a period on: ``(times, units)``."""
    ticks = np.arange(math.ceil(t_stop * rate) + 1)
    times = (phase[:, None] + ticks) / rate
    flat_units = np.repeat(units, len(ticks))
    return np.tile(times.reshape(1, -1), (batch, 1)), np.tile(flat_units, (batch, 1))


def spurious(batch: int, rate: float, units: Array, t_stop: float, rng: Stream) -> tuple[Array, Array]:
    """Poisson events of ``units [k]`` at ``rate`` (Hz): ``(times, units)``, each ``[batch, k * most]``."""
    mean = rate * t_stop
    # gaps are exponential; ten deviations and twenty events beyond the mean are reached once in more than 1e20 trains
    most = math.ceil(mean + 10 * math.sqrt(mean) + 20)
    times = np.cumsum(rng.exponential((batch, len(units), most)), axis=2) / rate
    times[times > t_stop] = np.inf
    return times.reshape(batch, -1), np.tile(np.repeat(units, most), (batch, 1))


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
