"""A component on the CPU: Numba kernels over ranges of samples, threads above a work threshold."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Events, FloatArray, Floor, IntArray
from ..threads import spread
from .adjoint import backward_range
from .arrays import EXPLODED, FULL, External, Found, Measured, one_kind, uniform
from .contract import COLUMNS, Arrivals, Component, Gradients, JointGradient, JointTrace
from .explosion import refuse_explosion
from .own_parameters import sensitivities_range
from .planning import arrivals_from_outside, chains, plan
from .simulation import simulate_range

#: Neuron updates (arrivals and spikes x neurons) below which a second thread costs more than it brings.
PARALLEL_WORK = 500_000

#: Spikes and arrivals of one call (64 Mi, some 6 GB); more is a runaway network.
MAX_EVENTS = 1 << 26

#: Room for spikes of a sample at first, for each neuron and at least, and by how much it grows where it is too little.
FIRST_ROOM, LEAST_ROOM, GROWTH = 8, 64, 4


def forward(component: Component, inputs: Events, t_stop: float, measured: Events | None = None) -> JointTrace:
    """Simulate, or replay with the resets at ``measured`` spikes and what they cause.

    Raises :class:`~hwloop.errors.InputError` for a loop that explodes, naming sample, time and rate.
    """
    external = arrivals_from_outside(component, inputs)
    given = None if measured is None else chains(measured, component.size)
    batch, n = len(inputs.counts), component.size
    room = max(LEAST_ROOM, FIRST_ROOM * n, component.shape.get("room", 0))
    if measured is not None:
        room = max(1, measured.times.shape[1])
    widest = _bundles_a_spike(component)
    wide = max(1, int(external.counts.max(initial=0)) + room * widest)
    found = _run(component, external, given, t_stop, batch, room, wide)
    while len(late := np.flatnonzero(found.status == FULL)):
        room, wide = room * GROWTH, wide * GROWTH
        if max(room, wide) * len(late) > MAX_EVENTS:
            _refuse(found, int(late[0]), n)
        some = External(*(np.ascontiguousarray(array[late]) for array in external))
        again = None if given is None else Measured(*(np.ascontiguousarray(array[late]) for array in given))
        _write(
            found := _widened(found, room, wide),
            late,
            _run(component, some, again, t_stop, len(late), room, wide, late),
        )
    exploded = np.flatnonzero(found.status == EXPLODED)
    if len(exploded):
        _refuse(found, int(exploded[0]), n)
    if measured is None:
        component.shape["room"] = min(
            int(found.counts.max(initial=0) * 1.25), MAX_EVENTS // max(1, batch * (1 + widest))
        )
    return _as_trace(found)


def backward(
    component: Component, inputs: Events, t_stop: float, trace: JointTrace, grad: FloatArray, floor: Floor
) -> JointGradient:
    """Gradients of weights, delays and external times, and of every spike, from ``grad = dL/dT [batch, spikes]``."""
    made, rates, bases = plan(component, t_stop)
    dtype, synapses, found = component.neurons.tau_mem.dtype, component.synapses, _found(trace)
    total, d_times = np.array(grad, dtype, order="C"), np.zeros(inputs.times.shape, dtype)
    times, limits = one_kind(inputs.times), (float(floor.share), bool(floor.skip))
    parts: dict[int, tuple[FloatArray, FloatArray]] = {}

    def work(lo: int, hi: int) -> None:
        part = parts[lo] = np.zeros(len(synapses.weight), dtype), np.zeros(len(synapses.delay), dtype)
        grads = total, *part, d_times
        backward_range(lo, hi, float(t_stop), made, rates, bases, times, found, grads, limits)

    spread(work, len(inputs.counts), _operations(trace, component), PARALLEL_WORK)
    (d_weight, d_delay), *others = (parts[lo] for lo in sorted(parts))  # a fixed order of summation
    for weight, delay in others:
        d_weight += weight
        d_delay += delay
    return JointGradient(d_weight, d_delay, d_times, total)


def sensitivities(
    component: Component, inputs: Events, t_stop: float, trace: JointTrace, upstream: FloatArray, floor: Floor
) -> dict[str, FloatArray]:
    """Gradients of the neuron parameters :data:`~.contract.COLUMNS`, each ``[N]`` float64, from ``JointGradient.upstream``."""
    made, _, _ = plan(component, t_stop)
    found, parts = _found(trace), {}
    times, whole, limits = one_kind(inputs.times), one_kind(upstream), (float(floor.share), bool(floor.skip))

    def work(lo: int, hi: int) -> None:
        part = parts[lo] = np.zeros((component.size, len(COLUMNS)))
        sensitivities_range(lo, hi, made, times, found, whole, limits, part)

    spread(work, len(inputs.counts), _operations(trace, component) * 8, PARALLEL_WORK)
    columns = np.sum(np.stack([parts[lo] for lo in sorted(parts)]), 0).T
    return {name: np.ascontiguousarray(column) for name, column in zip(COLUMNS, columns, strict=True)}


def gradients(
    component: Component, inputs: Events, t_stop: float, trace: JointTrace, grad: FloatArray, floor: Floor, own: bool
) -> Gradients:
    """All gradients from ``grad = dL/dT [batch, spikes]``; those of the neurons' parameters where ``own``."""
    found = backward(component, inputs, t_stop, trace, grad, floor)
    columns = sensitivities(component, inputs, t_stop, trace, found.upstream, floor) if own else {}
    return Gradients(found.weight, found.delay, found.times, columns)


def _run(
    component: Component, external: External, measured: Measured | None, t_stop: float, batch: int, room: int, wide: int,
    samples: IntArray | None = None,
) -> Found:  # fmt: skip
    made, rates, bases = plan(component, t_stop)
    if samples is not None and len(made.threshold) > 1:
        made = made._replace(threshold=np.ascontiguousarray(made.threshold[samples]))
    dtype = component.neurons.tau_mem.dtype
    found = _room(batch, room, wide, dtype)

    def work(lo: int, hi: int) -> None:
        simulate_range(lo, hi, float(t_stop), made, rates, bases, external, measured, found)

    most = int(external.counts.sum()) * component.size
    spread(work, batch, most * 2, PARALLEL_WORK)
    return found


def _room(batch: int, room: int, wide: int, dtype: Any) -> Found:
    real: list[FloatArray] = [np.empty((batch, room), dtype) for _ in range(5)]
    whole: list[IntArray] = [np.empty((batch, room), np.int64) for _ in range(3)]
    log: list[IntArray] = [np.empty((batch, wide), np.int64) for _ in range(2)]
    counts: list[IntArray] = [np.zeros(batch, np.int64) for _ in range(3)]
    return Found(
        real[0], whole[0], counts[0], real[1], real[2], real[3], real[4], whole[1], whole[2], log[0], log[1],
        counts[1], counts[2], np.zeros(batch), np.zeros(batch),
    )  # fmt: skip


def _widened(found: Found, room: int, wide: int) -> Found:
    """The same in arrays ``[batch, room]`` and ``[batch, wide]``."""
    result = _room(len(found.counts), room, wide, found.times.dtype)
    for name, array in found._asdict().items():
        getattr(result, name)[(slice(None), slice(array.shape[1])) if array.ndim == 2 else ...] = array
    return result


def _write(found: Found, samples: IntArray, some: Found) -> None:
    for to, array in zip(found, some, strict=True):
        to[samples] = array


def _as_trace(found: Found) -> JointTrace:
    """Arrays that are just wide enough, padded."""
    width, wide = int(found.counts.max(initial=0)), int(found.arrivals.max(initial=0))
    absent = np.arange(width) >= found.counts[:, None]

    def cut(array: FloatArray, fill: float = 0) -> FloatArray:
        result = np.ascontiguousarray(array[:, :width])
        result[absent] = fill
        return result

    gone = np.arange(wide) >= found.arrivals[:, None]
    bundle, origin = (np.where(gone, 0, array[:, :wide]) for array in (found.bundle, found.origin))
    spikes = Events(cut(found.times, np.inf), cut(found.units), found.counts)
    arrivals = Arrivals(bundle, origin, found.arrivals)
    return JointTrace(
        spikes, cut(found.current), cut(found.release_time), cut(found.release_current), cut(found.residual),
        cut(found.after), cut(found.cause), arrivals,
    )  # fmt: skip


def _found(trace: JointTrace) -> Found:
    """A trace as the kernels read it."""
    spikes, none = trace.spikes, np.zeros(0)
    return uniform(Found(
        spikes.times, spikes.units, spikes.counts, trace.current, trace.release_time, trace.release_current,
        trace.residual, trace.after, trace.cause, trace.arrivals.bundle, trace.arrivals.origin, trace.arrivals.counts,
        spikes.counts, none, none,
    ))  # fmt: skip


def _operations(trace: JointTrace, component: Component) -> int:
    return int(trace.arrivals.counts.sum() + trace.spikes.counts.sum()) * component.size


def _bundles_a_spike(component: Component) -> int:
    return int(np.diff(component.synapses.bundle_starts[component.n_external :]).max(initial=0))


def _refuse(found: Found, sample: int, n: int) -> None:
    refuse_explosion(sample, int(found.counts[sample]), n, float(found.stopped[sample]), float(found.rate[sample]))
