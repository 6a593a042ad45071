"""What a device holds of a network's trained weights, and how far they may move.

In a chain each layer's weights are one matrix of codes. In a graph a weight may stand for many synapses (convolutions), reach
its neuron through a pool or a scale, or be one of several projections' into a population: its value on the device is that of
its synapses, without the factors of the other maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..network.conv2d import Conv2d
from ..network.dense import Dense
from ..network.elementwise import Sparse
from .program import LayerProgram, Program
from .quantise import Array

if TYPE_CHECKING:
    from ..network import Network
    from ..network.structure import Link


@dataclass(frozen=True)
class Place:
    """Where the weights of one map stand: layer of a program, and column of the first unit of its projection."""

    layer: int
    column: int
    link: Link
    index: int


def places_of(net: Network) -> list[tuple[Tensor, Place]]:
    """The weights of a graph that a device holds, each once, and where they stand; those of a chain are its layers'."""
    found: list[tuple[Tensor, Place]] = []
    for layer, name in enumerate(net.structure.populations):
        column = 0
        for link in (link for link in net.structure.links if link.target == name):
            for index, part in enumerate(link.composition.maps):
                if isinstance(part, (Dense, Conv2d, Sparse)) and not any(part.weight is one for one, _ in found):
                    found.append((part.weight, Place(layer, column, link, index)))
            column += link.composition.n_in
    return found


def held_values(net: Network, program: Program) -> list[tuple[Tensor, Any]]:
    """Every weight of ``net`` and its value on a device that holds ``program``; its own where several make one synapse."""
    matrices = program.weights()
    if net.is_plain_chain:
        return [(dense.weight, matrix) for (dense, _), matrix in zip(net.blocks, matrices, strict=True)]
    return [(tensor, held_value(tensor, place, matrices[place.layer])) for tensor, place in places_of(net)]


def shapes_of(net: Network) -> list[tuple[int, int]]:
    """``(neurons, units that drive them)`` of each population: the shapes of a program's layers."""
    structure, found = net.structure, []
    for name in structure.populations:
        into = [link for link in structure.links if link.target == name]
        found.append((structure.nodes[name].n, sum(link.composition.n_in for link in into)))
    return found


def held_value(tensor: Tensor, place: Place, matrix: Array) -> Tensor:
    """``tensor`` with the values that its synapses have on the device; itself where several weights make one synapse."""
    found = own_synapses(place)
    value = tensor.detach().clone()
    if found is None:
        return value
    rows, columns, where, factor = found
    flat = torch.from_numpy(matrix[rows, place.column + columns] / factor).to(value.dtype)
    result = value.reshape(-1)
    result[torch.from_numpy(where)] = flat
    return result.reshape(value.shape)


def largest_weight(place: Place, layer: LayerProgram) -> float:
    """Largest weight of a map that does not saturate in any of its synapses."""
    most = float(np.min(layer.largest_weight()))
    found = own_synapses(place)
    return most if found is None else most / float(np.abs(found[3]).max(initial=0.0) or 1.0)


def codes_of(net: Network, program: Program) -> list[tuple[Tensor, Tensor, Tensor]]:
    """``(weights, model weight of one code, largest code)`` of all that a device holds of ``net``, shapes that broadcast.

    The code is that of the weight's synapse, without the factors of other maps; of a weight that stands for several synapses the
    coarsest, so that a step of one code moves each of them, and the largest is what saturates none. Where several weights make
    one synapse, the median of the map's counts for all of its weights.
    """
    if net.is_plain_chain:
        pairs = zip(net.blocks, program.layers, strict=True)
        return [(dense.weight, torch.as_tensor(layer.lsb()), torch.tensor(_most(layer))) for (dense, _), layer in pairs]
    return [(tensor, *_codes(tensor, place, program.layers[place.layer])) for tensor, place in places_of(net)]


def _most(layer: LayerProgram) -> float:
    return float("inf") if layer.max_code is None else float(layer.max_code)


def _codes(tensor: Tensor, place: Place, layer: LayerProgram) -> tuple[Tensor, Tensor]:
    lsb = np.broadcast_to(np.asarray(layer.lsb(), np.float64), (layer.n_out, 1))[:, 0]
    found = own_synapses(place)
    if found is None:
        rows, _, _, factor = _synapses(place)
        unit = float(np.median(lsb[rows] / np.abs(factor))) if len(rows) else float(lsb.max())
        return torch.tensor(unit), torch.tensor(_most(layer))
    rows, _, where, factor = found
    units = lsb[rows] / np.abs(factor)
    coarsest, finest = np.zeros(tensor.numel()), np.full(tensor.numel(), np.inf)
    np.maximum.at(coarsest, where, units)
    np.minimum.at(finest, where, units)
    without = coarsest == 0  # of no synapse, or behind a factor of 0
    coarsest[without] = finest[without] = lsb.max()
    most = torch.from_numpy(_most(layer) * finest / coarsest)
    return torch.from_numpy(coarsest).reshape(tensor.shape), most.reshape(tensor.shape)


def own_synapses(place: Place) -> tuple[Array, Array, Array, Array] | None:
    """``(rows, columns, place in the weights, factor of the other maps)`` of synapses of the map; None where they are shared.

    Several weights make one synapse where two maps have weights to be trained, or where several paths lead from one unit to
    one neuron.
    """
    composition = place.link.composition
    own = composition.maps[place.index]
    others = [part for part in composition.maps if part is not own and isinstance(part, (Dense, Conv2d, Sparse))]
    paths = composition.paths
    if others or len(np.unique(paths.targets * composition.n_in + paths.sources)) < len(paths.targets):
        return None
    return _synapses(place)


def _synapses(place: Place) -> tuple[Array, Array, Array, Array]:
    """The same of all paths through the map, shared or not."""
    composition = place.link.composition
    own, paths = composition.maps[place.index], composition.paths
    factor, where = np.full(len(paths.targets), paths.share), np.zeros(len(paths.targets), np.int64)
    for part, places in paths.weights:
        if part is own:
            where = places
            continue
        values = part.values()
        if values is not None:
            factor = factor * values.detach().double().numpy().reshape(-1)[places]
    kept = factor != 0
    return paths.targets[kept], paths.sources[kept], where[kept], factor[kept]
