"""Graphs on emulated chips: the ideal one is the simulator; synapses that do not exist have no cells, no draws and no effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError, TargetError
from hwloop.mapping.run_order import looped, run_order
from hwloop.network.trains import merged
from hwloop_emulator import EmulatorDevice, Preset
from hwloop_emulator.many import device as many
from hwloop_emulator.oracle import Oracle

Chip = Callable[..., EmulatorDevice]
TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def inputs(n: int, seed: int = 0, batch: int = 4) -> hl.Spikes:
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(batch, n, generator=generator, dtype=torch.float64) * 2e-2
    return hl.Spikes.from_first_times(first, 5e-2)


def dense(n_in: int, n_out: int, mean: float, std: float, seed: int = 0, **options: Any) -> hl.Dense:
    return hl.Dense(n_in, n_out, **options).double().init_normal_(mean, std, torch.Generator().manual_seed(seed))


def lif(n: int | tuple[int, ...], **options: Any) -> hl.LIF:
    return hl.LIF(n, **TAUS, **options).double()


def loop(delayed: bool = True, biased: bool = True, filtered: bool = False) -> hl.Network:
    """Two populations that drive each other, one that drives itself, a skip connection, a bias."""
    late = {"delay": 1e-3} if delayed else {}
    net = hl.Network.graph(
        {"in": hl.Input(5), "a": lif(6, t_ref=1e-3), "b": lif(4, filtered_bias=filtered), "out": lif(3)},
        [
            hl.Projection("in", "a", dense(5, 6, 2.4, 0.6)),
            hl.Projection("a", "b", dense(6, 4, 1.5, 0.4, 1, bias=biased, **late)),
            hl.Projection(
                "b", "a", dense(4, 6, -0.3, 0.4, 2, **({"delay": torch.full((6, 4), 2e-3)} if delayed else {}))
            ),
            hl.Projection("b", "b", dense(4, 4, 0.1, 0.2, 3)),
            hl.Projection("b", "out", dense(4, 3, 1.5, 0.3, 4)),
            hl.Projection("in", "out", dense(5, 3, 1.0, 0.2, 5)),
        ],
    ).double()
    if biased:
        with torch.no_grad():
            net.projections[1].maps[0].bias.copy_(torch.linspace(-0.1, 0.2, 4))
    return net


def maps() -> hl.Network:
    """Convolution, pool that merges, pool that averages, and a dense layer."""
    conv = hl.Conv2d(1, 2, 3, bias=True).double().init_normal_(0.9, 0.4, torch.Generator().manual_seed(0))
    with torch.no_grad():
        conv.bias.fill_(0.1)  # type: ignore[union-attr]
    layers = [conv, lif((2, 4, 4)), hl.SumPool2d(2), hl.AvgPool2d(2), hl.Flatten(), dense(2, 3, 6.0, 0.3, 1), lif(3)]
    return hl.Network(layers, in_shape=(1, 6, 6))


def several_inputs() -> hl.Network:
    return hl.Network.graph(
        {"x": hl.Input(3), "y": hl.Input(5), "hidden": lif(6), "out": lif(2)},
        [
            hl.Projection("y", "hidden", dense(5, 6, 2.0, 0.4)), hl.Projection("x", "hidden", dense(3, 6, 2.0, 0.4, 1)),
            hl.Projection("hidden", "out", dense(6, 2, 1.5, 0.2, 2)), hl.Projection("x", "out", dense(3, 2, 1.0, 0.2, 3)),
        ],
    )  # fmt: skip


def other_neurons() -> hl.Network:
    return hl.Network.graph(
        {
            "in": hl.Input(5),
            "delta": hl.DeltaLIF(4, 1e-2).double(),
            "counter": hl.IF(3, v_reset=-0.1).double(),
            "out": lif(2),
        },
        [
            hl.Projection("in", "delta", dense(5, 4, 0.5, 0.2, bias=True)),
            hl.Projection("delta", "counter", dense(4, 3, 0.4, 0.2, 1, delay=1e-3)),
            hl.Projection("counter", "delta", dense(3, 4, -0.2, 0.1, 2, delay=1e-3)),
            hl.Projection("counter", "out", dense(3, 2, 1.5, 0.2, 3)),
        ],
    ).double()


def random_graph(seed: int) -> hl.Network:
    """Some populations with about two projections each, backwards too; delays, biases, and starting membranes by chance."""
    rng = np.random.default_rng(seed)
    names = [f"p{k}" for k in range(6)]
    sizes = {"in": 5, **{name: int(rng.integers(2, 6)) for name in names}}
    nodes: dict[str, Any] = {"in": hl.Input(5)}
    for name in names:
        start = {"v_init": float(rng.uniform(-0.2, 0.3))} if rng.random() < 0.3 else {}
        nodes[name] = lif(sizes[name], t_ref=float(rng.choice([0.0, 1e-3])), **start)
    links = []
    for k, name in enumerate(names):
        for source in {"in" if k < 2 else names[k - 1], *rng.choice(["in", *names], 2)}:
            shape = sizes[str(source)], sizes[name]
            late: dict[str, Any] = {}
            if rng.random() < 0.5:
                late = {
                    "delay": torch.from_numpy(rng.uniform(0, 3e-3, shape[::-1] if rng.random() < 0.5 else shape[:1]))
                }
            mean = (10.0 if source == "in" else 0.5) / shape[0]
            links.append(hl.Projection(str(source), name, dense(*shape, mean, 0.4, int(rng.integers(99)), **late)))
    return hl.Network.graph(nodes, links, output="p5").double()


def assert_equal(recorded: hl.Record, model: hl.Record) -> None:
    assert sum(int(p.counts.sum()) for p in model.populations) > 10
    for ours, theirs in zip(recorded.populations, model.populations, strict=True):
        assert torch.equal(ours.counts, theirs.counts)
        assert torch.equal(ours.units, theirs.units)
        torch.testing.assert_close(ours.times, theirs.times, rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", [loop, maps, other_neurons, lambda: loop(filtered=True)])
def test_an_ideal_chip_fires_as_the_simulator_on_graphs(chip: Chip, make: Callable[[], hl.Network]) -> None:
    net = make()
    given = inputs(net.n_in)
    assert_equal(chip(net).run(given), net(given))


@pytest.mark.parametrize("seed", range(6))
def test_an_ideal_chip_fires_as_the_simulator_on_random_graphs(chip: Chip, seed: int) -> None:
    net = random_graph(seed)
    given = inputs(5, seed)
    assert_equal(chip(net).run(given), net(given))


def test_several_inputs_reach_a_chip_by_name_or_as_one(chip: Chip) -> None:
    net = several_inputs()
    given = {"x": inputs(3), "y": inputs(5, 1)}
    device = chip(net)
    by_name = device.run(given)
    assert_equal(by_name, net(given))
    assert_equal(device.run(merged(list(given.values()))), net(given))


def test_times_of_a_faster_chip_are_the_models_to_rounding(chip: Chip) -> None:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["speedup"] = {"value": 1000.0, "source": "test"}
    for net in (loop(), other_neurons()):
        given = inputs(5)
        fast, record = chip(net, Preset.model_validate(data)).run(given), net(given)
        for a, b in zip(fast.populations, record.populations, strict=True):
            assert torch.equal(a.units, b.units)
            torch.testing.assert_close(a.times, b.times, rtol=1e-9, atol=0)


def test_a_loop_runs_with_the_chips_own_neurons_and_synapses(chip: Chip) -> None:
    net = loop(delayed=False)
    device = chip(net, "bss2", compiling={"weight_scale": "max"}, trial_noise=False)
    oracle, program = Oracle(device), device.program
    assert program is not None
    twin = hl.Network.graph(
        {"in": hl.Input(5), **{name: _true(oracle, k, net.structure.nodes[name]) for k, name in enumerate(("a", "b", "out"))}},
        [
            hl.Projection(source, target, _matrix(oracle.weight(row)[:, columns]))
            for source, target, row, columns in [
                ("in", "a", 0, slice(0, 5)), ("b", "a", 0, slice(5, 9)), ("a", "b", 1, slice(0, 6)), ("b", "b", 1, slice(6, 10)),
                ("b", "out", 2, slice(0, 4)), ("in", "out", 2, slice(4, 9)),
            ]
        ],
        output="out",
    ).double()  # fmt: skip
    given = inputs(5)
    with torch.no_grad():
        recorded, expected = device.run(given), twin(given)
    tolerance = 3 * device.capabilities.time_step * device.capabilities.speedup + 1e-4  # jitter and stamps
    for ours, theirs in zip(recorded.populations, expected.populations, strict=True):
        assert (ours.counts - theirs.counts).abs().sum() <= 0.1 * theirs.counts.sum() + 2
    first = recorded.populations[0].first_times() - expected.populations[0].first_times()
    both = torch.isfinite(first)
    assert both.any()
    assert float(first[both].abs().max()) < tolerance
    assert any(
        not torch.equal(a.units, b.units) for a, b in zip(recorded.populations, net(given).populations, strict=True)
    )


def _true(oracle: Oracle, layer: int, node: Any) -> hl.LIF:
    names = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref")
    return hl.LIF(node.n, **{name: torch.from_numpy(oracle.parameter(layer, name)) for name in names})  # type: ignore[arg-type]


def _matrix(weight: Any) -> hl.Dense:
    layer = hl.Dense(weight.shape[1], weight.shape[0]).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
    return layer


def test_shared_weights_have_a_mismatch_of_their_own_at_every_synapse(chip: Chip, only: Callable[..., Preset]) -> None:
    device = chip(maps(), only(synapse=0.1))
    program = device.program
    assert program is not None
    layer = program.layers[0]
    factor = Oracle(device).weight(0)[layer.synapses] / layer.weight()[layer.synapses]
    assert len(np.unique(factor)) == factor.size
    assert np.allclose(factor.std(), 0.1, atol=0.02)
    assert bool((Oracle(device).weight(0)[~layer.synapses] == 0).all())  # type: ignore[operator]


def test_synapses_that_do_not_exist_have_no_cells(chip: Chip) -> None:
    device = chip(maps())
    program = device.program
    assert program is not None
    existing = sum(layer.n_synapses for layer in program.layers)
    assert existing == 2 * 16 * 9 + 3 * 2 * 16
    assert device.writes.total == existing
    assert [layer.fan_in for layer in program.layers] == [9, 32]


def test_a_populations_fan_in_counts_the_synapses_that_exist(chip: Chip) -> None:
    """A convolution over 400 units fits a chip of 256 synapses a neuron: each neuron has nine."""
    conv = hl.Conv2d(1, 1, 3, stride=6).double().init_normal_(2.0, 0.2)
    net = hl.Network([conv, lif((1, 3, 3))], in_shape=(1, 20, 20))
    device = chip(net, "bss2")
    assert device.program is not None
    assert device.program.report().layers[0].fan_in == 9
    assert int(device.run(inputs(400)).output.counts.sum()) > 0


def test_a_bias_moves_the_leak_and_the_leaks_mismatch_acts_on_it(chip: Chip, only: Callable[..., Preset]) -> None:
    layer = dense(5, 6, 2.0, 0.6, bias=True)
    with torch.no_grad():
        layer.bias.copy_(torch.linspace(-0.5, 1.5, 6))  # type: ignore[union-attr]
    net = hl.Network([layer, lif(6)])
    device, plain = chip(net, only(v_leak=0.05)), chip(net)
    assert torch.allclose(torch.from_numpy(Oracle(plain).parameter(0, "v_leak")), layer.bias)  # type: ignore[arg-type]
    moved = Oracle(device).parameter(0, "v_leak") - Oracle(plain).parameter(0, "v_leak")
    assert np.allclose(moved, Oracle(device).offsets("v_leak")[device.program.layers[0].neurons])  # type: ignore[union-attr]
    started = chip(net, only(v_leak=0.05)).run(inputs(5))
    assert not torch.equal(started.output.times, plain.run(inputs(5)).output.times)


def test_membranes_of_a_chip_without_starting_values_start_at_the_biased_leak(chip: Chip) -> None:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["initial_membrane"] = {"value": False, "source": "test"}
    layer = dense(5, 6, 2.0, 0.6, bias=True)
    with torch.no_grad():
        layer.bias.fill_(0.3)  # type: ignore[union-attr]
    net = hl.Network([layer, lif(6)])
    device = chip(net, Preset.model_validate(data))
    leaky = hl.Network([dense(5, 6, 2.0, 0.6), lif(6, v_leak=torch.tensor(0.3, dtype=torch.float64))])
    assert_equal(device.run(inputs(5)), leaky(inputs(5)))
    assert "start at v_leak + bias" in str(device.program.report())  # type: ignore[union-attr]


@pytest.mark.parametrize(("net", "text"), [
    (lambda: loop(), "no delays"),
    (lambda: loop(delayed=False, filtered=True), "filtered_bias=False"),
    (lambda: hl.Network([dense(5, 3, 1.0, 0.1), lif(3, v_init=0.1)]), "no v_init"),
    (lambda: hl.Network([dense(5, 3, 1.0, 0.1), hl.IF(3).double()]), "populations of LIF"),
])  # fmt: skip
def test_what_an_analog_chip_lacks_is_refused(chip: Chip, net: Callable[[], hl.Network], text: str) -> None:
    with pytest.raises(CompileError, match=text):
        chip(net(), "bss2")


def test_membranes_of_a_loop_are_those_of_its_spikes(chip: Chip) -> None:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["membrane_channels"] = {"value": 8, "source": "test"}
    net = loop(biased=False)
    device = chip(net, Preset.model_validate(data))
    given = inputs(5)
    fired = device.run(given)["b"]
    times = fired.times[0, : int(fired.counts[0])].unique()[:5]
    found = device.read_membrane(given, 1, np.arange(4), times.numpy() - 1e-9)
    for k, t in enumerate(times.tolist()):
        at = fired.units[0][fired.times[0] == t]
        np.testing.assert_allclose(found[0, at.numpy(), k], 1.0, atol=1e-4)
    with pytest.raises(TargetError, match="delays of each synapse"):
        device.read_membrane(given, 0, np.arange(2), times.numpy())


def test_stuck_neurons_drive_the_loop_they_are_in(chip: Chip, only: Callable[..., Preset]) -> None:
    net = loop(biased=False)
    silence = hl.Spikes.from_first_times(torch.full((2, 5), float("inf"), dtype=torch.float64), 5e-2)
    assert int(chip(net).run(silence)[1].counts.sum()) == 0
    device = chip(net, only(stuck=0.5, stuck_rate=2000.0), compiling={}, number=3)
    stuck = Oracle(device).struck(0, "stuck")
    assert stuck.any()
    recorded = device.run(silence)
    sound = torch.from_numpy(~Oracle(device).struck(1, "stuck"))
    assert int(recorded[1].unit_counts().sum(0)[sound].sum()) > 0


def test_each_chip_of_a_population_is_the_chip_alone_on_graphs(chip: Chip) -> None:
    net = loop(delayed=False)
    population = many.Population([3, 8], preset="bss2")
    program = population.target.compile(net)
    given = inputs(5)
    for number, together in zip((3, 8), population.run(program, given), strict=True):
        alone = chip(net, "bss2", number=number).run(given)
        for a, b in zip(alone.populations, together.populations, strict=True):
            assert torch.equal(a.times, b.times)
            assert torch.equal(a.units, b.units)


def test_populations_run_in_an_order_in_which_all_that_drives_them_has_run() -> None:
    net = random_graph(1)
    program = hl.compile(net, hl.open("emulator:0", preset="ideal"))
    done: set[int] = {-1}
    for group in run_order(program.layers):
        done |= set(group.members)
        for member in group.members:
            assert {block.source for block in program.layers[member].blocks} <= done
    assert looped(program.layers)
    # the output named is not the last in that order: no loop for that
    chain = hl.Network.graph(
        {"in": hl.Input(2), "a": lif(2), "b": lif(2)},
        [hl.Projection("in", "a", dense(2, 2, 1.0, 0.1)), hl.Projection("a", "b", dense(2, 2, 1.0, 0.1))],
        output="a",
    )
    assert not looped(hl.compile(chain, hl.open("emulator:0", preset="ideal")).layers)


def test_graph_limits_of_a_preset_leave_its_identity_as_it_was() -> None:
    known = {"ideal": "ideal", "bss2": "bss2"}
    for name in known:
        plain = Preset.load(name)
        data = plain.model_dump(exclude_unset=True)
        data["limits"]["recurrent"] = {"value": False, "source": "test"}
        other = Preset.model_validate(data)
        assert other.digest == plain.digest
        assert other.capabilities().digest == plain.capabilities().digest
        assert other.capabilities().graph_digest != plain.capabilities().graph_digest
