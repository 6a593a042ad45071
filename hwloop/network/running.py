"""Running a graph: component after component, each by the engine that fits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..record import Health, LayerHealth, Ran, Record
from ..simulate import Options, layer_call
from ..simulate.autograd import LayerCall
from ..simulate.checks import mean_residuals
from ..simulate.convolution import Geometry, convolution_call
from ..spikes import Spikes
from .composition import Composition, Core
from .conv2d import Conv2d
from .dense import Dense
from .differences import RanConvolution, RanLayer
from .elementwise import Delay
from .joined import Medium, run_joint
from .lif import LIF
from .linear_map import maps_of
from .pools import SumPool2d
from .populations import LI
from .readouts import read_out
from .structure import Component, Link, Structure
from .trains import delayed, merged, relabelled, split
from .wiring import Wiring, wiring_of


class Runner:
    """Runs the graph of ``structure``; keeps what does not change from call to call."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self._wirings: dict[tuple[tuple[str, ...], bool], Wiring] = {}

    def only(self, spikes: Spikes | Mapping[str, Spikes]) -> Spikes:
        """The spikes of the one input."""
        return spikes if isinstance(spikes, Spikes) else spikes[self.structure.inputs[0]]

    def run(
        self,
        spikes: Spikes | Mapping[str, Spikes],
        measured: Record | None,
        options: Options,
        medium: Medium | None = None,
    ) -> Record:
        """The record of the graph on ``spikes``; see :meth:`hwloop.Network.forward`. ``medium``: what it is imagined to run on."""
        structure = self.structure
        trains = self._inputs(spikes)
        given = self._given(measured)
        health: dict[str, LayerHealth] = {}
        ran: dict[str, Ran] = {}
        readouts: dict[str, Any] = {}
        recorded: dict[str, Spikes] = {}
        for component in structure.components:
            node = structure.nodes[component.names[0]]
            where = _where(component)
            if isinstance(node, LI):
                readouts[component.names[0]] = read_out(component, node, trains, where)
            elif medium is None and _fits_layer(component, structure):
                self._layer(component, trains, given, options, health, ran)
            elif medium is None and _fits_convolution(component, structure):
                self._convolution(component, trains, given, options, health, ran)
            else:
                wiring = self._wiring(component)
                run_joint(component, wiring, structure.nodes, trains, given, options, where, health, ran, medium)
            if medium is not None and node.spikes:
                for name in component.names:
                    trains[name] = medium.sent(trains[name])
                    recorded[name] = medium.recorded(trains[name])
        names = structure.populations
        layers = tuple(health[name] for name in names)
        kept = None if measured is None else tuple(ran[name] for name in names)
        inputs = (
            trains[structure.inputs[0]] if len(structure.inputs) == 1 else merged([trains[n] for n in structure.inputs])
        )
        return Record(
            tuple(recorded.get(name, trains[name]) for name in names), inputs, Health(layers, options.floor, options.policy, kept),
            names=names, readouts=readouts, output_name=structure.output,
        )  # fmt: skip

    def _inputs(self, spikes: Spikes | Mapping[str, Spikes]) -> dict[str, Spikes]:
        names = self.structure.inputs
        if isinstance(spikes, Spikes):
            sizes = [self.structure.nodes[name].n for name in names]
            _check_units(", ".join(names), spikes, sum(sizes), tuple(sizes))
            trains = dict(zip(names, split(spikes, sizes) if len(names) > 1 else [spikes], strict=True))
        else:
            trains = dict(spikes)
        for name in names:
            node = self.structure.nodes[name]
            _check_units(name, trains[name], node.n, node.shape)
        return trains

    def _given(self, measured: Record | None) -> dict[str, Spikes]:
        names = self.structure.populations
        if measured is None:
            return {}
        if len(measured) != len(names):
            raise InputError(f"the measurement has {len(measured)} populations; the network has {len(names)}")
        return {name: measured[k] for k, name in enumerate(names)}

    def _wiring(self, component: Component) -> Wiring:
        nodes = self.structure.nodes
        filtered = any(
            getattr(nodes[link.target], "filtered_bias", False) and link.composition.biased for link in component.links
        )
        found = self._wirings.get((component.names, filtered))
        if found is None:
            found = self._wirings[component.names, filtered] = wiring_of(component, nodes, filtered)
        return found

    def _layer(
        self,
        component: Component,
        trains: dict[str, Spikes],
        given: Mapping[str, Spikes],
        options: Options,
        health: dict[str, LayerHealth],
        ran: dict[str, Ran],
    ) -> None:
        """One population driven by dense matrices: the layer's own kernel, all inputs merged."""
        (name,) = component.names
        node = self.structure.nodes[name]
        if not isinstance(node, LIF):
            raise InputError(f"population {name!r} is {type(node).__name__}; the layer's kernel takes LIF")
        cores = [_core(link) for link in component.links]
        received = merged(
            [transmitted(trains[link.source], core) for link, core in zip(component.links, cores, strict=True)]
        )
        weights = [core.weight() for core in cores]
        weight = weights[0] if len(weights) == 1 else torch.cat(weights, 1)
        own = Options(node.reset, node.max_spikes, options.floor, options.policy, options.engine)
        parameters = node.acting_parameters()
        spikes, call = layer_call(received, weight, parameters, own, given.get(name), f"population {name!r}")
        trains[name], health[name] = spikes, layer_health(spikes, call)
        if name in given:
            ran[name] = RanLayer.of(received, weight, parameters, spikes, node.reset, node.max_spikes)

    def _convolution(
        self,
        component: Component,
        trains: dict[str, Spikes],
        given: Mapping[str, Spikes],
        options: Options,
        health: dict[str, LayerHealth],
        ran: dict[str, Ran],
    ) -> None:
        """One population behind a convolution: the layer's kernel at every output position."""
        (name,), (link,) = component.names, component.links
        node, core = self.structure.nodes[name], _core(link)
        if not isinstance(node, LIF) or not isinstance(core.weights, Conv2d):
            raise InputError(f"population {name!r}: a convolution into LIF")
        conv, offset = core.weights, link.composition.offset()
        geometry = Geometry(
            maps_of(core.shape, link.composition.where), conv.c_out, conv.kernel_size, conv.stride, conv.padding_size,
            conv.dilation, conv.groups,
        )  # fmt: skip
        parameters = node.acting_parameters()
        if offset is not None:
            parameters["bias"] = offset
        if node.v_init is not None:
            parameters["v_init"] = node.v_init
        own = Options(node.reset, node.max_spikes, options.floor, options.policy, options.engine)
        received, weight = transmitted(trains[link.source], core), core.weight()
        spikes, call = convolution_call(
            received, weight, geometry, parameters, own, given.get(name), f"population {name!r}"
        )
        trains[name], health[name] = spikes, layer_health(spikes, call)
        if name in given:
            ran[name] = RanConvolution.captured(received, weight, geometry, parameters, spikes, own)


def _check_units(name: str, spikes: Spikes, n: int, shape: tuple[int, ...]) -> None:
    if spikes.n_units != n:
        raise InputError(f"input {name!r} has {spikes.n_units} units; the network takes {n} {shape}")


def transmitted(spikes: Spikes, core: Core) -> Spikes:
    """``spikes`` as the weights of ``core`` receive them: merged by its pools, delayed by its axons."""
    shape = core.of.in_shape
    for layer in core.before:
        if isinstance(layer, SumPool2d):
            found = layer.synapses(shape)
            units = np.full(spikes.n_units, -1)
            units[found.sources] = found.targets
            shape = layer.out_shape(shape, core.of.where)
            n = 1
            for side in shape:
                n *= side
            spikes = relabelled(spikes, units, n)
        elif isinstance(layer, Delay):
            spikes = delayed(spikes, layer.delays())
    return core.weights.transmit(spikes) if isinstance(core.weights, Dense) else spikes


def layer_health(population: Spikes, call: LayerCall) -> LayerHealth:
    """The health of a layer from its call."""
    if call.trace is None or call.measured is None:
        residual = np.zeros(population.n_units)
    else:
        spikes = call.trace.spikes
        residual = mean_residuals(spikes.units, spikes.counts, call.trace.residual, population.n_units)
    return LayerHealth(call.used, call.below_floor, torch.from_numpy(residual), call.silent)


def _fits_layer(component: Component, structure: Structure) -> bool:
    """Whether the kernel of one layer carries the component: a LIF without loop and bias, driven by dense matrices."""
    node = structure.nodes[component.names[0]]
    if component.loop or not isinstance(node, LIF) or node.v_init is not None:
        return False
    return all(_is_dense(link.composition) for link in component.links)


def _fits_convolution(component: Component, structure: Structure) -> bool:
    """Whether the component is a LIF behind one convolution, whose bias, if it has one, does not pass the synapse."""
    node = structure.nodes[component.names[0]]
    if component.loop or not isinstance(node, LIF) or len(component.links) != 1:
        return False
    composition = component.links[0].composition
    if composition.core is None or not isinstance(composition.core.weights, Conv2d):
        return False
    return not (composition.biased and node.filtered_bias)


def _is_dense(composition: Composition) -> bool:
    core = composition.core
    return not composition.biased and core is not None and not isinstance(core.weights, Conv2d)


def _core(link: Link) -> Core:
    core = link.composition.core
    if core is None:
        raise InputError(f"{link.composition.where}: its maps are neither a matrix nor a convolution")
    return core


def _where(component: Component) -> str:
    names = " and ".join(map(repr, component.names))
    return f"population{'s' if len(component.names) > 1 else ''} {names}"
