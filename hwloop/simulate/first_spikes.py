"""First spike of every neuron: as a dense, differentiable view, and the cross-entropy of all of them in one operation.

A chain of torch's operations for it takes as long as a small batch itself, and its softmax wakes torch's threads for ten
numbers, which then wait for each other actively.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .compile_kernel import kernel
from .contract import FloatArray, IntArray
from .event_arrays import to_events

if TYPE_CHECKING:
    from ..spikes import Spikes


class FirstTimes(torch.autograd.Function):
    """``[batch, n_units]`` times of the first spikes, ``inf`` where silent; the gradient goes to those spikes alone."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, spikes: Spikes) -> Tensor:
        values, units, counts = _arrays(spikes)
        first = np.full((len(values), spikes.n_units), np.inf, values.dtype)
        place = np.full(first.shape, -1, np.int64)
        find_first(values, units, counts, first, place)
        ctx.place, ctx.shape = place, values.shape
        return torch.from_numpy(first)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled() and ctx.shape[1]:  # a second derivative: the same in operations of torch
            place = torch.from_numpy(ctx.place)
            spread = torch.where(place >= 0, grad, 0.0)
            return grad.new_zeros(ctx.shape).scatter_add(1, place.clamp(min=0), spread), None
        values = grad.detach().numpy()
        result = np.zeros(ctx.shape, values.dtype)
        hand_back(np.ascontiguousarray(values), ctx.place, result)
        return torch.from_numpy(result), None


def first_times(spikes: Spikes) -> Tensor:
    """:class:`FirstTimes` of ``spikes`` on the CPU."""
    result: Tensor = FirstTimes.apply(spikes.times, spikes)  # type: ignore[no-untyped-call]
    return result


def first_units(spikes: Spikes) -> Tensor:
    """``[batch]`` unit of each sample's first spike, of equal times the lowest; -1 where there is none."""
    if not spikes.times.is_cpu:
        return first_units_by_torch(spikes)
    result = np.full(len(spikes), -1)
    find_earliest(*_arrays(spikes), result)
    return torch.from_numpy(result)


def first_units_by_torch(spikes: Spikes) -> Tensor:
    """:func:`first_units` in operations of torch, on any device."""
    first = torch.where(spikes.valid & (spikes.times == spikes.times[:, :1]), spikes.units, spikes.n_units)
    lowest = torch.cat([first, first.new_full((len(spikes), 1), spikes.n_units)], 1).amin(1)
    return torch.where(spikes.counts > 0, lowest, -1)


def _arrays(spikes: Spikes) -> tuple[FloatArray, IntArray, IntArray]:
    """Times (float32 or float64), units and counts of ``spikes`` on the CPU."""
    found = to_events(spikes, None)
    return found.times, found.units, found.counts


class CrossEntropy(torch.autograd.Function):
    """Mean of ``-log softmax(-t_first / temperature)[label]`` over the batch; a silent neuron counts as spiking at t_stop."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, spikes: Spikes, labels: Tensor, temperature: float) -> Tensor:
        values, units, counts = _arrays(spikes)
        gradient = np.zeros(values.shape, values.dtype)
        total = cross_entropy(
            values, units, counts, labels.contiguous().numpy(), spikes.n_units, spikes.t_stop, temperature, gradient
        )
        ctx.gradient = gradient
        return torch.from_numpy(np.full((), total, values.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scaled = once_differentiable(_scaled) if torch.is_grad_enabled() else _scaled
        return scaled(ctx, grad), None, None, None


def _scaled(ctx: Any, grad: Tensor) -> Tensor:
    return torch.from_numpy(ctx.gradient * ctx.gradient.dtype.type(grad.item()))


def first_spike_cross_entropy(spikes: Spikes, labels: Tensor, temperature: float) -> Tensor:
    """:class:`CrossEntropy` of ``spikes`` and ``labels [batch]`` int64; ``temperature`` in s. Off the CPU, torch's own operations."""
    if not spikes.times.is_cpu:
        return cross_entropy_by_torch(spikes, labels, temperature)
    result: Tensor = CrossEntropy.apply(  # type: ignore[no-untyped-call]
        spikes.times, spikes, labels, float(temperature)
    )
    return result


def cross_entropy_by_torch(spikes: Spikes, labels: Tensor, temperature: float) -> Tensor:
    """:func:`first_spike_cross_entropy` in operations of torch, on any device."""
    first = spikes.first_times()
    first = torch.where(torch.isfinite(first), first, spikes.t_stop)
    return torch.nn.functional.cross_entropy(-first / temperature, labels.to(first.device))


@kernel(allocates=True)
def cross_entropy(times, units, counts, labels, n_units, t_stop, temperature, gradient):  # type: ignore[no-untyped-def]
    """The mean over the batch; writes ``dL/dt [batch, events]``, which is 0 at all but first spikes."""
    total, batch = 0.0, counts.shape[0]
    first, place = np.empty(n_units), np.empty(n_units, np.int64)
    for b in range(batch):
        for j in range(n_units):
            first[j], place[j] = t_stop, -1
        for k in range(counts[b]):
            if place[units[b, k]] < 0:
                first[units[b, k]], place[units[b, k]] = times[b, k], k
        earliest, weight = np.min(first), 0.0
        for j in range(n_units):
            weight += math.exp((earliest - first[j]) / temperature)
        total += math.log(weight) + (first[labels[b]] - earliest) / temperature
        for j in range(n_units):
            if place[j] >= 0:
                share = math.exp((earliest - first[j]) / temperature) / weight
                gradient[b, place[j]] = ((1.0 if j == labels[b] else 0.0) - share) / (temperature * batch)
    return total / batch


@kernel()
def find_earliest(times, units, counts, result):  # type: ignore[no-untyped-def]
    """Write the unit of the earliest of ``times [batch, events]``, which are sorted; of equal ones the lowest."""
    for b in range(counts.shape[0]):
        for k in range(counts[b]):
            if times[b, k] != times[b, 0]:
                break
            if k == 0 or units[b, k] < result[b]:
                result[b] = units[b, k]


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
