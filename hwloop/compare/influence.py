"""What each input event contributed to a neuron's membrane at a given time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..mapping.graph import block_of, delays_of, matrix_of
from ..network import LIF
from .flat_trains import Floats, Ints


class Network(Protocol):
    """What the comparison needs of a network: its ``(Dense, LIF)`` pairs, first to last, or its structure."""

    @property
    def is_plain_chain(self) -> bool:
        """Whether it has such pairs."""
        ...

    @property
    def structure(self) -> Any:
        """As of :class:`hwloop.Network`."""
        ...

    @property
    def blocks(self) -> Sequence[tuple[Any, Any]]:
        """Pairs of connection (``weight [n_out, n_in]``, ``delay [n_in]`` or None) and neurons (``parameters_dict()``)."""
        ...


@dataclass(frozen=True)
class InputEvent:
    """One input event of a neuron.

    Attributes
    ----------
    neuron : int
        Where it comes from, in the layer before; in a graph in population ``layer``.
    time : float (s)
        Of the presynaptic spike; it arrives ``delay`` later.
    delay : float (s)
    weight : float
    contribution : float
        Its share of the membrane at the diverging spike, in units of the threshold's scale.
    layer : int or None
        In a graph, where ``neuron`` is: as in ``record[layer]``, -1 the inputs.
    """

    neuron: int
    time: float
    delay: float
    weight: float
    contribution: float
    layer: int | None = None


@dataclass(frozen=True, eq=False)
class NeuronModel:
    """Weights and time constants of one layer, as plain arrays.

    Attributes
    ----------
    weight : ``[n_out, n_in]``
    delay : ``[n_in]`` or ``[n_out, n_in]`` (s)
    tau_mem, tau_syn, t_ref : ``[n_out]`` (s)
    sources : in a graph ``(layer, first unit, units)`` of each block of columns; else empty: the layer before
    jumps : whether an input spike moves the membrane itself
    """

    weight: Floats
    delay: Floats
    tau_mem: Floats
    tau_syn: Floats
    t_ref: Floats
    sources: tuple[tuple[int, int, int], ...] = ()
    jumps: bool = False

    def delays(self, neuron: int, units: Ints) -> Floats:
        """Delays (s) of input events of ``units`` on their way to ``neuron``."""
        return np.asarray(self.delay[units] if self.delay.ndim == 1 else self.delay[neuron, units])

    def origin(self, column: int) -> tuple[int | None, int]:
        """``(layer, neuron)`` where column ``column`` of the weights comes from; the layer is None in a chain."""
        start = 0
        for layer, first, size in self.sources:
            if column < start + size:
                return layer, first + column - start
            start += size
        return None, column

    def contributions(self, neuron: int, at: float, own_spikes: Floats, times: Floats, units: Ints) -> Floats:
        """Share of each input event in the membrane of ``neuron`` at ``at`` (s), ``[events]``; 0 where not arrived.

        An event contributes ``w eps(s)``, s the time since its arrival and ``eps`` the response of the membrane
        to a unit current jump. A spike of the neuron itself wipes the membrane, not the current: what arrived
        before the last one acts through the current that was left when the refractory time ended.
        """
        tau_syn = self.tau_syn[neuron]
        arrival = times + self.delays(neuron, units)
        earlier = own_spikes[own_spikes < at]
        awake = min(at, float(earlier[-1] + self.t_ref[neuron])) if len(earlier) else 0.0
        # what jumped before the reset is gone with it; a current is left
        left = (
            np.where(arrival > awake, 1.0, 0.0)
            if self.jumps and len(earlier)
            else (np.exp(-np.maximum(awake - arrival, 0.0) / tau_syn))
        )
        since = at - np.maximum(arrival, awake)
        response = self._response(neuron, np.maximum(since, 0.0))
        return np.where(since > 0, self.weight[neuron, units] * left * response, 0.0)

    def strongest(
        self, neuron: int, at: float, own_spikes: Floats, times: Floats, units: Ints, limit: int
    ) -> tuple[tuple[InputEvent, ...], int]:
        """The ``limit`` strongest input events by size of their contribution, and how many there are."""
        share = self.contributions(neuron, at, own_spikes, times, units)
        acting = np.flatnonzero(share)
        order = acting[np.argsort(-np.abs(share[acting]), kind="stable")][:limit]
        events = tuple(
            InputEvent(
                self.origin(int(units[k]))[1], float(times[k]), float(self.delays(neuron, units[k : k + 1])[0]),
                float(self.weight[neuron, units[k]]), float(share[k]), self.origin(int(units[k]))[0],
            )
            for k in order.tolist()
        )  # fmt: skip
        return events, len(acting)

    def _response(self, neuron: int, since: Floats) -> Floats:
        tau_mem, tau_syn = float(self.tau_mem[neuron]), float(self.tau_syn[neuron])
        if self.jumps:
            return np.asarray(np.exp(-since / tau_mem))
        # the slower exponential is taken out: no difference of nearly equal numbers, and nothing overflows
        x = since * abs(tau_mem - tau_syn) / (tau_mem * tau_syn)
        phi = np.where(x == 0.0, 1.0, -np.expm1(-x) / np.where(x == 0.0, 1.0, x))
        return np.asarray(since / tau_mem * np.exp(-since / max(tau_mem, tau_syn)) * phi)


def neuron_models(net: Network, sizes: Sequence[int], n_in: int | None) -> list[NeuronModel]:
    """One model a spiking layer; raises :class:`InputError` where ``net`` is not of the records' shape."""
    if not net.is_plain_chain:
        return _of_graph(net, sizes, n_in)
    found = [block[1].n for block in net.blocks]
    if found != list(sizes):
        raise InputError(
            f"net has spiking layers of {found} neurons, the records hold {list(sizes)}; pass the network that made them"
        )
    first = net.blocks[0][0].n_in
    if n_in is not None and n_in != first:
        raise InputError(f"net takes {first} inputs, the records hold {n_in}; pass the network that made them")
    return [_model(dense, lif) for dense, lif in net.blocks]


def _of_graph(net: Any, sizes: Sequence[int], n_in: int | None) -> list[NeuronModel]:
    structure = net.structure
    found = [structure.nodes[name].n for name in structure.populations]
    if found != list(sizes):
        raise InputError(
            f"net has populations of {found} neurons, the records hold {list(sizes)}; pass the network that made them"
        )
    if n_in is not None and n_in != net.n_in:
        raise InputError(f"net takes {net.n_in} inputs, the records hold {n_in}; pass the network that made them")
    return [_of_population(net, name) for name in structure.populations]


def _of_population(net: Any, name: str) -> NeuronModel:
    """All that drives a population of a graph as one matrix."""
    structure, node = net.structure, net.structure.nodes[name]
    links = [link for link in structure.links if link.target == name]
    blocks = [block_of(structure, link) for link in links]
    weight = np.concatenate([matrix_of(link, link.composition.weight()) for link in links], 1).astype(np.float64)
    delay = delays_of(links)
    held = node.acting_parameters()
    endless = np.full(node.n, np.inf)
    return NeuronModel(
        weight, np.zeros(weight.shape[1]) if delay is None else delay.astype(np.float64),
        endless if node.tau_mem is None else _array(held["tau_mem"]),
        _array(held["tau_syn"]) if isinstance(node, LIF) else endless, _array(held["t_ref"]),
        tuple((block.source, block.start, block.size) for block in blocks), not isinstance(node, LIF),
    )  # fmt: skip


def _model(dense: Any, lif: Any) -> NeuronModel:
    parameters = {name: _array(value) for name, value in lif.acting_parameters().items()}
    delay = np.zeros(dense.n_in) if dense.delay is None else _array(dense.delay)
    return NeuronModel(
        _array(dense.acting_weight()), delay, parameters["tau_mem"], parameters["tau_syn"], parameters["t_ref"]
    )


def _array(value: Tensor) -> Floats:
    return value.detach().cpu().double().numpy()
