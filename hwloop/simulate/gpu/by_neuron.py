"""Spikes sorted neuron by neuron, as the kernels go through them, and sample by sample in time, as everybody else does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .tensors import DeviceEvents


@dataclass(frozen=True)
class ByNeuron:
    """Where each spike of a batch stands in flat arrays that go sample by sample, neuron by neuron, spike by spike.

    offsets : ``[batch * n + 1]`` first spike of each neuron in each sample. place : ``[spikes]`` of each entry of the
    flat arrays, its place in the ``[batch, spikes]`` tensors, flattened.
    """

    offsets: Tensor
    place: Tensor

    @classmethod
    def of(cls, spikes: DeviceEvents, n: int) -> ByNeuron:
        """Of spikes that are sorted in time; one that comes first stays first."""
        batch, width = spikes.times.shape
        device = spikes.times.device
        valid = torch.arange(width, device=device) < spikes.counts[:, None]
        sample = torch.arange(batch, device=device)[:, None] * n
        key = torch.where(valid, spikes.units + sample, batch * n).reshape(-1)
        key, place = torch.sort(key, stable=True)
        offsets = torch.searchsorted(key, torch.arange(batch * n + 1, device=device))
        return cls(offsets, place[: int(offsets[-1])])

    def flat(self, values: Tensor) -> Tensor:
        """``values [batch, spikes]`` neuron by neuron; one entry at least, that there be something to point to."""
        found = values.reshape(-1)[self.place]
        return found if len(found) else values.new_zeros(1)

    def back(self, values: Tensor, shape: torch.Size) -> Tensor:
        """``[batch, spikes]`` of flat ``values``, 0 where padded."""
        result = values.new_zeros(shape)
        result.reshape(-1)[self.place] = values[: len(self.place)]
        return result


def in_time(offsets: Tensor, counts: Tensor, times: Tensor) -> tuple[DeviceEvents, Tensor]:
    """Spikes in order of time, ties by neuron, and where each is read from in the flat arrays (``[batch, spikes]``).

    ``offsets [batch * n + 1]``: where the spikes of a neuron begin, ``counts [batch, n]`` how many there are.
    """
    batch, n = counts.shape
    total = counts.sum(1)
    width = int(total.max())
    ends = counts.reshape(-1).cumsum(0)
    number = torch.arange(int(ends[-1]), device=times.device)  # of all spikes, neuron by neuron
    owner = torch.searchsorted(ends, number, right=True)
    before = ends[owner] - counts.reshape(-1)[owner]  # spikes of the neurons in front of it
    source = offsets[owner] + number - before
    sample = torch.div(owner, n, rounding_mode="floor")
    column = number - (total.cumsum(0) - total)[sample]
    t = times.new_full((batch, width), torch.inf)
    read = source.new_zeros((batch, width))
    unit = owner.new_zeros((batch, width))
    t[sample, column], read[sample, column], unit[sample, column] = times[source], source, owner - sample * n
    t, order = torch.sort(t, dim=1, stable=True)
    return DeviceEvents(t, torch.gather(unit, 1, order), total), torch.gather(read, 1, order)
