"""A convolution on the CPU: what :mod:`..cpu` is to a dense layer, with the same results in the same arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ..checks import copied, pack, widest
from ..contract import Events, FloatArray, Floor, Layer, Sensitivities, Trace
from ..cpu import MAX_EVENTS, PARALLEL_WORK, arriving
from ..kernels.neuron import GENERAL, RATIO_2
from ..room import borrow, expected, give_back, remember
from ..threads import spread
from .cell_adjoint import backward_cells
from .cell_forward import Found, Neurons, forward_cells
from .cell_lanes import LANES
from .cell_lists import Wiring, wiring
from .cell_sensitivities import COLUMNS, START, sensitivities_of_cells
from .geometry import Geometry


@dataclass(frozen=True)
class Convolution:
    """A population whose neurons share the weights of a convolution.

    Attributes
    ----------
    geometry : Geometry
    weight : ``[out_channels, in_channels / groups, kernel height, kernel width]``, of the dtype of the neurons.
    neurons : Layer
        The neurons without weights, ``n = geometry.n_out`` of them in the order of its output units.
    """

    geometry: Geometry
    weight: FloatArray
    neurons: Layer


def forward(layer: Convolution, inputs: Events, t_stop: float, measured: Events | None = None) -> Trace:
    """Simulate, or replay at the ``measured`` spikes; see :class:`~hwloop.simulate.contract.Engine`."""
    if measured is not None:
        return _replay(layer, inputs, t_stop, measured)
    geometry, batch = layer.geometry, len(inputs.counts)
    shape = geometry.n_in, geometry.n_out
    room = expected(shape, layer.neurons.max_spikes, MAX_EVENTS // max(1, batch))
    trace, needed = _simulate(layer, inputs, t_stop, room)
    if needed > room:
        trace, _ = _simulate(layer, inputs, t_stop, needed)
    remember(shape, needed)
    return trace


def backward(
    layer: Convolution, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor, want_times: bool
) -> tuple[FloatArray, FloatArray | None]:
    """``dL/dweight`` of the shape of ``layer.weight``, and ``dL/dt_in [batch, events]``."""
    wires, neurons, weight = _prepared(layer)
    arrived, found, d_times = arriving(inputs, t_stop), _found(trace), np.zeros(inputs.times.shape, weight.dtype)
    parts: dict[int, FloatArray] = {}

    def work(lo: int, hi: int) -> None:
        part = parts[lo] = np.zeros(weight.shape)
        grads = grad, floor.share, floor.skip, part, d_times, want_times
        backward_cells(lo, hi, wires, arrived, weight, neurons, found, grads)

    _spread(work, layer, inputs)
    return _weight_of(layer, _sum(parts)), d_times if want_times else None


def sensitivities(
    layer: Convolution, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor
) -> tuple[Sensitivities, FloatArray]:
    """Gradients of the neuron parameters, each ``[n]`` float64; and of the membranes at time 0, ``[n]``."""
    wires, neurons, weight = _prepared(layer)
    arrived, found, limits = arriving(inputs, t_stop), _found(trace), (floor.share, floor.skip)
    parts: dict[int, FloatArray] = {}

    def work(lo: int, hi: int) -> None:
        part = parts[lo] = np.zeros((layer.geometry.n_out, COLUMNS))
        sensitivities_of_cells(lo, hi, wires, arrived, weight, neurons, found, grad, limits, part)

    _spread(work, layer, inputs)
    columns = [np.ascontiguousarray(column) for column in _sum(parts).T]
    return Sensitivities(*columns[:START]), columns[START]


def _simulate(layer: Convolution, inputs: Events, t_stop: float, room: int) -> tuple[Trace, int]:
    """The trace, and how many spikes the busiest sample has: where that is more than ``room``, the trace is of no use."""
    wires, neurons, weight = _prepared(layer)
    batch, dtype = len(inputs.counts), weight.dtype
    _check_room(batch, room)
    lent = borrow(batch, room, dtype, neurons.holding, False)
    counts, arrived = np.zeros(batch, np.int64), arriving(inputs, t_stop)
    found = Found(lent.times, lent.units, counts, lent.current, lent.release_time, lent.release_current, lent.residual)

    def work(lo: int, hi: int) -> None:
        forward_cells(lo, hi, wires, arrived, weight, neurons, False, found)

    _spread(work, layer, inputs)
    needed = int(counts.max())
    if needed > room:
        give_back(lent)
        return Trace(inputs, lent.current, lent.current, lent.current, lent.current), needed
    shape = (len(counts), widest(counts))
    times, units, current, released_at = (
        np.empty(shape, dtype) for dtype in (lent.times.dtype, np.int64, *[lent.times.dtype] * 2)
    )
    pack(counts, room, lent.times, lent.units, lent.current, times, units, current, released_at)
    width = current.shape[1]
    release = (released_at, current)
    if neurons.holding:
        release = copied(counts, room, lent.release_time, width), copied(counts, room, lent.release_current, width)
    give_back(lent)
    residual = np.ndarray(current.shape, dtype, np.zeros(1, dtype), strides=(0, 0))  # zeros that take no memory
    return Trace(Events(times, units, counts), current, *release, residual), needed


def _replay(layer: Convolution, inputs: Events, t_stop: float, measured: Events) -> Trace:
    """The trace at measured spikes."""
    wires, neurons, weight = _prepared(layer)
    spikes = Events(*(np.ascontiguousarray(x) for x in (measured.times, measured.units, measured.counts)))
    others = [np.zeros(spikes.times.shape, weight.dtype) for _ in range(4)]
    found, arrived = Found(spikes.times, spikes.units, spikes.counts, *others), arriving(inputs, t_stop)

    def work(lo: int, hi: int) -> None:
        forward_cells(lo, hi, wires, arrived, weight, neurons, True, found)

    _spread(work, layer, inputs)
    return Trace(spikes, *others)


def _sum(parts: dict[int, FloatArray]) -> FloatArray:
    """The sum of what ranges of samples found, in a fixed order."""
    first, *others = (parts[lo] for lo in sorted(parts))
    for other in others:
        first += other
    return first


def _found(trace: Trace) -> Found:
    """The trace as the kernels take it; they do not read the residual, whose layout would make them another kernel."""
    spikes = trace.spikes
    return Found(
        spikes.times,
        spikes.units,
        spikes.counts,
        trace.current,
        trace.release_time,
        trace.release_current,
        trace.current,
    )


def _prepared(layer: Convolution) -> tuple[Wiring, Neurons, FloatArray]:
    """What the kernels read: of the neurons, remembered with them, and of the weights."""
    key = f"convolution {layer.geometry}"
    found = layer.neurons.memo.get(key)
    if found is None:
        found = layer.neurons.memo[key] = (wiring(layer.geometry), _neurons(layer.geometry, layer.neurons))
    return *found, _blocks_of(layer)


def _blocks_of(layer: Convolution) -> FloatArray:
    """Weights ``[groups * blocks, taps + 1, LANES]``: channels in blocks, padded by zeros; zeros in the last row."""
    geometry, groups = layer.geometry, layer.geometry.groups
    channels = geometry.out_channels // groups
    blocks = -(-channels // LANES)
    padded = np.zeros((groups, blocks * LANES, geometry.taps + 1), layer.weight.dtype)
    padded[:, :channels, :-1] = layer.weight.reshape(groups, channels, geometry.taps)
    return np.ascontiguousarray(
        padded.reshape(groups * blocks, LANES, geometry.taps + 1).transpose(0, 2, 1)
    )  # fmt: skip


def _weight_of(layer: Convolution, blocks: FloatArray) -> FloatArray:
    """The inverse of :func:`_blocks_of`."""
    groups, channels = layer.geometry.groups, layer.geometry.out_channels // layer.geometry.groups
    padded = blocks.transpose(0, 2, 1).reshape(groups, -1, layer.geometry.taps + 1)
    return np.ascontiguousarray(padded[:, :channels, :-1], layer.weight.dtype).reshape(layer.weight.shape)


def _neurons(geometry: Geometry, neurons: Layer) -> Neurons:
    """Arrays of the neurons in blocks; one row for all positions where they are the same there."""
    groups, channels, positions = geometry.groups, geometry.out_channels // geometry.groups, geometry.positions
    blocks = -(-channels // LANES)
    arrays = (neurons.tau_mem, neurons.tau_syn, neurons.t_ref, neurons.reset, neurons.start, neurons.threshold)
    apart = any(_apart(array, positions) for array in arrays)

    def rows(array: FloatArray, fill: float) -> FloatArray:
        """``[..., n]`` in blocks ``[..., rows, LANES]``."""
        ahead = array.shape[:-1]
        padded = np.full((*ahead, groups, blocks * LANES, positions if apart else 1), fill, array.dtype)
        padded[..., :channels, :] = array.reshape(*ahead, groups, channels, positions)[..., : padded.shape[-1]]
        moved = np.moveaxis(padded, -1, -2)  # [..., groups, positions, blocks * LANES]
        return np.ascontiguousarray(moved).reshape(*ahead, -1, LANES)

    tau_mem, tau_syn = neurons.tau_mem, neurons.tau_syn
    same = bool((tau_mem == tau_mem[0]).all() and (tau_syn == tau_syn[0]).all())
    tau, tau_s = (rows(tau.astype(np.float64), float(tau[0])) for tau in (tau_mem, tau_syn))
    return Neurons(
        RATIO_2 if same and tau_mem[0] == 2 * tau_syn[0] else GENERAL, same, apart, bool(neurons.t_ref.any()),
        bool(neurons.start.any() or neurons.threshold.min() <= 0), neurons.subtract, neurons.max_spikes, blocks,
        tau, 1.0 / tau, 1.0 / tau_s, rows(neurons.reset.astype(np.float64), 0.0),
        rows(neurons.t_ref.astype(np.float64), 0.0), rows(neurons.start.astype(np.float64), 0.0),
        rows(neurons.threshold, np.inf),
    )  # fmt: skip


def _apart(array: FloatArray, positions: int) -> bool:
    """Whether an array ``[..., n]`` differs from position to position."""
    maps = array.reshape(*array.shape[:-1], -1, positions)
    return bool((maps != maps[..., :1]).any())


def _check_room(batch: int, room: int) -> None:
    if batch * room > MAX_EVENTS:
        raise InputError(
            f"a convolution answers {batch} samples with up to {room} spikes each; allowed: {MAX_EVENTS} in one call. "
            "Use smaller batches, lower weights, a refractory time, or max_spikes"
        )


def _spread(work: Callable[[int, int], None], layer: Convolution, inputs: Events) -> None:
    """Run ``work(lo, hi)`` over the batch; an event's work is the synapses that it reaches, at most."""
    geometry = layer.geometry
    synapses = geometry.kernel[0] * geometry.kernel[1] * geometry.out_channels // geometry.groups
    spread(work, len(inputs.counts), int(inputs.counts.sum()) * synapses, PARALLEL_WORK)
