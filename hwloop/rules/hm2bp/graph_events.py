"""HM2-BP in continuous time on feed-forward graphs: several inputs, skip connections, convolutions, pools, delays, biases.

The equations are those of a chain with more synapses: a neuron's total potential is the sum over all synapses of all projections
into it, and a population is told the sum of what all projections out of it tell it,

    a_i = sum_s w_s e_i|s + b_i e_i|1 ;     delta_j = (1/v_th) sum over projections, sum_i delta_i w_ij e_i|j / o_j

with ``e_i|1`` the effect of a constant current (a bias b). Weights that several synapses share get the sum of their gradients,
through whatever maps lead to them (pools, factors, a device twin's synapses). In steady refractory-cut kernels
``sum_s w_s e_i|s + b_i e_i|1 = (v_th - v_leak) o_i`` is exact here too.

Loops are refused: a count in a loop depends on itself, so that the errors are the solution of a linear system that the rule does
not state, and that has none to be used where the loop's gain reaches 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...network import LIF, Network
from ...network.structure import Link
from ...network.trains import delayed, split
from ...record import Record
from ...simulate.contract import FloatArray, IntArray
from ...spikes import Spikes
from . import events

if TYPE_CHECKING:  # kernels are imported where they are needed: Numba takes a while
    from .event_kernels import Trains
    from .graph_kernels import Wires


def check(net: Network) -> None:
    """Refuse loops, and populations that are no LIF which starts from rest; :class:`InputError` naming the population."""
    structure = net.structure
    for component in structure.components:
        if component.loop:
            names = ", ".join(map(repr, component.names))
            raise InputError(
                f"a loop of {names}: HM2-BP takes a count from the counts before it, and those of a loop depend on themselves; "
                "use rule='exact', which trains loops, or leave out a projection of the loop"
            )
    for name in (*structure.populations, *structure.readouts):
        node = structure.nodes[name]
        if not isinstance(node, LIF):
            raise InputError(
                f"population {name!r} is {type(node).__name__}; HM2-BP's kernels are those of neurons with a synaptic current that "
                "spike: build it of LIF"
            )
        if not bool((node.v_reset == node.v_leak).all()):
            raise InputError(
                f"population {name!r} (LIF): v_reset differs from v_leak; HM2-BP's kernels start from rest after a spike: "
                "set v_reset = v_leak"
            )
        if node.v_init is not None and not torch.equal(node.v_init.detach(), node.v_leak.detach()):
            raise InputError(
                f"population {name!r} (LIF): v_init differs from v_leak; HM2-BP's kernels start from rest: leave v_init out"
            )
        biased = any(link.composition.biased for link in structure.links if link.target == name)
        if node.filtered_bias and biased:
            raise InputError(
                f"population {name!r} (LIF): a bias that passes the synapse; HM2-BP's is a constant current: build it with "
                "filtered_bias=False"
            )


def gradients(net: Network, record: Record, grad: Tensor, teacher: int) -> dict[str, Tensor]:
    """Gradients of weights and biases from ``grad``, the loss gradient on the output's counts."""
    structure = net.structure
    trains = trains_of(net, record)
    trains[structure.output] = events.taught(trains[structure.output], grad, teacher)
    signals = {structure.output: grad.detach()}
    found: dict[str, Tensor] = {}
    names = {id(p): name for name, p in net.named_parameters()}
    for component in reversed(structure.components):
        (name,) = component.names
        node = structure.nodes[name]
        if name not in signals or not isinstance(node, LIF):
            continue  # it does not act on the output
        into = Into.of(component.links, node, trains)
        params = node.acting_parameters()
        delta = signals.pop(name) / (params["v_th"] - params["v_leak"]).detach()
        gradient, of_bias, below = _summed(into, params, trains[name], delta)
        for link, of_paths in zip(component.links, into.by_path(gradient), strict=True):
            leaves = {id(p): p for part in link.composition.maps for p in part.parameters() if p.requires_grad}
            held = {names[key]: p for key, p in leaves.items()}
            with torch.enable_grad():
                weight, offset = link.composition.weight(), link.composition.offset()
            _add(found, held, weight, of_paths)
            if offset is not None:
                _add(found, held, offset, torch.from_numpy(of_bias))
        for link, told in zip(component.links, into.by_link(below), strict=True):
            if link.source in structure.populations:
                before = signals.get(link.source)
                signals[link.source] = told if before is None else before + told
    return found


def trains_of(net: Network, record: Record) -> dict[str, Spikes]:
    """Spikes of every input and population of ``record``, by name."""
    structure = net.structure
    if record.inputs is None:
        raise InputError("the record holds no inputs; HM2-BP needs their spikes")
    sizes = [structure.nodes[name].n for name in structure.inputs]
    inputs = split(record.inputs, sizes) if len(sizes) > 1 else [record.inputs]
    return dict(zip((*structure.inputs, *structure.populations), (*inputs, *record.populations), strict=True))


@dataclass(frozen=True)
class Into:
    """All synapses into one population.

    Attributes
    ----------
    links : the projections
    received : spikes of each one's source, after delays that all its synapses share
    wires : their synapses, sorted by neuron; units numbered through the links
    order : ``[synapses]``, where each stands among the paths of all links
    bias : ``[n]`` float64
    """

    links: tuple[Link, ...]
    received: tuple[Spikes, ...]
    wires: Wires
    order: IntArray
    bias: FloatArray

    @classmethod
    @torch.no_grad()
    def of(cls, links: Sequence[Link], node: LIF, trains: Mapping[str, Spikes]) -> Into:
        """The synapses of ``links`` into ``node``."""
        from .graph_kernels import Wires

        units, targets, weights, delays, received = [], [], [], [], []
        bias, first = np.zeros(node.n), 0
        for link in links:
            paths, train = link.composition.paths, trains[link.source].detach()
            delay, own = link.composition.delay(), np.zeros(len(paths.sources))
            if delay is not None and link.composition.delayed_by_source:
                late = torch.zeros(train.n_units, dtype=delay.dtype)
                late[torch.from_numpy(paths.sources)] = delay
                train = delayed(train, late)
            elif delay is not None:
                own = delay.double().numpy()
            offset = link.composition.offset()
            bias += 0.0 if offset is None else offset.double().numpy()
            units.append(paths.sources + first)
            targets.append(paths.targets)
            weights.append(link.composition.weight().numpy())
            delays.append(own)
            received.append(train)
            first += train.n_units
        unit, target, late_by = np.concatenate(units), np.concatenate(targets), np.concatenate(delays)
        order = np.lexsort((unit, target))
        starts = np.searchsorted(target[order], np.arange(node.n + 1)).astype(np.int64)
        late_by = late_by[order] if late_by.any() else np.zeros(0)
        wires = Wires(starts, unit[order].astype(np.int64), np.concatenate(weights)[order], late_by)
        return cls(tuple(links), tuple(received), wires, order, bias)

    @property
    def n_units(self) -> int:
        """Units that lead into it, of all links."""
        return sum(train.n_units for train in self.received)

    def trains(self, sample: int) -> Trains:
        """What one sample receives, by unit."""
        from .event_kernels import Trains

        each = [events.sorted_trains(train, sample) for train in self.received]
        ends = np.cumsum([0, *(len(one.times) for one in each)])
        starts = [one.starts[:-1] + end for one, end in zip(each, ends[:-1], strict=True)]
        return Trains(np.concatenate([one.times for one in each]), np.concatenate([*starts, ends[-1:]]))

    def by_path(self, values: FloatArray) -> list[Tensor]:
        """``values [synapses]`` in the order of each link's paths."""
        back = np.empty_like(values)
        back[self.order] = values
        ends = np.cumsum([len(link.composition.paths.sources) for link in self.links])
        return [torch.from_numpy(part) for part in np.split(back, ends[:-1])]

    def by_link(self, below: FloatArray) -> list[Tensor]:
        """``below [batch, units]`` of each link's source, in the dtype of the weights."""
        ends = np.cumsum([train.n_units for train in self.received])
        dtype = torch.from_numpy(self.wires.weights[:0]).dtype
        return [torch.from_numpy(np.ascontiguousarray(part)).to(dtype) for part in np.split(below, ends[:-1], axis=1)]


def effects(net: Network, record: Record, name: str) -> tuple[Into, FloatArray, FloatArray]:
    """Synapses into population ``name``, their effects ``e [batch, synapses]``, and those of a constant current ``[batch, n]``."""
    from .graph_kernels import OfWires, effects_of_wires

    trains, node = trains_of(net, record), net.structure.nodes[name]
    if not isinstance(node, LIF):
        raise InputError(f"population {name!r} is {type(node).__name__}; its effects are those of LIF: name a LIF")
    into = Into.of([link for link in net.structure.links if link.target == name], node, trains)
    post, constants = trains[name].detach(), events.constants_of(node.acting_parameters())
    found, constant = np.zeros((len(post), len(into.order))), np.zeros((len(post), node.n))
    for b in range(len(post)):
        of_sample = OfWires(found[b], constant[b])
        effects_of_wires(into.trains(b), events.sorted_trains(post, b), constants, into.wires, of_sample)
    return into, found, constant


def _summed(
    into: Into, params: Mapping[str, Tensor], post: Spikes, delta: Tensor
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``gradient [synapses]`` and ``[n]`` of the bias, over the batch; what the units are told, ``[batch, units]``."""
    from .graph_kernels import OfWires, wires_gradient

    n, synapses = delta.shape[1], len(into.order)
    total, below = OfWires(np.zeros(synapses), np.zeros(n)), np.zeros((len(delta), into.n_units))
    threshold = (params["v_th"] - params["v_leak"]).detach().numpy().astype(np.float64)
    rows = np.ascontiguousarray(delta.numpy().astype(np.float64))
    constants, room = events.constants_of(params), OfWires(np.empty(synapses), np.empty(n))
    for b in range(len(rows)):
        wires_gradient(
            into.trains(b), events.sorted_trains(post, b), constants, into.wires, into.bias, threshold, rows[b], room, total,
            below[b],
        )  # fmt: skip
    return total.synapses, total.constant, below


def _add(found: dict[str, Tensor], held: Mapping[str, Tensor], value: Tensor, gradient: Tensor) -> None:
    """Add to ``found`` what ``gradient`` of ``value`` is of the parameters ``held``, by name."""
    if not value.requires_grad:
        return
    grads = torch.autograd.grad(value, list(held.values()), gradient.to(value.dtype), allow_unused=True)
    for name, part in zip(held, grads, strict=True):
        if part is not None:
            found[name] = found[name] + part if name in found else part
