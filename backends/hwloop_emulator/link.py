"""The event link from chip to host: one queue for all populations, served at a constant rate; stamps of few bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from hwloop.simulate.compile_kernel import kernel
from hwloop.spikes import Spikes

from .events import without
from .streams import Array

KEPT, LOST, LATE = 0, 1, 2


@dataclass(frozen=True)
class Link:
    """``rate`` (events a device s; 0: no limit), ``depth`` of the FIFO (events), ``period`` of the clock (device s; 0: endless)."""

    rate: float
    depth: int
    period: float

    def deliver(self, populations: list[Spikes]) -> tuple[list[Spikes], int, int]:
        """What the host reads of one run's events (device s), and how many were lost and late.

        An event that meets a full FIFO is lost; one that leaves it after the end of the window is late. Stamps are taken
        where the event arises, so waiting does not change them. A clock of ``period`` shows only the rest of a stamp;
        the host adds a period whenever stamps go back, and cannot know of a silence longer than that.
        """
        lost = late = 0
        if self.rate > 0 and self._may_overflow(populations):
            fate = self._fates(populations)
            lost, late = (int(sum((f == kind).sum() for f in fate)) for kind in (LOST, LATE))
            if lost or late:
                populations = [without(p, torch.from_numpy(f != KEPT)) for p, f in zip(populations, fate, strict=True)]
        if self.period > 0 and any(bool((p.times[p.valid] >= self.period).any()) for p in populations):
            populations = self._unwrapped(populations)
        return populations, lost, late

    def may_change(self, events: int, t_stop: float, latest: float) -> bool:
        """Whether the link may lose, delay or misread any of at most ``events`` a sample, the last of them at ``latest``.

        As :meth:`deliver` decides it for whole populations: within the depth of the FIFO, and early enough that a queue of
        all of them leaves it in time.
        """
        if self.period > 0 and latest >= self.period:
            return True
        return self.rate > 0 and (events > self.depth or latest > t_stop - events / self.rate)

    def _may_overflow(self, populations: list[Spikes]) -> bool:
        """Whether any sample has more events than the FIFO, or any so late that a queue of all could delay it too far."""
        events = sum(population.counts for population in populations)
        if int(torch.as_tensor(events).max()) > self.depth:
            return True
        end = populations[0].t_stop - int(torch.as_tensor(events).max()) / self.rate
        return any(bool((population.times[population.valid] > end).any()) for population in populations)

    def _fates(self, populations: list[Spikes]) -> list[Array]:
        """KEPT, LOST or LATE of every event, ``[batch, events]`` a population."""
        times, order, places = _merged(populations)
        sorted_times = np.take_along_axis(times, order, 1)
        fates = np.zeros(times.shape, dtype=np.int64)
        queue(sorted_times, populations[0].t_stop, self.rate, float(self.depth), fates)
        result = np.empty_like(fates)
        np.put_along_axis(result, order, fates, 1)
        return [result[:, a:b] for a, b in places]

    def _unwrapped(self, populations: list[Spikes]) -> list[Spikes]:
        """Times as the host reconstructs them from stamps modulo the period, in order of arrival."""
        times, order, places = _merged(populations)
        arrived = np.take_along_axis(times, order, 1)
        valid = np.isfinite(arrived)
        stamps = np.where(valid, np.mod(np.where(valid, arrived, 0.0), self.period), math.inf)
        back = np.zeros(stamps.shape, dtype=bool)
        back[:, 1:] = stamps[:, 1:] < stamps[:, :-1]
        seen = np.where(valid, stamps + self.period * np.cumsum(back & valid, axis=1), math.inf)
        result = np.empty_like(seen)
        np.put_along_axis(result, order, seen, 1)
        return [
            Spikes.trusted(
                torch.from_numpy(result[:, a:b].copy()).to(p.times.dtype), p.units, p.counts, p.n_units, p.t_stop
            )
            for p, (a, b) in zip(populations, places, strict=True)
        ]


def _merged(populations: list[Spikes]) -> tuple[Array, Array, list[tuple[int, int]]]:
    """All events beside each other ``[batch, events]``, their order in time, and the columns of each population."""
    edges = np.cumsum([0, *(p.times.shape[1] for p in populations)]).tolist()
    times = np.concatenate([p.times.double().numpy() for p in populations], axis=1)
    return times, np.argsort(times, axis=1, kind="stable"), list(pairwise(edges))


@kernel()
def queue(times: Any, t_stop: float, rate: float, depth: float, fates: Any) -> None:
    """Fates of events ``times [batch, events]``, sorted, padded with inf, in a FIFO of ``depth`` served at ``rate``.

    Service takes ``1/rate``, always, so that the number waiting follows from when the last accepted event will leave.
    """
    for b in range(times.shape[0]):
        leaves = 0.0
        for e in range(times.shape[1]):
            t = times[b, e]
            if t == math.inf:
                break
            waiting = math.ceil((leaves - t) * rate - 1e-9) if leaves > t else 0
            if waiting >= depth:
                fates[b, e] = LOST
                continue
            leaves = max(leaves, t) + 1.0 / rate
            if leaves > t_stop:
                fates[b, e] = LATE
