"""First spike of every neuron as a dense, differentiable view; a loss takes it in every step of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .kernel import kernel

if TYPE_CHECKING:
    from ..spikes import Spikes


class FirstTimes(torch.autograd.Function):
    """``[batch, n_units]`` times of the first spikes, ``inf`` where silent; the gradient goes to those spikes alone."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, units: Tensor, counts: Tensor, n_units: int) -> Tensor:
        values = times.detach().numpy()
        first = np.full((len(values), n_units), np.inf, values.dtype)
        place = np.full(first.shape, -1, np.int64)
        find_first(values, units.numpy(), counts.numpy(), first, place)
        ctx.place, ctx.shape = place, values.shape
        return torch.from_numpy(first)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and ctx.shape[1]:  # a second derivative: the same in operations of torch
            place = torch.from_numpy(ctx.place)
            spread = torch.where(place >= 0, grad, 0.0)
            return grad.new_zeros(ctx.shape).scatter_add(1, place.clamp(min=0), spread), None, None, None
        values = grad.numpy()
        result = np.zeros(ctx.shape, values.dtype)
        hand_back(np.ascontiguousarray(values), ctx.place, result)
        return torch.from_numpy(result), None, None, None


def first_times(spikes: Spikes) -> Tensor:
    """:class:`FirstTimes` of ``spikes`` on the CPU."""
    result: Tensor = FirstTimes.apply(  # type: ignore[no-untyped-call]
        spikes.times.contiguous(), spikes.units.contiguous(), spikes.counts.contiguous(), spikes.n_units
    )
    return result


@kernel()
def find_first(times, units, counts, first, place):  # type: ignore[no-untyped-def]
    """Write time and place of every unit's first event of ``times [batch, events]``."""
    for b in range(counts.shape[0]):
        for k in range(counts[b]):
            if place[b, units[b, k]] < 0:
                first[b, units[b, k]], place[b, units[b, k]] = times[b, k], k


@kernel()
def hand_back(grad, place, result):  # type: ignore[no-untyped-def]
    """Write ``grad [batch, n_units]`` to the places of the first events in ``result [batch, events]``."""
    for b in range(place.shape[0]):
        for j in range(place.shape[1]):
            if place[b, j] >= 0:
                result[b, place[b, j]] = grad[b, j]
