"""NIR: a network as a graph of the Neuromorphic Intermediate Representation, and back.

A layer becomes ``[Delay ->] Linear -> CubaLIF``, and NIR's CubaLIF is

    tau_syn I' = -I + w_in S            S = sum of deltas at the spike times
    tau_mem v' = (v_leak - v) + r I     v > v_threshold -> spike, v <- v_reset

so that an arriving spike of weight w moves our current ``i = r I`` by ``w r w_in / tau_syn``. We write ``r = 1`` and
``w_in = tau_syn`` (i jumps by w); on import other values are folded into the weights, which is exact.

What NIR has no field for stands in metadata: of the graph ``exporter``, ``exporter_version``, ``time_unit``, ``spike``;
of a neuron node ``t_ref`` (in the graph's time unit), ``reset``, ``max_spikes``. NIR fixes no initial state: ours is
``v = v_leak`` and ``I = 0``.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, TypeAlias

import nir
import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ..dense import Dense
from ..lif import LIF
from ..model import Network
from .units import SPIKE, TIME_UNIT, SpikeArea, TimeUnit, spike_area, time_unit_of

_log = logging.getLogger(__name__)

Array: TypeAlias = "np.ndarray[Any, Any]"

#: What a layer may consist of, in this order; the delay may be absent.
LAYER_NODES = "[Delay,] Linear or Affine, CubaLIF"


def to_nir(net: Network) -> nir.NIRGraph:
    """``net`` as a NIR graph in SI seconds: Input, then ``[Delay,] Linear, CubaLIF`` a layer, then Output.

    Values keep their dtype, so that :func:`from_nir` gives a network that spikes bit for bit alike, also through
    ``nir.write`` and ``nir.read``. Which parameters are trained is not part of a graph. Refractory time, reset kind and
    spike cap travel as metadata, which other tools do not read; where they differ from NIR's own meaning, a warning is
    logged.

    Raises :class:`InputError` for a parameter outside its bounds.
    """
    from ... import __version__  # here, since the package's __init__ imports this one

    chain: list[tuple[str, nir.NIRNode]] = [("input", nir.Input(input_type=np.array([net.n_in])))]
    for k, (dense, lif) in enumerate(net.blocks):
        lif.check(f"layer {2 * k + 1} (LIF)")
        if dense.delay is not None:
            chain.append((f"delay_{k}", nir.Delay(_array(dense.delay))))
        chain.append((f"dense_{k}", nir.Linear(_array(dense.weight))))
        chain.append((f"lif_{k}", _neurons(lif, f"lif_{k}")))
    chain.append(("output", nir.Output(output_type=np.array([net.n_out]))))
    names = [name for name, _ in chain]
    return nir.NIRGraph(
        nodes=dict(chain),
        edges=list(pairwise(names)),
        metadata={"exporter": "hwloop", "exporter_version": __version__, TIME_UNIT: "s", SPIKE: "delta"},
    )


def _neurons(lif: LIF, name: str) -> nir.CubaLIF:
    metadata: dict[str, Any] = {"t_ref": _array(lif.t_ref), "reset": lif.reset}
    if lif.max_spikes is not None:
        metadata["max_spikes"] = lif.max_spikes
    extra = [f"max_spikes = {lif.max_spikes}"] if lif.max_spikes is not None else []
    extra += ["a refractory time"] if bool((lif.t_ref > 0).any()) else []
    extra += ["reset by subtraction"] if lif.reset == "subtract" else []
    if extra:
        _log.warning("NIR node %r: %s, in metadata alone, which other tools do not read", name, " and ".join(extra))
    tau_syn = _array(lif.tau_syn)
    return nir.CubaLIF(
        tau_syn=tau_syn,
        tau_mem=_array(lif.tau_mem),
        r=np.ones_like(tau_syn),
        v_leak=_array(lif.v_leak),
        v_threshold=_array(lif.v_th),
        v_reset=_array(lif.v_reset),
        w_in=tau_syn.copy(),
        metadata=metadata,
    )


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), order="C")


def from_nir(graph: nir.NIRGraph, time_unit: str | None = None, spike_width: float | None = None) -> Network:
    """A network from a NIR graph that is one row of layers ``[Delay,] Linear or Affine, CubaLIF``.

    Parameters
    ----------
    graph : nir.NIRGraph
    time_unit : "s", "ms" or "us", optional
        Unit of the graph's times; overrides what the graph says. Without it: the metadata, then what is known of the
        exporter, then the magnitude of the time constants.
    spike_width : float (in the graph's time unit), optional
        Width of the pulse of height 1 that stands for a spike where the exporter counts in steps; 0 for a delta, as the
        specification has it. Without it: the metadata, then a pulse of one step where every neuron has
        ``tau_mem / r = tau_syn / w_in`` (snnTorch, SpikingJelly), else a delta.

    Returns
    -------
    Network, dtypes as in the graph. Its attribute ``nir_evidence`` says which unit and spike were taken, and why; the
    same is logged.

    Raises
    ------
    OptionError
        An unknown ``time_unit``.
    InputError
        A graph that is no such row, or a node that we do not carry (a bias, a recurrent edge, a convolution, a neuron
        without synaptic current), naming the node; times whose unit is not evident; values out of bounds.
    """
    layers = _layers(_row(graph))
    neurons = [layer.neurons for layer in layers]
    unit = time_unit_of(graph.metadata, neurons, time_unit)
    area = spike_area(graph.metadata, neurons, spike_width)
    modules = [module for layer in layers for module in _modules(layer, unit, area)]
    net = Network(modules)
    evidence = f"time unit {unit.name}: {unit.evidence}; spikes: {area.evidence}"
    setattr(net, "nir_evidence", evidence)  # noqa: B010  # nn.Module declares its attributes as tensors and modules
    _log.log(logging.INFO if unit.stated else logging.WARNING, "NIR import: %s", evidence)
    return net


# -- the graph as a row of layers -----------------------------------------------------------------


@dataclass(frozen=True)
class _LayerNodes:
    delay: tuple[str, nir.Delay] | None
    linear: tuple[str, nir.Linear | nir.Affine]
    neurons: nir.CubaLIF
    name: str


def _row(graph: nir.NIRGraph) -> list[tuple[str, nir.NIRNode]]:
    """Nodes between the one Input and the one Output, in order; refuses everything but a row."""
    edges = [(str(a), str(b)) for a, b in graph.edges]
    after, before = defaultdict(list), defaultdict(list)
    for a, b in edges:
        for end in (a, b):
            if end not in graph.nodes:
                raise InputError(f"edge {a!r} -> {b!r}: the graph has no node {end!r}; it has {_list(graph.nodes)}")
        after[a].append(b)
        before[b].append(a)
    try:
        order = list(TopologicalSorter({name: before[name] for name in graph.nodes}).static_order())
    except CycleError as error:
        cycle = " -> ".join(map(repr, error.args[1]))
        raise InputError(
            f"recurrent edges {cycle}; allowed: feed-forward networks. Export it without recurrence"
        ) from error
    for kind in (nir.Input, nir.Output):
        found = [name for name in order if isinstance(graph.nodes[name], kind)]
        if len(found) != 1:
            raise InputError(f"{len(found)} {kind.__name__} nodes ({_list(found) or 'none'}); allowed: exactly one")
    for name in order:
        node = graph.nodes[name]
        for there, expected, what in (
            (before[name], not isinstance(node, nir.Input), "takes from"),
            (after[name], not isinstance(node, nir.Output), "leads to"),
        ):
            if len(there) != int(expected):
                raise InputError(
                    f"node {name!r} ({type(node).__name__}) {what} {len(there)} nodes ({_list(there) or 'none'}); "
                    f"allowed: {int(expected)}, since a network is one row of layers. Split the graph, or export it anew"
                )
    return [(name, graph.nodes[name]) for name in order[1:-1]]


def _layers(row: list[tuple[str, nir.NIRNode]]) -> list[_LayerNodes]:
    layers: list[_LayerNodes] = []
    delay: tuple[str, nir.Delay] | None = None
    linear: tuple[str, nir.Linear | nir.Affine] | None = None
    for name, node in row:
        if isinstance(node, nir.Delay) and delay is None and linear is None:
            delay = name, node
        elif isinstance(node, (nir.Linear, nir.Affine)) and linear is None:
            linear = name, node
        elif isinstance(node, nir.CubaLIF) and linear is not None:
            layers.append(_LayerNodes(delay, linear, node, name))
            delay = linear = None
        else:
            raise InputError(f"node {name!r} is {_kind(node)}; allowed: {LAYER_NODES}, in this order. {_remedy(node)}")
    if delay is not None or linear is not None or not layers:
        last = repr(row[-1][0]) if row else "the Input"
        raise InputError(f"the graph ends after {last}, before a layer is complete; a layer is {LAYER_NODES}")
    return layers


def _kind(node: nir.NIRNode) -> str:
    return "a subgraph" if isinstance(node, nir.NIRGraph) else type(node).__name__


def _remedy(node: nir.NIRNode) -> str:
    if isinstance(node, nir.LIF):
        return "Neurons without synaptic current are not carried: train and export with CubaLIF (a tau_syn > 0)"
    if isinstance(node, (nir.Delay, nir.Linear, nir.Affine, nir.CubaLIF)):
        return "It stands in another place here: merge neighbouring nodes of one kind, put a delay before its weights"
    return "Export the network without it"


def _list(names: Any) -> str:
    return ", ".join(map(repr, names))


# -- one layer ------------------------------------------------------------------------------------


def _modules(layer: _LayerNodes, unit: TimeUnit, area: SpikeArea) -> tuple[Dense, LIF]:
    node, (name, linear) = layer.neurons, layer.linear
    weight = _float(linear.weight)
    if weight.ndim != 2:
        raise InputError(f"node {name!r}: weight has shape {weight.shape}; allowed: two axes, [n_out, n_in]")
    _check_bias(name, linear)
    n_out, n_in = weight.shape
    try:
        # a generator of its own: importing must not move torch's
        dense = Dense(n_in, n_out, delay=_delay(layer.delay, n_in, unit), generator=torch.Generator())
        lif = _lif(layer, n_out, unit)
    except InputError as error:
        raise InputError(f"node {layer.name!r} and the weights {name!r} before it: {error}") from error
    r, w_in, tau_syn = (_per_neuron(layer.name, key, getattr(node, key), n_out) for key in ("r", "w_in", "tau_syn"))
    with np.errstate(over="ignore", invalid="ignore"):
        # float64 throughout: with r = 1 and w_in = tau_syn the factor is 1 exactly, otherwise one rounding follows
        factor = r.astype(np.float64) * w_in * area.value / tau_syn
        folded = (weight * factor[:, None]).astype(weight.dtype)
    if not np.isfinite(folded).all():
        raise InputError(f"node {name!r}: a weight (after folding r and w_in of {layer.name!r}) is NaN or infinite")
    dense.weight = torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(folded.T)).t())
    return dense, lif


def _check_bias(name: str, node: nir.Linear | nir.Affine) -> None:
    if isinstance(node, nir.Affine) and np.any(np.asarray(node.bias) != 0):
        worst = float(np.abs(np.asarray(node.bias, dtype=np.float64)).max())
        raise InputError(
            f"node {name!r}: Affine with a bias of up to {worst:g}; allowed: none, our neurons have no bias current. "
            "Train without bias, or with an input unit that spikes at a fixed time"
        )


def _lif(layer: _LayerNodes, n: int, unit: TimeUnit) -> LIF:
    node, metadata = layer.neurons, layer.neurons.metadata

    def value(key: str, source: Any, scale: float = 1.0) -> Tensor:
        array = _per_neuron(layer.name, key, source, n)
        return torch.from_numpy((array.astype(np.float64) / scale).astype(array.dtype))

    cap = metadata.get("max_spikes")
    if cap is not None and int(cap) != cap:
        raise InputError(f"metadata max_spikes = {cap!r}; allowed: a whole number >= 1")
    return LIF(
        n,
        tau_mem=value("tau_mem", node.tau_mem, unit.per_second),
        tau_syn=value("tau_syn", node.tau_syn, unit.per_second),
        v_th=value("v_threshold", node.v_threshold),
        v_leak=value("v_leak", node.v_leak),
        v_reset=value("v_reset", node.v_reset),
        t_ref=value("metadata t_ref", metadata.get("t_ref", np.zeros_like(_float(node.tau_mem))), unit.per_second),
        reset=str(metadata.get("reset", "value")),
        max_spikes=None if cap is None else int(cap),
    )


def _delay(node: tuple[str, nir.Delay] | None, n_in: int, unit: TimeUnit) -> Tensor | None:
    if node is None:
        return None
    array = _per_neuron(node[0], "delay", node[1].delay, n_in)
    return torch.from_numpy((array.astype(np.float64) / unit.per_second).astype(array.dtype))


def _per_neuron(node: str, name: str, value: Any, n: int) -> Array:
    """``value`` as a float array ``[n]``; one number (snnTorch writes those) stands for all neurons."""
    array = _float(value)
    if array.size == 1:
        return np.full(n, array.reshape(()), dtype=array.dtype)
    if array.shape != (n,):
        raise InputError(f"node {node!r}: {name} has shape {array.shape}; allowed: one number, or ({n},)")
    return array


def _float(value: Any) -> Array:
    if isinstance(value, Tensor):
        value = (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu()
    array = np.asarray(value)
    if array.dtype in (np.float32, np.float64):
        return np.ascontiguousarray(array)
    if array.dtype.kind not in "fiu":
        raise InputError(f"values of dtype {array.dtype} in a NIR graph; allowed: real numbers")
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)
