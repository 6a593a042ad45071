"""A network from a NIR graph of any structure: what its numbers mean is resolved first, with evidence, or refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from ..composition import Composition
from ..conv2d import Conv2d
from ..dense import Dense
from ..elementwise import Scale
from ..lif import LIF
from ..linear_map import LinearMap, Shape
from ..model import Network
from ..populations import IF, LI, DeltaLIF, Input, Population
from ..structure import Projection
from .conventions import Asked, SpikeMeaning, constant_gain, spike_gain, spike_meaning
from .flat import Flat, flattened, listed
from .maps import delays, map_of
from .paths import Way, feeding, ways_of
from .resets import Resets, resets_of
from .scaling import rescaled
from .shapes import check_output, input_shape, own_shape, settled
from .units import TimeUnit, time_unit_of
from .values import is_whole, per_unit

_log = logging.getLogger(__name__)

#: Metadata of our own graphs: of the graph, that it was a chain of layers; of a neuron, and of an Affine, what NIR has no field for.
FORM, CHAIN = "form", "chain"
T_REF, MAX_SPIKES, V_INIT, FILTERED, CURRENT = "t_ref", "max_spikes", "v_init", "filtered_bias", "bias_current"
#: Metadata of a Scale that is no map of ours, but takes out the gains of the neurons after it.
GAIN = "gain"
#: Relative difference up to which a bias current in metadata is that of the node, which holds it in other units.
SAME_CURRENT = 1e-5


@dataclass(frozen=True)
class Reading:
    """What a graph's numbers mean, each with its evidence."""

    flat: Flat
    unit: TimeUnit
    spike: SpikeMeaning
    resets: Resets

    def __str__(self) -> str:
        return "; ".join(map(str, (self.unit, self.spike, self.resets, *self.flat.notes)))


def reading_of(
    graph: nir.NIRGraph, time_unit: str | None = None, spike: Asked | None = None, reset: str | None = None
) -> Reading:
    """Unit of time, meaning of a spike and reset of ``graph``; raises as :func:`from_nir`."""
    flat = flattened(graph)
    if not flat.neurons:
        raise InputError(f"the graph has no neurons, but {listed(flat.nodes)}; allowed: at least one node of neurons")
    unit = time_unit_of(flat.metadata, flat.nodes, time_unit)
    return Reading(flat, unit, spike_meaning(flat.metadata, flat.neurons, unit, spike), resets_of(flat.neurons, reset))


def from_nir(
    graph: nir.NIRGraph,
    time_unit: str | None = None,
    *,
    spike: Asked | None = None,
    reset: str | None = None,
    output: str | None = None,
) -> Network:
    """A network from a NIR graph.

    Parameters
    ----------
    graph : nir.NIRGraph
    time_unit : "s", "ms" or "us", optional
        Unit of the graph's times; overrides what the graph says. Without it: the metadata, then what is known of the
        exporter, then the magnitude of the time constants.
    spike : "jump", "delta", a width (s), or a pair of these, optional
        What a spike is, of a pair for neurons with a current and for those without, see :mod:`.conventions`. Without it: the metadata, then the time step on which the gains of all
        layers agree.
    reset : "value" or "subtract", optional
        Of all neurons. Without it: the metadata; needed for LIF and IF, where it makes a difference.
    output : str, optional
        Name of the output, where there are several.

    Returns
    -------
    Network, dtypes as in the graph: a chain of layers where the graph is a row of Dense and LIF, else :meth:`Network.graph` with
    the names of the file. Its attribute ``nir_evidence`` says what was taken, and why; the same is logged.

    Raises
    ------
    OptionError
        An unknown option.
    InputError
        What a spike is, the unit or the reset is not evident, with the candidates; a node that is not carried or does not
        fit, by name; values out of bounds.
    """
    reading = reading_of(graph, time_unit, spike, reset)
    net = network_of(reading, output)
    setattr(net, "nir_evidence", str(reading))  # noqa: B010  # nn.Module declares its attributes as tensors and modules
    sure = reading.unit.stated and not reading.flat.notes
    _log.log(logging.INFO if sure else logging.WARNING, "NIR import: %s", reading)
    return net


def network_of(reading: Reading, output: str | None) -> Network:
    """The network of a graph whose numbers were given their meaning; ``output`` as of :func:`from_nir`."""
    flat = reading.flat
    out = _output(flat, output)
    ways = ways_of(flat)
    shapes = _shapes(reading, ways)
    for name in flat.names(nir.Output):
        check_output(flat, name, feeding(flat, name), shapes[feeding(flat, name)])
    projections = [_projection(reading, way, shapes) for way in ways]
    biased = {p.target for p, way in zip(projections, ways, strict=True) if _offset(p, shapes[way.source]) is not None}
    nodes: dict[str, Population] = {name: Input(shapes[name]) for name in flat.names(nir.Input)}
    for name in flat.neurons:
        nodes[name] = _population(reading, name, shapes[name], name in biased)
    row = _row(flat, nodes, projections, out)
    if row is not None:
        return Network(row, in_shape=shapes[flat.names(nir.Input)[0]])
    return Network.graph(nodes, projections, out)


def _output(flat: Flat, asked: str | None) -> str:
    """Name of the population that is the output."""
    ends = flat.names(nir.Output)
    if asked is not None:
        if asked in ends:
            return feeding(flat, asked)
        if asked in flat.neurons:
            return asked
        raise InputError(f"output = {asked!r}; allowed: {listed([*ends, *flat.neurons])}")
    found = dict.fromkeys(feeding(flat, end) for end in ends)
    if len(found) != 1:
        raise InputError(
            f"{len(ends)} Output nodes ({listed(ends)}); allowed: one, or pass output, one of {listed([*ends, *flat.neurons])}"
        )
    return next(iter(found))


# -- shapes ---------------------------------------------------------------------------------------


def _shapes(reading: Reading, ways: Sequence[Way]) -> dict[str, Shape]:
    """Shape of every Input and of all neurons; those that hold single numbers get it from what drives them."""
    flat = reading.flat
    shapes = {name: input_shape(flat, name) for name in flat.names(nir.Input)}
    own = {name: own_shape(name, node) for name, node in flat.neurons.items()}
    waiting = list(ways)
    while waiting:
        ready = [way for way in waiting if way.source in shapes]
        if not ready:
            stuck = {way.source for way in waiting if own[way.source] is not None}
            if not stuck:
                raise InputError(
                    f"neurons {listed(sorted({way.target for way in waiting}))} hold single numbers, and nothing says how many "
                    "they are; write one value a neuron"
                )
            shapes.update({name: shape for name in stuck if (shape := own[name]) is not None})
            continue
        for way in ready:
            found = _after(reading, way, shapes[way.source])
            if way.target not in shapes:
                shapes[way.target] = settled(found, own[way.target])
        waiting = [way for way in waiting if way not in ready]
    return shapes


def _after(reading: Reading, way: Way, shape: Shape) -> Shape:
    for name in way.maps:
        shape = map_of(name, reading.flat.nodes[name], shape, reading.unit, False).out_shape(shape, f"node {name!r}")
    return shape


# -- projections ----------------------------------------------------------------------------------


def _projection(reading: Reading, way: Way, shapes: Mapping[str, Shape]) -> Projection:
    flat, shape = reading.flat, shapes[way.source]
    built = _maps(reading, way, shape)
    maps = list(built.values())
    where = f"node {way.target!r}" + (f" and {listed(way.maps)} before it" if way.maps else "")
    composition = Composition(maps, shape, where)
    target, node = shapes[way.target], flat.nodes[way.target]
    _check_units(way, composition.out_shape, target, node)
    gain = spike_gain(way.target, node, reading.spike, target)
    constant = constant_gain(way.target, node, reading.spike, reading.unit, target)
    if composition.biased:
        _check_bias(reading, way)
    maps = rescaled(maps, shape, gain, constant, where)
    for name, layer in built.items():
        _take_stated_current(flat, name, layer)
        if isinstance(layer, Scale) and GAIN in (flat.nodes[name].metadata or {}) and _is_one(layer.factor):
            maps.remove(layer)
    return Projection(way.source, way.target, maps)


def _is_one(factor: Tensor) -> bool:
    """Whether ``factor`` is 1 but for rounding."""
    return bool(((factor - 1).abs() <= 8 * torch.finfo(factor.dtype).eps).all())


def _maps(reading: Reading, way: Way, shape: Shape) -> dict[str, LinearMap]:
    """The maps of ``way`` by node, with the file's values; a delay right before weights is their axonal delay."""
    built: dict[str, LinearMap] = {}
    nodes = [reading.flat.nodes[name] for name in way.maps]
    delay = None
    for name, node, after, biased in zip(way.maps, nodes, [*nodes, None][1:], way.biased, strict=True):
        if isinstance(node, nir.Delay) and isinstance(after, (nir.Linear, nir.Affine)) and delay is None:
            delay = delays(name, node, shape, reading.unit)
            continue
        built[name] = map_of(name, node, shape, reading.unit, biased, delay)
        shape, delay = built[name].out_shape(shape, f"node {name!r}"), None
    return built


def _check_units(way: Way, found: Shape, wanted: Shape, node: nir.NIRNode) -> None:
    n, m = int(np.prod(found)), int(np.prod(wanted))
    if n != m:
        last = f"{way.maps[-1]!r}" if way.maps else f"{way.source!r}"
        raise InputError(
            f"node {way.target!r} ({type(node).__name__}) has {m} neurons {wanted}, {last} before it {n} units {found}; "
            "allowed: as many"
        )


def _check_bias(reading: Reading, way: Way) -> None:
    meaning = reading.spike
    if meaning.of(reading.flat.nodes[way.target]).kind != "jump" or meaning.step is not None:
        return
    name = next(name for name in way.maps if np.any(np.asarray(getattr(reading.flat.nodes[name], "bias", 0.0)) != 0))
    raise InputError(
        f"node {name!r} has a bias, which has no size where spikes are jumps ({reading.spike.evidence}): it acts once in every "
        "step of the exporter, and the file does not say how long one is. Pass spike=('jump', dt) with that step in seconds; "
        "or spike=dt, if its spikes are pulses"
    )


def _take_stated_current(flat: Flat, name: str, layer: LinearMap) -> None:
    """Our own graphs hold a bias in our units too, which are not exactly recovered from NIR's; taken where it is that bias."""
    bias = getattr(layer, "bias", None)
    stated = (flat.nodes[name].metadata or {}).get(CURRENT)
    if not isinstance(layer, (Dense, Conv2d)) or bias is None or stated is None:
        return
    value = torch.from_numpy(per_unit(name, f"metadata {CURRENT}", stated, (bias.numel(),)))
    if value.dtype == bias.dtype and torch.allclose(value, bias.detach(), rtol=SAME_CURRENT, atol=0.0):
        layer.bias = nn.Parameter(value)


def _offset(projection: Projection, shape: Shape) -> Tensor | None:
    return Composition(list(projection.maps), shape, "").offset()  # type: ignore[arg-type]


# -- populations ----------------------------------------------------------------------------------


def _population(reading: Reading, name: str, shape: Shape, biased: bool) -> Population:
    node: Any = reading.flat.nodes[name]
    try:
        return _neurons(reading, name, node, shape, biased)
    except InputError as error:
        raise error if str(error).startswith(f"node {name!r}") else InputError(f"node {name!r}: {error}") from error


def _neurons(reading: Reading, name: str, node: Any, shape: Shape, biased: bool) -> Population:
    metadata = node.metadata if isinstance(node.metadata, dict) else {}
    size = shape if len(shape) == 3 else shape[0]

    def value(key: str, given: Any, scale: float = 1.0) -> Tensor:
        array = per_unit(name, key, given, shape)
        return torch.from_numpy((array.astype(np.float64) / scale).astype(array.dtype))

    def time(key: str) -> Tensor:
        return value(key, getattr(node, key), reading.unit.per_second)

    start = value(f"metadata {V_INIT}", metadata[V_INIT]) if V_INIT in metadata else None
    # a bias is a constant S of NIR's equations, so it passes the synapse
    filtered = bool(metadata.get(FILTERED, biased))
    if isinstance(node, (nir.LI, nir.CubaLI)):
        tau = time("tau" if isinstance(node, nir.LI) else "tau_mem")
        synapse = None if isinstance(node, nir.LI) else time("tau_syn")
        passes = synapse is not None and filtered
        return LI(size, tau, synapse, value("v_leak", node.v_leak), v_init=start, filtered_bias=passes)
    cap = metadata.get(MAX_SPIKES)
    if cap is not None and not is_whole(cap):
        raise InputError(f"metadata {MAX_SPIKES} = {cap!r}; allowed: a whole number >= 1")
    threshold = value("v_threshold", node.v_threshold)
    given = metadata.get(T_REF, np.zeros_like(threshold.numpy()))
    common: dict[str, Any] = {
        "v_th": threshold,
        "v_reset": value("v_reset", node.v_reset),
        "t_ref": value(f"metadata {T_REF}", given, reading.unit.per_second),
        "reset": reading.resets.kinds[name],
        "max_spikes": None if cap is None else int(np.asarray(cap).reshape(())),
    }
    if isinstance(node, nir.IF):
        start = torch.zeros_like(threshold) if start is None else start
        return IF(size, **common, v_init=start).to(threshold.dtype)
    common["v_leak"] = value("v_leak", node.v_leak)
    if isinstance(node, nir.LIF):
        return DeltaLIF(size, time("tau"), **common, v_init=start)
    return LIF(size, time("tau_mem"), time("tau_syn"), **common, v_init=start, filtered_bias=filtered)


# -- rows -----------------------------------------------------------------------------------------


def _row(
    flat: Flat, nodes: Mapping[str, Population], projections: Sequence[Projection], output: str
) -> list[nn.Module] | None:
    """The layers of a graph that is a chain of Dense and LIF, or that was exported from a chain; None for any other."""
    inputs = [name for name, node in nodes.items() if isinstance(node, Input)]
    into = {projection.target: projection for projection in projections}
    if len(inputs) != 1 or len(projections) != len(nodes) - 1 or len(into) != len(projections):
        return None
    layers: list[nn.Module] = []
    name, seen = output, 0
    while name != inputs[0]:
        if name not in into or seen > len(nodes):
            return None
        layers = [*into[name].maps, nodes[name], *layers]
        name, seen = into[name].source, seen + 1
    plain = all(isinstance(layer, (LIF, Dense)[k % 2 == 0]) for k, layer in enumerate(layers))
    ours = str(flat.metadata.get(FORM, "")) == CHAIN
    complete = seen == len(nodes) - 1 and all(len(into[name].maps) for name in into)
    return layers if complete and (ours or plain) else None
