"""The steps of the compiler one by one: constants, scales that give way, what is folded, what is told."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError
from hwloop.mapping import LayerValues, layer_program, network_values
from hwloop.network import Network
from hwloop_loihi import compile_loihi, compiler
from hwloop_loihi.compiler import MAX_CODE, MAX_VOLLEY, _folded, _volley, _with_headroom

from .support import TAU_MEM, TAU_SYN, network, with_weight

DT = 1e-4


def values(weight: Any) -> LayerValues:
    rows = np.asarray(weight, dtype=np.float64)
    return network_values(with_weight(network(rows.shape[1], rows.shape[0]), 0, rows))[0]


def refused(net: Network, **options: Any) -> CompileError:
    with pytest.raises(CompileError) as caught:
        compile_loihi(net, DT, **options)
    return caught.value


def test_the_registers_set_the_constants() -> None:
    # 24 bits of state of which 6 are fractions; codes of 8 bits with their sign; mantissas of 13 bits, exponents of 3
    assert (MAX_VOLLEY, MAX_CODE) == (2**17 - 1, 127)
    assert (compiler.LARGEST_THRESHOLD, compiler.LARGEST_BIAS) == (131071.49, 4095 * 2**7)
    assert (compiler.NETX_BIAS_EXPONENT, compiler.VOLLEYS) == (6, 4)


def test_without_a_word_the_largest_weight_sets_the_scale_and_exponents_are_used() -> None:
    defaults = {name: p.default for name, p in inspect.signature(compile_loihi).parameters.items()}
    assert {name: defaults[name] for name in ("weight_scale", "mask", "like", "exponents", "headroom")} == {
        "weight_scale": "max", "mask": (), "like": None, "exponents": True, "headroom": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("codes", "sum_of_one_sign"), [([[1, -2], [3, 4]], 7), ([[1, -2], [-3, -4]], 7), ([[5, -9, 5]], 10), ([[0]], 0)]
)
def test_a_volley_is_twice_the_largest_sum_of_one_sign(codes: Any, sum_of_one_sign: int) -> None:
    assert _volley(np.array(codes)) == 2 * sum_of_one_sign


def test_swings_that_differ_are_folded_by_their_share_of_the_largest() -> None:
    reference, gain = _folded(np.array([2.0, 8.0, 4.0]))
    assert gain is not None
    assert (reference, gain.tolist()) == (8.0, [0.25, 1.0, 0.5])
    assert _folded(np.array([3.0, 3.0])) == (3.0, None)


@pytest.mark.parametrize(
    ("headroom", "top"),
    [
        (0.43, 127),  # 304800 x .43 fits as it is
        (0.44, 124),  # 127 x 131071 / (304800 x .44) = 124.1
        (1.0, 54),
        (2.0, 27),
        (100.0, 1),  # no code at all would fit: the signs are kept
    ],
)
def test_room_for_volleys_is_bought_with_codes_the_largest_weight_stays_on_one(headroom: float, top: int) -> None:
    layer = values(np.ones((1, 1200)))
    full = layer_program(layer, "max", np.arange(1), MAX_CODE)
    found = _with_headroom(layer, full, headroom)
    assert found.codes.tolist() == [[top] * 1200]
    assert found.scale == pytest.approx(1 / top, rel=1e-12)
    assert top in (1, 127) or _volley(found.codes) * headroom <= MAX_VOLLEY
    assert (found is full) == (top == 127)


def test_room_that_is_just_enough_takes_nothing() -> None:
    layer = values(np.ones((1, 516)))  # 516 x 127 codes: 131064, and 131071 / 131064 volleys fit
    full = layer_program(layer, "max", np.arange(1), MAX_CODE)
    assert _with_headroom(layer, full, MAX_VOLLEY / 131064) is full
    assert int(_with_headroom(layer, full, MAX_VOLLEY / 131064 * 1.0001).codes.max()) == 126


def test_headroom_is_given_for_all_layers_or_for_each_and_not_taken_from_a_scale_of_ones_own() -> None:
    net = network(1200, 2, 1)
    with_weight(net, 0, np.ones((2, 1200)))
    with_weight(net, 1, [[1.0, 1.0]])
    tops = [
        [int(np.abs(layer.codes).max()) for layer in compile_loihi(net, DT, **options).layers]
        for options in ({"headroom": 1}, {"headroom": [2, None]}, {"headroom": [1, 500]})
    ]
    assert tops == [[54, 127], [27, 127], [54, 65]]
    own = compile_loihi(net, DT, weight_scale=[1 / 50, "max"], headroom=2)
    assert int(own.layers[0].codes.max()) == 50


def test_the_exponent_follows_the_headroom_that_is_asked_for() -> None:
    net = with_weight(network(40, 1), 0, np.full((1, 40), 1.0))
    volley = 2 * 40 * 127
    for headroom in (None, 1, 2, 4):
        program = compile_loihi(net, DT, headroom=headroom)
        room = MAX_VOLLEY / ((headroom or 4) * volley)
        threshold = compiler.LARGEST_THRESHOLD / (program.graph.layers[0].vth / 2 ** program.fits[0].weight_exp)
        assert program.fits[0].weight_exp == math.floor(math.log2(min(room, threshold)))


# -- what is refused ------------------------------------------------------------------------------


def test_weights_that_all_round_to_zero_are_refused_with_what_was_tried() -> None:
    net = with_weight(network(2, 1), 0, [[0.004, -0.005]])
    error = refused(net, weight_scale=1e-2)
    assert error.limit == "weights of which at least one is not zero after rounding: they set the scale of the layer"
    assert error.value == "all zero at 0.01 a code (the largest is 0.005)"
    # what puts the largest weight, half a code, on one, to two digits and no less
    assert error.fix == 'compile with weight_scale="max", or multiply the weights of layer 0 (Dense) by 2.1'


def test_weights_of_neurons_with_other_thresholds_are_reckoned_in_their_own_swing() -> None:
    net = with_weight(network(1, 2, v_th=[1.0, 4.0]), 0, [[0.004], [0.012]])
    # a quarter of the swing: .004 counts as .016 of the largest
    assert refused(net, weight_scale=0.04).value == "all zero at 0.04 a code (the largest is 0.016)"


def test_weights_that_are_all_zero_have_no_remedy_but_training() -> None:
    error = refused(with_weight(network(2, 1), 0, [[0.0, 0.0]]))
    assert (error.value, error.layer) == ("all zero", "layer 0 (Dense)")
    assert error.fix == "remove the layer, or train it until a weight is not zero"


# -- what is told ---------------------------------------------------------------------------------


def two(first: Any, second: Any, **options: Any) -> Network:
    weights = torch.full((2, 2), 0.75)
    maps = [hl.Dense(2, 2, **options), hl.Dense(2, 2)]
    with torch.no_grad():
        for layer in maps:
            layer.weight.copy_(weights)
    return Network.graph(
        {"in": hl.Input(2), "a": first, "b": second},
        [hl.Projection("in", "a", maps[0]), hl.Projection("a", "b", maps[1])],
    ).double()


def test_time_constants_that_a_neuron_does_not_have_are_exact() -> None:
    program = compile_loihi(two(hl.DeltaLIF(2, TAU_MEM), hl.IF(2)), DT, weight_scale=1 / 64)
    delta, plain = program.fits
    assert (delta.tau_syn_error, plain.tau_syn_error, plain.tau_mem_error) == (0.0, 0.0, 0.0)
    dv = program.graph.layers[0].dv
    assert delta.tau_mem_error == pytest.approx(-DT / math.log1p(-dv / 4096) / TAU_MEM - 1, abs=1e-6)  # of float32
    for fit, fixed in zip(program.fits, program.graph.layers, strict=True):
        # a weight of 1 is 64 codes of mantissa 2: a membrane that jumps to the threshold has reached it, one below it
        exact = 2.0 * 64 * 2.0**fit.weight_exp
        assert fixed.vth == round(exact) - 1
        assert fit.threshold_error == pytest.approx(0.0, abs=1e-12)


def test_what_comes_round_a_loop_is_told_of_the_populations_that_close_it() -> None:
    nodes = {"in": hl.Input(2), "a": hl.LIF(2, TAU_MEM, TAU_SYN), "b": hl.LIF(2, TAU_MEM, TAU_SYN)}
    forward = [hl.Projection("in", "a", hl.Dense(2, 2)), hl.Projection("a", "b", hl.Dense(2, 2))]
    back = hl.Projection("b", "a", hl.Dense(2, 2, delay=1e-3))
    own = hl.Projection("b", "b", hl.Dense(2, 2, delay=1e-3))
    told = (
        ": a spike of tick t acts on the way back at tick t + 1 at the earliest: a delay takes max(1, delay / dt) ticks, "
        "rounded"
    )
    for more, names in (
        ([], None),
        ([own], "projections into 'b'"),
        ([back, own], "projections into 'a', projections into 'b'"),
    ):
        notes = compile_loihi(Network.graph(nodes, [*forward, *more], output="b"), DT).notes
        assert notes == (() if names is None else (names + told,))


def test_a_chain_sees_no_spike_late_and_a_graph_says_how_late() -> None:
    assert [layer.late for layer in compile_loihi(network(2, 2, 2), DT).graph.layers] == [None, None]
    lates = [
        layer.late
        for layer in compile_loihi(two(hl.LIF(2, TAU_MEM, TAU_SYN), hl.LIF(2, TAU_MEM, TAU_SYN)), DT).graph.layers
    ]
    assert None not in lates


def test_starts_are_written_where_files_can_say_them() -> None:
    def fixed(exponents: bool) -> Any:
        net = two(hl.LIF(2, TAU_MEM, TAU_SYN, v_init=0.5), hl.LIF(2, TAU_MEM, TAU_SYN))
        return compile_loihi(net, DT, exponents=exponents).graph.layers

    first, second = fixed(True)
    assert first.v_start.tolist() == pytest.approx([first.vth * 64 * 0.5] * 2, rel=0.02)  # a tick of leak is 1 %
    assert second.v_start is None
    assert all(layer.v_start is None and layer.u_start is None for layer in fixed(False))


def test_losses_are_told_once_and_not_where_a_program_is_continued() -> None:
    net = with_weight(network(12, 4), 0, np.full((4, 12), 1.2))
    with torch.no_grad():
        net.blocks[0][0].weight[0, 0] = 2000.0
    program = compile_loihi(net, DT)
    assert len(program.warnings) == 1
    assert program.warnings[0].startswith("layer 0 (Dense): 47 of 48 weights became 0")
    assert "(tried)" in program.warnings[0]
    assert compile_loihi(net, DT, like=program).warnings == ()
