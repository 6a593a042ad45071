"""Mapping onto a target in closed form: both sides of every limit, rounding, saturation, placement, digest, report."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.errors import CompileError, InputError
from hwloop.mapping import (
    Capabilities,
    LayerProgram,
    Program,
    Range,
    compile_network,
    dense_name,
    lif_name,
    place,
    quantise,
    scale_of,
)
from hwloop.mapping.capabilities import GRAPH_LIMITS
from hwloop.mapping.quantise import scale_rules
from hwloop.network import LIF, Dense, Network

CHIP = Capabilities(name="test/chip", n_neurons=8, fan_in=4, weight_bits=6, speedup=1000.0)


def network(
    n_in: int = 2, n_out: int = 2, delay: Any = None, dtype: torch.dtype = torch.float64, **lif: Any
) -> Network:
    values = {
        name: torch.as_tensor(value, dtype=torch.float64) if isinstance(value, float | list) else value
        for name, value in {"tau_mem": 10e-3, "tau_syn": 5e-3, **lif}.items()
    }
    weight = torch.tensor([[1.0, -0.5, 0.25, 0.125], [0.75, 0.5, -1.0, 0.375]], dtype=torch.float64)
    dense = Dense(n_in, n_out, delay=delay)
    with torch.no_grad():
        dense.weight.copy_(weight.repeat(n_out, n_in)[:n_out, :n_in])
    return Network([dense, LIF(n_out, **values)]).to(dtype)


def limits(**changes: Any) -> Capabilities:
    return dataclasses.replace(CHIP, **changes)


def refused(net: Network, capabilities: Capabilities, **options: Any) -> CompileError:
    with pytest.raises(CompileError) as caught:
        compile_network(net, capabilities, **options)
    return caught.value


# -- limits as data -------------------------------------------------------------------------------


def test_without_a_word_a_target_has_real_weights_at_model_speed_and_no_extras() -> None:
    plain = Capabilities("t", 1, 2)
    assert (plain.weight_bits, plain.max_code, plain.speedup, plain.time_scale) == (None, None, 1.0, 1.0)
    assert (plain.reset_kinds, plain.delays, plain.recurrent, plain.spike_cap) == (("value",), False, False, False)
    assert (plain.ranges, plain.uniform, plain.max_delay, plain.max_events) == ({}, (), None, None)
    assert (plain.refractory_min, plain.time_step, plain.latency) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("bits", "top"), [(2, 1), (3, 3), (6, 31), (8, 127), (16, 32767)])
def test_signed_codes_of_so_many_bits_are_symmetric(bits: int, top: int) -> None:
    assert limits(weight_bits=bits).max_code == top


def test_a_device_second_holds_speedup_model_seconds() -> None:
    assert limits(speedup=1000.0).time_scale == 1e-3
    assert compile_network(network(), limits(speedup=250.0)).time_scale == 4e-3


def test_limits_are_printed_one_a_line() -> None:
    text = limits(
        spike_cap=True, max_events=7, refractory_min=2e-6, time_step=8e-9, latency=3e-6,
        ranges={"t_ref": Range(0, 1e-6, "device_s"), "v_leak": Range(-1, 2, "swing")}, reset_kinds=("value", "subtract"),
    ).describe().splitlines()  # fmt: skip
    found = {line[2:24].strip(): line[25:] for line in text[1:]}
    assert text[0] == "test/chip"
    assert found == {
        "neurons": "8",
        "fan-in": "4",
        "weights": "6 bit, -31..31",
        "speedup": "1000",
        "reset kinds": "value, subtract",
        "delays": "no",
        "recurrent edges": "no",
        "populations": "LIF",
        "graphs": "no",
        "bias, v_init": "no, no",
        "max_spikes": "yes",
        "refractory minimum": "2e-06 s on the device",
        "input events a sample": "7",
        "time stamps": "step 8e-09 s, mean offset 3e-06 s on the device",
        "t_ref": "0..1e-06 s on the device",
        "v_leak": "-1..2 of v_th - v_reset",
    }
    bare = limits(weight_bits=None, delays=True, recurrent=True).describe()
    for line in ("weights                real-valued", "delays                 yes", "recurrent edges        yes"):
        assert line in bare
    assert "input events a sample  unlimited" in bare


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"}, {"n_neurons": 9}, {"fan_in": 5}, {"weight_bits": 7}, {"speedup": 999.0}, {"delays": True},
        {"reset_kinds": ("subtract",)}, {"recurrent": True}, {"graphs": True}, {"bias": True}, {"populations": ("LIF", "IF")},
        {"synaptic_delays": True}, {"initial_membrane": True}, {"spike_cap": True}, {"uniform": ("t_ref",)}, {"max_delay": 1.0},
        {"refractory_min": 1e-9}, {"max_events": 3}, {"time_step": 1e-9}, {"latency": 1e-9},
        {"ranges": {"t_ref": Range(0, 1, "device_s")}},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_limit_is_part_of_the_digest(change: dict[str, Any]) -> None:
    assert limits().graph_digest == CHIP.graph_digest
    assert limits(**change).graph_digest != CHIP.graph_digest
    assert (limits(**change).digest == CHIP.digest) == (next(iter(change)) in GRAPH_LIMITS)


def test_the_digest_does_not_depend_on_the_order_of_the_ranges() -> None:
    pairs = [("t_ref", Range(0, 1, "device_s")), ("v_leak", Range(-1, 2, "swing"))]
    assert limits(ranges=dict(pairs)).digest == limits(ranges=dict(reversed(pairs))).digest


# -- limits, from both sides ----------------------------------------------------------------------


def test_the_fan_in_may_be_used_up_and_no_more() -> None:
    assert compile_network(network(n_in=4), CHIP).report().layers[0].fan_in_headroom == 0
    error = refused(network(n_in=5), CHIP)
    assert (error.limit, error.value, error.layer) == ("a fan-in of 4", "5 inputs a neuron", "layer 0 (Dense)")
    assert "at most 4 units" in error.fix


TAU_MEM = {"ranges": {"tau_mem": Range(2e-6, 100e-6, "device_s")}}


@pytest.mark.parametrize(("tau_mem", "end", "factor"), [(2e-3, -1, 1.01), (0.1, 1, 0.999)])
def test_a_range_in_device_seconds_holds_to_a_millionth_of_its_larger_end(
    tau_mem: float, end: int, factor: float
) -> None:
    # 1e-6 x 100e-6 s on the device is 1e-7 s in the model, at either end
    compile_network(network(tau_mem=tau_mem), limits(**TAU_MEM))
    compile_network(network(tau_mem=tau_mem + end * 0.9e-7), limits(**TAU_MEM))
    error = refused(network(tau_mem=[tau_mem, tau_mem + end * 1.1e-7]), limits(**TAU_MEM))
    assert error.limit == "tau_mem of 0.002..0.1 s in the model (2e-06..0.0001 s on the device)"
    assert "(1 neurons, first: neuron 1)" in error.value
    assert error.layer == "layer 1 (LIF)"
    assert (
        error.fix
        == f"move tau_mem to {tau_mem:g} s, or multiply all times of the model, and of its inputs, by {factor}"
    )


@pytest.mark.parametrize(("leak", "end"), [(-4.0, -1), (2.0, 1)])
def test_a_range_in_swings_is_measured_from_the_reset(leak: float, end: int) -> None:
    chip = limits(ranges={"v_leak": Range(-4.0, 2.0, "swing")})
    # v_reset = .5, a swing of .25; slack 1e-6 x 4 swings
    values = {"v_reset": 0.5, "v_th": 0.75}
    compile_network(network(v_leak=0.5 + 0.25 * leak, **values), chip)
    compile_network(network(v_leak=0.5 + 0.25 * (leak + end * 3.6e-6), **values), chip)
    error = refused(network(v_leak=0.5 + 0.25 * (leak + end * 4.4e-6), **values), chip)
    assert error.limit == "v_leak of -4..2 of v_th - v_reset in the model (-4..2 of v_th - v_reset)"
    assert error.value == f"v_leak = {leak:g} of v_th - v_reset (2 neurons, first: neuron 0)"
    assert error.fix == f"move v_leak to {leak:g} of v_th - v_reset"


def test_far_outside_a_range_the_nearer_end_is_named() -> None:
    chip = limits(**TAU_MEM)
    assert refused(network(tau_mem=1e-6), chip).fix.startswith("move tau_mem to 0.002 s")
    assert refused(network(tau_mem=1.0), chip).fix.startswith("move tau_mem to 0.1 s")
    assert refused(network(tau_mem=[1e-2, 1.0]), chip).value == "tau_mem = 1 s (1 neurons, first: neuron 1)"


def test_delays_are_carried_up_to_the_longest_and_without_a_longest_any() -> None:
    chip = limits(delays=True, max_delay=5e-6)
    program = compile_network(network(delay=torch.tensor([1e-3, 5e-3], dtype=torch.float64)), chip)
    assert program.layers[0].delay is not None
    assert program.layers[0].delay.tolist() == [1e-3, 5e-3]
    compile_network(network(delay=5e-3 * (1 + 0.9e-6)), chip)
    error = refused(network(delay=torch.tensor([1e-3, 5e-3 * (1 + 1.1e-6)], dtype=torch.float64)), chip)
    assert error.limit == "delays up to 0.005 s in the model (5e-06 s on the device)"
    assert (error.value, error.layer) == ("a delay of 0.00500001 s (input unit 1)", "layer 0 (Dense)")
    assert "shorten delays to 0.005 s" in error.fix
    compile_network(network(delay=1e3), limits(delays=True))
    error = refused(network(delay=torch.tensor([1e-3, 2e-3])), CHIP)
    assert (error.limit, error.value) == ("no delays", "axonal delays up to 0.002 s")


def test_the_slack_itself_is_within() -> None:
    end = 1.0 + 1e-6
    compile_network(
        network(delay=torch.tensor([0.0, end], dtype=torch.float64)), limits(delays=True, max_delay=1.0, speedup=1.0)
    )
    chip = limits(ranges={"tau_mem": Range(0.5, 1.0, "device_s")}, speedup=1.0)
    compile_network(network(tau_mem=[end, 0.5 - 1e-6]), chip)


def test_reset_and_cap_are_carried_where_the_target_has_them() -> None:
    chip = limits(reset_kinds=("value", "subtract"), spike_cap=True)
    layer = compile_network(network(reset="subtract", max_spikes=3), chip).layers[0]
    assert (layer.reset, layer.max_spikes) == ("subtract", 3)
    error = refused(network(reset="subtract"), CHIP)
    assert (error.limit, error.value, error.fix) == (
        "reset 'value'", "reset 'subtract'", "build the layer with reset='value'"
    )  # fmt: skip
    assert refused(network(max_spikes=3), CHIP).value == "max_spikes = 3"


def test_a_shared_parameter_is_shared_by_all_neurons() -> None:
    chip = limits(uniform=("t_ref", "tau_mem"))
    compile_network(network(n_out=3), chip)
    error = refused(network(n_out=3, tau_mem=[10e-3, 10e-3, 40e-3]), chip)
    assert error.limit == "one tau_mem for all neurons of a layer"
    assert error.value == "tau_mem = 0.01 of neuron 0 and 0.04 of neuron 2 (0.01..0.04)"
    assert "the mean 0.02" in error.fix


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_weight_that_is_not_finite_is_named(bad: float) -> None:
    net = network(n_in=3)
    with torch.no_grad():
        net.blocks[0][0].weight[1, 2] = bad
    error = refused(net, CHIP)
    assert (error.limit, error.value, error.layer) == ("finite weights", f"weight [1, 2] = {bad}", "layer 0 (Dense)")


def test_layers_are_counted_as_the_network_counts_them() -> None:
    assert [dense_name(k) for k in range(3)] == ["layer 0 (Dense)", "layer 2 (Dense)", "layer 4 (Dense)"]
    assert [lif_name(k) for k in range(3)] == ["layer 1 (LIF)", "layer 3 (LIF)", "layer 5 (LIF)"]


def test_a_refractory_time_below_the_devices_is_noted_and_one_at_it_is_not() -> None:
    chip = limits(refractory_min=2e-6)
    assert compile_network(network(t_ref=2e-3), chip).notes == ()
    notes = compile_network(network(t_ref=[2e-3, 1.9e-3]), chip).notes
    assert notes == ("layer 1 (LIF): t_ref below 0.002 s asked; the device holds at least 0.002 s",)
    assert compile_network(network(t_ref=0.0), CHIP).notes == ()


def test_half_precision_is_refused_and_single_is_kept() -> None:
    assert compile_network(network(dtype=torch.float32), CHIP).layers[0].dtype == "float32"
    with pytest.raises(
        InputError, match=r"layer 0 \(Dense\): weight has dtype torch.float16; allowed: float32 or float64"
    ):
        compile_network(network(dtype=torch.float16), CHIP)


# -- scales and codes -----------------------------------------------------------------------------


def test_codes_round_to_even_and_saturate_symmetrically() -> None:
    exact = [0.5, 1.5, 2.5, -0.5, -1.5, 0.49, 0.51, 126.5, 127.49, 127.51, -127.49, -127.51, 1e9, -1e9]
    result = quantise(np.array([exact]) * 0.25, 0.25, 127)
    assert result.codes.tolist() == [[0, 2, 2, 0, -2, 0, 1, 126, 127, 127, -127, -127, 127, -127]]
    assert (result.saturated, result.zeroed) == (4, 3)
    inside = [0.5, -0.5, 0.5, -0.5, 0.5, 0.49, -0.49, 0.5, 0.49, 0, -0.49, 0, 0, 0]
    assert result.rounding_rms == pytest.approx(math.sqrt(sum(e * e for e in inside) / 14), rel=1e-12)


@pytest.mark.parametrize(("top", "dtype"), [(31, np.int16), (32767, np.int16), (32768, np.int32)])
def test_codes_are_held_in_what_holds_them(top: int, dtype: type) -> None:
    codes = quantise(np.array([[1e9, -1e9]]), 1.0, top).codes
    assert (codes.dtype, codes.tolist()) == (dtype, [[top, -top]])


def test_the_scale_of_each_rule() -> None:
    weight = np.array([[-4.0, 1.0, 2.0, 3.0, 0.0]])
    assert scale_of(weight, "max", 31) == 4 / 31
    assert scale_of(weight, "quantile:0.5", 31) == 2 / 31
    assert scale_of(weight, "quantile:0.75", 31) == 3 / 31
    assert scale_of(weight, "quantile:1", 31) == 4 / 31
    scale = scale_of(weight, 2, 31)
    assert (scale, type(scale)) == (2.0, float)
    sparse = np.array([[0.0, 0.0, 0.0, -8.0]])
    assert scale_of(sparse, "quantile:0.5", 4) == 2.0  # the quantile is 0: the largest is the full scale


def test_one_rule_serves_every_layer_and_a_list_one_each() -> None:
    assert scale_rules("max", 3) == ("max", "max", "max")
    assert scale_rules(2, 2) == (2, 2)
    assert scale_rules(0.5, 1) == (0.5,)
    assert scale_rules(["max", 0.5], 2) == ("max", 0.5)
    with pytest.raises(InputError, match="weight_scale has 1 entries; the network has 2 layers"):
        scale_rules(["max"], 2)


@pytest.mark.parametrize("rule", [0, -0.5, "quantile:0", "quantile:1.0001", "quantile:-0.1", "quantile:"])
def test_a_rule_outside_its_range_is_refused_with_what_is_allowed(rule: Any) -> None:
    with pytest.raises(InputError, match="allowed: ('quantile:Q' with 0 < Q <= 1|a finite model weight of 1 LSB > 0)"):
        scale_of(np.ones((1, 1)), rule, 31)


def test_a_compiled_layer_says_what_its_rounding_did() -> None:
    # weights 1, -.5 / .75, .5 at .25 a code: exact; at .4 a code: 2.5, -1.25 / 1.875, 1.25
    exact = compile_network(network(), CHIP, weight_scale=0.25).layers[0]
    assert exact.codes.tolist() == [[4, -2], [3, 2]]
    assert (exact.scale, exact.max_code, exact.saturated, exact.zeroed, exact.rounding_rms) == (0.25, 31, 0, 0, 0.0)
    assert exact.weight().tolist() == [[1.0, -0.5], [0.75, 0.5]]
    coarse = compile_network(network(), CHIP, weight_scale=0.4).layers[0]
    assert coarse.codes.tolist() == [[2, -1], [2, 1]]
    rms = math.sqrt((0.5**2 + 0.25**2 + 0.125**2 + 0.25**2) / 4)
    assert coarse.rounding_rms == pytest.approx(rms, rel=1e-12)
    fine = compile_network(network(), limits(weight_bits=3), weight_scale=0.25).layers[0]
    assert (fine.codes.tolist(), fine.saturated) == ([[3, -2], [3, 2]], 1)


def test_without_resolution_nothing_is_rounded_and_the_scale_is_1() -> None:
    layer = compile_network(network(), limits(weight_bits=None), weight_scale=0.4).layers[0]
    assert layer.weight().tolist() == [[1.0, -0.5], [0.75, 0.5]]
    assert (layer.scale, layer.max_code, layer.saturated, layer.zeroed, layer.rounding_rms) == (1.0, None, 0, 0, 0.0)
    assert layer.largest_weight() == math.inf


# -- placement ------------------------------------------------------------------------------------


def test_placement_takes_free_neurons_in_order() -> None:
    assert [p.tolist() for p in place([2, 1], 5, [0, 2])] == [[1, 3], [4]]
    assert [p.tolist() for p in place([2, 1], 5, [2, 2, 4, 4])] == [[0, 1], [3]]  # one masked twice counts once
    assert [p.tolist() for p in place([1, 1, 1], 3)] == [[0], [1], [2]]
    assert all(part.dtype == np.int64 for part in place([2], 2))


def test_a_mask_may_name_the_first_and_the_last_neuron_and_none_beyond() -> None:
    assert place([1], 3, [0, 2])[0].tolist() == [1]
    for mask, bad in (([-1, 1], -1), ([0, 3], 3), ([-2, 5], -2)):
        with pytest.raises(InputError, match=rf"mask names neuron {bad}; the device has neurons 0..2"):
            place([1], 3, mask)


def test_a_network_one_neuron_too_large_is_refused_naming_its_largest_layer() -> None:
    place([1, 3], 6, [5, 1])
    with pytest.raises(CompileError) as caught:
        place([1, 4, 1], 6, [5, 1])
    error = caught.value
    assert error.limit == "4 neurons (6 on the device, 2 masked)"
    assert error.value == "6 neurons in layers of 1, 4, 1"
    assert error.layer == "layer 3 (LIF), the largest"
    assert "remove 2 neurons" in error.fix


# -- the program ----------------------------------------------------------------------------------


def test_a_program_tells_its_shape_scales_and_weights() -> None:
    net = Network([*network(n_in=3).layers, *network(n_in=2, n_out=1).layers])
    program = compile_network(net, CHIP, weight_scale=[0.25, 0.5])
    assert (program.n_in, program.n_out, program.target, program.scales) == (3, 1, "test/chip", (0.25, 0.5))
    assert [(layer.n_in, layer.n_out) for layer in program.layers] == [(3, 2), (2, 1)]
    assert [layer.neurons.tolist() for layer in program.layers] == [[0, 1], [2]]
    assert program.weights()[1].tolist() == [[1.0, -0.5]]
    assert program.membrane_scale == 1.0
    single = compile_network(network(n_in=3), CHIP)
    assert (single.n_in, single.n_out, single.notes) == (3, 2, ())


def test_a_layer_without_a_word_resets_to_a_value_and_lost_nothing_in_rounding() -> None:
    plain = layer()
    assert (plain.reset, plain.max_spikes, plain.delay, plain.dtype, plain.gain) == (
        "value",
        None,
        None,
        "float64",
        None,
    )
    assert (plain.saturated, plain.zeroed, plain.rounding_rms) == (0, 0, 0.0)


def layer(**changes: Any) -> LayerProgram:
    parameters = {name: np.full(2, 0.5) for name in ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref")}
    values = {"codes": np.array([[1, -2], [0, 3]], np.int16), "scale": 0.5, "max_code": 31, "neurons": np.array([4, 5])}
    return LayerProgram(**{**values, "parameters": parameters, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.array([[1, -2], [0, 4]], np.int16)}, {"codes": np.array([[1, -2], [0, 3]], np.int32)},
        {"scale": 0.25}, {"max_code": 32}, {"neurons": np.array([5, 4])}, {"reset": "subtract"}, {"max_spikes": 1},
        {"dtype": "float32"}, {"delay": np.zeros(2)}, {"gain": np.ones(2)},
        *({"parameters": {**layer().parameters, name: np.array([0.5, 0.6])}} for name in layer().parameters),
    ],
)  # fmt: skip
def test_all_that_runs_is_part_of_the_digest(change: dict[str, Any]) -> None:
    base = Program(CHIP, (layer(),)).digest
    assert Program(CHIP, (layer(),)).digest == base
    assert Program(CHIP, (layer(**change),)).digest != base


def test_membrane_scale_target_and_number_of_layers_are_part_of_the_digest() -> None:
    base = Program(CHIP, (layer(),))
    others = [
        Program(CHIP, (layer(),), 2.0),
        Program(limits(n_neurons=9), (layer(),)),
        Program(CHIP, (layer(), layer())),
    ]
    assert len({base.digest, *(program.digest for program in others)}) == 4
    # a delay is not a gain
    assert Program(CHIP, (layer(delay=np.ones(2)),)).digest != base.digest


def test_gains_multiply_rows() -> None:
    gained = layer(gain=np.array([1.0, 4.0]))
    assert gained.weight().tolist() == [[0.5, -1.0], [0.0, 6.0]]
    assert np.ravel(gained.largest_weight()).tolist() == [31.5 * 0.5, 31.5 * 2.0]
    assert (layer().weight().tolist(), layer().largest_weight()) == ([[0.5, -1.0], [0.0, 1.5]], 31.5 * 0.5)
    assert layer(dtype="float32").weight().dtype == np.float32


@pytest.mark.parametrize(("top", "bits"), [(0, 0), (1, 2), (-1, 2), (2, 3), (3, 3), (4, 4), (-31, 6), (127, 8)])
def test_bits_used_are_those_of_the_largest_magnitude_and_its_sign(top: int, bits: int) -> None:
    program = Program(CHIP, (layer(codes=np.array([[0, top], [0, 0]], np.int16)),))
    assert program.report().layers[0].weight_bits_used == bits


def test_the_report_sums_over_layers_and_prints_a_row_each() -> None:
    codes = np.array([[1, -2, 0], [0, 3, 31]], np.int16)
    first = layer(codes=codes, saturated=2, zeroed=1, rounding_rms=0.25)
    second = layer(neurons=np.array([6, 7]), saturated=1, zeroed=3, scale=0.125)
    program = Program(CHIP, (first, second), notes=("look here",))
    report = program.report()
    assert (report.neurons, report.synapses, report.saturated, report.zeroed) == (4, 10, 3, 4)
    assert (report.neurons_available, report.fan_in_available, report.weight_bits) == (8, 4, 6)
    document = report.to_dict()
    assert {name: document[name] for name in ("neurons", "synapses", "saturated", "zeroed", "target", "digest")} == {
        "neurons": 4, "synapses": 10, "saturated": 3, "zeroed": 4, "target": "test/chip", "digest": program.digest
    }  # fmt: skip
    assert document["layers"][0]["rounding_rms_lsb"] == 0.25
    assert [row["population"] for row in document["layers"]] == [0, 1]
    assert [row["weight_of_1_lsb"] for row in document["layers"]] == [0.5, 0.125]
    text = str(report)
    assert f"program {program.digest[:12]} for test/chip: 4 of 8 neurons, 10 synapses, 6-bit weights" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "2", "3", "1", "6", "0.5", "2", "1", "0.250"] in rows
    assert ["1", "2", "2", "2", "3", "0.125", "1", "3", "0.000"] in rows
    assert text.endswith("note: look here")


def test_a_report_without_resolution_has_no_bits() -> None:
    report = compile_network(network(), limits(weight_bits=None)).report()
    assert (report.weight_bits, report.layers[0].weight_bits_used) == (None, None)
    text = str(report)
    assert "real-valued weights" in text
    assert ["0", "2", "2", "2", "-", "1", "0", "0", "0.000"] in [line.split() for line in text.splitlines()]


def test_a_program_goes_where_it_is_placed_and_nowhere_that_is_not() -> None:
    program = Program(CHIP, (layer(), layer(neurons=np.array([6, 7]))))
    moved = program.placed([np.array([7, 0]), np.array([1, 2])])
    assert [part.neurons.tolist() for part in moved.layers] == [[7, 0], [1, 2]]
    for neurons, message in (
        ([[-1, 0], [1, 2]], r"neurons -1..2; allowed: different ones of 0..7"),
        ([[8, 0], [1, 2]], r"neurons 0..8; allowed: different ones of 0..7"),
        ([[0, 1], [1, 2]], "allowed: different ones"),
        ([[0, 1]], r"neurons of shapes \[\(2,\)\]; allowed: whole numbers, \[2, 2\] of them"),
        ([[0, 1], [2.0, 3.0]], "whole numbers"),
        ([[0, 1], [2, 3, 4]], r"\[\(2,\), \(3,\)\]"),
    ):
        with pytest.raises(InputError, match=message):
            program.placed([np.array(part) for part in neurons])


def test_like_needs_the_same_limits_and_shapes() -> None:
    program = compile_network(network(), CHIP, weight_scale=0.25, mask=[0, 1])
    again = compile_network(network(), CHIP, like=program, weight_scale="max", mask=[5])
    assert (again.digest, again.scales) == (program.digest, (0.25,))
    error = refused(network(), limits(speedup=1.0), like=program)
    assert (error.layer, error.value) == ("like", "a program for test/chip")
    with pytest.raises(InputError, match=r"like has layers \[\(2, 2\)\], the network \[\(2, 3\)\]"):
        compile_network(network(n_in=3), CHIP, like=program)
