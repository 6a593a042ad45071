"""Wrong imports made on purpose: what the table's judgement has to call wrong, and how small a fault it sees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from hwloop import Network
from hwloop.network import LI, LIF, AvgPool2d, Conv2d, Delay, DeltaLIF, Dense, Projection, Sparse, SumPool2d
from hwloop.network.linear_map import LinearMap
from hwloop.network.populations import Population

#: Makes of a network, and of the length (s) of the coarsest step, the same with the fault; None where it has none such.
Make = Callable[[Network, float], Network | None]


@dataclass(frozen=True)
class Fault:
    """A fault; ``seen``: whether the judgement has to see it, else it is tried to learn how small a fault is seen."""

    make: Make
    seen: bool = True


def _weights(factor: float, net: Network, _: float) -> Network:
    found = copy.deepcopy(net)
    with torch.no_grad():
        for layer in found.modules():
            if isinstance(layer, (Dense, Conv2d, Sparse)):
                layer.weight.mul_(factor)
    return found


def _swapped(net: Network, _: float) -> Network | None:
    found, changed = copy.deepcopy(net), False
    for node in found.structure.nodes.values():
        if isinstance(node, (LIF, LI)) and node.tau_syn is not None:
            node.tau_mem, node.tau_syn = node.tau_syn, node.tau_mem
            changed = True
    return found if changed else None


def _slower(net: Network, _: float) -> Network | None:
    found, changed = copy.deepcopy(net), False
    for node in found.structure.nodes.values():
        if isinstance(node, (LIF, LI, DeltaLIF)) and node.tau_mem is not None:
            node.tau_mem = 2 * node.tau_mem
            changed = True
    return found if changed else None


def _late(steps: int, net: Network, step: float) -> Network:
    return _rewired(net, lambda maps, node: [*maps, Delay(node.n, steps * step)])


def _other_reset(net: Network, _: float) -> Network | None:
    # a neuron with a synaptic current crosses its threshold exactly: both resets are one
    nodes = [node for node in net.structure.nodes.values() if isinstance(node, DeltaLIF)]
    if not nodes:
        return None
    found = copy.deepcopy(net)
    for node in found.structure.nodes.values():
        if isinstance(node, DeltaLIF):
            node.reset = "subtract" if node.reset == "value" else "value"
    return found


def _without_bias(net: Network, _: float) -> Network | None:
    if not any(link.composition.biased for link in net.structure.links):
        return None
    found = copy.deepcopy(net)
    with torch.no_grad():
        for layer in found.modules():
            if isinstance(layer, (Dense, Conv2d, Sparse)) and layer.bias is not None:
                layer.bias.zero_()
    return found


def _without_loop(net: Network, _: float) -> Network | None:
    links = [link for link in net.structure.links if link.source != link.target]
    return None if len(links) == len(net.structure.links) else _rewired(net, lambda maps, node: maps, loops=False)


def _other_pool(net: Network, _: float) -> Network | None:
    def turned(maps: list[LinearMap], node: Population) -> list[LinearMap]:
        result: list[LinearMap] = []
        for layer in maps:
            if isinstance(layer, SumPool2d):
                kind = SumPool2d if isinstance(layer, AvgPool2d) else AvgPool2d
                layer = kind(layer.kernel_size, layer.stride, layer.padding_size)
            result.append(layer)
        return result

    pooled = any(isinstance(layer, SumPool2d) for layer in net.modules())
    return _rewired(net, turned) if pooled else None


def _rewired(
    net: Network, maps_of: Callable[[list[LinearMap], Population], list[LinearMap]], *, loops: bool = True
) -> Network:
    """``net`` as a graph whose projections ``maps_of`` has changed, with or without those from a population to itself."""
    structure = copy.deepcopy(net).structure
    projections = [
        Projection(link.source, link.target, maps_of(list(link.composition.maps), structure.nodes[link.target]))
        for link in structure.links
        if loops or link.source != link.target
    ]
    return Network.graph(structure.nodes, projections, structure.output)


#: By what is wrong.
FAULTS: Mapping[str, Fault] = {
    "weights x 1.25": Fault(partial(_weights, 1.25)),
    "weights x 0.8": Fault(partial(_weights, 0.8)),
    "tau_mem and tau_syn swapped": Fault(_swapped),
    "tau_mem x 2": Fault(_slower),
    "two of the coarsest steps late in each layer": Fault(partial(_late, 2)),
    "the other reset": Fault(_other_reset),
    "without its biases": Fault(_without_bias),
    "without its loop": Fault(_without_loop),
    "mean for sum in its pools": Fault(_other_pool),
    "weights x 1.1": Fault(partial(_weights, 1.1), seen=False),
    "weights x 1.05": Fault(partial(_weights, 1.05), seen=False),
    "weights x 1.02": Fault(partial(_weights, 1.02), seen=False),
    "one of the coarsest steps late in each layer": Fault(partial(_late, 1), seen=False),
}
