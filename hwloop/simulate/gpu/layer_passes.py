"""The passes of a layer over tensors on one device: what is launched, and where it is written."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract import Floor
from .adjoint_kernel import adjoint_tile, gather_rows
from .by_neuron import ByNeuron, in_time
from .forward_kernel import replay_tile, simulate_tile
from .maximum_kernel import maximum_gradient_tile, maximum_tile
from .memory import MAX_EVENTS, SCRATCH, check_room, expected, holding, remember
from .parameter_kernel import parameters_tile
from .tensors import DeviceEvents, DeviceNeurons, DeviceTrace

#: Neurons that one program carries, at most; narrow layers take the next power of two, a warp at least: a lane a thread.
WIDEST_TILE = 128

#: Bytes a spike that ordering spikes in time takes, about: numbers, places and neurons in int64, and the trace.
SORTED = 120

#: Lanes of a warp: a program gets one warp for so many neurons.
WARP = 32


class _Launch:
    """Tiles of a layer of ``n`` neurons over ``batch`` samples."""

    def __init__(self, batch: int, n: int) -> None:
        self.block = min(WIDEST_TILE, max(WARP, 1 << (n - 1).bit_length()))
        self.tiles = -(-n // self.block)
        self.grid = (batch, self.tiles)

    def __call__(self, kernel: Any, *arguments: Any, rows: int | None = None, **constants: Any) -> None:
        grid = self.grid if rows is None else (rows, self.tiles)
        device = next(a.device for a in arguments if isinstance(a, Tensor))
        current = (
            torch.cuda.device(device) if device.type == "cuda" else nullcontext()
        )  # Triton launches on the current one
        # what a lane does that is masked is thrown away; the interpreter would warn of it
        with np.errstate(all="ignore"), current:
            kernel[grid](
                *arguments, **constants, BLOCK=self.block, num_warps=self.block // WARP, enable_fp_fusion=False
            )


def _given(inputs: DeviceEvents, end: Tensor, weight: Tensor, neurons: DeviceNeurons) -> tuple[Any, ...]:
    """The first arguments of the kernels."""
    events = inputs.times, inputs.units, inputs.counts, inputs.times.shape[1], end
    return *events, weight, weight.shape[1], neurons.table


def _end(weight: Tensor, t_stop: float, dtype: torch.dtype | None = None) -> Tensor:
    """``t_stop`` in the dtype of the layer: a float argument of a kernel would be float32."""
    return torch.tensor([t_stop], dtype=weight.dtype if dtype is None else dtype, device=weight.device)


def _events(inputs: DeviceEvents) -> DeviceEvents:
    """``inputs`` with one column at least, that there be something to point to."""
    if inputs.times.shape[1]:
        return DeviceEvents(inputs.times.contiguous(), inputs.units.contiguous(), inputs.counts.contiguous())
    shape = len(inputs.counts), 1
    return DeviceEvents(inputs.times.new_full(shape, torch.inf), inputs.units.new_zeros(shape), inputs.counts)


def forward(
    weight: Tensor, neurons: DeviceNeurons, inputs: DeviceEvents, t_stop: float, measured: DeviceEvents | None = None
) -> DeviceTrace:
    """Simulate, or replay at ``measured`` spikes; ``weight [n_in, n]``. See :class:`~hwloop.simulate.contract.Engine`."""
    inputs, end = _events(inputs), _end(weight, t_stop)
    if measured is not None:
        return _replay(weight, neurons, inputs, end, measured)
    batch, n = len(inputs.counts), weight.shape[1]
    shape = weight.shape[0], n
    room = expected(shape, neurons.max_spikes, batch)
    offsets = torch.arange(batch * n + 1, device=weight.device) * room
    found, counts = _simulate(weight, neurons, inputs, end, offsets, batch * n * room)
    most, total = (int(x) for x in torch.stack([counts.max(), counts.sum()]).tolist())
    check_room(batch, int(counts.sum(1).max()) if total else 0)
    remember(shape, most)
    if most > room:  # again, with room for all of them
        offsets = torch.cat([counts.new_zeros(1), counts.reshape(-1).cumsum(0)])
        found, counts = _simulate(weight, neurons, inputs, end, offsets, total)
    with holding(weight.device, f"{batch} samples with {total} spikes in order of time", SORTED * total):
        spikes, read = in_time(offsets, counts, found[0])
        valid = torch.isfinite(spikes.times)
        current, release_time, release_current = (torch.where(valid, values[read], 0.0) for values in found[1:])
    return DeviceTrace(spikes, current, release_time, release_current, None)


def _simulate(
    weight: Tensor, neurons: DeviceNeurons, inputs: DeviceEvents, end: Tensor, offsets: Tensor, total: int
) -> tuple[list[Tensor], Tensor]:
    """Flat times, currents, and times and currents of the releases; and the counts ``[batch, n]``."""
    batch, n = len(inputs.counts), weight.shape[1]
    with holding(weight.device, f"{batch} samples with room for {total} spikes", 4 * total * weight.element_size()):
        found = [weight.new_empty(max(1, total)) for _ in range(4)]
        counts = torch.empty((batch, n), dtype=torch.int64, device=weight.device)
    _Launch(batch, n)(
        simulate_tile, *_given(inputs, end, weight, neurons), neurons.threshold, neurons.row, offsets, neurons.max_spikes,
        *found, counts, SUBTRACT=neurons.subtract, HOLD=neurons.holds,
    )  # fmt: skip
    return found, counts


def _replay(
    weight: Tensor, neurons: DeviceNeurons, inputs: DeviceEvents, end: Tensor, measured: DeviceEvents
) -> DeviceTrace:
    n, shape = weight.shape[1], measured.times.shape
    lists = ByNeuron.of(measured, n)
    times = lists.flat(measured.times)
    others = [torch.zeros_like(times) for _ in range(4)]
    _Launch(len(inputs.counts), n)(
        replay_tile, *_given(inputs, end, weight, neurons), neurons.threshold, neurons.row, lists.offsets, times, *others,
        SUBTRACT=neurons.subtract, HOLD=neurons.holds,
    )  # fmt: skip
    current, release_time, release_current, residual = (lists.back(values, shape) for values in others)
    width = int(measured.counts.max())
    spikes = DeviceEvents(measured.times[:, :width].clone(), measured.units[:, :width].clone(), measured.counts.clone())
    return DeviceTrace(
        spikes, current[:, :width], release_time[:, :width], release_current[:, :width], residual[:, :width]
    )


def backward(
    weight: Tensor,
    neurons: DeviceNeurons,
    inputs: DeviceEvents,
    t_stop: float,
    trace: DeviceTrace,
    grad: Tensor,
    floor: Floor,
    want_times: bool,
) -> tuple[Tensor, Tensor | None]:
    """``dL/dweight [n_in, n]`` and ``dL/dt_in [batch, events]``; ``grad [batch, spikes]`` is 0 where padded.

    In ranges of samples whose adjoint currents fit into ``SCRATCH`` bytes, of a size that nothing but the shapes decides.
    """
    given, end = _events(inputs), _end(weight, t_stop)
    (batch, width), n = given.times.shape, weight.shape[1]
    total = torch.zeros(weight.shape, dtype=torch.float64, device=weight.device)
    launch, by_time = _Launch(1, n), []
    step = max(1, SCRATCH // (width * n * weight.element_size()))
    floors = torch.tensor([floor.share], dtype=torch.float64, device=weight.device)
    for lo in range(0, batch, step):
        rows = slice(lo, min(batch, lo + step))
        some = DeviceEvents(given.times[rows], given.units[rows], given.counts[rows])
        m = len(some.counts)
        threshold = neurons.threshold[rows] if neurons.row else neurons.threshold
        lists = ByNeuron.of(
            DeviceEvents(trace.spikes.times[rows], trace.spikes.units[rows], trace.spikes.counts[rows]), n
        )
        spikes = trace.spikes.times, trace.current, trace.release_time, trace.release_current, grad
        with holding(
            weight.device, f"the adjoint of {m} samples with {width} events", m * width * n * weight.element_size()
        ):
            arrived = weight.new_empty((m * width, n))
            times = weight.new_zeros((m, width, launch.tiles))
        _Launch(m, n)(
            adjoint_tile, *_given(some, end, weight, neurons), threshold, neurons.row, lists.offsets,
            *(lists.flat(values[rows]) for values in spikes), floors, arrived, times, launch.tiles,
            SKIP=floor.skip, HOLD=neurons.holds, WANT_TIMES=want_times,
        )  # fmt: skip
        _gather(arrived, some, end, launch, total)
        by_time.append(times.sum(2))
    return total.to(weight.dtype), torch.cat(by_time)[:, : inputs.times.shape[1]] if want_times else None


def _gather(arrived: Tensor, inputs: DeviceEvents, end: Tensor, launch: _Launch, total: Tensor) -> None:
    """Add the events of each input unit before the ``end`` to its row of ``total [n_in, n]``, in a fixed order."""
    n_in, n = total.shape
    place = torch.arange(inputs.times.shape[1], device=total.device)
    came = (place < inputs.counts[:, None]) & (inputs.times < end)
    units, order = torch.sort(torch.where(came, inputs.units, n_in).reshape(-1), stable=True)
    starts = torch.searchsorted(units, torch.arange(n_in + 1, device=total.device))
    launch(gather_rows, arrived, n, order, starts, total, rows=n_in)


def sensitivities(
    weight: Tensor,
    neurons: DeviceNeurons,
    inputs: DeviceEvents,
    t_stop: float,
    trace: DeviceTrace,
    grad: Tensor,
    floor: Floor,
) -> Tensor:
    """``[5, n]`` float64: ``dL/d`` tau_mem, tau_syn, threshold, reset, t_ref."""
    inputs, end = _events(inputs), _end(weight, t_stop)
    batch, n = len(inputs.counts), weight.shape[1]
    lists = ByNeuron.of(trace.spikes, n)
    spikes = trace.spikes.times, trace.current, trace.release_current, grad
    with holding(weight.device, f"the derivatives of {batch} samples", 40 * batch * n):
        total = torch.empty((5, batch, n), dtype=torch.float64, device=weight.device)
    floors = torch.tensor([floor.share], dtype=torch.float64, device=weight.device)
    _Launch(batch, n)(
        parameters_tile, *_given(inputs, end, weight, neurons), neurons.threshold, neurons.row, lists.offsets,
        *(lists.flat(values) for values in spikes), floors, total, batch * n,
        SUBTRACT=neurons.subtract, SKIP=floor.skip, HOLD=neurons.holds,
    )  # fmt: skip
    return total.sum(1)


def membrane_maximum(
    weight: Tensor, neurons: DeviceNeurons, inputs: DeviceEvents, t_stop: float, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Largest membrane and its time, ``[batch, n]`` float64, where ``mask`` (bool) is true; else 0."""
    inputs, end = _events(inputs), _end(weight, t_stop, torch.float64)
    value = torch.empty(mask.shape, dtype=torch.float64, device=weight.device)
    when = torch.empty_like(value)
    launch = _Launch(*mask.shape)
    launch(maximum_tile, *_given(inputs, end, weight, neurons), mask.to(torch.int8).contiguous(), value, when)
    return value, when


def membrane_maximum_gradient(
    weight: Tensor, neurons: DeviceNeurons, inputs: DeviceEvents, t_stop: float, when: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``dL`` with respect to weight, input times, tau_mem and tau_syn from ``grad [batch, n]`` float64; all float64."""
    given, end = _events(inputs), _end(weight, t_stop, torch.float64)
    (batch, width), n = given.times.shape, weight.shape[1]
    total = torch.zeros(weight.shape, dtype=torch.float64, device=weight.device)
    launch, by_time, by_tau = _Launch(1, n), [], torch.zeros((2, n), dtype=torch.float64, device=weight.device)
    step = max(1, SCRATCH // (width * n * 8))
    for lo in range(0, batch, step):
        rows = slice(lo, min(batch, lo + step))
        some = DeviceEvents(given.times[rows], given.units[rows], given.counts[rows])
        m = len(some.counts)
        with holding(weight.device, f"the gradient of {m} samples with {width} events", m * width * n * 8):
            arrived, times = total.new_empty((m * width, n)), total.new_zeros((m, width, launch.tiles))
            taus = total.new_empty((2, m, n))
        _Launch(m, n)(
            maximum_gradient_tile, *_given(some, end, weight, neurons), when[rows].contiguous(), grad[rows].contiguous(),
            arrived, times, launch.tiles, taus, m * n,
        )  # fmt: skip
        _gather(arrived, some, end, launch, total)
        by_time.append(times.sum(2))
        by_tau += taus.sum(1)
    return total, torch.cat(by_time)[:, : inputs.times.shape[1]], by_tau[0], by_tau[1]


__all__ = [
    "MAX_EVENTS",
    "backward",
    "forward",
    "membrane_maximum",
    "membrane_maximum_gradient",
    "sensitivities",
]
