"""Every remedy of the compiler for analog targets is followed, on the case that raised it, and works."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.device.registry import compile, find
from hwloop.errors import CompileError, InputError
from hwloop.mapping import compile_network, place, rounded, rounded_down, rounded_up
from hwloop.mapping.quantise import scale_rules
from hwloop.network import LIF, Dense, Network

from .test_compiler import CHIP, SHARED, network

DELAYED = dataclasses.replace(SHARED, uniform=())


def fix_of(net: Network, limits: Any = CHIP) -> str:
    with pytest.raises(CompileError) as caught:
        compile_network(net, limits)
    return caught.value.fix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "value"),
    [("tau_mem", 1.0), ("tau_mem", 1e-4), ("tau_syn", 0.123), ("tau_syn", 1e-5), ("t_ref", 2.0), ("v_leak", 2.5), ("v_leak", -3.0)],
)  # fmt: skip
def test_a_value_out_of_range_moves_to_the_value_that_is_named(name: str, value: float, dtype: torch.dtype) -> None:
    found = re.match(rf"move {name} to (\S+?)(?: of v_th - v_reset| s)", fix_of(network(**{name: value}, dtype=dtype)))
    assert found is not None
    compile_network(network(**{name: float(found[1])}, dtype=dtype), CHIP)


@pytest.mark.parametrize(
    ("tau_mem", "tau_syn", "factor"),
    [(10e-6, 5e-6, "200"), (10.0, 5.0, "0.01"), (0.3, 0.2, "0.25"), (0.7e-3, 0.9e-3, "1.43")],
)
def test_times_out_of_range_are_scaled_by_the_factor_that_is_named(tau_mem: float, tau_syn: float, factor: str) -> None:
    def net(scale: float) -> Network:
        return Network([Dense(3, 4), LIF(4, scale * tau_mem, scale * tau_syn)]).double()

    fix = fix_of(net(1.0))
    assert fix.endswith(f"or multiply all times of the model, and of its inputs, by {factor}")
    compile_network(net(float(factor)), CHIP)


def test_a_factor_that_no_other_layer_bears_is_not_named() -> None:
    net = Network([Dense(3, 4), LIF(4, 0.3, 0.05), Dense(4, 2), LIF(2, 1e-3, 1e-3)])
    assert "multiply" not in fix_of(net)
    assert "multiply" not in fix_of(network(v_leak=2.5))
    # a factor that delays do not bear
    slow = Network([Dense(3, 4, delay=5e-3), LIF(4, 0.7e-3, 0.7e-3)])
    assert "multiply" not in fix_of(slow, DELAYED)
    assert "multiply" in fix_of(Network([Dense(3, 4, delay=3e-3), LIF(4, 0.7e-3, 0.7e-3)]), DELAYED)


def test_a_float32_delay_is_shortened_to_what_is_named() -> None:
    limits = dataclasses.replace(DELAYED, max_delay=4.7654321e-6)
    for dtype in (torch.float32, torch.float64):
        found = re.fullmatch(r"shorten delays to (\S+) s", fix_of(network(delay=9e-3, dtype=dtype), limits))
        assert found is not None
        compile_network(network(delay=float(found[1]), dtype=dtype), limits)


def test_features_that_a_target_lacks_are_left_out_as_said() -> None:
    assert fix_of(network(max_spikes=1)) == "build the layer with max_spikes=None"
    compile_network(network(max_spikes=None), CHIP)
    assert fix_of(network(reset="subtract")) == "build the layer with reset='value'"
    compile_network(network(reset="value"), CHIP)
    fix = fix_of(network(delay=1e-3))
    assert fix == "build Dense without delay, or choose a target that has delays, e.g. 'loihi'"
    compile_network(network(), CHIP)
    compile(network(delay=1e-3), find("loihi"))
    fix = fix_of(network(tau_syn=[5e-3, 5e-3, 6e-3, 5e-3]), SHARED)
    found = re.search(r"one tau_syn, such as the mean (\S+), and", fix)
    assert found is not None
    compile_network(network(tau_syn=float(found[1])), SHARED)
    found = re.match(r"feed it from at most (\d+) units", fix_of(network(n_in=17)))
    assert found is not None
    compile_network(network(n_in=int(found[1])), CHIP)


def test_neurons_that_do_not_fit_are_removed_or_unmasked_as_said() -> None:
    def fix(sizes: list[int], n: int, mask: list[int] = []) -> str:  # noqa: B006
        with pytest.raises(CompileError) as caught:
            place(sizes, n, mask)
        return caught.value.fix

    assert fix([400, 120], 512, [3]) == "remove 9 neurons from it"
    place([391, 120], 512, [3])
    assert fix([5, 5], 4) == "remove 6 neurons, all layers together"
    place([2, 2], 4)
    assert fix([5], 4) == "remove 1 neurons from it"
    assert fix([6, 6], 6) == "remove 6 neurons, all layers together"
    assert fix([5, 4], 9, [0, 1]) == "remove 2 neurons from it, or mask fewer"
    place([5, 4], 9, [])


# -- what users write -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask", [[1], (np.int64(1),), np.array([1]), np.array([1], np.uint8), torch.tensor([1]), {1}, iter([1])]
)
def test_neurons_are_masked_however_they_are_listed(mask: Any) -> None:
    assert compile(network(), find("emulator:0"), mask=mask).layers[0].neurons.tolist() == [0, 2, 3, 4]


@pytest.mark.parametrize(
    "mask", [[True], np.array([False, True]), torch.tensor([False, True]), [1.5], ["1"], [None], 3]
)
def test_what_is_no_list_of_neurons_is_refused(mask: Any) -> None:
    with pytest.raises(InputError, match=r"mask (holds|=)"):
        compile(network(), find("emulator:0"), mask=mask)


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("max", ("max", "max")), (np.float32(0.5), (0.5, 0.5)), (1, (1.0, 1.0)), (torch.tensor(0.5), (0.5, 0.5)), (np.array(0.5), (0.5, 0.5)),
        (["max", 0.5], ("max", 0.5)), (np.array([0.5, 0.25]), (0.5, 0.25)), (torch.tensor([0.5, 0.25]), (0.5, 0.25)),
    ],
)  # fmt: skip
def test_scale_rules_of_every_kind_of_number(rule: Any, found: Any) -> None:
    assert scale_rules(rule, 2) == found
    assert all(isinstance(entry, (str, float)) for entry in scale_rules(rule, 2))


def test_one_rule_in_a_list_is_that_of_a_network_of_one_layer() -> None:
    assert scale_rules([0.5], 1) == (0.5,)
    with pytest.raises(InputError, match="has 1 entries; the network has 2 layers"):
        scale_rules([0.5], 2)


@pytest.mark.parametrize("rule", [None, True, [True, 1.0], [["max"], "max"], object()])
def test_what_is_no_scale_rule_is_refused(rule: Any) -> None:
    with pytest.raises(InputError, match="weight_scale = .*; allowed: 'max'"):
        scale_rules(rule, 2)


@pytest.mark.parametrize(
    ("value", "digits", "up", "down"),
    [(6.4e-3 / 63, 3, 1.02e-4, 1.01e-4), (1.0, 2, 1.0, 1.0), (0.999, 2, 1.0, 0.99), (1.001, 2, 1.1, 1.0), (12345.0, 3, 12400.0, 12300.0),
     (9.96, 2, 10.0, 9.9), (0.0001, 1, 0.0001, 0.0001), (10.4, 2, 11.0, 10.0), (9.99999, 3, 10.0, 9.99)],
)  # fmt: skip
def test_numbers_are_rounded_in_the_safe_direction(value: float, digits: int, up: float, down: float) -> None:
    assert rounded_up(value, digits) == up
    assert rounded_down(value, digits) == down
    assert rounded(value, digits) in (up, down)
