"""Mapping onto a target in closed form: both sides of every limit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from hwloop.errors import InputError
from hwloop.mapping import (
    Capabilities,
    Range,
    compile_network,
    dense_name,
    lif_name,
    network_values,
)
from hwloop.mapping.capabilities import GRAPH_LIMITS
from hwloop.mapping.constraints import _factor_in_words

from .small_chip import CHIP, limits, network, refused

# -- limits as data -------------------------------------------------------------------------------


def test_without_a_word_a_target_has_real_weights_at_model_speed_and_no_extras() -> None:
    plain = Capabilities("t", 1, 2)
    assert (plain.weight_bits, plain.max_code, plain.speedup, plain.time_scale) == (None, None, 1.0, 1.0)
    assert (plain.reset_kinds, plain.delays, plain.recurrent, plain.spike_cap) == (("value",), False, False, False)
    assert (plain.ranges, plain.uniform, plain.max_delay, plain.max_events) == ({}, (), None, None)
    assert (plain.refractory_min, plain.time_step, plain.latency) == (0.0, 0.0, 0.0)
    assert (plain.populations, plain.graphs, plain.synaptic_delays) == (("LIF",), False, False)
    assert (plain.bias, plain.initial_membrane, plain.joined) == (False, False, 1)
    # a latency on the device is so many times longer in the model
    assert Capabilities("t", 1, 2, speedup=1000.0, latency=2e-6).model_latency == 2e-3


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


@pytest.mark.parametrize(
    ("taus", "factor"),
    [
        # the shortest asks for 1.34 at least, what the longest leaves is that but for float32's rounding: 5e-7
        ((2e-3 / 1.34, 0.1 / 1.34 * (1 + 3e-7)), 1.34),
        ((2e-3 / 1.34, 0.1 / 1.34 * (1 + 7e-7)), None),
        ((2e-3 / 1.34 * (1 - 3e-7), 0.1 / 1.34), 1.34),
        ((2e-3 / 1.34 * (1 - 7e-7), 0.1 / 1.34), None),
        ((2e-3, 0.25), None),  # what shortens the longest makes the shortest too short
        ((5e-3, 0.25), 0.4),
        ((1e-3, 1e-2), 2.0),
    ],
)
def test_a_factor_of_all_times_is_named_where_one_suits_them_all(taus: tuple[float, ...], factor: float | None) -> None:
    values = network_values(network(tau_mem=list(taus)))
    words = "" if factor is None else f", or multiply all times of the model, and of its inputs, by {factor:g}"
    assert _factor_in_words(values, limits(**TAU_MEM)) == words


def test_the_factor_of_all_times_keeps_the_longest_delay_within_its_limit() -> None:
    chip = limits(delays=True, max_delay=5e-6, **TAU_MEM)
    late = network(tau_mem=1e-3, delay=torch.tensor([1e-3, 3e-3], dtype=torch.float64))
    assert _factor_in_words(network_values(late), chip) == ""  # 2 for the time constants, 5/3 at most for the delays
    soon = network(tau_mem=1e-3, delay=torch.tensor([0.0, 2.5e-3], dtype=torch.float64))
    assert _factor_in_words(network_values(soon), chip).endswith("by 2")
    for without in (network(), network(delay=0.0)):
        assert _factor_in_words(network_values(without), chip) == ""  # all is well as it is


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
