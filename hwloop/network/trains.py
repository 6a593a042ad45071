"""Operations on spike trains on their way through a graph: relabelled, delayed, merged; differentiable in times and delays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..spikes import Spikes
from .linear_map import Array


def relabelled(spikes: Spikes, units: Array, n_units: int) -> Spikes:
    """Every spike of unit j as one of unit ``units[j]``; those of units with -1 are left out."""
    to = torch.from_numpy(units).to(spikes.units.device)[spikes.units]
    if (units >= 0).all():
        return Spikes.trusted(spikes.times, torch.where(spikes.valid, to, 0), spikes.counts, n_units, spikes.t_stop)
    keep = spikes.valid & (to >= 0)
    counts = keep.sum(1)
    width = int(counts.max())
    order = torch.argsort((~keep).to(torch.uint8), dim=1, stable=True)[:, :width]
    valid = torch.arange(width, device=counts.device) < counts[:, None]
    times = torch.where(valid, torch.gather(spikes.times, 1, order), torch.inf)
    return Spikes.trusted(times, torch.where(valid, torch.gather(to, 1, order), 0), counts, n_units, spikes.t_stop)


def delayed(spikes: Spikes, delay: Tensor) -> Spikes:
    """Every spike of unit j later by ``delay[j]`` (s), sorted again."""
    late = torch.where(spikes.valid, delay.to(spikes.times.dtype)[spikes.units], 0.0)
    return ordered(spikes.times + late, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)


def along_paths(spikes: Spikes, sources: Array, delay: Tensor | None) -> Spikes:
    """Every spike of unit j once for each path p with ``sources[p] = j`` (ascending), as unit p, later by ``delay[p]`` (s)."""
    first = torch.from_numpy(np.searchsorted(sources, np.arange(spikes.n_units + 1))).to(spikes.units.device)
    counts = torch.where(spikes.valid, (first[1:] - first[:-1])[spikes.units], 0)
    most = int(counts.max()) if counts.numel() else 0
    copy = torch.arange(most, device=counts.device)
    there = copy < counts[..., None]
    path = torch.where(there, first[spikes.units][..., None] + copy, 0)
    times = spikes.times[..., None].expand(path.shape)
    if delay is not None and len(sources):
        times = times + torch.where(there, delay.to(times.dtype)[path], 0.0)
    times = torch.where(there, times, torch.inf).reshape(len(spikes), -1)
    total = counts.sum(1)
    width = int(total.max()) if len(total) else 0
    found = ordered(times, path.reshape(len(spikes), -1), total, len(sources), spikes.t_stop)
    return Spikes.trusted(found.times[:, :width], found.units[:, :width], total, found.n_units, found.t_stop)


def ordered(times: Tensor, units: Tensor, counts: Tensor, n_units: int, t_stop: float) -> Spikes:
    """Trains of ``times``, padded with infinity, in their order; ties as they stand."""
    order = torch.argsort(times.detach(), dim=1, stable=True)
    return Spikes.trusted(torch.gather(times, 1, order), torch.gather(units, 1, order), counts, n_units, t_stop)


def merged(trains: Sequence[Spikes]) -> Spikes:
    """All trains as one, its units numbered through: those of train k after those of the trains before it."""
    if len(trains) == 1:
        return trains[0]
    starts = np.cumsum([0, *(train.n_units for train in trains)])
    dtype = torch.float64 if any(train.times.dtype == torch.float64 for train in trains) else torch.float32
    times = torch.cat([train.times.to(dtype) for train in trains], 1)
    units = torch.cat(
        [torch.where(train.valid, train.units + int(start), 0) for train, start in zip(trains, starts, strict=False)], 1
    )
    counts = torch.stack([train.counts for train in trains]).sum(0)
    result = ordered(times, units, counts, int(starts[-1]), trains[0].t_stop)
    width = int(counts.max())
    return Spikes.trusted(result.times[:, :width], result.units[:, :width], counts, result.n_units, result.t_stop)


def split(spikes: Spikes, sizes: Sequence[int]) -> list[Spikes]:
    """The trains of consecutive groups of units, of these ``sizes``: what :func:`merged` joined."""
    result, start = [], 0
    for size in sizes:
        units = np.full(spikes.n_units, -1)
        units[start : start + size] = np.arange(size)
        result.append(relabelled(spikes, units, size))
        start += size
    return result
