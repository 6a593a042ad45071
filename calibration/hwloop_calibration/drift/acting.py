"""What acts on the neurons of a twin, kept where they move: their weights make up for the factors of other synapses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwloop.mapping import LayerProgram, Program
from hwloop.mapping.held import Place, largest_weight, own_synapses, places_of
from hwloop.network import Dense, Network
from hwloop.training.weights import within

from ..characterise.model import Array

#: Iterations for a weight whose factor depends on it by some per cent: each gains two digits.
SOLVED = 4


def acting_weights(net: Network) -> list[Tensor]:
    """What the synapses of ``net`` do: ``[n_out, n_in]`` of every layer of a chain, ``[paths]`` of every projection of a graph."""
    if net.is_plain_chain:
        return [dense.acting_weight().detach().clone() for dense, _ in net.blocks]
    return [link.composition.weight().detach().clone() for link in net.structure.links]


@torch.no_grad()
def keep_acting(net: Network, wanted: Sequence[Tensor], moved: Sequence[Array], program: Program) -> None:
    """Let the synapses of the neurons ``moved`` (numbers, one array a population) act as ``wanted``, by their weights.

    As far as codes and live synapses allow it. A weight of several synapses, as in a convolution, takes the value with which what
    they do is nearest to what was wanted (least squares). Where several weights make one synapse they stay as they are.
    """
    if net.is_plain_chain:
        for (dense, _), rows, acting, layer in zip(net.blocks, moved, wanted, program.layers, strict=True):
            _of_layer(dense, torch.from_numpy(rows), acting, layer)
        return
    before = {id(link): acting for link, acting in zip(net.structure.links, wanted, strict=True)}
    for tensor, place in places_of(net):
        _of_map(tensor, place, before[id(place.link)], moved[place.layer], program.layers[place.layer])


def _of_layer(dense: Dense, rows: Tensor, acting: Tensor, layer: LayerProgram) -> None:
    for _ in range(SOLVED):
        now = dense.transmitted(dense.weight)
        # a synapse without effect cannot be made up for
        factor = torch.where(now != 0, now / torch.where(dense.weight != 0, dense.weight, 1.0), 0.0)
        asked = torch.where(factor > 0, acting / torch.where(factor > 0, factor, 1.0), dense.weight)
        dense.weight[rows] = asked[rows]
    if len(rows):
        dense.weight.copy_(within(dense.weight, layer.largest_weight()))


def _of_map(tensor: Tensor, place: Place, acting: Tensor, moved: Array, layer: LayerProgram) -> None:
    """One map of a projection; ``acting [paths]`` of its projection."""
    if not len(moved) or own_synapses(place) is None:
        return
    composition = place.link.composition
    paths = composition.paths
    where = next(at for part, at in paths.weights if part is composition.maps[place.index])
    at = torch.from_numpy(where)
    changed = torch.zeros(tensor.numel(), dtype=torch.bool)
    changed[at[torch.from_numpy(np.isin(paths.targets, moved))]] = True
    for _ in range(SOLVED):
        flat = tensor.reshape(-1)
        own = flat[at]
        now = composition.weight().to(tensor.dtype)
        factor = torch.where(own != 0, now / torch.where(own != 0, own, 1.0), 0.0)
        power = torch.zeros_like(flat).index_add_(0, at, factor.square())
        asked = torch.zeros_like(flat).index_add_(0, at, factor * acting.to(tensor.dtype))
        # a weight whose synapses are without effect stays
        new = torch.where(changed & (power > 0), asked / torch.where(power > 0, power, 1.0), flat)
        tensor.copy_(new.reshape(tensor.shape))
    tensor.copy_(within(tensor, largest_weight(place, layer)))
