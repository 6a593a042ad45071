"""The bit-exact emulator: a :class:`FixedGraph` on batches of spikes in ticks, by Numba. Its specification is :mod:`.reference`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hwloop.errors import InputError
from hwloop.simulate.threads import spread

from .graph import FixedGraph
from .kernels import Answer, Events, Joint, graph_range, layer_range
from .prepared import in_turn, ready_graph, ready_layer
from .registers import Array
from .ticks import TickSpikes, joined

#: Spikes a sample that the first attempt has room for, per neuron; a larger answer is run again with room for it.
FIRST_ROOM, LEAST_ROOM = 4, 64
#: Output events that one layer may answer a batch with; more is a runaway network.
MAX_EVENTS = 1 << 27
#: Updates of neurons (samples x ticks x neurons, some 2 ms) below which a second thread costs more than it brings.
PARALLEL_UPDATES = 2_000_000


@dataclass(frozen=True)
class Ran:
    """What a run brought: spikes of every layer, and how often a ``u`` wrapped, ``[batch]`` a layer."""

    layers: tuple[TickSpikes, ...]
    wraps: tuple[Array, ...]


class Emulator:
    """A graph made ready to run; building one costs a pass over the weights."""

    def __init__(self, graph: FixedGraph) -> None:
        self.graph = graph
        self._joint, self._layers = None, []
        if in_turn(graph):
            self._layers = [ready_layer(graph, k) for k in range(len(graph.layers))]
        else:
            self._joint = ready_graph(graph)

    def run(self, inputs: TickSpikes, n_ticks: int) -> Ran:
        """Run ``n_ticks`` from rest on every sample; input events at ``n_ticks`` or later do nothing.

        Raises :class:`InputError` where the input has another number of units, or a layer's answer has no room in memory.
        """
        if inputs.n_units != self.graph.n_in:
            raise InputError(f"the input has {inputs.n_units} units; the graph takes {self.graph.n_in}")
        if n_ticks < 1:
            raise InputError(f"n_ticks = {n_ticks}; allowed: >= 1")
        return self._in_turn(inputs, n_ticks) if self._joint is None else self._together(self._joint, inputs, n_ticks)

    def _in_turn(self, inputs: TickSpikes, n_ticks: int) -> Ran:
        layers: list[TickSpikes] = []
        wraps: list[Array] = []
        for ready in self._layers:
            driving = joined(
                [inputs if block.source < 0 else layers[block.source] for block in ready.blocks], ready.blocks
            )
            events = Events(driving.ticks, driving.units, driving.counts)

            def work(low: int, high: int, answer: Answer) -> None:
                layer_range(low, high, n_ticks, events, ready.forward, ready.own, ready.neurons, answer)  # noqa: B023 (called below)

            # a recurrent layer without room went on without its own spikes: its count is no more than a lower bound
            found = _with_room("a layer", work, len(inputs), n_ticks, ready.n, (len(inputs),))
            layers.append(_spikes(found, ready.n))
            wraps.append(found.wraps)
        return Ran(tuple(layers), tuple(wraps))

    def _together(self, net: Joint, inputs: TickSpikes, n_ticks: int) -> Ran:
        events, sizes = Events(inputs.ticks, inputs.units, inputs.counts), self.graph.sizes

        def work(low: int, high: int, answer: Answer) -> None:
            graph_range(low, high, n_ticks, events, net, answer)

        found = _with_room("the graph", work, len(inputs), n_ticks, sum(sizes), (len(inputs), len(sizes)))
        sample, event = np.nonzero(np.arange(found.ticks.shape[1]) < found.counts[:, None])
        tick, unit = found.ticks[sample, event], found.units[sample, event]
        layers, first = [], 0
        for n in sizes:
            here = (unit >= first) & (unit < first + n)
            layers.append(TickSpikes.packed(sample[here], tick[here], unit[here] - first, len(inputs), n))
            first += n
        return Ran(tuple(layers), tuple(found.wraps.T))


def _with_room(
    what: str, work: Callable[[int, int, Answer], None], batch: int, n_ticks: int, n: int, wraps: tuple[int, ...]
) -> Answer:
    """The answer of ``work`` to all samples, with room for it; ``wraps``: the shape of theirs."""
    room = max(LEAST_ROOM, n * FIRST_ROOM)
    while True:
        if batch * room > MAX_EVENTS:
            raise InputError(
                f"{what} answers {batch} samples with up to {room} spikes each; allowed: {MAX_EVENTS} in one call. "
                "Use smaller batches, lower weights, or a shorter window"
            )
        answer = Answer(
            np.empty((batch, room), np.int32), np.empty((batch, room), np.int32), np.zeros(batch, np.int64), np.zeros(wraps, np.int64)
        )  # fmt: skip
        spread(lambda low, high: work(low, high, answer), batch, batch * n_ticks * n, PARALLEL_UPDATES)  # noqa: B023 (called here)
        largest = int(answer.counts.max())
        if largest <= room:
            return answer
        room = max(largest, 2 * room)


def _spikes(answer: Answer, n: int) -> TickSpikes:
    largest = int(answer.counts.max())
    return TickSpikes(answer.ticks[:, :largest], answer.units[:, :largest], answer.counts, n)
