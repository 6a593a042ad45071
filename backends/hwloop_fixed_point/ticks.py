"""Spikes in ticks, and the way from seconds to ticks and back.

Spike index ``i`` stands for the time ``i dt`` at the input: rounding there has no bias. A threshold that is crossed within a
tick is seen at its end, half a tick late on average, in every layer; so index ``i`` of layer ``l`` (from 1) is decoded as
``i dt - l dt / 2``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hwloop.errors import InputError
from hwloop.spikes import Spikes

from .layers import Block
from .registers import Array


@dataclass(frozen=True, eq=False)
class TickSpikes:
    """A batch of spike trains in ticks.

    Attributes
    ----------
    ticks, units : ``[batch, events]`` int32
        Sorted by tick, then unit, without repetition; what lies beyond ``counts`` means nothing.
    counts : ``[batch]`` int64
    n_units : int
    """

    ticks: Array
    units: Array
    counts: Array
    n_units: int

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def valid(self) -> Array:
        """``[batch, events]`` bool: true where an event stands."""
        result: Array = np.arange(self.ticks.shape[1]) < self.counts[:, None]
        return result

    @classmethod
    def from_raster(cls, raster: Array) -> TickSpikes:
        """From ``[batch, ticks, n_units]``, non-zero where a unit spikes."""
        if raster.ndim != 3 or raster.shape[0] == 0 or raster.shape[2] == 0:
            raise InputError(f"raster has shape {raster.shape}; expected [batch >= 1, ticks, n_units >= 1]")
        sample, tick, unit = np.nonzero(raster)
        return cls.packed(sample, tick, unit, raster.shape[0], raster.shape[2])

    def to_raster(self, n_ticks: int) -> Array:
        """``[batch, n_ticks, n_units]`` bool; events at ``n_ticks`` or later are left out."""
        raster = np.zeros((len(self), n_ticks, self.n_units), dtype=bool)
        sample, event = np.nonzero(self.valid & (self.ticks < n_ticks))
        raster[sample, self.ticks[sample, event], self.units[sample, event]] = True
        return raster

    @classmethod
    def packed(cls, sample: Array, tick: Array, unit: Array, batch: int, n_units: int) -> TickSpikes:
        """From one entry an event, in order of (sample, tick, unit)."""
        counts = np.bincount(sample, minlength=batch)
        column = np.arange(len(sample)) - np.repeat(np.cumsum(counts) - counts, counts)
        ticks = np.zeros((batch, int(counts.max())), np.int32)
        units = np.zeros_like(ticks)
        ticks[sample, column], units[sample, column] = tick, unit
        return cls(ticks, units, counts, n_units)


def encode(spikes: Spikes, dt: float) -> tuple[TickSpikes, int]:
    """``spikes`` in ticks of ``dt`` (s), each at the nearest one.

    Returns them with the number of events that fell together with another one of their unit: a Dense counts several
    spikes of one unit in one tick once.
    """
    sample, event = np.nonzero(spikes.valid.cpu().numpy())
    times = spikes.times.detach().cpu().numpy()[sample, event].astype(np.float64)
    tick, unit = np.rint(times / dt).astype(np.int64), spikes.units.cpu().numpy()[sample, event]
    span = int(tick.max(initial=0)) + 1
    key = np.unique((sample * span + tick) * spikes.n_units + unit)
    place, unit = np.divmod(key, spikes.n_units)
    sample, tick = np.divmod(place, span)
    packed = TickSpikes.packed(sample, tick, unit, len(spikes), spikes.n_units)
    return packed, len(times) - len(key)


def joined(trains: Sequence[TickSpikes], blocks: Sequence[Block]) -> TickSpikes:
    """Spikes of units ``start .. start + size`` of each of ``trains``, as ``blocks`` say, as those of one row of units."""
    if len(trains) == 1 and blocks[0].size == trains[0].n_units:
        return trains[0]
    parts, first = [], 0
    for train, block in zip(trains, blocks, strict=True):
        sample, event = np.nonzero(train.valid)
        unit = train.units[sample, event] - block.start
        here = (unit >= 0) & (unit < block.size)
        parts.append((sample[here], train.ticks[sample, event][here], unit[here] + first))
        first += block.size
    sample, tick, unit = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((unit, tick, sample))
    return TickSpikes.packed(sample[order], tick[order], unit[order], len(trains[0]), first)


def decode(ticks: TickSpikes, layer: int, dt: float, t_stop: float, dtype: torch.dtype) -> Spikes:
    """Spikes (s) of layer ``layer`` of a row, counted from 1, at ticks of ``dt`` (s); what falls after ``t_stop`` is left out, as a simulation does."""
    return decode_late(ticks, 0.5 * layer, dt, t_stop, dtype)


def decode_late(ticks: TickSpikes, late: float, dt: float, t_stop: float, dtype: torch.dtype) -> Spikes:
    """The same of a population whose spikes are seen ``late`` ticks after the time that they stand for."""
    times = np.maximum((ticks.ticks - late) * dt, 0.0)
    # the slack of the float arithmetic: a spike on the last tick of the window belongs to it
    kept = ticks.valid & (times <= t_stop * (1 + 1e-12))
    counts = kept.sum(1)
    width = int(counts.max())
    # events are sorted: what is left out stands at the end
    kept = kept[:, :width]
    last = torch.tensor(t_stop, dtype=dtype)
    seconds = torch.minimum(torch.from_numpy(times[:, :width]).to(dtype), last)
    return Spikes.trusted(
        torch.where(torch.from_numpy(kept), seconds, math.inf),
        torch.from_numpy(np.where(kept, ticks.units[:, :width], 0).astype(np.int64)),
        torch.from_numpy(counts),
        ticks.n_units,
        t_stop,
    )
