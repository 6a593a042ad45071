"""The rarer operations on event lists: delays and spikes of defective neurons. Whole batches at once; :mod:`.compiled` has the rest."""

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
