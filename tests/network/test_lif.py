from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from hwloop.errors import InputError, OptionError
from hwloop.network import LIF
from hwloop.neurons import PARAMETERS


def test_one_number_becomes_one_value_a_neuron() -> None:
    lif = LIF(4, 10e-3, 5e-3, v_th=0.7)
    assert {name: tuple(v.shape) for name, v in lif.parameters_dict().items()} == dict.fromkeys(PARAMETERS, (4,))
    assert lif.v_th.tolist() == pytest.approx([0.7] * 4)
    assert list(lif.parameters()) == []


def test_tensor_of_values_is_copied_and_a_parameter_is_shared() -> None:
    values, trained = torch.full((3,), 1e-2), nn.Parameter(torch.full((3,), 5e-3))
    lif = LIF(3, values, trained)
    values[0] = 99.0
    assert lif.tau_mem[0].item() == pytest.approx(1e-2)
    assert lif.tau_syn is trained
    assert [name for name, _ in lif.named_parameters()] == ["tau_syn"]


def test_dtype_follows_the_module() -> None:
    assert all(v.dtype == torch.float64 for v in LIF(2, 10e-3, 5e-3).double().parameters_dict().values())


def test_values_given_in_float64_stay_exact() -> None:
    value = torch.tensor(10e-3, dtype=torch.float64)
    assert LIF(2, value, value).tau_mem[1].item() == 10e-3


def test_leak_over_threshold_and_equal_taus_are_legal() -> None:
    LIF(2, 5e-3, 5e-3, v_leak=2.0)


def test_description_names_size_ranges_reset_and_cap() -> None:
    text = repr(LIF(2, [1e-2, 2e-2], 5e-3, reset="subtract", max_spikes=3))
    for part in ("2, tau_mem=0.01..0.02", "tau_syn=0.005", "reset='subtract'", "max_spikes=3"):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tau_mem": 0.0}, "neuron 0: tau_mem = 0; allowed: > 0 s"),
        ({"tau_syn": [5e-3, -1e-3]}, "neuron 1: tau_syn = -0.001; allowed: > 0 s"),
        ({"t_ref": -1e-3}, "t_ref = -0.001; allowed: >= 0 s"),
        ({"v_th": 0.0}, "v_th - v_reset = 0; allowed: > 0"),
        ({"v_reset": [0.0, 1.5]}, "neuron 1: v_th - v_reset"),
        ({"v_leak": math.nan}, "v_leak = nan; allowed: finite"),
        ({"v_th": math.inf}, "v_th = inf; allowed: finite"),
        ({"tau_mem": [1e-2] * 3}, "tau_mem has shape (3,)"),
    ],
)
def test_value_out_of_its_bounds_is_refused(changes: dict[str, Any], message: str) -> None:
    import re

    with pytest.raises(InputError, match=re.escape(message)):
        LIF(**{"n": 2, "tau_mem": 1e-2, "tau_syn": 5e-3, **changes})


@pytest.mark.parametrize("n", [0, -1, 1.5])
def test_number_of_neurons_that_is_no_whole_number_is_refused(n: Any) -> None:
    with pytest.raises(InputError, match="n = .*allowed: a whole number >= 1"):
        LIF(n, 1e-2, 5e-3)


def test_unknown_reset_kind_is_refused_with_those_that_exist() -> None:
    with pytest.raises(OptionError, match="reset = 'hard'; allowed: 'value', 'subtract'"):
        LIF(2, 1e-2, 5e-3, reset="hard")


@pytest.mark.parametrize("cap", [0, -3, 1.5])
def test_cap_below_one_or_not_whole_is_refused(cap: Any) -> None:
    with pytest.raises(InputError, match="max_spikes"):
        LIF(2, 1e-2, 5e-3, max_spikes=cap)
