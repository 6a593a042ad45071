"""Networks that are no chains on `loihi`: as close to the exact simulation as the step allows, and no closer by accident."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError, CompileWarning
from hwloop.mapping import network_values
from hwloop.network import IF, LI, LIF, DeltaLIF, Input, Network
from hwloop.network.structure import Projection
from hwloop_fixed_point.reference import run_fixed
from hwloop_loihi import Emulator, LoihiProgram, TickSpikes, compile_loihi, convergence, encode, slope
from hwloop_loihi.sweep import candidates, choose_dt
from hwloop_loihi.timing import timings

from .graph_networks import NETWORKS, convolution, delayed, dense, inputs, loop, two

STEPS = (1e-3, 5e-4, 2e-4, 1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_spikes_approach_the_exact_ones_with_the_step(name: str) -> None:
    build, n = NETWORKS[name]
    net, given = build(), inputs(n)
    assert int(net(given).output.counts.sum()) > 20
    found = convergence(net, given, STEPS)
    # half a tick an input spike, half a tick a crossing: some ticks through three layers
    assert found[-1].float_median < 2.5 * STEPS[-1]
    assert found[-1].fixed_median < 2.5 * STEPS[-1]
    assert 0.7 < slope(STEPS, [row.float_median for row in found]) < 2.0
    assert found[-1].fixed_missed + found[-1].fixed_extra <= 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_graphs_run_by_their_specification(name: str) -> None:
    build, n = NETWORKS[name]
    program, (ticks, _) = compile_loihi(build(), 5e-4), encode(inputs(n, batch=2), 5e-4)
    found = Emulator(program.graph).run(ticks, 60).layers
    for ours, wanted in zip(found, run_fixed(program.graph, ticks.to_raster(60)), strict=True):
        np.testing.assert_array_equal(ours.to_raster(60), wanted)
        assert wanted.any()


@pytest.mark.parametrize("neurons", [IF(8, v_init=0.25), DeltaLIF(8, 10e-3), DeltaLIF(8, 10e-3, v_init=0.5)])
def test_a_membrane_that_jumps_to_the_threshold_spikes_with_its_input_spike(neurons: DeltaLIF) -> None:
    # weights of quarters are whole codes; one spike a tick, since the model takes spikes of one moment one by one
    net = two(neurons, IF(4), 0.4)
    first = net.layers[0].weight.data  # type: ignore[union-attr]
    first.copy_(torch.round(4 * first) / 4)  # type: ignore[operator,arg-type]
    rng = np.random.default_rng(0)
    ticks = [np.flatnonzero(rng.random(40) < 0.6) for _ in range(4)]
    given = hl.Spikes.from_events([(t * 1e-3, rng.integers(0, 6, len(t))) for t in ticks], 6, 50e-3, torch.float64)
    with hl.open("loihi", dt=1e-3) as device:
        device.load(hl.compile(net, device, weight_scale=[1 / 64, "max"]))
        measured = device.run(given)
    exact = net(given)
    assert int(exact[0].counts.sum()) > 50
    torch.testing.assert_close(measured[0].unit_counts(), exact[0].unit_counts())
    torch.testing.assert_close(measured[0].times, exact[0].times.detach(), atol=1e-9, rtol=0)


def test_when_spikes_act_and_are_seen() -> None:
    times = timings(network_values(loop()))
    assert [timing.arrives for timing in times] == [0.0, 0.5, 1.0]
    assert [timing.late for timing in times] == [0.5, 1.0, 1.5]
    # of a: the input in time, b a whole tick seen late, itself half a tick
    assert [sorted(set(timing.shift.tolist())) for timing in times if timing.shift is not None] == [
        [-1.0, -0.5, 0.0],
        [0.0],
        [0.0, 1.0],
    ]
    late = [timing.late for timing in timings(network_values(two(IF(8), LIF(4, 10e-3, 5e-3))))]
    assert late == [1.0, 1.5]


def test_a_delay_round_a_loop_takes_its_ticks_but_one_at_least() -> None:
    def delays(back: float, own: float) -> list[int]:
        layer = compile_loihi(loop(back, own), 1e-3).graph.layers[0]
        assert layer.synapses.delay is not None
        block = {-1: 0, 1: 6, 0: 12}
        assert [(b.source, b.size) for b in layer.blocks] == [(-1, 6), (1, 6), (0, 8)]
        return [int(layer.synapses.delay[0, block[source]]) + 1 for source in (1, 0)]

    assert delays(0.5e-3, 1e-3) == [1, 1]
    assert delays(3e-3, 2e-3) == [3, 2]
    assert delays(3.4e-3, 2.4e-3) == [3, 3]  # half a tick of those of a itself is seen late


def test_an_edge_that_closes_a_loop_too_soon_is_told() -> None:
    with pytest.warns(
        CompileWarning, match=r"projections into 'a': spikes that come round a loop act up to 0.001 s later"
    ):
        program = hl.compile(loop(0.0, 1e-3), hl.open("loihi", dt=1e-3))
    assert "a delay of 0.001 s or more" in program.warnings[0]
    assert "acts on the way back at tick t + 1 at the earliest" in program.notes[0]
    assert not compile_loihi(loop(1e-3, 1e-3), 1e-3).warnings


def test_a_skip_connection_waits_for_the_way_around() -> None:
    program = compile_loihi(loop(), 1e-3)
    out = program.graph.layers[2]
    assert [block.source for block in out.blocks] == [1, -1]
    assert out.synapses.delay is not None
    assert [int(out.synapses.delay[0, column]) for column in (0, 6)] == [0, 1]


def test_a_device_reports_and_runs_a_graph_by_its_names() -> None:
    net, given = loop(), inputs(6)
    with hl.open("loihi", dt=5e-4) as device:
        program = hl.compile(net, device)
        device.load(program)
        measured = device.run(given)
        assert hl.compile(net, device, like=program).digest == program.digest
    assert isinstance(program, LoihiProgram)
    assert len(measured) == 3
    assert [fit.population for fit in program.report().fits] == [0, 1, 2]
    health = net(given, measured=measured).health
    assert health is not None


def test_convolutions_are_few_synapses() -> None:
    program = compile_loihi(convolution(), 5e-4)
    assert [row.synapses for row in program.report().layers] == [3 * 16 * 4, 2 * 3 * 16, 6]
    emulator = Emulator(program.graph)
    assert len(emulator._layers[0].forward.pointer) == 26


def test_steps_are_chosen_for_graphs() -> None:
    assert candidates(loop())[0] == pytest.approx(4e-3 / 5, rel=0.1)
    choice = choose_dt(loop(), inputs(6, batch=2), steps=[1e-3, 2e-4])
    assert choice.dt == 2e-4


def readout() -> Network:
    nodes = {"in": Input(6), "a": LIF(4, 10e-3, 5e-3).double(), "r": LI(2, 10e-3, 5e-3).double()}
    return Network.graph(
        nodes, [Projection("in", "a", dense(6, 4, 0, 1.0, 0.1)), Projection("a", "r", dense(4, 2, 1, 1.0, 0.1))]
    )


@pytest.mark.parametrize(
    ("net", "layer", "message"),
    [
        (readout, "population 'r' (LI)", "populations that spike"),
        (lambda: two(LIF(8, 10e-3, 5e-3, t_ref=1e-3), IF(4)), "population '0' (LIF)", "t_ref = 0"),
        (lambda: two(DeltaLIF(8, 10e-3, reset="subtract"), IF(4)), "population '0' (DeltaLIF)", "reset 'value'"),
        (lambda: two(IF(8, max_spikes=1), IF(4)), "population '0' (IF)", "no cap"),
        (lambda: two(IF(8), LIF(4, 0.4e-3, 5e-3)), "population '1' (LIF)", "time constants of at least one step"),
        (lambda: two(DeltaLIF(8, [1e-2] * 7 + [2e-2]), IF(4)), "population '0' (DeltaLIF)", "one tau_mem for all"),
        (lambda: loop(0.1), "projections into 'a'", "delays up to"),
    ],
)
def test_what_is_not_carried_is_refused_by_its_name(net: object, layer: str, message: str) -> None:
    with pytest.raises(CompileError, match=message) as caught:
        compile_loihi(net(), 5e-4)  # type: ignore[operator]
    assert caught.value.layer == layer


def test_a_start_beyond_the_register_is_refused_with_a_scale_that_was_tried() -> None:
    net = two(LIF(8, 10e-3, 5e-3, v_init=-900.0), LIF(4, 10e-3, 5e-3))
    with pytest.raises(CompileError, match="currents and membranes of 24 bits at time 0") as caught:
        compile_loihi(net, 1e-3)
    assert caught.value.layer == "population '0' (LIF)"
    assert caught.value.fix.startswith("compile with weight_scale=[")
    rules = caught.value.fix.partition("weight_scale=")[2].partition("]")[0] + "]"
    first = float(rules.strip("[]").split(",")[0])
    compile_loihi(net, 1e-3, weight_scale=[first, "max"])


def test_delays_of_each_synapse_that_lie_on_ticks_are_kept() -> None:
    net = delayed()
    with torch.no_grad():
        net.layers[0].delay.copy_(torch.round(net.layers[0].delay / 1e-3) * 1e-3)  # type: ignore[operator,union-attr,arg-type]
    program = compile_loihi(net, 1e-3)
    assert not program.warnings
    delay = program.graph.layers[0].synapses.delay
    np.testing.assert_allclose(delay * 1e-3, net.layers[0].delay.numpy(), atol=1e-12)  # type: ignore[operator,union-attr]


def test_a_row_of_layers_as_a_graph_runs_as_the_chain_does() -> None:
    layers = [
        dense(6, 8, 1, 0.9, 0.3),
        LIF(8, 10e-3, 5e-3).double(),
        dense(8, 4, 2, 0.9, 0.2),
        LIF(4, 10e-3, 5e-3).double(),
    ]
    chain = Network(layers)
    graph = Network.graph(
        {"in": Input(6), "a": layers[1], "b": layers[3]},  # type: ignore[dict-item]
        [Projection("in", "a", layers[0]), Projection("a", "b", layers[2])],  # type: ignore[arg-type]
    )
    ticks, _ = encode(inputs(6), 5e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs = [Emulator(compile_loihi(net, 5e-4).graph).run(ticks, 80).layers for net in (chain, graph)]
    for a, b in zip(*runs, strict=True):
        assert isinstance(a, TickSpikes)
        np.testing.assert_array_equal(a.to_raster(80), b.to_raster(80))
