"""SpikeGrad event by event: forward spikes, error spikes and weight updates by additions and comparisons alone.

What the equivalent network of :mod:`hwloop.rules.spikegrad.rule` computes with matrix products is done here spike by spike.
With order-free neurons (``discharge="asynchronous"``) or layers that discharge in turn ("layerwise"), counts are equal
to its counts, integer by integer, in whatever order events arrive; with the published symmetric thresholds fired at every
event (``discharge="symmetric"``, kept as a negative control) they are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import OptionError
from ..steps.input_values import Values
from ..steps.integrate_fire import IntegrateFire, retracting_symmetric, ternary_symmetric
from ..steps.network import StepNetwork
from ..steps.step_record import StepRecord
from ..steps.synapse_lists import Synapses, synapses
from . import event_kernels as event_kernel
from .rule import SpikeGrad, activities, backward_neuron, forward_neuron, input_counts, neurons_of

Array: TypeAlias = NDArray[Any]

#: Order in which pending events are delivered.
Order: TypeAlias = Literal["fifo", "lifo", "random"]
_ORDERS = {"fifo": event_kernel.FIFO, "lifo": event_kernel.LIFO, "random": event_kernel.RANDOM}
#: When neurons fire; "symmetric": at every event, with the published thresholds.
EventDischarge: TypeAlias = Literal["layerwise", "asynchronous", "symmetric"]


@dataclass(frozen=True)
class Operations:
    """Operations of an event-driven pass, over the whole batch. There are no others.

    Attributes
    ----------
    synaptic, resets, counts : additions at synapses (or weights), to potentials at a reset, to net counts
    comparisons : with thresholds, net counts and zero
    events : spikes delivered
    """

    synaptic: int = 0
    resets: int = 0
    counts: int = 0
    comparisons: int = 0
    events: int = 0

    @property
    def additions(self) -> int:
        """All additions and subtractions."""
        return self.synaptic + self.resets + self.counts

    def __add__(self, other: Operations) -> Operations:
        pairs = zip(self.as_tuple(), other.as_tuple(), strict=True)
        return Operations(*(a + b for a, b in pairs))

    def as_tuple(self) -> tuple[int, int, int, int, int]:
        """In the order of the fields."""
        return (self.synaptic, self.resets, self.counts, self.comparisons, self.events)


@dataclass(frozen=True)
class EventGraph:
    """Populations and synapses as one numbered graph, in the direction in which spikes run.

    ``blocks [blocks + 1]`` bounds them; ``neurons`` has one entry a block (the first, the sources, is not looked at).
    """

    starts: Array
    targets: Array
    weights: Array
    blocks: Array
    neurons: tuple[IntegrateFire, ...]

    @property
    def n_units(self) -> int:
        """Units of all blocks."""
        return int(self.blocks[-1])

    def run(
        self, sources: Array, potential: Array, fires: Array, *, layerwise: bool, order: Order, seed: int
    ) -> tuple[Array, Operations]:
        """Run a batch; ``potential [batch, units]`` is changed in place. Returns net counts ``[batch, units]``."""
        if order not in get_args(Order):
            raise OptionError(f"order = {order!r}; allowed: {', '.join(map(repr, get_args(Order)))}")
        sizes = np.diff(self.blocks)

        def spread(values: Sequence[float | bool], dtype: Any) -> Array:
            return np.repeat(np.array(values, dtype=dtype), sizes)

        count = np.zeros(potential.shape, dtype=np.int64)
        ops = np.zeros(5, dtype=np.int64)
        event_kernel.simulate(
            event_kernel.Graph(self.starts, self.targets, self.weights, self.blocks),
            event_kernel.Thresholds(
                upper=spread([n.upper for n in self.neurons], np.float64),
                lower=spread([n.lower for n in self.neurons], np.float64),
                at_lower=spread([n.at_lower for n in self.neurons], np.bool_),
                rectified=spread([n.rectified for n in self.neurons], np.bool_),
                quantum=spread([n.quantum for n in self.neurons], np.float64),
            ),
            fires,
            sources,
            potential,
            count,
            layerwise,
            _ORDERS[order],
            seed,
            ops,
        )
        return count, Operations(*(int(n) for n in ops))

    def split(self, values: Array) -> list[Array]:
        """``values [batch, units]`` a block, without the sources."""
        return np.split(values, self.blocks[1:-1], axis=1)[1:]


def forward_graph(net: StepNetwork, discharge: EventDischarge) -> EventGraph:
    """Inputs, hidden populations, output; an event adds its population's worth times the weight."""
    worth, parts, neurons = 1.0 / neurons_of(net.stages[0]).levels, [], [IntegrateFire()]
    for stage in net.stages:
        listed, theta = synapses(stage), neurons_of(stage).theta
        parts.append((listed, listed.weights(stage) * worth))
        neurons.append(retracting_symmetric(theta) if discharge == "symmetric" else forward_neuron(theta, discharge))
        worth = theta
    sizes = [net.stages[0].n_in, *(stage.n_out for stage in net.stages)]
    return _graph(parts, sizes, neurons)


def backward_graph(net: StepNetwork, discharge: EventDischarge) -> EventGraph:
    """No sources, then the output's error neurons, down to those of the first population; transposed synapses."""
    neurons, parts, sizes = [IntegrateFire()], [], [0]
    for k in range(len(net.stages) - 1, -1, -1):
        stage = net.stages[k]
        theta_bp = neurons_of(stage).theta_bp
        neurons.append(
            ternary_symmetric(theta_bp) if discharge == "symmetric" else backward_neuron(theta_bp, discharge)
        )
        sizes.append(stage.n_out)
        if k:
            listed = synapses(stage).transposed(stage.n_out)
            parts.append((listed, listed.weights(stage) * theta_bp))
    nothing = np.zeros(0, dtype=np.int64)
    return _graph([(Synapses(np.zeros(1, dtype=np.int64), nothing, nothing, 1.0), np.zeros(0)), *parts], sizes, neurons)


def _graph(parts: list[tuple[Synapses, Array]], sizes: list[int], neurons: list[IntegrateFire]) -> EventGraph:
    blocks = np.cumsum([0, *sizes])
    n = int(blocks[-1])
    starts = np.zeros(n + 1, dtype=np.int64)
    degrees = np.concatenate([np.diff(listed.starts) for listed, _ in parts])
    np.cumsum(degrees, out=starts[1 : len(degrees) + 1])
    starts[len(degrees) + 1 :] = starts[len(degrees)]
    targets = np.concatenate([listed.targets + blocks[k + 1] for k, (listed, _) in enumerate(parts)])
    weights = np.concatenate([weight for _, weight in parts])
    return EventGraph(starts, targets, weights, blocks, tuple(neurons))


def forward_events(
    net: StepNetwork,
    inputs: Values,
    *,
    discharge: EventDischarge = "layerwise",
    order: Order = "fifo",
    seed: int = 0,
) -> tuple[StepRecord, Operations]:
    """The forward pass spike by spike.

    Parameters
    ----------
    net, inputs : as for :meth:`SpikeGrad.forward`
    discharge : "layerwise" | "asynchronous" | "symmetric" (negative control: depends on the order of events)
    order, seed : in which pending events are delivered

    Returns
    -------
    record as of :meth:`SpikeGrad.forward`, and the operations that it took.
    """
    _check(discharge)
    graph, stages = forward_graph(net, discharge), net.stages
    dtype = stages[0].connection.weight.dtype
    sources = input_counts(inputs, neurons_of(stages[0]).levels, dtype).numpy().astype(np.int64)
    potential = np.zeros((len(inputs), graph.n_units))
    for k, stage in enumerate(stages):
        bias = stage.neurons.bias_current()
        if isinstance(bias, Tensor):
            potential[:, graph.blocks[k + 1] : graph.blocks[k + 2]] = bias.detach().double().numpy()
    fires = np.ones(potential.shape, dtype=np.bool_)
    fires[:, graph.blocks[-2] :] = False
    count, ops = graph.run(sources, potential, fires, layerwise=discharge == "layerwise", order=order, seed=seed)
    potentials = tuple(torch.from_numpy(u.copy()).to(dtype) for u in graph.split(potential))
    counts = tuple(torch.from_numpy(n.copy()).to(dtype) for n in graph.split(count)[:-1])
    return StepRecord(None, potentials[-1], inputs, net.dt, counts=counts, traces={"potential": potentials}), ops


def backward_events(
    net: StepNetwork,
    record: StepRecord,
    grad: Tensor,
    *,
    rule: SpikeGrad,
    discharge: EventDischarge | None = None,
    order: Order = "fifo",
    seed: int = 0,
) -> tuple[list[Tensor], Operations]:
    """Error spikes of every population, spike by spike.

    Parameters
    ----------
    net, record, grad : as for :meth:`SpikeGrad.gradients`
    rule : gives ``alpha``, and ``discharge`` where none is given
    discharge, order, seed : as for :func:`forward_events`

    Returns
    -------
    net error spikes ``[batch, n]`` a population, first to last, and the operations that they took.
    """
    how: EventDischarge = rule.discharge if discharge is None else discharge
    _check(how)
    graph = backward_graph(net, how)
    potential = np.zeros((len(grad), graph.n_units))
    potential[:, : graph.blocks[2]] = rule.injected(record, grad).double().numpy()
    fires = np.ones(potential.shape, dtype=np.bool_)
    for k in range(len(net.stages) - 1):
        block = len(net.stages) - k
        open_gate = (record.traces["potential"][k] > 0) | (record.counts[k] > 0)
        fires[:, graph.blocks[block] : graph.blocks[block + 1]] = open_gate.numpy()
    nothing = np.zeros((len(grad), 0), dtype=np.int64)
    count, ops = graph.run(nothing, potential, fires, layerwise=how == "layerwise", order=order, seed=seed)
    errors = [torch.from_numpy(n.copy()).to(grad.dtype) for n in graph.split(count)]
    return errors[::-1], ops


@torch.no_grad()
def update_events(
    net: StepNetwork, record: StepRecord, errors: Sequence[Tensor], *, rule: SpikeGrad
) -> tuple[dict[str, Tensor], Operations]:
    """Weight gradients from ``errors``, one addition for each error spike and active synapse; then one scale a layer.

    The scale (worth of an error spike over ``alpha``, the mean over the batch, pooling windows) is a constant that a chip
    folds into its learning rate; a factor of a unit (``Scale``) is one of its synapses' learning rates.
    """
    found: dict[str, Tensor] = {}
    total = Operations()
    for stage, error, x in zip(net.stages, errors, activities(net, record), strict=True):
        listed = synapses(stage).transposed(stage.n_out)
        n_weights, ops = stage.connection.weight.numel(), np.zeros(5, dtype=np.int64)
        # with factors, synapses that share a weight learn at several rates: each is counted on its own
        places = listed.parameters if listed.gain is None else np.arange(len(listed.parameters))
        weight: Array = np.zeros(n_weights if listed.gain is None else len(places))
        whole = error.numpy().astype(np.int64)
        event_kernel.accumulate(listed.starts, listed.targets, places, whole, x.double().numpy(), weight, ops)
        if listed.gain is not None:
            weight = np.bincount(listed.parameters, weight * listed.gain, n_weights).astype(np.float64)
        scale = neurons_of(stage).theta_bp / rule.scale(record)
        parameter = stage.connection.weight
        found[net.parameter_name(parameter)] = (
            torch.from_numpy(weight * listed.share * scale).view(parameter.shape).to(x)
        )
        if stage.neurons.bias is not None:
            found[net.parameter_name(stage.neurons.bias)] = stage.neurons.bias_gradient(error * scale)
        total = total + Operations(*(int(n) for n in ops))
    return found, total


def _check(discharge: str) -> None:
    if discharge not in get_args(EventDischarge):
        raise OptionError(f"discharge = {discharge!r}; allowed: {', '.join(map(repr, get_args(EventDischarge)))}")
