from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.errors import CompileError, InputError
from hwloop.network import LIF, Dense, Network
from hwloop_loihi import compile_loihi
from hwloop_loihi.compiler import MAX_VOLLEY

from .support import TAU_MEM, TAU_SYN, network, with_weight

DT = 1e-4


def test_registers_follow_the_formulas() -> None:
    net = network(5, 7, 3)
    program = compile_loihi(net, DT)
    alpha, beta = np.exp(-DT / TAU_SYN), np.exp(-DT / TAU_MEM)
    k = (alpha - beta) * TAU_SYN / (TAU_SYN - TAU_MEM)
    for layer, fixed in zip(program.layers, program.graph.layers, strict=True):
        assert fixed.du == round(4096 * (1 - alpha)) - 1
        assert fixed.dv == round(4096 * (1 - beta))
        assert fixed.vth == round(2 ** (fixed.synapses.exponent + 1) / (k * layer.scale))
        np.testing.assert_array_equal(fixed.synapses.weight, 2 * layer.codes)
        np.testing.assert_array_equal(fixed.synapses.effective(), fixed.synapses.weight)


def test_the_largest_weight_gets_the_largest_code_and_rounding_is_half_a_code() -> None:
    net = network(5, 7)
    program = compile_loihi(net, DT)
    weight = net.blocks[0][0].weight.detach().numpy()
    assert int(np.abs(program.layers[0].codes).max()) == 127
    # half a code, and the rounding of the product
    assert np.abs(program.weights()[0] - weight).max() <= program.scales[0] * (0.5 + 1e-12)


def test_the_exponent_is_as_large_as_threshold_and_wrap_allow() -> None:
    program = compile_loihi(network(5, 7), DT)
    fixed, fit = program.graph.layers[0], program.fits[0]
    assert fixed.synapses.exponent == fit.weight_exp > 0
    # one more would not fit: a threshold of 17 bits, or less than fourfold headroom
    assert 2 * fixed.vth > 131071 or fit.headroom / 2 < 4
    volley = np.maximum(fixed.synapses.weight, 0).sum(1).max(), np.maximum(-fixed.synapses.weight, 0).sum(1).max()
    assert fit.headroom == pytest.approx(MAX_VOLLEY / (max(volley) * 2**fit.weight_exp))


def test_a_small_step_gives_weight_codes_away_for_the_threshold() -> None:
    net = with_weight(network(2, 2), 0, [[0.3, 0.1], [-0.2, 0.3]])
    program = compile_loihi(net, 1e-5)
    assert program.graph.layers[0].vth == 131071
    assert program.graph.layers[0].synapses.exponent == 0
    assert int(np.abs(program.layers[0].codes).max()) < 64
    assert "the threshold takes 17 bits" in program.notes[0]
    assert program.notes[0] in str(program.report())


def test_thresholds_of_single_neurons_are_folded_into_their_rows() -> None:
    net = with_weight(network(3, 2, v_th=[1.0, 4.0]), 0, [[1.0, 0.5, -1.0], [4.0, 2.0, -4.0]])
    program = compile_loihi(net, DT)
    codes = program.layers[0].codes
    np.testing.assert_array_equal(codes[0], codes[1])
    weight = net.blocks[0][0].weight.detach().numpy()
    gain = np.array([[0.25], [1.0]])
    assert (np.abs(program.weights()[0] - weight) <= program.scales[0] * gain * (0.5 + 1e-12)).all()
    np.testing.assert_allclose(
        np.broadcast_to(program.layers[0].largest_weight(), (2, 1)), 127.5 * program.scales[0] * gain
    )


def test_the_scale_leaves_room_for_the_row_that_a_low_threshold_makes_largest() -> None:
    program = compile_loihi(with_weight(network(2, 2, v_th=[1.0, 4.0]), 0, [[1.0, 0.5], [1.0, -0.5]]), DT)
    assert program.layers[0].saturated == 0
    assert np.abs(program.layers[0].codes[0]).max() == 127  # its row counts four times
    assert np.abs(program.layers[0].codes[1]).max() == 32


def test_a_leak_becomes_a_bias() -> None:
    program = compile_loihi(network(2, 2, v_leak=2.0), DT)
    layer, exact = program.graph.layers[0], 2.0 * (1 - np.exp(-DT / TAU_MEM))
    # in units of the threshold; the bias register has 12 bits of mantissa
    assert layer.bias / (layer.vth * 64) == pytest.approx([exact] * 2, rel=1 / 2048)


def test_delays_become_those_of_a_delayed_dense() -> None:
    synapses = compile_loihi(network(3, 2, delay=6.3e-3), DT).graph.layers[0].synapses
    assert synapses.delay is not None
    assert synapses.delay.tolist() == [[63] * 3] * 2


def test_new_weights_keep_scale_threshold_and_step() -> None:
    net = network(5, 7, 3)
    program = compile_loihi(net, DT)
    with torch.no_grad():
        net.blocks[0][0].weight[0, 0] += 1.1 * program.scales[0]
    again = program.with_weights(net)
    assert again.scales == program.scales
    assert again.graph.dt == DT
    assert int((again.layers[0].codes != program.layers[0].codes).sum()) == 1
    assert again.digest != program.digest
    assert compile_loihi(network(5, 7, 3), DT).digest == program.digest


def test_the_digest_names_the_step() -> None:
    assert compile_loihi(network(2, 2), 1e-4).digest != compile_loihi(network(2, 2), 1.0001e-4).digest


def test_the_report_tells_errors_of_rounding_and_headroom() -> None:
    report = compile_loihi(network(5, 7, 3), DT).report()
    document = report.to_dict()
    assert document["synapses"] == 5 * 7 + 7 * 3
    assert document["dt"] == DT
    for fit in document["fits"]:
        tau = -DT / np.log(1 - fit["dv"] / 4096)
        assert fit["tau_mem_error"] == pytest.approx(tau / TAU_MEM - 1)
        assert abs(fit["tau_syn_error"]) < 0.5 / (4096 * DT / TAU_SYN) * 1.1  # half a register, relatively
    text = str(report)
    assert "headroom" in text
    assert re.search(r"population +du +dv +vth +exp", text)


def lif(**values: Any) -> Network:
    return network(3, 2, **values)


@pytest.mark.parametrize(
    ("net", "limit", "value", "fix"),
    [
        (lif(tau_mem=[0.01, 0.02]), "one tau_mem for all neurons", "0.01 of neuron 0 and 0.02 of neuron 1", "the mean 0.015"),
        (lif(tau_syn=[0.01, 0.02]), "one tau_syn for all neurons", "0.01 of neuron 0", "the mean 0.015"),
        (lif(t_ref=1e-3), "t_ref = 0", "t_ref = 0.001 s", "t_ref=0 and fine-tune"),
        (lif(reset="subtract"), "reset 'value'", "reset 'subtract'", "reset='value'"),
        (lif(max_spikes=1), "no cap on a neuron's spikes", "max_spikes = 1", "max_spikes=None"),
        (lif(v_leak=0.5), "v_leak = v_reset, or v_leak >= v_th", "v_leak = 0.5", "v_reset = v_leak"),
        (lif(v_leak=200.0), "a bias of up to 524160 a tick", "for the leak potential 200 of neuron 0", "v_leak up to 6.76"),
        (lif(tau_mem=10.0), "decays of 1..4095 / 4096 a tick", "tau_mem = 10 s, 0.04 / 4096 a tick", "dt=0.0025"),
        (lif(tau_syn=1e-5), "time constants of at least one step", "tau_syn = 1e-05 s", "dt=3.5e-06"),
        (with_weight(lif(), 0, np.zeros((2, 3))), "at least one is not zero", "all zero", "remove the layer, or train it"),
        (with_weight(lif(), 0, np.full((2, 3), np.nan)), "finite weights", "weight [0, 0] = nan", "training diverged"),
        (network(3, 2, delay=6.5e-3), "delays up to 63 ticks, 0.0063 s at dt = 0.0001 s", "65 ticks (input unit 0)", "dt=0.000103175"),
    ],
)  # fmt: skip
def test_what_the_arithmetic_cannot_carry_is_refused(net: Network, limit: str, value: str, fix: str) -> None:
    with pytest.raises(CompileError) as caught:
        compile_loihi(net, DT)
    error = caught.value
    assert limit in error.limit
    assert value in error.value
    assert fix in error.fix
    assert error.layer in ("layer 0 (Dense)", "layer 1 (LIF)")


def test_the_layer_that_is_refused_is_named() -> None:
    net = Network([Dense(3, 2), LIF(2, TAU_MEM, TAU_SYN), Dense(2, 1), LIF(1, TAU_MEM, TAU_SYN, t_ref=1e-3)])
    with pytest.raises(CompileError, match=r"layer 3 \(LIF\): found t_ref = 0.001 s"):
        compile_loihi(net, DT)


def test_a_threshold_beyond_17_bits_is_refused_with_the_scale_that_fits() -> None:
    with pytest.raises(CompileError, match="thresholds of 17 bits, vth up to 131071") as caught:
        compile_loihi(network(3, 2), DT, weight_scale=1e-4)
    found = re.search(r"weight_scale=([\d.e-]+), or compile with weight_scale=\"max\"", caught.value.fix)
    assert found is not None
    assert compile_loihi(network(3, 2), DT, weight_scale=float(found.group(1))).fits[0].vth > 0.99 * 131071


def test_a_sum_that_wraps_is_refused_with_the_scale_that_fits() -> None:
    net = with_weight(network(1200, 1), 0, np.ones((1, 1200)))
    with pytest.raises(CompileError, match="sums of weights up to 131071: beyond it u wraps") as caught:
        compile_loihi(net, DT)
    assert "together bring 304800" in caught.value.value
    found = re.search(r"weight_scale=([\d.e-]+)", caught.value.fix)
    assert found is not None
    assert compile_loihi(net, DT, weight_scale=float(found.group(1))).fits[0].headroom > 1


def test_a_threshold_that_rounds_to_nothing_is_refused() -> None:
    net = with_weight(network(3, 2), 0, np.full((2, 3), 1e9))
    with pytest.raises(CompileError, match="thresholds of at least 1"):
        compile_loihi(net, DT)


def test_a_program_of_another_step_cannot_be_continued() -> None:
    program = compile_loihi(network(3, 2), 1e-4)
    with pytest.raises(CompileError, match="compile once without like="):
        compile_loihi(network(3, 2), 2e-4, like=program)


def test_a_scale_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="weight_scale = 'mean'"):
        compile_loihi(network(3, 2), DT, weight_scale="mean")
