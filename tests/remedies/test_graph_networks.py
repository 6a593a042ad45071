"""Graphs of populations: how they are built, what targets carry of them, and how they run there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hwloop as hl
from hwloop import membrane_losses
from hwloop.device.registry import find
from hwloop.errors import CompileError
from hwloop.mapping import Capabilities, compile_network
from hwloop.mapping.constraints import LayerValues
from hwloop.network.composition import Transmission
from hwloop_emulator import EmulatorTarget, Preset
from hwloop_emulator.many.device import Population as Chips

from .support import Case

TAUS: dict[str, Any] = {"tau_mem": 10e-3, "tau_syn": 5e-3}
INPUTS = hl.Spikes.from_first_times(torch.full((2, 3), 1e-3), 5e-2)
LONG = hl.Spikes.from_first_times(torch.full((2, 3), 1e-3), 6e-2)
CHIP = {"name": "chip", "n_neurons": 100, "fan_in": 100}


def lif(n: Any = 2, **options: Any) -> hl.LIF:
    return hl.LIF(n, **{**TAUS, **options})


def dense(n_in: int = 3, n_out: int = 2, **options: Any) -> hl.Dense:
    return hl.Dense(n_in, n_out, **options).init_normal_(2.0, 0.1)


def graph(nodes: dict[str, Any] | None = None, links: Any = None, **options: Any) -> hl.Network:
    nodes = {"in": hl.Input(3), "a": lif()} if nodes is None else nodes
    return hl.Network.graph(nodes, [hl.Projection("in", "a", dense())] if links is None else links, **options)


def chain(*layers: nn.Module, **options: Any) -> hl.Network:
    return hl.Network(list(layers), **options)


def two_inputs() -> hl.Network:
    return graph(
        {"x": hl.Input(3), "y": hl.Input(3), "a": lif()},
        [hl.Projection("x", "a", dense()), hl.Projection("y", "a", dense())],
    )


def looped(n: int = 2, **options: Any) -> hl.Network:
    links = [
        hl.Projection("in", "a", dense(n_out=n)),
        hl.Projection("a", "a", dense(n, n, **options).init_normal_(-0.2, 0.01)),
    ]
    return graph({"in": hl.Input(3), "a": lif(n)}, links)


def readout() -> hl.Network:
    return graph({"in": hl.Input(3), "a": hl.LI(2, 1e-2, 5e-3)})


def biased(**options: Any) -> hl.Network:
    return chain(dense(bias=True), lif(**options))


def replaced(twin: bool) -> Any:
    """Layers of a network that are replaced; ``twin``: of one whose synapses act as a device's do."""
    net = looped()
    if twin:
        net.structure.links[0].composition.transmission = Transmission(torch.ones(6))
    net.projections[0].maps[0] = dense()  # type: ignore[union-attr, operator, index]
    return net(INPUTS)


def for_chip(net: hl.Network, **limits: Any) -> Any:
    return compile_network(net, Capabilities(**{**CHIP, **limits}))


def small(neurons: int, fan_in: int = 8, joined: int = 4, **more: Any) -> EmulatorTarget:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    limits = {"n_neurons": neurons, "fan_in": fan_in, "joined": joined, **more}
    data["limits"].update({name: {"value": value, "source": "test"} for name, value in limits.items()})
    return EmulatorTarget("7", preset=Preset.model_validate(data), session=0)


def run(net: hl.Network, target: EmulatorTarget, given: Any = INPUTS, **options: Any) -> hl.Recording:
    with target.open() as device:
        device.load(hl.compile(net, device, **options))
        return device.run(given)


def membrane(net: hl.Network, **options: Any) -> Any:
    with small(4, membrane_channels=2).open() as device:
        device.load(hl.compile(net, device, **options))
        return device.read_membrane(INPUTS, 0, np.arange(1), np.array([1e-3]))


def sampled(device: Any, inputs: hl.Spikes | None = None) -> Any:
    return device.read_membrane(inputs or INPUTS, 0, np.arange(1), np.array([1e-3]))


def in_pieces(use: Callable[[Any, Any], Any]) -> Any:
    """What ``use`` makes of a device that holds a program in pieces, and of the program."""
    with small(4, membrane_channels=2).open() as device:
        program = hl.compile(chain(dense(), lif(), dense(2, 4), lif(4)), device, partition=True)
        device.load(program)
        return use(device, program)


def piece_by_piece(device: Any, program: Any) -> bool:
    found = []
    for piece in program.pieces:
        device.load(piece.program)
        found.append(sampled(device, hl.Spikes.from_events([([1e-3], [0])], piece.program.n_in, 0.03)).shape)
    return len(found) > 1 and set(found) == {(1, 1, 1)}


def compared(net: hl.Network, record: hl.Record) -> Any:
    return hl.compare(record, record, net=net)


def differing() -> hl.Record:
    """A record of two populations, of which none is driven by the inputs of another network."""
    return looped()(INPUTS)


MAPS = {"in_shape": (1, 4, 4)}

CHAINS = [
    Case("chain_of", "layer {} is {}; expected maps (Dense,", lambda: chain(dense(), nn.ReLU()), lambda: chain(dense(), lif())),
    Case("chain_of", "layer 0 is {}; expected Dense or another map", lambda: chain(lif()), lambda: chain(dense(), lif())),
    Case("chain_of", "layer {} is {}; expected Dense or another map", lambda: chain(dense(), lif(), lif()),
         lambda: chain(dense(), lif(), dense(2), lif())),
    Case("chain_of", "a network of {} layers; expected maps and populations", lambda: chain(dense()), lambda: chain(dense(), lif())),
    Case("chain_of", "{} has {} outputs, the {} after it {} neurons", lambda: chain(dense(), lif(3)), lambda: chain(dense(), lif(2))),
    Case("_in_shape", "give in_shape, as in Network(layers, in_shape=(1, 28, 28))", lambda: chain(hl.Conv2d(1, 2, 3), lif((2, 2, 2))),
         lambda: chain(hl.Conv2d(1, 2, 3), lif((2, 2, 2)), **MAPS)),
    Case("chain._fits", "Dense takes {} inputs, the LIF before it has {} neurons", lambda: chain(dense(), lif(), dense(3), lif()),
         lambda: chain(dense(), lif(), dense(2), lif())),
]  # fmt: skip

BUILDING = [
    Case("check_graph", "nodes is {}; allowed: names and their Input or population", lambda: graph([hl.Input(3)]), graph),  # type: ignore[arg-type]
    Case("check_graph", "a node is called {}; allowed: a name, as text", lambda: graph({1: hl.Input(3)}), graph),  # type: ignore[dict-item]
    Case("check_graph", "node {} is {}; allowed: Input, LIF, DeltaLIF, IF, LI", lambda: graph({"in": dense()}), graph),
    Case("check_graph", "one population stands under two names", lambda: graph(dict.fromkeys(("a", "b"), lif())), graph),
    Case("check_graph", "projection {} is {}; allowed: Projection(source, target, maps)", lambda: graph(links=[dense()]), graph),
    Case("Projection.__init__", "map {} is {}; allowed: Dense, Conv2d", lambda: hl.Projection("in", "a", nn.Linear(3, 2)),  # type: ignore[arg-type]
         lambda: hl.Projection("in", "a", dense())),
    Case("structure_of", "a graph of {} inputs and {} populations; allowed: at least one of each", lambda: graph({"a": lif()}, []), graph),
    Case("structure_of", "has no projection into it; add one, or leave the population out",
         lambda: graph({"in": hl.Input(3), "a": lif(), "b": lif()}),
         (graph, lambda: graph({"in": hl.Input(3), "a": lif(), "b": lif()},
                               [hl.Projection("in", "a", dense()), hl.Projection("a", "b", dense(2))]))),
    Case("structure._link", "no node {}; there are {}", lambda: graph(links=[hl.Projection("x", "a", dense())]), graph),
    Case("structure._link", "is an input, which nothing drives", lambda: graph(links=[hl.Projection("a", "in", dense(2, 3))]), graph),
    Case("structure._link", "does not spike and drives nothing; allowed: an input or a spiking population",
         lambda: graph({"in": hl.Input(3), "a": hl.LI(2, 1e-2), "b": lif()},
                       [hl.Projection("in", "a", dense()), hl.Projection("a", "b", dense(2))]), graph),
    Case("structure._link", "the maps answer {}, {} has {}; allowed: equal numbers of units",
         lambda: graph(links=[hl.Projection("in", "a", dense(3, 4))]), graph),
    Case("structure._output", "output = {}; allowed: a population", lambda: graph(output="in"), lambda: graph(output="a")),
    Case("structure._output", "populations drive no other ({}); name the output",
         lambda: graph({"in": hl.Input(3), "a": lif(), "b": lif()}, [hl.Projection("in", x, dense()) for x in "ab"]),
         lambda: graph({"in": hl.Input(3), "a": lif(), "b": lif()}, [hl.Projection("in", x, dense()) for x in "ab"], output="b")),
    Case("Network.blocks", "Allowed: such a chain, without bias, synaptic delays and v_init", lambda: graph().blocks,
         lambda: chain(dense(), lif()).blocks),
]  # fmt: skip

MAPPED = [
    Case("Conv2d.__init__", "groups = {}; allowed: a number that divides", lambda: hl.Conv2d(2, 3, 3, groups=2), lambda: hl.Conv2d(2, 4, 3, groups=2)),
    Case("Conv2d.out_shape", "build Conv2d({}, ...)", lambda: chain(hl.Conv2d(2, 1, 3), lif((1, 2, 2)), **MAPS),
         lambda: chain(hl.Conv2d(1, 1, 3), lif((1, 2, 2)), **MAPS)),
    Case("Conv2d.out_shape", "give it larger maps or padding", lambda: chain(hl.Conv2d(1, 1, 5), lif((1, 1, 1)), **MAPS),
         (lambda: chain(hl.Conv2d(1, 1, 5), lif((1, 1, 1)), in_shape=(1, 5, 5)),
          lambda: chain(hl.Conv2d(1, 1, 5, padding=2), lif((1, 4, 4)), **MAPS))),
    Case("SumPool2d.__init__", "allowed: at most half the kernel {}", lambda: hl.SumPool2d(2, padding=2), lambda: hl.SumPool2d(2, padding=1)),
    Case("SumPool2d.out_shape", "allowed: larger maps, a smaller one", lambda: chain(hl.SumPool2d(5), hl.Flatten(), dense(1), lif(), **MAPS),
         (lambda: chain(hl.SumPool2d(5), hl.Flatten(), dense(1), lif(), in_shape=(1, 5, 5)),
          lambda: chain(hl.SumPool2d(4), hl.Flatten(), dense(1), lif(), **MAPS))),
    Case("Dense.out_shape", "build Dense({}, ...)", lambda: graph(links=[hl.Projection("in", "a", dense(4))]), graph),
    Case("dense._delay", "allowed: one number, ({},) of the input units, or ({}, {}) of the synapses", lambda: dense(delay=torch.zeros(3, 2)),
         (lambda: dense(delay=1e-3), lambda: dense(delay=torch.zeros(3)), lambda: dense(delay=torch.zeros(2, 3)))),
    Case("Scale.__init__", "a factor is NaN or infinite", lambda: hl.Scale(2, float("nan")), lambda: hl.Scale(2, 0.5)),
    Case("Sparse.__init__", "allowed: one of each a synapse", lambda: hl.Sparse(2, 2, [0, 1], [0], 1.0), lambda: hl.Sparse(2, 2, [0, 1], [0, 0], 1.0)),
    Case("check_delays", "delay {} = {} s; allowed: finite and >= 0 s", lambda: hl.Delay(2, -1e-3), lambda: hl.Delay(2, 0.0)),
    Case("_of_n", "build {}({}, ...)", lambda: graph(links=[hl.Projection("in", "a", [hl.Delay(2, 0.0), dense()])]),
         lambda: graph(links=[hl.Projection("in", "a", [hl.Delay(3, 0.0), dense()])])),
    Case("elementwise._numbers", "allowed: a row of whole numbers", lambda: hl.Sparse(2, 2, [0.5], [0], 1.0), lambda: hl.Sparse(2, 2, [1], [0], 1.0)),
    Case("elementwise._numbers", "Sparse: {} {}..{}; allowed: 0..{}", lambda: hl.Sparse(2, 2, [2], [0], 1.0), lambda: hl.Sparse(2, 2, [1], [0], 1.0)),
    Case("LinearMap.forward", "put it into one: net = hl.Network", lambda: hl.Flatten()(torch.zeros(2)),
         lambda: chain(hl.Flatten(), dense(16), lif(), **MAPS)),
    Case("as_shape", "allowed: a whole number, or (channels, height, width)", lambda: hl.Input((2, 3)), (lambda: hl.Input(6), lambda: hl.Input((1, 2, 3)))),
    Case("linear_map.pair", "allowed: a whole number >= {}, or two", lambda: hl.SumPool2d((1, 2, 3)), (lambda: hl.SumPool2d(2), lambda: hl.SumPool2d((1, 2)))),
    Case("maps_of", "Give the population or input before it such a shape", lambda: chain(hl.Conv2d(1, 1, 3), lif((1, 2, 2)), in_shape=16),
         lambda: chain(hl.Conv2d(1, 1, 3), lif((1, 2, 2)), **MAPS)),
    Case("Population.hold", "requires grad, but is no parameter of the layer", lambda: hl.IF(2, v_th=torch.ones(2, requires_grad=True)),
         (lambda: hl.IF(2, v_th=nn.Parameter(torch.ones(2))), lambda: hl.IF(2, v_th=torch.ones(2, requires_grad=True).detach()))),
    Case("DeltaLIF.check", "t_ref = {} s; allowed: >= 0", lambda: hl.IF(2, t_ref=-1e-3), lambda: hl.IF(2, t_ref=0.0)),
    Case("DeltaLIF.check", "allowed: v_th > v_reset", lambda: hl.IF(2, v_reset=1.0), lambda: hl.IF(2, v_reset=0.5)),
    Case("check_values", "{} = {}; allowed: finite{}", lambda: hl.DeltaLIF(2, 0.0), lambda: hl.DeltaLIF(2, 1e-3)),
    Case("of_units", "allowed: one number, or one value for each of {} neurons", lambda: lif(v_th=[1.0, 1.0, 1.0]), (lif, lambda: lif(v_th=[1.0, 1.0]))),
]  # fmt: skip

RUNNING = [
    Case("check_named", "allowed: Spikes by name, {}", lambda: two_inputs()(INPUTS), lambda: two_inputs()({"x": INPUTS, "y": INPUTS})),
    Case("check_named", "the input has {}; allowed: {}, as {}", lambda: two_inputs()({"x": INPUTS}), lambda: two_inputs()({"x": INPUTS, "y": INPUTS})),
    Case("check_named", "input {} is {}; allowed: Spikes", lambda: two_inputs()({"x": INPUTS, "y": torch.zeros(2, 3)}),
         lambda: two_inputs()({"x": INPUTS, "y": INPUTS})),
    Case("check_named", "{}, {} s; allowed: equal ones", lambda: two_inputs()({"x": INPUTS, "y": LONG}), lambda: two_inputs()({"x": LONG, "y": LONG})),
    Case("running._check_units", "units; the network takes {} {}", lambda: graph({"in": hl.Input(4), "a": lif()}, [hl.Projection("in", "a", dense(4))])(INPUTS),
         lambda: graph()(INPUTS)),
    Case("Network._current", "allowed: replace it in the network, and make its twin again", lambda: replaced(twin=True), lambda: replaced(twin=False)),
    Case("Runner._given", "the measurement has {} populations; the network has {}",
         lambda: looped()(INPUTS, measured=chain(dense(), lif(), dense(2), lif())(INPUTS)), lambda: looped()(INPUTS, measured=looped()(INPUTS))),
    Case("Network._run_chain", "the measurement has {} populations; the network has {}",
         lambda: chain(dense(), lif())(INPUTS, measured=chain(dense(), lif(), dense(2), lif())(INPUTS)),
         lambda: chain(dense(), lif())(INPUTS, measured=chain(dense(), lif())(INPUTS))),
    Case("Record.output", "read record.readouts[{}]: its .maximum(), .integral() or .at(times)", lambda: readout()(INPUTS).output,
         (lambda: readout()(INPUTS).readouts["a"].maximum(), lambda: readout()(INPUTS).readouts["a"].integral(),
          lambda: readout()(INPUTS).readouts["a"].at(torch.tensor([1e-3])))),
    Case("Record.__getitem__", "no spiking population is called {}; there are: {}", lambda: graph()(INPUTS)["b"], lambda: graph()(INPUTS)["a"]),
    Case("membranes_of", "allowed: a network whose output is hl.LI, or a loss or decision on spikes",
         lambda: hl.losses.predict(graph()(INPUTS), "maximum"),  # type: ignore[attr-defined]
         (lambda: hl.losses.predict(readout()(INPUTS), "maximum"), lambda: hl.losses.predict(graph()(INPUTS), "count"))),  # type: ignore[attr-defined]
    Case("SampledMembrane.__post_init__", "allowed: at least one, finite and >= 0", lambda: membrane_losses.SampledMembrane([-1e-3]),  # type: ignore[arg-type]
         lambda: membrane_losses.SampledMembrane([0.0])),  # type: ignore[arg-type]
    Case("membrane_losses._positive", "allowed: finite and > 0 (membrane units)", lambda: membrane_losses.MembraneMaximum(0.0),
         lambda: membrane_losses.MembraneMaximum(0.1)),
    Case("without_reset", "allowed: spiking neurons with a leak, LIF or DeltaLIF",
         lambda: hinge(graph({"in": hl.Input(3), "a": hl.IF(2, v_th=99.0)})), lambda: hinge(graph({"in": hl.Input(3), "a": lif(v_th=99.0)}))),
    Case("readouts.trains_of", "the record holds no inputs, which membranes need; record them", lambda: hinge(silent(), inputs=False),
         lambda: hinge(silent())),
    Case("Exact.check", "Give the neurons a synaptic current (LIF), or keep those weights",
         lambda: hl.rules.Exact().check(graph({"in": hl.Input(3), "a": hl.IF(2)})),  # type: ignore[attr-defined]
         (lambda: hl.rules.Exact().check(graph()), lambda: hl.rules.Exact().check(graph({"in": hl.Input(3), "a": hl.IF(2)}).requires_grad_(False)))),  # type: ignore[attr-defined]
]  # fmt: skip


def silent() -> hl.Network:
    return graph({"in": hl.Input(3), "m": lif(v_th=99.0), "a": lif(v_th=99.0)},
                 [hl.Projection("in", "a", dense()), hl.Projection("in", "m", dense()), hl.Projection("m", "a", dense(2))])  # fmt: skip


def hinge(net: hl.Network, inputs: bool = True) -> Any:
    record = net(INPUTS)
    if not inputs:
        record = hl.Record(record.populations, None, names=record.names)
    return hl.losses.SilentHinge(-1)(net, record, torch.tensor([0, 1]))  # type: ignore[attr-defined]


COMPILING = [
    Case("_check_graph", "populations of {}",
         lambda: for_chip(chain(dense(), hl.IF(2))), (lambda: for_chip(chain(dense(), lif())), lambda: for_chip(chain(dense(), hl.IF(2)), populations=("IF",)))),
    Case("_check_graph", "build the network as a chain, or choose a target that carries graphs", lambda: for_chip(skipping()),
         (lambda: for_chip(chain(dense(), lif(), dense(2), lif())), lambda: find("emulator:0", preset="ideal").compile(skipping()))),
    Case("_check_graph", "build the network without loops, or choose a target that has them", lambda: for_chip(looped(), graphs=True),
         (lambda: for_chip(graph(), graphs=True), lambda: for_chip(looped(), recurrent=True))),
    Case("_check_graph", "give Dense a delay of shape (n_in,)", lambda: for_chip(chain(dense(delay=torch.full((2, 3), 1e-3)), lif()), delays=True),
         lambda: for_chip(chain(dense(delay=torch.full((3,), 1e-3)), lif()), delays=True)),
    Case("_check_graph", "build the layers without {}", lambda: for_chip(chain(dense(), lif(v_init=0.1))), lambda: for_chip(chain(dense(), lif()))),
    Case("graph_values", "let the output spike (LIF), or leave the readout out", lambda: for_chip(readout()), lambda: for_chip(graph())),
    Case("graph._delay", "give each path a projection of its own", lambda: for_chip(twice(True), delays=True, synaptic_delays=True, graphs=True),
         lambda: for_chip(twice(False), delays=True, synaptic_delays=True, graphs=True)),
    Case("device._checked", "build the population with filtered_bias=False, or choose preset='ideal'",
         lambda: find("emulator:0", preset="bss2").compile(biased(filtered_bias=True)),
         (lambda: find("emulator:0", preset="bss2").compile(biased()), lambda: find("emulator:0", preset="ideal").compile(biased(filtered_bias=True)))),
    Case("_check_loop", "build the loop of populations that need {} circuits less, or mask fewer neurons",
         lambda: hl.compile(looped(8), small(10, 8), mask=[1, 2, 3], partition=True),
         (lambda: hl.compile(looped(3), small(10, 8), mask=[1, 2, 3], partition=True), lambda: hl.compile(looped(5), small(10, 8), partition=True))),
    Case("_partitioning", "leave partition out, or choose 'emulator'", lambda: hl.compile(chain(dense(), lif()), find("loihi"), partition=True),
         lambda: hl.compile(chain(dense(), lif()), find("emulator:0"), partition=True)),
]  # fmt: skip


def skipping() -> hl.Network:
    return graph({"in": hl.Input(3), "m": lif(), "a": lif()},
                 [hl.Projection("in", "a", dense()), hl.Projection("in", "m", dense()), hl.Projection("m", "a", dense(2))])  # fmt: skip


def twice(one: bool) -> hl.Network:
    """Two synapses between two units with delays of their own, in one projection or in two."""
    both = [hl.Sparse(3, 2, [0, 0], [1, 1], 1.0, delay=[1e-3, 2e-3])]
    each = [hl.Sparse(3, 2, [0], [1], 1.0, delay=delay) for delay in (1e-3, 2e-3)]
    return graph(links=[hl.Projection("in", "a", maps) for maps in (both if one else each)])


ON_CHIPS = [
    Case("base.together", "the inputs are {}; those of the program: {}", lambda: run(two_inputs(), small(4), {"x": INPUTS}),
         lambda: run(two_inputs(), small(4), {"x": INPUTS, "y": INPUTS})),
    Case("EmulatorDevice.read_membrane", "load one of them, program.pieces[0].program and so on, or compare spikes",
         lambda: in_pieces(lambda device, program: sampled(device)), (lambda: in_pieces(piece_by_piece), lambda: in_pieces(lambda device, program: device.run(INPUTS)))),
    Case("EmulatorDevice.read_membrane", "read another, or compare its spikes", lambda: membrane(chain(dense(), hl.IF(2), dense(2), lif())),
         lambda: membrane(chain(dense(), lif(), dense(2), hl.IF(2)))),
    Case("Population.run", "open the chips one by one, or compile a smaller network without partition",
         lambda: many(6), (lambda: many(2), lambda: run(chain(dense(n_out=6), lif(6)), small(4), partition=True))),
    Case("targets_of", "calibrate for a network of LIF", lambda: targets(hl.IF(2)), lambda: targets(lif())),
    Case("influence._of_graph", "net has populations of {} neurons", lambda: compared(looped(3), looped()(INPUTS)), lambda: compared(looped(), looped()(INPUTS))),
    Case("influence._of_graph", "net takes {} inputs, the records hold {}",
         lambda: compared(graph({"in": hl.Input(4), "a": lif()}, [hl.Projection("in", "a", dense(4))]), looped()(INPUTS)),
         lambda: compared(looped(), looped()(INPUTS))),
]  # fmt: skip


def many(n: int) -> Any:
    target = small(4)
    program = hl.compile(chain(dense(n_out=n), lif(n)), target, partition=True)
    return list(Chips([1], preset=target.preset).run(program, INPUTS))


def targets(node: Any) -> Any:
    from hwloop_calibration.characterise.bench import targets_of

    target = small(4)
    with target.open() as device:
        return targets_of(hl.compile(chain(dense(), node), target), device)


@pytest.mark.parametrize("case", [*CHAINS, *BUILDING, *MAPPED, *RUNNING, *COMPILING, *ON_CHIPS], ids=str)
def test_what_a_message_about_a_graph_says_is_accepted(case: Case) -> None:
    case.follow()


def test_a_population_that_a_target_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(CompileError, match=r"population .*IF.*build it of LIF"):
        for_chip(chain(dense(), hl.IF(2)))


def test_layers_are_called_as_they_are_in_a_chain_and_by_name_in_a_graph() -> None:
    values = {"weight": np.zeros((1, 1)), "parameters": {}, "reset": "value", "max_spikes": None, "delay": None}
    assert LayerValues(**values, index=1).neurons_at == "layer 3 (LIF)"  # type: ignore[arg-type]
    assert LayerValues(**values, name="a", kind="IF").neurons_at == "population 'a' (IF)"  # type: ignore[arg-type]
