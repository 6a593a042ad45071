"""Mapping onto a target in closed form: rounding, saturation, placement, digest, report."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hwloop.errors import CompileError, InputError
from hwloop.mapping import (
    LayerProgram,
    Program,
    compile_network,
    place,
    quantise,
    scale_of,
)
from hwloop.mapping.quantise import scale_rules
from hwloop.network import Network

from .small_chip import CHIP, limits, network, refused

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
    assert error.fix == "remove 2 neurons from it, or mask fewer"


@pytest.mark.parametrize(
    ("sizes", "n_neurons", "fix"),
    [
        ([2, 4], 3, "remove 3 neurons from it"),
        ([2, 4], 2, "remove 4 neurons, all layers together"),
        ([2, 4], 5, "remove 2 neurons from it"),
        ([2, 4], 6, "remove 1 neurons from it, or mask fewer"),
    ],
)
def test_what_is_too_much_is_taken_from_the_largest_layer_where_that_is_enough(
    sizes: list[int], n_neurons: int, fix: str
) -> None:
    with pytest.raises(CompileError) as caught:
        place(sizes, n_neurons, [0] if n_neurons >= 5 else [])
    assert (caught.value.fix, caught.value.layer) == (fix, "layer 3 (LIF), the largest")


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
    assert (plain.blocks, plain.synapses, plain.bias, plain.v_init) == ((), None, None, None)
    assert (plain.filtered, plain.kind, plain.name) == (False, "LIF", "")


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


def test_the_digest_of_limits_stays_what_stored_programs_have() -> None:
    assert CHIP.digest == "6d35df3ddd85fd7f5238e5c412973ae6644d5f482c32632364dff6d4efe8b08c"
