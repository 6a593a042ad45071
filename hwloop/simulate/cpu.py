"""The layer on the CPU: Numba kernels over ranges of samples, threads above a work threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from .checks import copied, pack, widest
from .contract import Events, FloatArray, Floor, IntArray, Layer, Sensitivities, Trace
from .kernels.adjoint import backward_range
from .kernels.forward import forward_range
from .kernels.narrow import LANES as NARROW
from .kernels.neuron import GENERAL, RATIO_2
from .kernels.propagators import rate_tables
from .kernels.sensitivities import jacobian_range, maximum_gradient_range, maximum_range
from .room import borrow, expected, give_back, remember
from .threads import spread

#: Synaptic operations (events x neurons) below which a second thread costs more than it brings.
PARALLEL_WORK = 1_000_000

#: What zeros of any dtype are made of that take no memory; nobody may write to them.
_ZERO = bytes(8)

#: Output events that one call may hold (64 Mi events, some 3 GB); more is a runaway network.
MAX_EVENTS = 1 << 26


def forward(layer: Layer, inputs: Events, t_stop: float, measured: Events | None = None) -> Trace:
    """Simulate a layer, or replay it at measured spikes; see :class:`~hwloop.simulate.contract.Engine`."""
    if measured is not None:
        return _forward(layer, inputs, t_stop, measured, max(1, measured.times.shape[1]))
    shape = layer.weight.shape[0], layer.weight.shape[1]
    room = expected(shape, layer.max_spikes, MAX_EVENTS // max(1, len(inputs.counts)))
    trace = _forward(layer, inputs, t_stop, None, room)
    remember(shape, trace.current.shape[1])
    return trace


def _forward(layer: Layer, inputs: Events, t_stop: float, measured: Events | None, room: int) -> Trace:
    """The forward pass with room for ``room`` spikes a sample; samples that have more are run again."""
    batch, dtype = len(inputs.counts), layer.weight.dtype
    plan, weight = _plan(layer)
    arrived, replayed = arriving(inputs, t_stop), None
    if measured is not None:
        replayed = measured.times, measured.units, measured.counts
    neurons = plan.table, plan.threshold, plan.start, plan.moves, layer.subtract, layer.max_spikes
    counts = np.zeros(batch, np.int64)
    _check_room(batch, room)
    found = borrow(batch, room, dtype, plan.holding is not None, measured is not None)
    release = found.release_time, found.release_current
    out = found.times, found.units, counts, found.current, *release, found.residual
    what = plan.kind, arrived, weight, neurons, plan.tau, plan.holding, replayed, out
    if _is_small(inputs, weight.shape[1]):
        forward_range(0, batch, *what)
    else:
        _spread(lambda lo, hi: forward_range(lo, hi, *what), inputs, weight.shape[1])
    times, units = (found.times, found.units) if measured is None else (measured.times, measured.units)
    shape = batch, widest(counts)
    width, spikes = shape[1], Events(np.empty(shape, dtype), np.empty(shape, np.int64), counts)
    current, released_at = np.empty(shape, dtype), np.empty(shape, dtype)
    pack(counts, room, times, units, found.current, spikes.times, spikes.units, current, released_at)
    release = (released_at, current)
    if plan.holding:
        release = copied(counts, room, found.release_time, width), copied(counts, room, found.release_current, width)
    if measured is None:
        residual = np.ndarray(shape, dtype, _ZERO, strides=(0, 0))  # zeros that take no memory
    else:
        residual = copied(counts, room, found.residual, width)
    give_back(found)
    trace = Trace(spikes, current, *release, residual)
    if width > room:
        _run_again(layer, inputs, t_stop, np.flatnonzero(counts > room), trace)
    return trace


def _run_again(layer: Layer, inputs: Events, t_stop: float, samples: IntArray, trace: Trace) -> None:
    """Run ``samples`` with room for all their spikes, and write what they answer to ``trace``."""
    _check_room(len(trace.spikes.counts), trace.current.shape[1])
    if len(layer.threshold) > 1:
        layer = replace(layer, threshold=layer.threshold[samples])
    some = Events(inputs.times[samples], inputs.units[samples], inputs.counts[samples])
    again = _forward(layer, some, t_stop, None, trace.current.shape[1])
    trace.spikes.times[samples], trace.spikes.units[samples] = again.spikes.times, again.spikes.units
    trace.current[samples] = again.current
    trace.release_time[samples], trace.release_current[samples] = again.release_time, again.release_current


def backward(
    layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor, want_times: bool
) -> tuple[FloatArray, FloatArray | None]:
    """Gradients of weights and input times; see :class:`~hwloop.simulate.contract.Engine`."""
    n = layer.weight.shape[1]
    plan, weight = _plan(layer)
    d_times = np.zeros(inputs.times.shape if want_times else (1, 1), layer.weight.dtype)
    arrived, neurons, spikes = arriving(inputs, t_stop), (plan.table, plan.threshold), _spikes(trace)
    what = plan.kind, arrived, weight, neurons, plan.tau, plan.holding, spikes
    parts: dict[int, FloatArray] = {}

    def work(lo: int, hi: int) -> None:
        part = parts[lo] = np.zeros(weight.shape, weight.dtype)
        backward_range(lo, hi, *what, (grad, floor.share, floor.skip, want_times, part, d_times))

    if _is_small(inputs, n):
        work(0, len(inputs.counts))
    else:
        _spread(work, inputs, n)
    d_weight = parts.pop(0)
    for lo in sorted(parts):  # a fixed order of summation
        d_weight += parts[lo]
    return d_weight[:, :n], d_times if want_times else None


def jacobian(layer: Layer, inputs: Events, t_stop: float, trace: Trace, floor: Floor) -> FloatArray:
    """``dT_k/dx`` ``[batch, spikes, 5]`` for x in tau_mem, tau_syn, threshold, reset, t_ref of the spike's neuron."""
    result = np.zeros((*trace.spikes.times.shape, 5))
    arrived, spikes, limits = arriving(inputs, t_stop), _spikes(trace), (floor.share, floor.skip)
    taus, levels = (layer.tau_mem, layer.tau_syn, layer.t_ref), (layer.threshold, layer.reset, layer.start)
    neurons = *taus, *levels, layer.subtract

    def work(lo: int, hi: int) -> None:
        jacobian_range(lo, hi, arrived, layer.weight, neurons, spikes, limits, result)

    _spread(work, inputs, layer.weight.shape[1] * 8)
    return result


def sensitivities(
    layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor
) -> Sensitivities:
    """Gradients of the neuron parameters; see :class:`~hwloop.simulate.contract.Engine`."""
    rows = jacobian(layer, inputs, t_stop, trace, floor) * grad[:, :, None].astype(np.float64)
    total = np.zeros((layer.weight.shape[1], 5))
    valid = np.arange(rows.shape[1]) < trace.spikes.counts[:, None]
    np.add.at(total, trace.spikes.units[valid], rows[valid])
    return Sensitivities(*(np.ascontiguousarray(column) for column in total.T))


def membrane_maximum(
    layer: Layer, inputs: Events, t_stop: float, mask: np.ndarray[Any, np.dtype[np.bool_]]
) -> tuple[FloatArray, FloatArray]:
    """Largest membrane and its time, ``[batch, n_out]`` float64; see :class:`~hwloop.simulate.contract.Engine`."""
    value, when = np.zeros(mask.shape), np.zeros(mask.shape)
    arrived, neurons = arriving(inputs, t_stop), (layer.tau_mem, layer.tau_syn, layer.start)

    def work(lo: int, hi: int) -> None:
        maximum_range(lo, hi, arrived, layer.weight, neurons, mask, value, when)

    spread(work, len(inputs.counts), int(mask.sum()) * inputs.times.shape[1] * 8, PARALLEL_WORK)
    return value, when


def membrane_maximum_gradient(
    layer: Layer, inputs: Events, t_stop: float, when: FloatArray, grad: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """``dL`` with respect to weight, input times, tau_mem and tau_syn from ``grad = dL/dmax [batch, n_out]``."""
    n = layer.weight.shape[1]
    d_weight, d_times = np.zeros(layer.weight.shape), np.zeros(inputs.times.shape)
    arrived, neurons = arriving(inputs, t_stop), (layer.tau_mem, layer.tau_syn, layer.start)
    out = d_weight, d_times, np.zeros(n), np.zeros(n)
    maximum_gradient_range(0, len(inputs.counts), arrived, layer.weight, neurons, when, grad, out)
    return out


def arriving(inputs: Events, t_stop: float) -> tuple[FloatArray, IntArray, IntArray, float]:
    """What the kernels take as ``inputs``: times, units, counts, t_stop."""
    return inputs.times, inputs.units, inputs.counts, t_stop


def _spikes(trace: Trace) -> tuple[FloatArray, IntArray, IntArray, FloatArray, FloatArray, FloatArray]:
    """What the kernels of the way back take as ``spikes``."""
    spikes = trace.spikes
    return spikes.times, spikes.units, spikes.counts, trace.current, trace.release_time, trace.release_current


@dataclass(frozen=True)
class _Plan:
    """The neurons of a layer as the two kernels read them, padded to ``NARROW``: one more never spikes."""

    kind: int | None
    table: FloatArray
    threshold: FloatArray
    start: FloatArray
    moves: bool
    holding: bool | None
    tau: tuple[FloatArray, FloatArray] | None


def _plan(layer: Layer) -> tuple[_Plan, FloatArray]:
    """What the kernels read of a layer: its neurons, and its weights."""
    plan = layer.memo.get("cpu")
    if plan is None:
        plan = layer.memo["cpu"] = _neurons(layer)
    n_in, n = layer.weight.shape
    if n >= NARROW:
        return plan, layer.weight
    weight = np.zeros((n_in, NARROW), layer.weight.dtype)
    weight[:, :n] = layer.weight
    return plan, weight


def _neurons(layer: Layer) -> _Plan:
    """Arrays of the neurons; the tables of rates only where they differ in their taus."""
    kind, shared = _kind(layer)
    table = np.array([layer.tau_mem, layer.tau_syn, layer.t_ref, layer.reset], np.float64).T
    threshold, start, more = layer.threshold, layer.start, NARROW - len(layer.start)
    if more > 0:
        start, threshold = _padded(start, more, 0.0), _padded(threshold, more, np.inf)
        table = np.concatenate([table, np.repeat(table[:1], more, 0)])
    tau = None if shared else rate_tables(*(table[:, k].astype(start.dtype) for k in (0, 1)))
    moves, holding = bool(layer.start.any() or layer.threshold.min() <= 0), True if layer.t_ref.any() else None
    return _Plan(kind, np.ascontiguousarray(table), threshold, start, moves, holding, tau)


def _padded(array: FloatArray, more: int, value: float) -> FloatArray:
    """``array`` with ``more`` entries of ``value`` at the end of its last axis."""
    n = array.shape[-1]
    result = np.empty((*array.shape[:-1], n + more), array.dtype)
    result[..., :n], result[..., n:] = array, value
    return result


def _kind(layer: Layer) -> tuple[int | None, bool]:
    """The closed form that fits the layer's taus, and whether all its neurons share them."""
    tau_mem, tau_syn = layer.tau_mem, layer.tau_syn
    shared = bool((tau_mem == tau_mem[0]).all() and (tau_syn == tau_syn[0]).all())
    return (RATIO_2 if shared and tau_mem[0] == 2 * tau_syn[0] else GENERAL), shared


def _check_room(batch: int, room: int) -> None:
    if batch * room > MAX_EVENTS:
        raise InputError(
            f"a layer answers {batch} samples with up to {room} spikes each; allowed: {MAX_EVENTS} in one call. "
            "Use smaller batches, lower weights, a refractory time, or max_spikes"
        )


def _is_small(inputs: Events, lanes: int) -> bool:
    """Whether a batch is too little work for a second thread, where a sample's work is its events times ``lanes``."""
    return inputs.times.size * lanes <= PARALLEL_WORK


def _spread(work: Callable[[int, int], None], inputs: Events, lanes: int) -> None:
    """Run ``work(lo, hi)`` over the batch, in threads where there is work for them."""
    batch = len(inputs.counts)
    if _is_small(inputs, lanes):
        work(0, batch)
    else:
        spread(work, batch, int(inputs.counts.sum()) * lanes, PARALLEL_WORK)
