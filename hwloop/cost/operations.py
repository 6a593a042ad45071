"""Operations, counted on the spikes of a record: nothing is estimated from rates.

A *synaptic event* is a spike that arrives at a neuron along a synapse, within the window. *Effective* are those of weights that are not
zero (Effective_ACs of NeuroBench, Yik et al., Nature Communications 16:1545, 2025), *connected* those of every synapse that there is,
*dense* those of a machine that computes every synapse at every step whether anything spikes or not (Dense of NeuroBench); in
continuous time there are no steps, and none. A *membrane update* is a neuron at a time at which anything arrives, or with steps
each neuron at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..record import Record
from ..spikes import Spikes
from .fan_out import Array, FanOut, Target

#: Arrivals that are held at a time.
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Operations:
    """Counts of one population over all samples; of several with :meth:`total`.

    Attributes
    ----------
    name : of the population
    effective, connected : synaptic events
    dense : synaptic events of every synapse at every step; None without steps
    updates : membrane updates
    spikes : sent by the population
    """

    name: str
    effective: int
    connected: int
    dense: int | None
    updates: int
    spikes: int

    @staticmethod
    def total(parts: Sequence[Operations]) -> Operations:
        """The sum."""
        dense = [part.dense for part in parts if part.dense is not None]
        sums = (sum(getattr(part, name) for part in parts) for name in ("effective", "connected", "updates", "spikes"))
        effective, connected, updates, spikes = sums
        return Operations("all", effective, connected, sum(dense) if dense else None, updates, spikes)


def count(record: Record, inputs: Spikes, targets: Sequence[Target], steps: int | None) -> tuple[Operations, ...]:
    """Operations of every population of ``targets`` in ``record``; ``steps`` of one sample, None in continuous time."""
    found = []
    for index, target in enumerate(targets):
        arriving = [_Arriving(fan, inputs if fan.source < 0 else record.populations[fan.source]) for fan in target.fans]
        events = [arrival.events() for arrival in arriving]
        spikes = int(record.populations[index].counts.sum()) if index < len(record.populations) else 0
        samples = len(inputs)
        found.append(
            Operations(
                name=target.name,
                effective=sum(effective for effective, _ in events),
                connected=sum(connected for _, connected in events),
                dense=None if steps is None else samples * steps * target.synapses,
                updates=_updates(arriving, target) if steps is None else samples * steps * target.neurons,
                spikes=spikes,
            )
        )
    return tuple(found)


class _Arriving:
    """Spikes of one train on their way along the synapses of ``fan``, sample by sample."""

    def __init__(self, fan: FanOut, train: Spikes) -> None:
        self.fan, self.t_stop = fan, train.t_stop
        valid = train.valid.cpu().numpy()
        unit = train.units.cpu().numpy() - fan.first_unit
        here = valid & (unit >= 0) & (unit < fan.n_sources)
        self.sample, event = np.nonzero(here)
        self.time = train.times.detach().cpu().double().numpy()[self.sample, event]
        self.unit = unit[self.sample, event]
        self.copies = (fan.starts[1:] - fan.starts[:-1])[self.unit]
        self._ends = np.cumsum(self.copies)

    def parts(self) -> list[slice]:
        """Events in groups whose arrivals fit into memory."""
        if not len(self._ends):
            return []
        cuts = np.searchsorted(self._ends, np.arange(_AT_ONCE, self._ends[-1], _AT_ONCE))
        edges = np.unique([0, *cuts.tolist(), len(self._ends)])
        return [slice(a, b) for a, b in pairwise(edges.tolist())]

    def arrivals(self, part: slice) -> tuple[Array, Array, Array, Array]:
        """Sample, synapse, target and time of each arrival within the window, of the events in ``part``."""
        copies = self.copies[part]
        event = np.repeat(np.arange(len(copies)), copies)
        first = np.cumsum(copies) - copies
        synapse = self.fan.starts[self.unit[part]][event] + np.arange(len(event)) - first[event]
        time = self.time[part][event]
        if self.fan.delays is not None:
            time = time + self.fan.delays[synapse]
        inside = time <= self.t_stop
        return self.sample[part][event][inside], synapse[inside], self.fan.targets[synapse[inside]], time[inside]

    def events(self) -> tuple[int, int]:
        """``(effective, connected)`` synaptic events."""
        if self.fan.delays is None:  # all arrive at once
            effective = np.concatenate([[0], np.cumsum(self.fan.effective)])[self.fan.starts]
            return int(np.diff(effective)[self.unit].sum()), int(self.copies.sum())
        totals = np.zeros(2, np.int64)
        for part in self.parts():
            synapse = self.arrivals(part)[1]
            totals += (int(self.fan.effective[synapse].sum()), len(synapse))
        return int(totals[0]), int(totals[1])


def _updates(arriving: Sequence[_Arriving], target: Target) -> int:
    """Neurons at times at which something arrives: several arrivals of one time are one update."""
    if len(arriving) == 1 and arriving[0].fan.delays is None:
        apart = arriving[0]
        same = np.zeros(len(apart.time), bool)
        if len(same) > 1:
            equal = (np.diff(apart.time) == 0) & (np.diff(apart.sample) == 0)
            same[1:], same[:-1] = equal, same[:-1] | equal
        if not same.any():
            return int(apart.copies.sum())
    found = 0
    samples = [arrival.sample for arrival in arriving]
    for sample in np.unique(np.concatenate(samples)) if samples else ():
        neurons: list[Array] = []
        times: list[Array] = []
        for arrival, own in zip(arriving, samples, strict=True):
            part = slice(int(np.searchsorted(own, sample)), int(np.searchsorted(own, sample, "right")))
            _, _, neuron, time = arrival.arrivals(part)
            neurons.append(neuron)
            times.append(time)
        moments, moment = np.unique(np.concatenate(times), return_inverse=True)
        found += len(np.unique(np.concatenate(neurons).astype(np.int64) * len(moments) + moment))
    return found
