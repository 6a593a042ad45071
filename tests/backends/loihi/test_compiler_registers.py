"""Registers of compiled layers from their formulas, and both sides of every limit of the arithmetic."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError
from hwloop.mapping import network_values
from hwloop.network import Network
from hwloop_loihi import LoihiProgram, compile_loihi
from hwloop_loihi.compiler import Compilation, compile_values
from hwloop_loihi.remedy import Refusal

from .support import TAU_MEM, TAU_SYN, network, with_weight

DT = 1e-4
#: Largest threshold, largest sum of weights of a tick, states of one unit of the threshold.
TOP, VOLLEY, STATE = 131071, 131071, 64


def step(tau_mem: float = TAU_MEM, tau_syn: float = TAU_SYN, dt: float = DT) -> float:
    """Membrane one tick after an input spike of weight 1: ``(alpha - beta) tau_syn / (tau_syn - tau_mem)``."""
    with mpmath.workdps(40):
        h, mem, syn = (mpmath.mpf(x) for x in (dt, tau_mem, tau_syn))
        return float((mpmath.exp(-h / syn) - mpmath.exp(-h / mem)) * syn / (syn - mem))


def scale_for(threshold: float, swing: float = 1.0) -> float:
    """Weight of one code for which the threshold would be ``threshold`` without an exponent."""
    return 2.0 * swing / (step() * threshold)


def coded(codes: Any, scale: float, **options: Any) -> Network:
    """One population whose weights are ``codes`` times ``scale``."""
    codes = np.asarray(codes, dtype=np.float64)
    return with_weight(network(codes.shape[1], codes.shape[0], **options), 0, codes * scale)


def compiled(codes: Any, threshold: float, **options: Any) -> LoihiProgram:
    scale = scale_for(threshold)
    return compile_loihi(coded(codes, scale, **options), DT, weight_scale=scale)


def refused(net: Network, **options: Any) -> CompileError:
    with pytest.raises(CompileError) as caught:
        compile_loihi(net, DT, **options)
    return caught.value


# -- weights and thresholds -----------------------------------------------------------------------


def test_a_weight_of_so_many_codes_has_that_code_and_twice_that_mantissa() -> None:
    program = compiled([[127, -3, 0], [1, 64, -127]], 1000.0)
    assert program.layers[0].codes.tolist() == [[127, -3, 0], [1, 64, -127]]
    fixed = program.graph.layers[0]
    assert fixed.synapses.weight.tolist() == [[254, -6, 0], [2, 128, -254]]
    assert (fixed.synapses.sign_mode, fixed.synapses.delay) == ("mixed", None)
    assert program.layers[0].max_code == 127


def test_weights_beyond_127_codes_saturate_and_are_counted() -> None:
    layer = compiled([[127.4, -200.0, 128.0, 5.0]], 1000.0).layers[0]
    assert layer.codes.tolist() == [[127, -127, 127, 5]]
    assert (layer.saturated, layer.zeroed) == (2, 0)


@pytest.mark.parametrize(
    ("threshold", "exponent"), [(30000.0, 2), (16000.0, 3), (70000.0, 0), (TOP / 2, 1), (500.0, 7), (20.0, 7)]
)
def test_threshold_and_weights_share_the_largest_exponent_that_fits(threshold: float, exponent: int) -> None:
    program = compiled([[100, 20]], threshold)
    fixed, fit = program.graph.layers[0], program.fits[0]
    assert fixed.synapses.exponent == fit.weight_exp == exponent
    assert fixed.vth == fit.vth == round(threshold * 2**exponent)
    assert fit.threshold_error == pytest.approx(fixed.vth / (threshold * 2**exponent) - 1, abs=1e-12)


@pytest.mark.parametrize("power", [1, 2, 5])
def test_a_threshold_that_rounds_onto_17_bits_still_counts_as_within(power: int) -> None:
    # 131071.49 rounds to the largest; at 131071.6 one exponent less is left
    below, above = (compiled([[100, 20]], value / 2**power).graph.layers[0] for value in (TOP + 0.489, TOP + 0.6))
    assert (below.synapses.exponent, below.vth) == (power, TOP)
    assert (above.synapses.exponent, above.vth) == (power - 1, round((TOP + 0.6) / 2))


def test_the_exponent_leaves_room_for_four_volleys() -> None:
    # all inputs of the worst neuron together bring 2 x the larger of the sums of one sign
    for codes, volley in (([[100] * 40], 8000), ([[-100] * 40], 8000), ([[100] * 41, [-100] * 41], 8200)):
        program = compiled(codes, 4000.0)
        room = VOLLEY / (4 * volley)
        assert program.graph.layers[0].synapses.exponent == math.floor(math.log2(room)) == (2 if volley == 8000 else 1)
        assert program.fits[0].headroom == pytest.approx(VOLLEY / (volley * 2 ** program.fits[0].weight_exp), rel=1e-15)
    # signs of different inputs do not add up
    mixed = compiled([[100] * 40 + [-100] * 40], 4000.0)
    assert mixed.fits[0].headroom == pytest.approx(VOLLEY / (8000 * 4), rel=1e-15)


def test_a_volley_may_fill_the_current_and_not_one_code_more() -> None:
    codes = [127] * 516 + [3]  # 65535 codes, mantissas of 131070
    full = compiled([codes], 20000.0)
    assert full.fits[0].headroom == pytest.approx(131071 / 131070, rel=1e-15)
    assert full.graph.layers[0].synapses.exponent == 0
    scale = scale_for(20000.0)
    error = refused(coded([[*codes[:-1], 4]], scale), weight_scale=scale)
    assert error.limit == "sums of weights up to 131071: beyond it u wraps and changes its sign"
    assert error.value == f"a neuron whose inputs together bring 131072 at {scale:.3g} a code"
    assert error.layer == "layer 0 (Dense)"
    assert error.fix == "compile with weight_scale=0.0102"
    compile_loihi(coded([[*codes[:-1], 4]], scale), DT, weight_scale=0.0102)


def test_a_scale_of_ones_own_is_taken_down_to_a_threshold_of_17_bits() -> None:
    least = scale_for(TOP + 0.49)
    program = compile_loihi(coded([[100, 20]], least), DT, weight_scale=least * (1 + 1e-12))
    assert (program.graph.layers[0].vth, program.graph.layers[0].synapses.exponent) == (TOP, 0)
    small = least * (1 - 1e-5)
    error = refused(coded([[100, 20]], least), weight_scale=small)
    assert error.limit == "thresholds of 17 bits, vth up to 131071"
    assert error.value == f"vth = 131073 at {small:g} a code and dt = 0.0001 s"
    assert error.layer == "layer 1 (LIF)"
    assert error.fix == f'compile with weight_scale={least:.3g}, or compile with weight_scale="max"'


def test_a_rule_gives_resolution_away_where_the_threshold_needs_it() -> None:
    least = scale_for(TOP + 0.49)
    # the largest weight at 100 codes of the least scale: the rule alone would use a finer one
    program = compile_loihi(coded([[100, 20]], least), DT)
    assert program.scales[0] == pytest.approx(least, rel=1e-12)
    assert program.layers[0].codes.tolist() == [[100, 20]]
    assert program.graph.layers[0].vth == TOP
    # that scale, as a number, is what the next compilation in a loop is given
    assert program.with_weights(coded([[100, 20]], least)).digest == program.digest
    wide = compile_loihi(coded([[300, 60]], least, v_th=2.0, v_leak=-1.0, v_reset=-1.0), DT)
    assert wide.scales[0] == pytest.approx(3 * least, rel=1e-12)
    assert (wide.graph.layers[0].vth, wide.layers[0].codes.tolist()) == (TOP, [[100, 20]])
    coarse = compile_loihi(coded([[254, 40]], least), DT)
    assert coarse.scales[0] == pytest.approx(2 * least, rel=1e-12)


def test_a_threshold_below_one_half_is_refused_and_above_it_is_one() -> None:
    assert compiled([[1]], 0.51 / 128).graph.layers[0].vth == 1
    scale = scale_for(0.49 / 128)
    error = refused(coded([[1]], scale), weight_scale=scale)
    assert error.limit == "thresholds of at least 1, the weight of half a code"
    assert error.value == f"vth = 0.49 at {scale:g} a code"
    assert error.layer == "layer 1 (LIF)"


def test_without_exponents_weights_have_none() -> None:
    scale = scale_for(500.0)
    program = compile_loihi(coded([[100, 20]], scale), DT, weight_scale=scale, exponents=False)
    fixed = program.graph.layers[0]
    assert (fixed.synapses.exponent, fixed.vth, program.source.exponents) == (0, 500, False)
    again = program.with_weights(coded([[99, 20]], scale))
    assert (again.graph.layers[0].synapses.exponent, again.source.exponents) == (0, False)
    # the same codes and scales, other registers: another program
    assert compiled([[100, 20]], 500.0).source.exponents
    assert compiled([[100, 20]], 500.0).digest != program.digest


def test_the_swing_sets_the_threshold() -> None:
    plain, wide = compiled([[100, 20]], 4000.0), compiled([[100, 20]], 4000.0, v_th=2.0, v_reset=-1.0, v_leak=-1.0)
    assert wide.graph.layers[0].vth * 2 ** (5 - wide.fits[0].weight_exp) == pytest.approx(
        3 * plain.graph.layers[0].vth, rel=1e-4
    )
    assert plain.fits[0].weight_exp == 5
    assert plain.layers[0].gain is None


def test_neurons_of_smaller_swing_have_larger_codes() -> None:
    net = with_weight(network(2, 3, v_th=[2.0, 1.0, 2.0]), 0, [[1.0, 0.5], [0.5, 0.25], [-1.0, 0.0]])
    program = compile_loihi(net, DT)
    assert program.layers[0].gain is not None
    assert program.layers[0].gain.tolist() == [1.0, 0.5, 1.0]
    assert program.layers[0].codes.tolist() == [[127, 64], [127, 64], [-127, 0]]
    assert program.scales[0] == pytest.approx(1 / 127, rel=1e-15)
    exponent = program.fits[0].weight_exp
    assert program.graph.layers[0].vth == round(2 * 2.0 / (step() / 127) * 2**exponent)
    # rows of a number: 1 LSB of the largest swing
    taken = compile_loihi(net, DT, weight_scale=0.01)
    assert taken.layers[0].codes.tolist() == [[100, 50], [100, 50], [-100, 0]]


# -- decays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(10e-3, 5e-3), (5e-3, 10e-3), (1e-4, 1e-4), (0.3, 7e-4)])
def test_decays_are_rounded_to_12_bits_and_their_errors_told(tau_mem: float, tau_syn: float) -> None:
    net = with_weight(network(1, 1, tau_mem=tau_mem, tau_syn=tau_syn), 0, [[1.0]])
    program = compile_loihi(net, DT)
    fixed, fit = program.graph.layers[0], program.fits[0]
    assert fixed.du == fit.du == round(4096 * (1 - math.exp(-DT / tau_syn))) - 1
    assert fixed.dv == fit.dv == round(4096 * (1 - math.exp(-DT / tau_mem)))
    # u keeps 4096 - (du + 1), v keeps 4096 - dv of 4096 in a tick
    assert fit.tau_syn_error == pytest.approx(-DT / math.log((4095 - fixed.du) / 4096) / tau_syn - 1, rel=1e-12)
    assert fit.tau_mem_error == pytest.approx(-DT / math.log((4096 - fixed.dv) / 4096) / tau_mem - 1, rel=1e-12)


def tau_of(decay: float) -> float:
    """The time constant that loses ``decay / 4096`` in a tick."""
    return -DT / math.log1p(-decay / 4096)


@pytest.mark.parametrize(("name", "register", "less"), [("tau_mem", "dv", 0), ("tau_syn", "du", 1)])
def test_the_slowest_decay_is_one_of_4096_a_tick(name: str, register: str, less: int) -> None:
    for decay, expected in ((0.51, 1), (1.4, 1), (2.0, 2), (3.0, 3)):
        slow = with_weight(network(1, 1, **{name: tau_of(decay)}), 0, [[1.0]])
        assert getattr(compile_loihi(slow, DT).graph.layers[0], register) == expected - less
    tau = tau_of(0.49)
    error = refused(with_weight(network(1, 1, **{name: tau}), 0, [[1.0]]))
    assert error.limit == "decays of 1..4095 / 4096 a tick"
    assert error.value == f"{name} = {tau:g} s, 0.49 / 4096 a tick of 0.0001 s"
    assert error.layer == "layer 1 (LIF)"
    assert error.fix.startswith("open the target with dt=0.0021, or build the layer with ")
    assert f"{name}=0.803 (s), the longest at this step" in error.fix


# -- leak -----------------------------------------------------------------------------------------


def leaking(lifts: list[float], exponents: bool = True, threshold: float = 0.5) -> LoihiProgram:
    """Neurons whose leak adds ``lifts`` to the state in a tick."""
    unit = threshold * (2**7 if exponents else 1) * STATE * -math.expm1(-DT / TAU_MEM)  # of v_leak = 1
    leak = [lift / unit for lift in lifts]
    assert min(leak) >= 1
    scale = scale_for(threshold)
    return compile_loihi(coded([[1]] * len(lifts), scale, v_leak=leak), DT, weight_scale=scale, exponents=exponents)


def test_a_bias_has_the_smallest_exponent_that_holds_it() -> None:
    lifts = [500.0, 4094.9, 4095.1, 8189.0, 8191.0, 16370.0, 16390.0, 4095.0 * 127, 4095.4 * 128]
    fixed = leaking(lifts).graph.layers[0]
    assert fixed.bias_exp.tolist() == [0, 0, 1, 1, 2, 2, 3, 7, 7]
    assert fixed.bias_mant.tolist() == [round(lift / 2**e) for lift, e in zip(lifts, fixed.bias_exp, strict=True)]
    assert fixed.bias_mant.max() == 4095
    assert (fixed.bias_mant.dtype, fixed.bias_exp.dtype) == (np.int32, np.int32)


def test_a_bias_beyond_its_registers_is_refused() -> None:
    with pytest.raises(CompileError) as caught:
        leaking([500.0, 4095.6 * 128])
    error = caught.value
    assert error.limit == f"a bias of up to {4095 * 128} a tick (13 bits, exponent 7)"
    assert error.value == f"{4095.6 * 128:.0f} for the leak potential 12862.9 of neuron 1"
    assert error.layer == "layer 1 (LIF)"


def test_without_exponents_a_bias_has_that_of_netx() -> None:
    fixed = leaking([640.0, 4095.4 * 64], exponents=False, threshold=500.0).graph.layers[0]
    assert fixed.bias_exp.tolist() == [6, 6]
    assert fixed.bias_mant.tolist() == [10, 4095]
    with pytest.raises(CompileError) as caught:
        leaking([640.0, 4095.6 * 64], exponents=False, threshold=500.0)
    assert caught.value.limit == f"a bias of up to {4095 * 64} a tick (13 bits, exponent 6)"


def test_a_bias_is_measured_in_the_neurons_own_swing() -> None:
    # leak and threshold of the second neuron are twice those of the first: the same neuron
    net = coded([[100], [200]], 0.01, v_th=[1.0, 2.0], v_leak=[3.0, 6.0])
    fixed = compile_loihi(net, DT).graph.layers[0]
    assert fixed.bias_mant[0] == fixed.bias_mant[1] > 0
    assert fixed.bias_exp[0] == fixed.bias_exp[1]
    expected = 3.0 * -math.expm1(-DT / TAU_MEM) * fixed.vth * STATE
    # vth was rounded to a part in 2 vth, the mantissa to a part in 4096
    assert fixed.bias_mant[0] * 2.0 ** fixed.bias_exp[0] == pytest.approx(expected, rel=1 / 4096 + 0.5 / fixed.vth)


def test_without_a_leak_there_is_no_bias() -> None:
    fixed = compile_loihi(network(2, 3, v_leak=-1.0, v_reset=-1.0), DT).graph.layers[0]
    assert (fixed.bias_mant.tolist(), fixed.bias_exp.tolist()) == ([0, 0, 0], [0, 0, 0])


# -- delays, layers, notes ------------------------------------------------------------------------


def test_delays_of_0_to_63_ticks_are_those_of_the_inputs() -> None:
    net = network(4, 2, delay=torch.tensor([0.0, 1.0, 62.0, 63.0], dtype=torch.float64) * DT)  # type: ignore[arg-type]
    synapses = compile_loihi(net, DT).graph.layers[0].synapses
    assert synapses.delay is not None
    assert synapses.delay.tolist() == [[0, 1, 62, 63]] * 2
    error = refused(network(2, 2, delay=64 * DT))
    assert error.limit == "delays up to 63 ticks, 0.0063 s at dt = 0.0001 s"
    assert error.layer == "layer 0 (Dense)"


def test_each_layer_has_its_own_registers_and_index() -> None:
    net = network(2, 3, 1)
    with_weight(net, 0, [[1.0, 0.5], [0.25, -1.0], [0.0, 0.5]])
    with_weight(net, 1, [[0.5, 0.25, -0.125]])
    program = compile_loihi(net, DT, weight_scale=["max", 1 / 64], mask=[1])
    assert program.scales == (1 / 127, 1 / 64)
    assert program.layers[1].codes.tolist() == [[32, 16, -8]]
    assert [fit.population for fit in program.fits] == [0, 1]
    assert [layer.neurons.tolist() for layer in program.layers] == [[0, 2, 3], [4]]
    assert [fixed.synapses.weight.shape for fixed in program.graph.layers] == [(3, 2), (1, 3)]
    assert (program.dt, program.graph.dt) == (DT, DT)


@pytest.mark.parametrize(("top", "noted"), [(63, True), (-63, True), (64, False), (-64, False)])
def test_half_used_codes_are_noted(top: int, noted: bool) -> None:
    notes = compiled([[top, 20, -20]], 1000.0).notes
    start = "layer 0 (Dense): the threshold takes 17 bits, weights use codes up to 63 of 127"
    assert [note.startswith(start) for note in notes] == [True] * noted


def test_weights_that_all_round_to_zero_are_refused_with_the_scale() -> None:
    error = refused(coded([[0.4, -0.5]], 1e-2), weight_scale=1e-2)
    assert error.value == "all zero at 0.01 a code (the largest is 0.005)"
    assert error.layer == "layer 0 (Dense)"
    assert compile_loihi(coded([[0.4, -0.51]], 1e-2), DT, weight_scale=1e-2).layers[0].codes.tolist() == [[0, -1]]


def test_what_a_step_can_carry_is_stated() -> None:
    limits = compile_loihi(network(2, 2), DT).capabilities
    assert (limits.name, limits.fan_in, limits.n_neurons, limits.weight_bits) == ("loihi/100us", 65535, 128 * 8192, 8)
    assert (limits.max_delay, limits.time_step, limits.delays) == (63.5 * DT, DT, True)
    assert limits.uniform == ("tau_mem", "tau_syn", "t_ref")


@pytest.mark.parametrize("held", ["sums", "starts"])
def test_coarser_scales_are_tried_one_after_the_other_up_to_twice_what_is_needed(held: str) -> None:
    net = network(1200, 1) if held == "sums" else network(3, 1)
    if held == "sums":
        with_weight(net, 0, np.ones((1, 1200)))
    else:
        net = Network.graph(
            {"in": hl.Input(3), "out": hl.LIF(1, TAU_MEM, TAU_SYN, v_init=-5.0)},
            [hl.Projection("in", "out", with_weight(net, 0, np.full((1, 3), 0.1)).blocks[0][0])],
        ).double()
    asked = Compilation(
        tuple(network_values(net)), DT, "max" if held == "sums" else scale_for(100_000.0), (), None, True, None
    )
    with pytest.raises(Refusal) as caught:
        compile_values(asked)
    assert caught.value.limit.startswith({"sums": "sums of weights", "starts": "currents and membranes"}[held])
    (suggestion,) = caught.value.suggestions
    tried = [float(changed.rules()[0]) for _, changed in suggestion(asked)]
    assert tried == sorted(set(tried))
    assert tried[-1] / tried[0] == pytest.approx(2, rel=0.02)


def test_a_longer_step_that_lets_the_smallest_weights_count_is_tried_first() -> None:
    error = refused(with_weight(network(3, 2), 0, np.full((2, 3), 5e-4)))
    assert error.fix.startswith("open the target with dt=0.00031, or multiply")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_room_for_a_volley_is_made_whatever_the_sign(sign: float) -> None:
    net = with_weight(network(1200, 1), 0, np.full((1, 1200), sign))
    program = compile_loihi(net, DT, headroom=1)
    assert int(np.abs(program.layers[0].codes).sum()) * 2 <= VOLLEY
    assert program.fits[0].headroom >= 1
