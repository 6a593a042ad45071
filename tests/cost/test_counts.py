"""Counts are those of the recorded spikes, event by event, whatever the network is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.cost import cost_of
from hwloop.errors import InputError
from hwloop.training import fit
from tests.cli_runs import TINY

from .plain_counts import Counts, Delay, counted, ways_of_network, ways_of_program


def found(cost: hl.Cost) -> list[Counts]:
    return [Counts(part.effective, part.connected, part.updates, part.spikes) for part in cost.populations]


@pytest.fixture(scope="module")
def trained() -> tuple[hl.Network, hl.Spikes]:
    """The Yin-Yang network, trained, some of its weights pruned; and test samples."""
    task, net = TINY.build_task(), TINY.build_network()
    fit(net, task, TINY.build_loss(), **TINY.fit_options())
    with torch.no_grad():
        weight = net.blocks[0][0].weight
        weight[weight.abs() < weight.abs().quantile(0.2)] = 0.0
    return net, task.test.inputs[:12]


def test_a_trained_network_in_simulation(trained: tuple[hl.Network, hl.Spikes]) -> None:
    net, inputs = trained
    with torch.no_grad():
        record = net(inputs)
    cost = cost_of(record, net)
    expected = counted(record, ways_of_network(net, {}))
    assert found(cost) == expected
    assert expected[0].spikes > 20
    assert expected[0].effective < expected[0].connected
    assert cost.operations.effective == sum(part.effective for part in expected)
    assert cost.operations.dense is None
    assert cost.input_spikes == int(inputs.counts.sum())


def test_a_trained_network_on_an_analog_chip(trained: tuple[hl.Network, hl.Spikes]) -> None:
    net, inputs = trained
    with hl.open("emulator:7", preset="bss2") as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        recording = chip.run(inputs)
    cost = cost_of(recording, program)
    assert found(cost) == counted(recording, ways_of_program(program))
    assert cost.operations.effective < cost.operations.connected  # codes that rounding made zero


def test_a_clocked_target_updates_every_neuron_at_every_step(trained: tuple[hl.Network, hl.Spikes]) -> None:
    net, inputs = trained
    with hl.open("loihi", dt=2e-4) as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        recording = chip.run(inputs)
    cost = cost_of(recording, program)
    expected = counted(recording, ways_of_program(program))
    assert [part._replace(updates=0) for part in found(cost)] == [part._replace(updates=0) for part in expected]
    steps = program.graph.n_ticks(inputs.t_stop)
    assert cost.steps == steps
    assert cost.operations.updates == 12 * steps * 13
    assert cost.operations.dense == 12 * steps * (5 * 10 + 10 * 3)


def spikes(n_units: int, seed: int = 0, events: int = 12, samples: int = 3) -> hl.Spikes:
    """Inputs at whole milliseconds: several come at one time."""
    rng = np.random.default_rng(seed)
    rows = [(np.sort(rng.integers(0, 20, events)) * 1e-3, rng.integers(0, n_units, events)) for _ in range(samples)]
    return hl.Spikes.from_events(rows, n_units, 25e-3, dtype=torch.float64)


def lif(n: int | tuple[int, ...], **options: float) -> hl.LIF:
    return hl.LIF(n, 10e-3, 5e-3, **options)


def filled(net: hl.Network) -> hl.Network:
    """With weights that make neurons fire, every fifth of them zero."""
    net = net.double()
    with torch.no_grad():
        for k, parameter in enumerate(p for p in net.parameters() if p.ndim > 1 or p.numel() > 4):
            values = 3.0 + 4.0 * torch.cos(1.3 * torch.arange(parameter.numel()) + k)
            values[::5] = 0.0
            parameter.copy_(values.reshape(parameter.shape))
    return net


def convolution() -> tuple[hl.Network, dict[tuple[str, str], Delay]]:
    layers = [hl.Conv2d(1, 2, 3, padding=1), lif((2, 6, 6)), hl.SumPool2d(2), hl.Conv2d(2, 2, 2), lif((2, 2, 2)),
              hl.AvgPool2d(2, 1), hl.Flatten(), hl.Dense(2, 3), lif(3)]  # fmt: skip
    return filled(hl.Network(layers, in_shape=(1, 6, 6))), {}


def sparse() -> tuple[hl.Network, dict[tuple[str, str], Delay]]:
    sources, targets = [0, 0, 1, 2, 4, 4, 3, 1, 1, 30], [0, 3, 1, 2, 0, 2, 3, 0, 0, 1]  # 1 -> 0 twice
    weight = torch.full((10,), 8.0)
    weight[3] = 0.0
    return hl.Network([hl.Sparse(36, 4, sources, targets, weight), lif(4), hl.Dense(4, 2), lif(2)]).double(), {}


def axonal() -> tuple[hl.Network, dict[tuple[str, str], Delay]]:
    delay = torch.linspace(0.0, 8e-3, 36, dtype=torch.float64)
    net = filled(hl.Network([hl.Dense(36, 4, delay=delay), lif(4), hl.Dense(4, 2), lif(2)]))
    return net, {first_link(net): lambda target, source: float(delay[source])}


def synaptic() -> tuple[hl.Network, dict[tuple[str, str], Delay]]:
    delay = (torch.arange(4 * 36, dtype=torch.float64).reshape(4, 36) % 7) * 1e-3
    net = filled(hl.Network([hl.Dense(36, 4, delay=delay), lif(4), hl.Dense(4, 2), lif(2)]))
    return net, {first_link(net): lambda target, source: float(delay[target, source])}


def first_link(net: hl.Network) -> tuple[str, str]:
    link = net.structure.links[0]
    return link.source, link.target


def loops() -> tuple[hl.Network, dict[tuple[str, str], Delay]]:
    nodes = {
        "a": hl.Input(20),
        "b": hl.Input(16),
        "hidden": lif(5),
        "side": hl.IF(3),
        "out": lif(2),
        "read": hl.LI(2, 10e-3, 5e-3),
    }
    projections = [
        hl.Projection("a", "hidden", hl.Dense(20, 5)), hl.Projection("b", "hidden", hl.Dense(16, 5)),
        hl.Projection("hidden", "hidden", hl.Dense(5, 5, delay=2e-3)), hl.Projection("hidden", "side", hl.Dense(5, 3)),
        hl.Projection("side", "hidden", hl.Dense(3, 5)), hl.Projection("hidden", "out", hl.Dense(5, 2)),
        hl.Projection("b", "out", hl.Dense(16, 2)), hl.Projection("side", "read", hl.Dense(3, 2)),
    ]  # fmt: skip
    net = filled(hl.Network.graph(nodes, projections, output="out"))
    with torch.no_grad():
        for projection in projections[2:5]:
            projection.maps[0].weight.mul_(0.02)
    return net, {("hidden", "hidden"): lambda target, source: 2e-3}


@pytest.mark.parametrize("made", [convolution, sparse, axonal, synaptic, loops])
def test_networks_of_every_kind(made: object) -> None:
    net, delays = made()  # type: ignore[operator]
    with torch.no_grad():
        record = net(spikes(36))
    expected = counted(record, ways_of_network(net, delays))
    assert found(cost_of(record, net)) == expected
    assert all(part.connected > 0 for part in expected)
    assert sum(part.spikes for part in expected) > 5
    if made not in (axonal, sparse):  # which put all events apart
        assert expected[0].updates < expected[0].connected  # several events at one time are one update


def test_a_graph_with_delays_on_a_device_is_counted_as_its_program_holds_it() -> None:
    nodes = {"input": hl.Input(36), "hidden": lif(5), "out": lif(2)}
    delay = (torch.arange(5 * 5, dtype=torch.float64).reshape(5, 5) % 3) * 1e-3
    projections = [
        hl.Projection("input", "hidden", hl.Dense(36, 5)), hl.Projection("hidden", "hidden", hl.Dense(5, 5, delay=delay)),
        hl.Projection("hidden", "out", hl.Dense(5, 2)), hl.Projection("input", "out", hl.Dense(36, 2)),
    ]  # fmt: skip
    net = filled(hl.Network.graph(nodes, projections, output="out"))
    with torch.no_grad():
        projections[1].maps[0].weight.mul_(0.02)
    with hl.open("emulator:1", preset="ideal") as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        recording = chip.run(spikes(36))
    ways = ways_of_network(net, {("hidden", "hidden"): lambda target, source: float(delay[target, source])})
    assert found(cost_of(recording, program)) == counted(recording, ways)


def test_events_that_would_arrive_after_the_window_are_none() -> None:
    inputs = hl.Spikes.from_events([([0.0, 5e-3], [0, 1])], 2, 10e-3, dtype=torch.float64)
    net = hl.Network([hl.Dense(2, 3, delay=torch.tensor([1e-3, 6e-3])), lif(3)]).double()
    with torch.no_grad():
        cost = cost_of(net(inputs), net)
    assert (cost.operations.connected, cost.operations.updates) == (3, 3)


def test_arrivals_that_do_not_fit_into_memory_at_once_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _ = synaptic()
    with torch.no_grad():
        record = net(spikes(36))
    whole = cost_of(record, net)
    monkeypatch.setattr("hwloop.cost.operations._AT_ONCE", 10)
    assert cost_of(record, net).operations == whole.operations


def test_a_record_of_something_else_is_refused(trained: tuple[hl.Network, hl.Spikes]) -> None:
    net, inputs = trained
    with torch.no_grad():
        record = net(inputs)
    other, _ = axonal()
    message = (
        r"populations of \[10, 3\] neurons for what has populations of \[4, 2\]; give net\(spikes\) with the network"
    )
    with pytest.raises(InputError, match=message):
        cost_of(record, other)
    with hl.open("emulator:7", preset="ideal") as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        recording = chip.run(inputs)
        with torch.no_grad():
            net.blocks[0][0].weight[0, 0] += 1.0
        with pytest.raises(InputError, match="with the program that was loaded"):
            cost_of(recording, hl.compile(net, chip))
    assert cost_of(recording, program).samples == len(inputs)  # what it says to do


def test_memory_is_of_what_is_held(tmp_path: Path, trained: tuple[hl.Network, hl.Spikes]) -> None:
    net, inputs = trained
    with torch.no_grad():
        simulated = cost_of(net(inputs), net).memory
    item = net.blocks[0][0].weight.element_size()
    assert simulated.weights == (5 * 10 + 10 * 3) * item
    assert (simulated.state_values, simulated.states) == (26, 26 * item)
    with hl.open("emulator:7", preset="bss2") as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        assert cost_of(chip.run(inputs), program).memory.weights == 80 * 6 / 8
    convolutional, _ = convolution()  # one weight serves many synapses
    with torch.no_grad():
        cost = cost_of(convolutional(spikes(36)), convolutional)
    assert cost.memory.weights == (2 * 9 + 2 * 2 * 4 + 6) * 8
    refractory = hl.Network([hl.Dense(36, 4), lif(4, t_ref=1e-3)])
    with torch.no_grad():
        assert cost_of(refractory(spikes(36).to(torch.float32)), refractory).memory.state_values == 12


def test_latency_is_that_of_the_first_output_spike_in_model_and_device_seconds(
    trained: tuple[hl.Network, hl.Spikes],
) -> None:
    net, inputs = trained
    with hl.open("emulator:7", preset="bss2") as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        recording = chip.run(inputs)
    latency = cost_of(recording, program).latency
    first = recording.output.first_times().min(1).values
    decided = first[torch.isfinite(first)]
    assert latency.silent == len(first) - len(decided)
    assert latency.model == pytest.approx(float(decided.double().mean()))
    assert latency.model_worst == pytest.approx(float(decided.max()))
    assert latency.device == pytest.approx(latency.model / 1000)
    assert latency.seconds == recording.wall_time / len(inputs)
    counting = cost_of(recording, program, decision="count").latency
    assert (counting.model, counting.device) == (pytest.approx(inputs.t_stop), pytest.approx(inputs.t_stop / 1000))
    assert counting.silent == 0
