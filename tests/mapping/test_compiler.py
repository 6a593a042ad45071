from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.errors import CompileError, InputError
from hwloop.mapping import Capabilities, Program, Range, compile_network
from hwloop.network import LIF, Dense, Network

CHIP = Capabilities(
    name="test/chip",
    n_neurons=64,
    fan_in=16,
    weight_bits=6,
    speedup=1000.0,
    ranges={
        "tau_mem": Range(1e-6, 100e-6, "device_s"),
        "tau_syn": Range(1e-6, 50e-6, "device_s"),
        "t_ref": Range(0.0, 1e-3, "device_s"),
        "v_leak": Range(-1.0, 2.0, "swing"),
    },
    refractory_min=0.04e-6,
)


def network(
    n_in: int = 3, hidden: int = 4, delay: float | None = None, dtype: Any = torch.float64, **lif: Any
) -> Network:
    generator = torch.Generator().manual_seed(1)
    settings = {"tau_mem": 10e-3, "tau_syn": 5e-3, **lif}
    net = Network([
        Dense(n_in, hidden, delay=delay, generator=generator), LIF(hidden, **settings),
        Dense(hidden, 2, generator=generator), LIF(2, 10e-3, 5e-3),
    ])  # fmt: skip
    return net.to(dtype)


def test_codes_stand_for_the_weights_to_half_an_lsb() -> None:
    net = network()
    program = compile_network(net, CHIP)
    for (dense, _), layer, weight in zip(net.blocks, program.layers, program.weights(), strict=True):
        assert layer.codes.dtype == np.int16
        assert np.abs(layer.codes).max() == 31
        assert np.abs(weight - dense.weight.detach().numpy()).max() <= layer.scale / 2 * (1 + 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_weight_resolution_the_weights_are_exact(dtype: torch.dtype) -> None:
    net = network(dtype=dtype)
    program = compile_network(net, dataclasses.replace(CHIP, weight_bits=None))
    for (dense, _), weight in zip(net.blocks, program.weights(), strict=True):
        assert torch.equal(torch.from_numpy(weight), dense.weight)


def test_a_program_stays_what_it_was_when_the_network_trains_on() -> None:
    net = network()
    program = compile_network(net, dataclasses.replace(CHIP, weight_bits=None))
    before = [w.copy() for w in program.weights()]
    with torch.no_grad():
        net.blocks[0][0].weight.add_(1.0)
        net.blocks[0][1].tau_mem.mul_(2.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, program.weights(), strict=True))
    assert program.layers[0].parameters["tau_mem"][0] == pytest.approx(10e-3)


def test_scales_may_differ_between_layers() -> None:
    program = compile_network(network(), CHIP, weight_scale=[0.5, "max"])
    assert program.scales[0] == 0.5
    assert np.abs(program.layers[1].codes).max() == 31


def test_equal_content_has_an_equal_digest_and_any_change_another() -> None:
    def digest(**changes: Any) -> str:
        return compile_network(network(**changes), CHIP).digest

    base = digest()
    assert base == digest()
    assert len(base) == 64
    nudged = network()
    with torch.no_grad():
        nudged.blocks[1][0].weight[0, 0] += 1.0
    others = [
        digest(tau_mem=11e-3),
        digest(v_leak=0.1),
        digest(t_ref=1e-3),
        digest(dtype=torch.float32),
        compile_network(network(), CHIP, mask=[0]).digest,
        compile_network(network(), CHIP, weight_scale=0.7).digest,
        compile_network(network(), dataclasses.replace(CHIP, speedup=999.0)).digest,
        compile_network(nudged, CHIP).digest,
    ]
    assert len({base, *others}) == len(others) + 1


def test_recompiling_keeps_placement_and_scales_and_takes_the_new_weights() -> None:
    net = network()
    first = compile_network(net, CHIP, weight_scale="quantile:0.9", mask=[1])
    with torch.no_grad():
        net.blocks[0][0].weight[0, 0] = 1.0 + 3 * first.scales[0]
    second = first.with_weights(net)
    assert second.scales == first.scales
    assert all(np.array_equal(a.neurons, b.neurons) for a, b in zip(first.layers, second.layers, strict=True))
    assert np.count_nonzero(first.layers[0].codes != second.layers[0].codes) == 1
    assert second.digest != first.digest
    assert first.with_weights(net).digest == second.digest


def test_recompiling_shares_the_parameters_that_did_not_change_and_keeps_apart_those_that_did() -> None:
    net = network()
    first = compile_network(net, CHIP)
    second = first.with_weights(net)
    assert all(a.parameters is b.parameters for a, b in zip(first.layers, second.layers, strict=True))
    with torch.no_grad():
        net.blocks[0][1].v_th[1] = 1.25
    third = first.with_weights(net)
    assert third.layers[0].parameters["v_th"][1] == 1.25
    assert first.layers[0].parameters["v_th"][1] == 1.0
    assert third.layers[1].parameters is first.layers[1].parameters
    assert third.digest == compile_network(net, CHIP, weight_scale=list(first.scales)).digest


def test_recompiling_refuses_parameters_that_left_their_bounds_or_ranges() -> None:
    net = network()
    first = compile_network(net, CHIP)
    with torch.no_grad():
        net.blocks[0][1].tau_mem[2] = 0.2
    with pytest.raises(CompileError, match=r"tau_mem of 0.001..0.1 s in the model.*found|found.*tau_mem = 0.2 s"):
        first.with_weights(net)
    with torch.no_grad():
        net.blocks[0][1].tau_mem[2] = float("nan")
    with pytest.raises(InputError, match=r"neuron 2: tau_mem = nan; allowed: finite"):
        first.with_weights(net)


def test_the_report_adds_up() -> None:
    program = compile_network(network(), CHIP)
    report = program.report()
    assert (report.neurons, report.synapses) == (6, 3 * 4 + 4 * 2)
    assert report.layers[0].fan_in_headroom == 13
    assert report.layers[0].weight_bits_used == 6
    assert report.to_dict()["synapses"] == report.synapses
    assert program.digest[:12] in str(report)
    assert "t_ref below 4e-05 s asked" in str(report)


def test_values_on_the_edge_of_a_range_are_accepted_in_float32() -> None:
    net = network(dtype=torch.float32, tau_mem=1e-3, tau_syn=50e-3, v_leak=2.0)
    assert isinstance(compile_network(net, CHIP), Program)


REFUSALS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"n_in": 17}, "fan-in of 16", "17 inputs", "layer 0 (Dense)"),
    ({"hidden": 17}, "fan-in of 16", "17 inputs", "layer 2 (Dense)"),
    ({"tau_mem": 1.0}, "tau_mem of 0.001..0.1 s", "tau_mem = 1 s", "layer 1 (LIF)"),
    ({"tau_syn": [5e-3, 5e-3, 1e-4, 5e-3]}, "tau_syn of 0.001..0.05 s", "first: neuron 2", "layer 1 (LIF)"),
    ({"t_ref": 2.0}, "t_ref of 0..1 s", "t_ref = 2 s", "layer 1 (LIF)"),
    ({"v_leak": 2.5}, "v_leak of -1..2", "v_leak = 2.5", "layer 1 (LIF)"),
    ({"reset": "subtract"}, "reset 'value'", "'subtract'", "layer 1 (LIF)"),
    ({"max_spikes": 1}, "no cap", "max_spikes = 1", "layer 1 (LIF)"),
    ({"delay": 1e-3}, "no delays", "0.001 s", "layer 0 (Dense)"),
]


@pytest.mark.parametrize(("change", "limit", "value", "layer"), REFUSALS, ids=[str(r[0]) for r in REFUSALS])
def test_what_the_target_lacks_is_refused_with_limit_value_layer_and_fix(
    change: dict[str, Any], limit: str, value: str, layer: str
) -> None:
    with pytest.raises(CompileError) as refusal:
        compile_network(network(**change), CHIP)
    assert limit in refusal.value.limit
    assert value in refusal.value.value
    assert refusal.value.layer == layer
    assert refusal.value.fix
    for part in (refusal.value.limit, refusal.value.value, layer, refusal.value.fix):
        assert part in str(refusal.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(bad: float) -> None:
    net = network()
    with torch.no_grad():
        net.blocks[0][0].weight[2, 1] = bad
    with pytest.raises(CompileError, match=r"weight \[2, 1\]"):
        compile_network(net, CHIP)


def test_parameters_that_left_their_bounds_in_training_are_refused() -> None:
    net = network()
    with torch.no_grad():
        net.blocks[1][1].tau_mem[1] = -1e-3
    with pytest.raises(InputError, match=r"layer 3 \(LIF\), neuron 1: tau_mem"):
        compile_network(net, CHIP)


def test_scales_for_another_number_of_layers_are_refused() -> None:
    with pytest.raises(InputError, match="has 3 entries; the network has 2 layers"):
        compile_network(network(), CHIP, weight_scale=["max", "max", "max"])


def test_recompiling_another_network_or_target_is_refused() -> None:
    program = compile_network(network(), CHIP)
    with pytest.raises(InputError, match="without like="):
        compile_network(network(n_in=2), CHIP, like=program)
    with pytest.raises(CompileError, match="without like="):
        compile_network(network(), dataclasses.replace(CHIP, n_neurons=65), like=program)


SHARED = dataclasses.replace(CHIP, uniform=("tau_mem", "tau_syn"), delays=True, max_delay=5e-6)


def test_parameters_that_a_layer_shares_may_not_differ() -> None:
    with pytest.raises(CompileError) as caught:
        compile_network(network(tau_syn=[5e-3, 5e-3, 6e-3, 5e-3]), SHARED)
    assert caught.value.limit == "one tau_syn for all neurons of a layer"
    assert caught.value.layer == "layer 1 (LIF)"
    assert "0.006 of neuron 2" in caught.value.value
    assert "the mean 0.00525" in caught.value.fix
    # layers may differ from each other
    compile_network(network(tau_syn=6e-3), SHARED)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_delays_up_to_the_longest_are_carried(dtype: torch.dtype) -> None:
    # 5 us on the device are 5 ms in the model; the limit itself passes in either dtype
    compile_network(network(delay=5e-3, dtype=dtype), SHARED)
    with pytest.raises(CompileError, match=r"layer 0 \(Dense\): found a delay of 0.0051 s") as caught:
        compile_network(network(delay=5.1e-3, dtype=dtype), SHARED)
    assert "delays up to 0.005 s in the model (5e-06 s on the device)" in caught.value.limit


def test_limits_print_what_is_shared_and_the_longest_delay() -> None:
    text = SHARED.describe()
    assert "up to 5e-06 s on the device" in text
    assert text.count("one value a layer") == 2
    assert SHARED.digest != CHIP.digest


def test_a_gain_is_part_of_the_weights_their_limit_and_the_digest() -> None:
    program = compile_network(network(), CHIP)
    layer = program.layers[0]
    gained = dataclasses.replace(layer, gain=np.array([1.0, 2.0, 0.5, 1.0]))
    np.testing.assert_array_equal(gained.weight()[1], 2 * layer.weight()[1])
    assert np.ravel(gained.largest_weight()).tolist() == [31.5 * layer.scale * g for g in (1.0, 2.0, 0.5, 1.0)]
    assert layer.largest_weight() == 31.5 * layer.scale
    assert np.ravel(gained.lsb()).tolist() == [layer.scale * g for g in (1.0, 2.0, 0.5, 1.0)]
    assert layer.lsb() == layer.scale
    other = dataclasses.replace(program, layers=(gained, *program.layers[1:]))
    assert other.digest != program.digest


def test_without_weight_resolution_no_weight_is_too_large() -> None:
    program = compile_network(network(), dataclasses.replace(CHIP, weight_bits=None))
    assert math.isinf(program.layers[0].largest_weight())


def test_a_program_placed_elsewhere_keeps_all_but_its_neurons() -> None:
    first = compile_network(network(), CHIP)
    there = [np.array([7, 1, 60, 2]), np.array([5, 4])]
    second = first.placed(there)
    assert [layer.neurons.tolist() for layer in second.layers] == [[7, 1, 60, 2], [5, 4]]
    assert all(np.array_equal(a.codes, b.codes) for a, b in zip(first.layers, second.layers, strict=True))
    assert second.digest != first.digest
    assert second.placed([layer.neurons for layer in first.layers]).digest == first.digest
    assert second.with_weights(network()).digest == second.digest


@pytest.mark.parametrize(
    "neurons, match",
    [
        ([[0, 1, 2], [4, 5]], r"\(3,\), \(2,\)\]; allowed: whole numbers, \[4, 2\] of them"),
        ([[0, 1, 2, 3], [3, 5]], "allowed: different ones of 0..63"),
        ([[0, 1, 2, 64], [3, 5]], "neurons 0..64; allowed: different ones of 0..63"),
        ([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0]], "whole numbers"),
    ],
)
def test_neurons_that_do_not_fit_are_refused(neurons: list[list[int]], match: str) -> None:
    with pytest.raises(InputError, match=match):
        compile_network(network(), CHIP).placed([np.array(part) for part in neurons])
