"""Kernels of the event-driven integrate-and-fire network: every spike on its own, by additions and comparisons alone.

Units are numbered through all blocks: block 0 the sources, then one population after the other in the order in which
spikes run. The Python twin that counts its own operations is :func:`hwloop.rules.spikegrad.event_reference.simulate_reference`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...simulate.compile_kernel import kernel

Array: TypeAlias = NDArray[Any]

#: Order in which pending events are delivered.
FIFO, LIFO, RANDOM = 0, 1, 2
#: What is counted: additions at synapses, at resets, at net counts; comparisons; events delivered.
SYNAPTIC, RESETS, COUNTS, COMPARISONS, EVENTS = range(5)


class Graph(NamedTuple):
    """Synapses sorted by source, over all units: ``starts [units + 1]``, ``targets, weights``; ``blocks``: first unit of each."""

    starts: Array
    targets: Array
    weights: Array
    blocks: Array


class Thresholds(NamedTuple):
    """When units fire, and what a spike takes: ``[units]`` each, see :class:`hwloop.rules.steps.integrate_fire.IntegrateFire`."""

    upper: Array
    lower: Array
    at_lower: Array
    rectified: Array
    quantum: Array


@kernel(inline="always")
def _next_random(state: Array) -> Any:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014); additions modulo 2^64."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel(inline="always")
def _decision(
    u: float, n: int, i: int, upper: Array, lower: Array, at_lower: Array, rectified: Array, ops: Array
) -> int:
    """Spike of unit i at potential ``u`` and net count ``n``."""
    ops[COMPARISONS] += 1
    if u >= upper[i]:
        return 1
    ops[COMPARISONS] += 1
    below = u <= lower[i] if at_lower[i] else u < lower[i]
    if not below:
        return 0
    if rectified[i]:
        ops[COMPARISONS] += 1
        return -1 if n > 0 else 0
    return -1


@kernel(allocates=True)
def _fire(i, potential, count, thresholds, pool, size, ops):  # type: ignore[no-untyped-def]
    """Fire unit i until it is quiet; its events go to the end of the pool, which is returned with its new size."""
    upper, lower, at_lower, rectified, quantum = thresholds
    while True:
        s = _decision(potential[i], count[i], i, upper, lower, at_lower, rectified, ops)
        if s == 0:
            return pool, size
        if s > 0:
            potential[i] -= quantum[i]
            count[i] += 1
        else:
            potential[i] += quantum[i]
            count[i] -= 1
        ops[RESETS] += 1
        ops[COUNTS] += 1
        if size == pool.shape[0]:
            larger = np.empty((2 * size, 2), np.int64)
            larger[:size] = pool
            pool = larger
        pool[size, 0] = i
        pool[size, 1] = s
        size += 1


@kernel(allocates=True)
def simulate(
    graph: Graph,
    thresholds: Thresholds,
    fires: Array,
    sources: Array,
    potential: Array,
    count: Array,
    layerwise: bool,
    order: int,
    seed: int,
    ops: Array,
) -> None:
    """Run every sample until no event is pending.

    Parameters
    ----------
    graph, thresholds : units and their synapses; when units fire
    fires : ``[batch, units]`` bool; a unit that does not fire integrates only
    sources : ``[batch, blocks[1]]`` int64, events that each unit of block 0 sends (negative: of sign -1)
    potential, count : ``[batch, units]`` float64 and int64; changed in place, the potential starts at the biases
    layerwise : a block integrates everything before it discharges
    order, seed : FIFO, LIFO or RANDOM with that seed
    ops : ``[5]`` int64, operations are added
    """
    starts, targets, blocks = graph.starts, graph.targets, graph.blocks
    state = np.empty(1, np.uint64)
    pool = np.empty((1024, 2), np.int64)
    for b in range(potential.shape[0]):
        state[0] = np.uint64(seed) ^ (np.uint64(b) << np.uint64(32))
        u, n, size = potential[b], count[b], 0
        for j in range(sources.shape[1]):
            for _ in range(abs(sources[b, j])):
                if size == pool.shape[0]:
                    larger = np.empty((2 * size, 2), np.int64)
                    larger[:size] = pool
                    pool = larger
                pool[size, 0] = j
                pool[size, 1] = 1 if sources[b, j] > 0 else -1
                size += 1
        head = 0
        for block in range(1, blocks.shape[0] - 1):
            # layer by layer: all events pending here are those of the block before
            while layerwise and head < size:
                size = _deliver_one(pool, head, size, order, state, graph, u, ops)[0]
                head = head + 1 if order == FIFO else head
            if layerwise:
                head = size = 0
            for i in range(blocks[block], blocks[block + 1]):
                if fires[b, i]:
                    pool, size = _fire(i, u, n, thresholds, pool, size, ops)
        while head < size:
            size, unit = _deliver_one(pool, head, size, order, state, graph, u, ops)
            head = head + 1 if order == FIFO else head
            for k in range(starts[unit], starts[unit + 1]):
                i = targets[k]
                if fires[b, i] and not layerwise:
                    pool, size = _fire(i, u, n, thresholds, pool, size, ops)


@kernel()
def _deliver_one(pool, head, size, order, state, graph, u, ops):  # type: ignore[no-untyped-def]
    """Take one pending event by ``order`` and add it to its targets; returns the pool's new size and the unit."""
    starts, targets, weights = graph.starts, graph.targets, graph.weights
    if order == FIFO:
        taken = head
    elif order == LIFO:
        taken = size - 1
    else:
        taken = head + np.int64(_next_random(state) % np.uint64(size - head))
    unit, sign = pool[taken, 0], pool[taken, 1]
    if order != FIFO:
        pool[taken, 0], pool[taken, 1] = pool[size - 1, 0], pool[size - 1, 1]
        size -= 1
    for k in range(starts[unit], starts[unit + 1]):
        if sign > 0:
            u[targets[k]] += weights[k]
        else:
            u[targets[k]] -= weights[k]
    ops[SYNAPTIC] += starts[unit + 1] - starts[unit]
    ops[EVENTS] += 1
    return size, unit


@kernel()
def accumulate(
    starts: Array, sources: Array, parameters: Array, errors: Array, activity: Array, weight: Array, ops: Array
) -> None:
    """Add the activity before each error spike to the weights that it belongs to: ``weight += sum z x^T``.

    ``starts, sources, parameters``: synapses sorted by target; ``errors [batch, n_out]`` int64 net error spikes, each
    worth one addition a synapse; ``activity [batch, n_in]``; ``weight`` is changed in place, flat. Sources without
    activity are passed over by a comparison.
    """
    for b in range(errors.shape[0]):
        for i in range(errors.shape[1]):
            for _ in range(abs(errors[b, i])):
                for k in range(starts[i], starts[i + 1]):
                    x = activity[b, sources[k]]
                    ops[COMPARISONS] += 1
                    if x == 0:
                        continue
                    ops[SYNAPTIC] += 1
                    if errors[b, i] > 0:
                        weight[parameters[k]] += x
                    else:
                        weight[parameters[k]] -= x
