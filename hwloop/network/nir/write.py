"""A network as a NIR graph: literally, keeping every value; or in the numbers that packages counting in steps run rightly.

Literally (``dt=None``) ``r = 1`` and ``w_in = tau_syn`` (``r = tau`` of neurons without a current), so that a delta of weight w
moves our current, or membrane, by w. With ``dt``: ``r = tau_mem / dt``, ``w_in = tau_syn / dt``, weights times ``dt / tau_mem``
(``r = tau / dt`` and weights as they are), so that a pulse of one step does; norse, snnTorch, SpikingJelly and rockpool read that
alike.

What NIR has no field for stands in metadata: of the graph ``exporter``, ``exporter_version``, ``time_unit``, ``spike``, ``dt``,
``form``; of a neuron node ``t_ref``, ``reset``, ``max_spikes``, ``v_init``, ``filtered_bias``.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import torch
from torch import Tensor

from ...arguments import is_bool
from ...errors import InputError
from ...version import VERSION
from ..conv2d import Conv2d
from ..dense import Dense
from ..elementwise import Delay, Flatten, Scale, Sparse
from ..lif import LIF
from ..linear_map import LinearMap, Shape, size_of
from ..pools import AvgPool2d, SumPool2d
from ..populations import IF, LI, DeltaLIF, Population
from ..structure import Link
from .conventions import SPIKE, STEP
from .read import CHAIN, CURRENT, FILTERED, FORM, GAIN, MAX_SPIKES, T_REF, V_INIT
from .receivers import taken_otherwise
from .resets import RESET
from .scaling import bias_of, rescaled
from .units import EXPORTER, TIME_UNIT
from .values import Array

if TYPE_CHECKING:
    from ..model import Network

_log = logging.getLogger(__name__)

#: What a map, or a population, is called where it has no name of its own.
NAMES: Mapping[type, str] = {
    Dense: "dense", Sparse: "dense", Conv2d: "conv", SumPool2d: "pool", AvgPool2d: "pool", Flatten: "flatten",
    Scale: "scale", Delay: "delay", LIF: "lif", DeltaLIF: "lif", IF: "if", LI: "li",
}  # fmt: skip


def to_nir(net: Network, dt: float | None = None) -> nir.NIRGraph:
    """``net`` as a NIR graph in SI seconds.

    Without ``dt`` values keep their dtype and :func:`~hwloop.network.nir.read.from_nir` gives a network that spikes bit for bit
    alike, also through ``nir.write`` and ``nir.read``; with ``dt`` (s) to rounding. Which parameters are trained is not part of a
    graph. What other tools do not read, or drop, is logged as a warning.

    Raises :class:`InputError`: a ``dt`` that is none, a parameter outside its bounds, synaptic delays, which NIR has not.
    """
    if dt is not None and (is_bool(dt) or not isinstance(dt, (int, float, np.floating)) or not 0 < dt < math.inf):
        raise InputError(f"dt = {dt!r}; allowed: None, or the time step (s) of the package that is to run it, > 0")
    chain = "layers" in net._modules
    writer = _Writer(net.structure.nodes, chain, dt)
    for name in net.structure.nodes:
        writer.population(name, _where(net, name, chain), any(_biased(link, name) for link in net.structure.links))
    for link in net.structure.links:
        writer.projection(link)
    writer.output(net.structure.output)
    for line in () if dt is None else taken_otherwise(writer.nodes, writer.edges):
        _log.warning("NIR export, taken otherwise without an error by %s", line)
    metadata: dict[str, Any] = {EXPORTER: "hwloop", "exporter_version": VERSION, TIME_UNIT: "s"}
    metadata |= {SPIKE: "delta"} if dt is None else {SPIKE: "pulse", STEP: float(dt)}
    if chain and not net.is_plain_chain:
        metadata[FORM] = CHAIN
    return nir.NIRGraph(writer.ordered(), writer.edges, metadata=metadata, type_check=False)


def _where(net: Network, name: str, chain: bool) -> str:
    if not chain:
        return f"population {name!r}"
    layers = list(net.layers)
    node = net.structure.nodes[name]
    place = next((k for k, layer in enumerate(layers) if layer is node), 0)
    return f"layer {place} ({type(node).__name__})"


def _biased(link: Link, name: str) -> bool:
    return link.target == name and link.composition.biased


class _Writer:
    """Collects nodes and edges; ``names`` of populations in the file."""

    def __init__(self, populations: Mapping[str, Population], chain: bool, dt: float | None) -> None:
        self.populations, self.chain, self.dt = populations, chain, dt
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.names = {
            name: f"{NAMES[type(node)]}_{name}" if chain and type(node) in NAMES else name
            for name, node in populations.items()
        }
        self.order: list[str] = []

    def population(self, name: str, where: str, biased: bool) -> None:
        """The node of a population or input."""
        node, own = self.populations[name], self.names[name]
        if isinstance(node, (LIF, DeltaLIF, LI)):
            node.check(where)
            self.nodes[own] = _neurons(node, own, self.dt, biased)
        else:
            self.nodes[own] = nir.Input(input_type=np.array(node.shape))

    def projection(self, link: Link) -> None:
        """The nodes of a projection's maps, one after the other, and their edges."""
        target = self.populations[link.target]
        gain, constant = _gains(target, self.dt)
        originals = link.composition.maps
        maps = rescaled(
            [copy.deepcopy(layer) for layer in originals], link.composition.in_shape, 1.0 / gain, 1.0 / constant,
            link.composition.where,
        )  # fmt: skip
        taken_out = len(maps) > len(originals)  # gains, by a Scale of their own
        if not maps and (self.names[link.source], self.names[link.target]) in self.edges:
            maps = [Scale(target.n, 1.0)]  # a second direct edge
        offset = link.composition.offset()
        biases = [bias_of(layer) for layer in originals]
        moved = sum(bias is not None for bias in biases) != sum(bias_of(layer) is not None for layer in maps)
        shape, last = link.composition.in_shape, self.names[link.source]
        for k, layer in enumerate(maps):
            own = None if bias_of(layer) is None else offset if moved else biases[k]
            for kind, node in _map(layer, shape, own if self.dt is None else None, link.composition.where):
                if taken_out and k == len(originals):
                    node.metadata = {GAIN: 1}
                last = self._place(kind, node, last, link)
            shape = layer.out_shape(shape, link.composition.where)
        self.edges.append((last, self.names[link.target]))

    def _place(self, kind: str, node: nir.NIRNode, last: str, link: Link) -> str:
        plain = f"{kind}_{link.target}" if self.chain else f"{link.source}_{link.target}_{kind}"
        name, k = plain, 1
        while name in self.nodes or name in self.names.values():
            k += 1
            name = f"{plain}_{k}"
        self.nodes[name] = node
        self.edges.append((last, name))
        if self.dt is not None and isinstance(node, nir.Delay) and np.any(node.delay > 0):
            _log.warning("NIR node %r: delays, which norse, snnTorch, SpikingJelly and rockpool do not run", name)
        return name

    def output(self, name: str) -> None:
        """The Output after the population ``name``."""
        own = "output"
        while own in self.nodes:
            own += "_"
        self.nodes[own] = nir.Output(output_type=np.array(self.populations[name].shape))
        self.edges.append((self.names[name], own))

    def ordered(self) -> dict[str, nir.NIRNode]:
        """The nodes; of a chain in the order in which spikes pass them."""
        if not self.chain:
            return self.nodes
        after = dict(self.edges)
        names = [next(iter(self.nodes))]
        while names[-1] in after:
            names.append(after[names[-1]])
        return {name: self.nodes[name] for name in names}


def _gains(node: Population, dt: float | None) -> tuple[Array, Array]:
    """What a spike of weight 1, and a constant of 1, in the graph are as a weight and a bias of ours: ``[n]`` each."""

    def held(name: str) -> Array:
        return np.asarray(getattr(node, name).detach().double().cpu().numpy())

    ones = np.ones(node.n)
    if isinstance(node, LIF) or (isinstance(node, LI) and node.tau_syn is not None):
        if dt is None:
            return ones, held("tau_syn")
        return held("tau_mem") / dt, held("tau_mem") * held("tau_syn") / dt**2
    if isinstance(node, IF):
        return ones, ones if dt is None else ones / dt
    return ones, held("tau_mem") if dt is None else held("tau_mem") / dt


# -- neurons --------------------------------------------------------------------------------------


def _neurons(node: LIF | DeltaLIF | LI, name: str, dt: float | None, biased: bool) -> nir.NIRNode:
    def array(tensor: Tensor) -> Array:
        return _array(tensor).reshape(node.shape)

    def scaled(tau: Tensor) -> Array:
        return array(tau) if dt is None else (array(tau).astype(np.float64) / dt).astype(_array(tau).dtype)

    metadata = _metadata(node, array, biased)
    _warn(node, name, biased)
    if isinstance(node, LI):
        common: dict[str, Any] = {"v_leak": array(node.v_leak), "metadata": metadata}
        if node.tau_syn is None:
            return nir.LI(tau=array(node.tau_mem), r=scaled(node.tau_mem), **common)
        return nir.CubaLI(**_currents(array, scaled, node.tau_mem, node.tau_syn, dt), **common)
    common = {"v_threshold": array(node.v_th), "v_reset": array(node.v_reset), "metadata": metadata}
    if isinstance(node, IF):
        ones = np.ones_like(common["v_threshold"])
        return nir.IF(r=ones if dt is None else (ones / dt).astype(ones.dtype), **common)
    common["v_leak"] = array(node.v_leak)
    if isinstance(node, LIF):
        return nir.CubaLIF(**_currents(array, scaled, node.tau_mem, node.tau_syn, dt), **common)
    assert node.tau_mem is not None  # noqa: S101  # an IF alone has none; tells the type checker
    return nir.LIF(tau=array(node.tau_mem), r=scaled(node.tau_mem), **common)


def _currents(array: Any, scaled: Any, tau_mem: Tensor, tau_syn: Tensor, dt: float | None) -> dict[str, Array]:
    r = np.ones_like(array(tau_syn)) if dt is None else scaled(tau_mem)
    return {"tau_mem": array(tau_mem), "tau_syn": array(tau_syn), "r": r, "w_in": scaled(tau_syn).copy()}


def _metadata(node: LIF | DeltaLIF | LI, array: Any, biased: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if not isinstance(node, LI):
        metadata = {T_REF: array(node.t_ref), RESET: node.reset}
        if node.max_spikes is not None:
            metadata[MAX_SPIKES] = node.max_spikes
    if node.v_init is not None and (not isinstance(node, IF) or bool((node.v_init != 0).any())):
        metadata[V_INIT] = array(node.v_init)
    if isinstance(node, (LIF, LI)) and node.tau_syn is not None and (biased or node.filtered_bias):
        metadata[FILTERED] = int(node.filtered_bias)
    return metadata


def _warn(node: LIF | DeltaLIF | LI, name: str, biased: bool) -> None:
    """Say what other tools do not read."""
    extra = []
    if not isinstance(node, LI):
        extra += [f"max_spikes = {node.max_spikes}"] if node.max_spikes is not None else []
        extra += ["a refractory time"] if bool((node.t_ref > 0).any()) else []
        extra += ["reset by subtraction"] if node.reset == "subtract" else []
    extra += ["v_init"] if V_INIT in _metadata(node, _array, biased) else []
    extra += ["a bias that is there at once, not through the synapse"] if _at_once(node, biased) else []
    if extra:
        _log.warning("NIR node %r: %s, in metadata alone, which other tools do not read", name, " and ".join(extra))


def _at_once(node: LIF | DeltaLIF | LI, biased: bool) -> bool:
    return isinstance(node, (LIF, LI)) and node.tau_syn is not None and biased and not node.filtered_bias


# -- maps -----------------------------------------------------------------------------------------


def _map(layer: LinearMap, shape: Shape, current: Tensor | None, where: str) -> Iterable[tuple[str, nir.NIRNode]]:
    """The node of a map, after one of its axonal delay where it has such; ``current`` is its bias in our units."""
    kind = NAMES.get(type(layer), "map")
    metadata = {} if current is None else {CURRENT: _array(current)}
    if isinstance(layer, (Dense, Sparse)):
        if layer.delay is not None:
            yield "delay", nir.Delay(_axonal(layer, shape, where))
        yield kind, _matrix(layer, metadata)
    elif isinstance(layer, Conv2d):
        weight = _array(layer.weight)
        bias = np.zeros(layer.c_out, weight.dtype) if layer.bias is None else _array(layer.bias)
        sides = {"stride": layer.stride, "padding": layer.padding_size, "dilation": layer.dilation}
        yield kind, nir.Conv2d(
            input_shape=shape[1:], weight=weight, groups=layer.groups, bias=bias, metadata=metadata,
            **{name: np.array(value) for name, value in sides.items()},
        )  # fmt: skip
    elif isinstance(layer, SumPool2d):
        pool = nir.AvgPool2d if isinstance(layer, AvgPool2d) else nir.SumPool2d
        yield kind, pool(*(np.array(side) for side in (layer.kernel_size, layer.stride, layer.padding_size)))
    elif isinstance(layer, Flatten):
        yield kind, nir.Flatten({"input": np.array(shape)}, 0, -1)
    elif isinstance(layer, Scale):
        yield kind, nir.Scale(_array(layer.factor).reshape(shape))
    elif isinstance(layer, Delay):
        yield kind, nir.Delay(_array(layer.delay).reshape(shape))
    else:
        raise InputError(
            f"{where}: {type(layer).__name__} has no node in NIR; allowed: {', '.join(k.__name__ for k in NAMES)}"
        )


def _matrix(layer: Dense | Sparse, metadata: dict[str, Any]) -> nir.NIRNode:
    if isinstance(layer, Dense):
        weight = _array(layer.weight)
    else:  # synapses that stand twice add up
        held = layer.weight.detach()
        weight = _array(
            held.new_zeros(layer.n_out, layer.n_in).index_put_((layer.targets, layer.sources), held, accumulate=True)
        )
    if layer.bias is None:
        return nir.Linear(weight)
    return nir.Affine(weight, _array(layer.bias), metadata=metadata)


def _axonal(layer: Dense | Sparse, shape: Shape, where: str) -> Array:
    """``[n_in]`` delays of a matrix, which NIR holds before it."""
    delay = layer.delay
    if isinstance(layer, Sparse) and delay is not None:
        values = torch.zeros(layer.n_in, dtype=delay.dtype)
        values[layer.sources] = delay.detach()
        if torch.equal(values[layer.sources], delay.detach()):
            return _array(values)
    elif delay is not None and delay.ndim == 1:
        return _array(delay)
    elif delay is not None and bool((delay == delay[:1]).all()):
        return _array(delay[0])
    raise InputError(
        f"{where}: delays that differ between synapses of one source, which NIR has no node for; allowed: one delay a source "
        f"({size_of(shape)},), or none"
    )


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), order="C")
