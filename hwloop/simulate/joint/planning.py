"""A component as the kernels read it, and what cannot be simulated refused."""

from __future__ import annotations

import numpy as np

from ...errors import InputError
from ..contract import Events, FloatArray, IntArray
from ..kernels.neuron import GENERAL, RATIO_2
from ..kernels.propagators import rate_tables
from .arrays import MIXED, SCATTERED, External, Measured, Plan, uniform
from .contract import CURRENT, INTEGRATE, Component, Neurons, Synapses
from .explosion import block, fastest


def plan(component: Component, t_stop: float) -> tuple[Plan, FloatArray | None, FloatArray | None]:
    """The plan, and the tables of rates (None where all neurons share their time constants)."""
    key = "plan", t_stop
    if key not in component.memo:
        component.memo[key] = _plan(component, t_stop)
    found: tuple[Plan, FloatArray | None, FloatArray | None] = component.memo[key]
    return found


def _plan(component: Component, t_stop: float) -> tuple[Plan, FloatArray | None, FloatArray | None]:
    neurons, synapses, n = component.neurons, component.synapses, component.size
    refuse_instant_loops(component)
    tau_mem, tau_syn = _time_constants(neurons)
    shared = bool((tau_mem == tau_mem[0]).all() and (tau_syn == tau_syn[0]).all())
    form = RATIO_2 if bool((tau_mem == 2 * tau_syn).all()) else GENERAL
    table = np.ascontiguousarray(np.array([tau_mem, tau_syn, neurons.t_ref, neurons.reset], np.float64).T)
    rates, bases = (None, None) if shared else rate_tables(tau_mem, tau_syn)
    if "layout" not in component.shape:
        component.shape["layout"] = _layout(synapses, neurons.kind)
    least, starts = np.full(n, np.inf, neurons.tau_mem.dtype), synapses.bundle_starts[component.n_external :]
    sends = np.flatnonzero(np.diff(starts) > 0)
    if len(sends):
        least[sends] = np.minimum.reduceat(synapses.delay, starts[sends])
    delays = synapses.delay[starts[0] :]
    made = Plan(
        form, component.n_external, table, 1.0 / table[:, :2], neurons.threshold, neurons.start,
        np.where(neurons.kind == INTEGRATE, neurons.ramp, 0).astype(np.float64), neurons.subtract, neurons.max_spikes,
        neurons.kind, np.flatnonzero(neurons.kind != CURRENT), np.flatnonzero(neurons.kind == INTEGRATE),
        bool(neurons.start.any() or neurons.threshold.min() <= 0 or (neurons.kind == INTEGRATE).any()),
        bool(neurons.t_ref.any()), *synapses, component.shape["layout"], least,
        bool((delays == delays[:1]).all()), fastest(component, t_stop), block(n),
    )  # fmt: skip
    return uniform(made), rates, bases


def _time_constants(neurons: Neurons) -> tuple[FloatArray, FloatArray]:
    """Those of the neurons; where a kind has none, ones that go well with the others'."""
    tau_mem, tau_syn = neurons.tau_mem.copy(), neurons.tau_syn.copy()
    by_current, ramp = neurons.kind == CURRENT, neurons.kind == INTEGRATE
    if by_current.all():
        return tau_mem, tau_syn
    some = np.flatnonzero(~ramp)
    if len(some):
        tau_mem[ramp] = tau_mem[some[0]]
    else:
        tau_mem[:] = 1
    first = np.flatnonzero(by_current)
    share = tau_syn[first[0]] / tau_mem[first[0]] if len(first) else tau_mem.dtype.type(0.5)
    tau_syn[~by_current] = tau_mem[~by_current] * share
    if len(first):
        same = ~by_current & (tau_mem == tau_mem[first[0]])
        tau_syn[same] = tau_syn[first[0]]
    return tau_mem, tau_syn


def _layout(synapses: Synapses, kind: IntArray) -> IntArray:
    """Of every bundle its first target, where it and those that follow are the targets; else how they lie."""
    first, target = synapses.first, synapses.target
    sizes = np.diff(first)
    layout = np.zeros(len(sizes), np.int64)
    filled = sizes > 0
    if len(target) == 0:
        return layout
    begin = target[np.minimum(first[:-1], len(target) - 1)]
    bundle = np.repeat(np.arange(len(sizes)), sizes)
    out_of_line = target - np.arange(len(target)) != (begin - first[:-1])[bundle]
    scattered = np.bincount(bundle, out_of_line, len(sizes)) > 0
    mixed = np.bincount(bundle, kind[target] != CURRENT, len(sizes)) > 0
    layout[filled] = np.where(mixed, MIXED, np.where(scattered, SCATTERED, begin))[filled]
    return layout


def refuse_instant_loops(component: Component) -> None:
    """Refuse a loop without delay through neurons that arrivals fire at once: at one instant it would go on for ever.

    Also a subtracting reset with a refractory time on such neurons, whose membrane could be held above its threshold.
    """
    neurons, synapses, n = component.neurons, component.synapses, component.size
    instant = neurons.kind != CURRENT
    if not instant.any():
        return
    held = np.flatnonzero(instant & np.asarray(neurons.subtract, bool) & (neurons.t_ref > 0))
    if len(held):
        j = held[0]
        raise InputError(
            f"neuron {j}: delta synapses, reset 'subtract' and t_ref = {neurons.t_ref[j]:g} s; a membrane that is held may stay "
            "above its threshold. Allowed: reset 'value', or t_ref = 0"
        )
    sources = np.repeat(np.arange(len(synapses.bundle_starts) - 1), np.diff(synapses.bundle_starts))
    sizes = np.diff(synapses.first)
    pre = np.repeat(sources, sizes) - component.n_external
    at_once = (pre >= 0) & (np.repeat(synapses.delay, sizes) == 0) & instant[synapses.target]
    at_once[at_once] = instant[pre[at_once]]
    cycle = _cycle(pre[at_once], synapses.target[at_once], n)
    if cycle:
        raise InputError(
            f"neurons {' -> '.join(map(str, [*cycle, cycle[0]]))} form a loop of zero total delay through delta synapses: their "
            "spikes could follow each other without end at one instant. Give one of these synapses a delay > 0, or the "
            "neurons a synaptic current"
        )


def _cycle(pre: IntArray, post: IntArray, n: int) -> list[int]:
    """Neurons of one cycle of the graph ``pre -> post`` in order; empty where there is none."""
    alive = np.ones(len(pre), bool)
    while True:  # edges into neurons that nothing leaves, one rank a round
        leaves = np.bincount(pre[alive], minlength=n) > 0
        kept = alive & leaves[post]
        if (kept == alive).all():
            break
        alive = kept
    if not alive.any():
        return []
    following = dict(zip(pre[alive].tolist(), post[alive].tolist(), strict=True))
    path = [int(pre[alive][0])]
    while (after := following[path[-1]]) not in path:
        path.append(after)
    return path[path.index(after) :]


def arrivals_from_outside(component: Component, inputs: Events) -> External:
    """The external events at the ends of their bundles' delays, in order of time; ties in the order of events."""
    synapses, dtype = component.synapses, component.neurons.tau_mem.dtype
    starts = synapses.bundle_starts[: component.n_external + 1]
    per_unit = np.diff(starts)
    batch, width = inputs.times.shape
    valid = np.arange(width) < inputs.counts[:, None]
    if (per_unit == 1).all() and len(per_unit) and (synapses.delay[: starts[-1]] == synapses.delay[0]).all():
        times = inputs.times + (synapses.delay[0] if starts[-1] else dtype.type(0))
        events = np.broadcast_to(np.arange(width), (batch, width))
        return uniform(External(times, starts[inputs.units], events, inputs.counts))
    copies = np.where(valid, per_unit[inputs.units], 0) if len(per_unit) else np.zeros((batch, width), np.int64)
    counts = copies.sum(1)
    shape = batch, int(counts.max(initial=0))
    found = External(np.full(shape, np.inf, dtype), np.zeros(shape, np.int64), np.zeros(shape, np.int64), counts)
    for b in range(batch):
        events = np.repeat(np.arange(width), copies[b])
        place = np.arange(len(events)) - np.repeat(np.cumsum(copies[b]) - copies[b], copies[b])
        bundles = starts[inputs.units[b, events]] + place
        times = inputs.times[b, events] + synapses.delay[bundles]
        order = np.argsort(times, kind="stable")
        for array, values in zip(found, (times, bundles, events), strict=False):
            array[b, : len(order)] = values[order]
    return uniform(found)


def chains(measured: Events, n: int) -> Measured:
    """Measured spikes with, for each neuron, its first and the one that follows each."""
    batch, width = measured.times.shape
    head, following = np.full((batch, n), -1, np.int64), np.full((batch, max(width, 1)), -1, np.int64)
    for b in range(batch):
        count = measured.counts[b]
        order = np.argsort(measured.units[b, :count], kind="stable")
        units = measured.units[b, order]
        same = units[1:] == units[:-1]
        following[b, order[:-1][same]] = order[1:][same]
        new = np.concatenate([[True], ~same]) if count else np.zeros(0, bool)
        head[b, units[new]] = order[new]
    return uniform(Measured(measured.times, measured.units, measured.counts, head, following))
