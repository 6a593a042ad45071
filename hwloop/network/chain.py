"""Chains: layers in a row as a graph, and the chains of Dense and LIF alone that need no graph's bookkeeping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from ..errors import InputError
from .dense import Dense
from .elementwise import Sparse
from .lif import LIF
from .linear_map import LinearMap, Shape, as_shape
from .populations import Input, Population
from .structure import Projection, Structure, structure_of

if TYPE_CHECKING:
    from .model import Network

#: Name of a chain's input.
INPUT = "input"


def chain_of(layers: Sequence[nn.Module], in_shape: Any) -> Structure:
    """The structure of a chain: every population, named by its place among the populations, and the maps before it.

    Raises :class:`InputError` for layers in another order, or of sizes that do not fit, naming the layer.
    """
    for k, layer in enumerate(layers):
        if not isinstance(layer, (LinearMap, Population)) or isinstance(layer, Input):
            raise InputError(
                f"layer {k} is {type(layer).__name__}; expected maps (Dense, Conv2d, SumPool2d, AvgPool2d, Flatten, Scale, "
                "Delay, Sparse) and populations (LIF, DeltaLIF, IF, LI)"
            )
    if layers and isinstance(layers[0], Population):
        raise InputError(
            f"layer 0 is {type(layers[0]).__name__}; expected Dense or another map: weights lead into a population"
        )
    if not layers or not isinstance(layers[-1], Population):
        raise InputError(
            f"a network of {len(layers)} layers; expected maps and populations, as pairs of Dense and LIF, a population last"
        )
    nodes: dict[str, Population] = {INPUT: Input(_in_shape(layers[0], in_shape))}
    projections: list[tuple[str, str, list[LinearMap]]] = []
    source, shape, maps = INPUT, nodes[INPUT].shape, []
    for k, layer in enumerate(layers):
        where = f"layer {k} ({type(layer).__name__})"
        if isinstance(layer, LinearMap):
            maps.append(layer)
            shape = _fits(layer, shape, where, layers, k)
            continue
        layer = cast(Population, layer)  # it is no map, and was checked above
        if not maps:
            raise InputError(
                f"layer {k} is {type(layer).__name__}; expected Dense or another map: weights lead into a population"
            )
        if shape != layer.shape and not _same_units(shape, layer.shape):
            raise InputError(
                f"layer {k - 1}: {type(maps[-1]).__name__} has {_text(shape)} outputs, the {type(layer).__name__} after it {_text(layer.shape)} neurons"
            )
        name = str(len(nodes) - 1)
        nodes[name] = layer
        projections.append((source, name, maps))
        source, shape, maps = name, layer.shape, []
    return structure_of(nodes, projections, source)


def _in_shape(first: nn.Module, in_shape: Any) -> Shape:
    if in_shape is not None:
        return as_shape("in_shape", in_shape)
    if isinstance(first, (Dense, Sparse)):
        return (first.n_in,)
    raise InputError(
        f"layer 0 ({type(first).__name__}) does not say how many units the input has; give in_shape, as in "
        "Network(layers, in_shape=(1, 28, 28))"
    )


def _fits(layer: LinearMap, shape: Shape, where: str, layers: Sequence[nn.Module], k: int) -> Shape:
    if isinstance(layer, Dense) and k and isinstance(layers[k - 1], LIF) and layer.n_in != layers[k - 1].n:
        raise InputError(f"layer {k}: Dense takes {layer.n_in} inputs, the LIF before it has {layers[k - 1].n} neurons")
    return layer.out_shape(shape, where)


def _same_units(found: Shape, wanted: Shape) -> bool:
    """Whether a row of units stands for maps of as many, or the reverse."""
    product = 1
    for side in found:
        product *= side
    for side in wanted:
        product = product // side if product % side == 0 else 0
    return product == 1 and 1 in (len(found), len(wanted))


def _text(shape: Shape) -> str:
    return str(shape[0]) if len(shape) == 1 else str(shape)


def check_graph(nodes: Any, projections: Any) -> list[Projection]:
    """The projections as a list; :class:`InputError` for nodes or projections of another kind."""
    if not isinstance(nodes, Mapping) or not nodes:
        raise InputError(
            f"nodes is {type(nodes).__name__}; allowed: names and their Input or population, {{'input': Input(5), ...}}"
        )
    for name, node in nodes.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"a node is called {name!r}; allowed: a name, as text")
        if not isinstance(node, Population):
            raise InputError(f"node {name!r} is {type(node).__name__}; allowed: Input, LIF, DeltaLIF, IF, LI")
    if len({id(node) for node in nodes.values()}) != len(nodes):
        raise InputError("one population stands under two names; allowed: one of its own for each")
    listed = list(projections) if isinstance(projections, Iterable) else [projections]
    for k, projection in enumerate(listed):
        if not isinstance(projection, Projection):
            raise InputError(
                f"projection {k} is {type(projection).__name__}; allowed: Projection(source, target, maps)"
            )
    return listed


def module_names(nodes: Mapping[str, Population]) -> list[str]:
    """Names of the nodes as torch allows them for modules: no dots, none twice."""
    result: list[str] = []
    for name in nodes:
        plain = name.replace(".", "_")
        while plain in result or hasattr(nn.ModuleDict, plain):
            plain += "_"
        result.append(plain)
    return result


def why_no_plain_chain(net: Network) -> str | None:
    """Why a network is no chain of Dense and LIF alone, with nothing that its layers' pairs do not say; None where it is."""
    return why_no_pairs(net.layers) if "layers" in net._modules else "the network is a graph"


def why_no_pairs(layers: Iterable[nn.Module]) -> str | None:
    """Why ``layers`` are not Dense and LIF by turns, with nothing that these pairs do not say; None where they are."""
    for k, layer in enumerate(layers):
        if not isinstance(layer, LIF if k % 2 else Dense):
            return f"layer {k} of the network is {type(layer).__name__}"
        if isinstance(layer, Dense):
            if layer.bias is not None or (layer.delay is not None and layer.delay.ndim == 2):
                return (
                    f"layer {k} (Dense) of the network has {'a bias' if layer.bias is not None else 'synaptic delays'}"
                )
        elif layer.v_init is not None or len(layer.shape) > 1:
            return f"layer {k} (LIF) of the network has {'v_init' if layer.v_init is not None else 'the shape of maps'}"
    return None
