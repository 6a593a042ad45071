"""From a graph and a batch in ticks to requests for the worker, and from its answers to spikes in ticks.

Two ways to run many samples as one Lava run, used together. *Side by side*: copies of the network in one graph, their
weights block-diagonal in a Sparse; a tick of a small network costs about a millisecond, whatever its size, since its
processes wait for each other. *One after the other*: the samples of a copy follow each other in time, and each LIF
forgets between two of them (LIFReset). Measured on two shared cores, seconds a sample: 784-350-10, T = 100, batch 64:
.12 one after the other alone, .070 side by side alone, .032 with 8 copies; 5-120-3, batch 128: .11 and .0035.

The resets are exact: a layer forgets at the first tick at which nothing of the sample before can still arrive, and is silent from
then on, that is after the window the sum of ``1 + largest delay`` along the longest way to it. A bias, a state that does not start
at 0, or a loop would make it speak again, and LIFRefractory has no reset: such samples run side by side alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop_fixed_point.graph import FixedGraph, FloatGraph
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.ticks import TickSpikes

from .population import Population, populations_of
from .worker.protocol import Message

#: Synapses of all copies in one graph: beyond, their weights no longer stay in the cache and a tick costs far more.
MAX_SYNAPSES = 2_000_000
#: Largest input or recording of one run (elements, one for each unit and tick).
MAX_RASTER = 16_000_000
#: Copies in one graph at most.
MAX_COPIES = 1024


@dataclass(frozen=True)
class Plan:
    """How a batch is laid out: ``copies`` side by side, ``row`` samples one after the other in each.

    Attributes
    ----------
    n_ticks : int
        Window of a sample.
    period : int
        Ticks from one sample to the next.
    resets : tuple of int
        First tick after the window at which each layer is silent; none where samples do not follow each other.
    """

    copies: int
    row: int
    n_ticks: int
    period: int
    resets: tuple[int, ...]

    @property
    def samples(self) -> int:
        """Samples of one run."""
        return self.copies * self.row

    @property
    def ticks(self) -> int:
        """Ticks of one run: after the last sample nothing has to be forgotten."""
        return (self.row - 1) * self.period + self.n_ticks


def plan(graph: FixedGraph | FloatGraph, batch: int, n_ticks: int, *, copies: int | None = None) -> Plan:
    """The layout of ``batch`` samples of ``n_ticks`` each; ``copies`` instead of those chosen, for tests."""
    layers = populations_of(graph)
    resets = _resets(layers, n_ticks)
    units = max(graph.n_in, sum(graph.sizes))
    if copies is None:
        copies = MAX_SYNAPSES // sum(connection.products for layer in layers for connection in layer.connections)
        copies = min(copies, MAX_RASTER // (units * n_ticks), MAX_COPIES, batch)
    copies = max(1, copies)
    row = 1
    if resets:
        row = max(1, min(math.ceil(batch / copies), MAX_RASTER // (units * copies * max(resets))))
    # as many runs as before, filled evenly
    runs = math.ceil(batch / (copies * row))
    copies = math.ceil(batch / (runs * row))
    return Plan(copies, row, n_ticks, max(resets, default=n_ticks), resets)


def _resets(layers: list[Population], n_ticks: int) -> tuple[int, ...]:
    """First tick after the window at which each layer is silent once reset; empty where one never is."""
    if not all(layer.forgets for layer in layers):
        return ()
    silent = {-1: n_ticks}
    for k, layer in enumerate(layers):
        if any(connection.source >= k for connection in layer.connections):
            return ()
        silent[k] = max(silent[c.source] + 1 + c.largest_delay for c in layer.connections)
    return tuple(silent[k] for k in range(len(layers)))


def requests(
    graph: FixedGraph | FloatGraph, inputs: TickSpikes, layout: Plan, *, states: bool = False
) -> Iterator[Message]:
    """The runs that ``layout`` makes of ``inputs``. ``states`` asks for the final u and v (slow)."""
    described, arrays = _describe(graph, layout)
    sample, event = np.nonzero(inputs.valid & (inputs.ticks < layout.n_ticks))
    tick, unit = inputs.ticks[sample, event], inputs.units[sample, event]
    for first in range(0, len(inputs), layout.samples):
        mine = (sample >= first) & (sample < first + layout.samples)
        place, copy = np.divmod(sample[mine] - first, layout.copies)
        events = {
            "input_ticks": (place * layout.period + tick[mine]).astype(np.int32),
            "input_units": (copy * graph.n_in + unit[mine]).astype(np.int32),
        }
        yield Message("run", {**described, "states": states}, {**arrays, **events})


def spikes_of(
    answers: list[Message], graph: FixedGraph | FloatGraph, batch: int, layout: Plan
) -> tuple[TickSpikes, ...]:
    """Spikes of each layer from the answers to :func:`requests`, ``batch`` samples of them."""
    return tuple(_layer_spikes(answers, layer, n, batch, layout) for layer, n in enumerate(graph.sizes))


def _layer_spikes(answers: list[Message], layer: int, n: int, batch: int, layout: Plan) -> TickSpikes:
    samples, ticks, units = [], [], []
    for run, answer in enumerate(answers):
        place, tick = np.divmod(answer.arrays[f"ticks{layer}"], layout.period)
        copy, unit = np.divmod(answer.arrays[f"units{layer}"], n)
        samples.append(run * layout.samples + place.astype(np.int64) * layout.copies + copy)
        ticks.append(tick)
        units.append(unit)
    sample, tick, unit = map(np.concatenate, (samples, ticks, units))
    # behind its window a layer may go on until it is reset; samples beyond the batch fill up the last run
    kept = np.flatnonzero((tick < layout.n_ticks) & (sample < batch))
    order = kept[np.lexsort((unit[kept], tick[kept], sample[kept]))]
    return TickSpikes.packed(sample[order], tick[order], unit[order], batch, n)


def _describe(graph: FixedGraph | FloatGraph, layout: Plan) -> tuple[dict[str, Any], dict[str, Array]]:
    """Fields and arrays of the graph, as :class:`hwloop_lava.worker.graph.Graph` takes them."""
    populations: list[dict[str, Any]] = []
    connections: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    for index, layer in enumerate(populations_of(graph)):
        # Lava counts its steps from 1
        reset = None if layout.row == 1 else [layout.period, (layout.resets[index] + 1) % layout.period]
        populations.append({"n": layer.n, "model": "lif", "reset": reset, **layer.values})
        arrays.update({f"{name}{index}": value for name, value in layer.given.items()})
        for connection in layer.connections:
            number = len(connections)
            ends = {"source": connection.source, "target": index, "sparse": connection.sparse}
            connections.append({**ends, **connection.values})
            arrays[f"weight{number}"] = connection.weight
            if connection.delay is not None:
                arrays[f"delay{number}"] = connection.delay
    fields = {
        "arithmetic": "fixed" if isinstance(graph, FixedGraph) else "float", "ticks": layout.ticks,
        "copies": layout.copies, "n_in": graph.n_in, "populations": populations, "connections": connections,
    }  # fmt: skip
    return fields, arrays
