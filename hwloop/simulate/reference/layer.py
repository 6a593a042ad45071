"""The specification: the event-driven layer neuron by neuron, in plain Python and float64, from the formulas.

Independent of ``cpu``: crossings by bisection instead of Newton, Halley or closed forms, and gradients not by the
adjoint but by the recursion of forward sensitivities (Bacho & Chu 2022), see ``membrane``. The two check each other.

Arithmetic is float64 whatever the layer's dtype; spike times are rounded to that dtype as they arise, because the
reset takes place at the recorded time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..contract import Events, FloatArray, Floor, IntArray, Layer, Sensitivities, Trace
from .neuron import TAU_MEM, TAU_SYN, Membrane, Neuron, Sensitivity, Spike, crossing, extremum

#: Output events that one call may hold: a minute's work.
MAX_EVENTS = 1 << 18

#: (event, time (s), weight) of one input spike of a neuron.
Arrival: TypeAlias = tuple[int, float, float]


def forward(layer: Layer, inputs: Events, t_stop: float, measured: Events | None = None) -> Trace:
    """Simulate, or replay at measured spikes; see :class:`~hwloop.simulate.contract.Engine`."""
    dtype, samples = layer.weight.dtype, []
    end = float(dtype.type(t_stop))
    for b in range(len(inputs.counts)):
        found: list[tuple[int, int, Spike]] = []  # (place among the measured spikes, unit, spike)
        for unit in range(layer.weight.shape[1]):
            membrane, arrivals = Membrane(_neuron(layer, b, unit)), _arrivals(layer, unit, inputs, b, end)
            if measured is None:
                _simulate(membrane, arrivals, end, layer.max_spikes, dtype.type)
                found += [(0, unit, spike) for spike in membrane.spikes]
            else:
                places = _places(measured, b, unit)
                _replay(membrane, arrivals, [float(measured.times[b, k]) for k in places], end)
                found += [(k, unit, spike) for k, spike in zip(places, membrane.spikes, strict=True)]
        samples.append(sorted(found, key=lambda row: (row[0], row[2].time, row[1])))
    return _as_trace(samples, dtype)


def backward(
    layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor, want_times: bool
) -> tuple[FloatArray, FloatArray | None]:
    """Gradients of weights and input times; see :class:`~hwloop.simulate.contract.Engine`."""
    d_weight, d_times = np.zeros(layer.weight.shape), np.zeros(inputs.times.shape)
    for b, unit, row in _contracted(layer, inputs, t_stop, trace, grad, floor):
        n = (len(row) - 5) // 2
        np.add.at(d_weight[:, unit], inputs.units[b, :n], row[:n])
        d_times[b, :n] += row[n : 2 * n]
    dtype = layer.weight.dtype
    return d_weight.astype(dtype), d_times.astype(dtype) if want_times else None


def sensitivities(
    layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor
) -> Sensitivities:
    """Gradients of the neuron parameters; see :class:`~hwloop.simulate.contract.Engine`."""
    total = np.zeros((5, layer.weight.shape[1]))
    for _, unit, row in _contracted(layer, inputs, t_stop, trace, grad, floor):
        total[:, unit] += row[-5:]
    return Sensitivities(*total)


def membrane_maximum(
    layer: Layer, inputs: Events, t_stop: float, mask: np.ndarray[Any, np.dtype[np.bool_]]
) -> tuple[FloatArray, FloatArray]:
    """Largest membrane and its time, ``[batch, n_out]``; see :class:`~hwloop.simulate.contract.Engine`."""
    value, when = np.zeros(mask.shape), np.zeros(mask.shape)
    for b, unit in np.argwhere(mask):
        membrane = Membrane(_neuron(layer, b, unit))
        best = (membrane.u, 0.0)
        for event, t, weight in [*_arrivals(layer, unit, inputs, b, t_stop), (-1, t_stop, 0.0)]:
            u, i, now = membrane.u, membrane.i, membrane.time
            top = extremum(membrane.neuron, u, i)
            if 0.0 < top < t - now:
                membrane.advance(now + top)
                best = max(best, (membrane.u, now + top), key=_first)
            membrane.advance(t)
            best = max(best, (membrane.u, t), key=_first)
            membrane.arrive(event, weight)
        value[b, unit], when[b, unit] = best
    return value, when


def membrane_maximum_gradient(
    layer: Layer, inputs: Events, t_stop: float, when: FloatArray, grad: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """``dL`` with respect to weight, input times, tau_mem and tau_syn from ``grad = dL/dmax [batch, n_out]``.

    The time ``when`` of the maximum is held: the slope there is zero, or it is an event's and moves with it.
    """
    d_weight, d_times = np.zeros(layer.weight.shape), np.zeros(inputs.times.shape)
    d_taus = np.zeros((2, layer.weight.shape[1]))
    for b, unit in np.argwhere(grad != 0):
        at, up, arrivals = float(when[b, unit]), float(grad[b, unit]), _arrivals(layer, unit, inputs, b, t_stop)
        membrane = Sensitivity(_neuron(layer, b, unit), len(arrivals), Floor(0.0, False))
        for event, t, weight in arrivals:
            if t >= at:
                break
            membrane.advance(t)
            membrane.arrive(event, weight)
        membrane.advance(at)
        n = len(arrivals)
        np.add.at(d_weight[:, unit], inputs.units[b, :n], up * membrane.S[:n])
        d_times[b, :n] += up * membrane.S[n : 2 * n]
        d_taus[:, unit] += up * membrane.S[[TAU_MEM, TAU_SYN]]
        kink = next((event for event, t, _ in arrivals if t == at), None)
        if kink is not None:
            d_times[b, kink] += up * (membrane.i - membrane.u) / membrane.neuron.tau_mem
    return d_weight, d_times, *d_taus


# -- one neuron in one sample ---------------------------------------------------------------------


def _simulate(membrane: Membrane, arrivals: Sequence[Arrival], end: float, cap: int, as_time: Any) -> None:
    """Event by event to the end, and within each interval spike by spike."""
    for event, t, weight in [*arrivals, (-1, end, 0.0)]:
        membrane.wait(t)
        while not (membrane.held or (cap and len(membrane.spikes) == cap)):
            s = crossing(membrane.neuron, membrane.u, membrane.i, membrane.time, t - membrane.time)
            if s is None:
                break
            at = as_time(membrane.time + s)
            if float(at) <= membrane.time:  # never on or before the event that caused it
                at = np.nextafter(at, as_time(math.inf))
            membrane.advance(min(float(at), t))
            membrane.fire()
            membrane.wait(t)
        membrane.advance(t)
        if event >= 0:
            membrane.arrive(event, weight)


def _replay(membrane: Membrane, arrivals: Sequence[Arrival], spikes: Sequence[float], end: float) -> None:
    """Event by event to the end, with the resets at ``spikes``; a spike comes before an input at its own time."""
    k = 0
    for event, t, weight in [*arrivals, (-1, end, 0.0)]:
        while k < len(spikes) and spikes[k] <= t:
            membrane.advance(spikes[k])
            membrane.fire()
            k += 1
        membrane.advance(t)
        if event >= 0:
            membrane.arrive(event, weight)


def _contracted(
    layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor
) -> Iterator[tuple[int, int, FloatArray]]:
    """``(sample, neuron, sum_k dL/dT_k dT_k/dx)`` for every neuron that spiked."""
    end = float(layer.weight.dtype.type(t_stop))
    for b, count in enumerate(trace.spikes.counts):
        for unit in np.unique(trace.spikes.units[b, :count]):
            places, arrivals = _places(trace.spikes, b, unit), _arrivals(layer, unit, inputs, b, end)
            membrane = Sensitivity(_neuron(layer, b, unit), len(arrivals), floor)
            _replay(membrane, arrivals, [float(trace.spikes.times[b, k]) for k in places], end)
            yield b, int(unit), grad[b, places].astype(np.float64) @ np.stack(membrane.rows)


def _arrivals(layer: Layer, unit: int, inputs: Events, b: int, end: float) -> list[Arrival]:
    """The input of one neuron in one sample before the end."""
    n = int(np.searchsorted(inputs.times[b, : inputs.counts[b]], end))
    weight = layer.weight[inputs.units[b, :n], unit]
    return [(event, float(inputs.times[b, event]), float(weight[event])) for event in range(n)]


def _places(spikes: Events, b: int, unit: int) -> IntArray:
    return np.flatnonzero(spikes.units[b, : spikes.counts[b]] == unit)


def _neuron(layer: Layer, b: int, unit: int) -> Neuron:
    threshold = float(layer.threshold[b if len(layer.threshold) > 1 else 0, unit])
    tau_mem, tau_syn, t_ref = float(layer.tau_mem[unit]), float(layer.tau_syn[unit]), float(layer.t_ref[unit])
    return Neuron(
        tau_mem, tau_syn, t_ref, threshold, float(layer.reset[unit]), float(layer.start[unit]), layer.subtract
    )


def _as_trace(samples: Sequence[Sequence[tuple[int, int, Spike]]], dtype: Any) -> Trace:
    counts = np.array([len(sample) for sample in samples], np.int64)
    shape = (len(samples), int(counts.max()))
    times, units = np.full(shape, np.inf, dtype), np.zeros(shape, np.int64)
    others = np.zeros((4, *shape), dtype)
    for b, sample in enumerate(samples):
        for k, (_, unit, spike) in enumerate(sample):
            times[b, k], units[b, k] = spike.time, unit
            others[:, b, k] = spike.current, spike.release_time, spike.release_current, spike.residual
    return Trace(Events(times, units, counts), *others)


def _first(pair: tuple[float, float]) -> float:
    return pair[0]
