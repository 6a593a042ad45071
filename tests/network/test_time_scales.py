from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hwloop as hl
from hwloop import encoding
from hwloop.errors import TimeScaleWarning


def net(lif: dict[str, Any], *, weight: float = 1.0, n_in: int = 5, n: int = 3, **dense: Any) -> hl.Network:
    options = {"tau_mem": 10e-3, "tau_syn": 5e-3, **lif}
    return hl.Network([hl.Dense(n_in, n, **dense).init_normal_(weight, 0.0), hl.LIF(n, **options)])


def given(scale: float = 1e-3, n_in: int = 5) -> hl.Spikes:
    """Inputs over 0..20, window 50; in ms by default."""
    first = torch.linspace(0, 20, n_in)[None] * scale
    return hl.Spikes.from_first_times(first, 50 * scale)


def said(network: hl.Network, spikes: hl.Spikes) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network(spikes)
    assert all(issubclass(w.category, TimeScaleWarning) and w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("changes", [{"tau_mem": 10, "tau_syn": 5}, {"tau_mem": 10.0}, {"tau_mem": [10, 20, 10]}])
def test_a_silent_layer_of_ten_second_membranes_is_asked_whether_it_counts_in_ms(changes: dict[str, Any]) -> None:
    (message,) = said(net(changes), given())
    assert "layer 1 (LIF) is silent: tau_mem = 10 s beside a window of t_stop = 0.05 s; is this in ms?" in message
    assert "write 10e-3" in message


def test_slow_synapses_and_late_delays_are_asked_too() -> None:
    assert "tau_syn = 5 s beside" in said(net({"tau_syn": 5}, weight=0.1), given())[0]
    assert "every input arrives after the window, delay = 2 s" in said(net({}, delay=2), given())[0]


@pytest.mark.parametrize(
    "spikes",
    [
        given(1.0),
        hl.Spikes.from_dense(torch.eye(5)[None].repeat_interleave(4, 1), dt=1),
        hl.Spikes.from_dense(np.eye(5)[None], dt=1.0),
        encoding.latency(torch.linspace(0, 1, 5)[None], 0, 20, 50),
        hl.Spikes.from_events([(np.linspace(0, 20, 5), np.arange(5))], 5, 50),
    ],
)
def test_times_in_ms_before_neurons_in_seconds_are_asked(spikes: hl.Spikes) -> None:
    (message,) = said(net({}), spikes)
    assert "Are times, t_stop or dt in ms? Times are in seconds: multiply by 1e-3" in message


def test_the_numbers_that_a_warning_names_are_right_and_end_it() -> None:
    spiking = 3.0  # enough for a spike, where units agree
    assert said(net({"tau_mem": 10, "tau_syn": 5}, weight=spiking), given())
    assert said(net({"tau_mem": 10e-3, "tau_syn": 5e-3}, weight=spiking), given()) == []
    assert int(net({}, weight=spiking)(given()).output.counts.sum()) > 0
    assert said(net({}), given(1.0))
    assert said(net({}), given(1e-3)) == []


@pytest.mark.parametrize(
    ("lif", "scale", "weight"),
    [
        ({"tau_mem": 1.0, "tau_syn": 0.5}, 0.1, 1.0),  # slow on purpose: a window of 5 s
        ({"tau_mem": 1.0, "tau_syn": 0.5}, 0.1, 0.0),  # the same, silent
        ({"tau_mem": 10, "tau_syn": 5}, 1.0, 0.0),  # all in ms, silent: as good a unit as any
        ({"tau_mem": 1.0, "tau_syn": 0.5}, 1e-3, 400.0),  # slow against its window, but it spikes
        ({"tau_mem": 0.1, "tau_syn": 0.05}, 1e-3, 0.0),  # a tenth of a second is no number in ms
        ({}, 1e-3, 0.0),  # silent, and nothing else
        ({}, 1e3, 0.0),  # hours of nothing between two events: a thousandth would be as sparse
    ],
)
def test_slow_work_and_silence_alone_raise_no_question(lif: dict[str, Any], scale: float, weight: float) -> None:
    assert said(net(lif, weight=weight).double(), given(scale)) == []


def test_a_measured_run_and_a_layer_without_input_raise_no_question() -> None:
    slow = net({"tau_mem": 10})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = slow(given())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slow(given(), measured=record)
        slow(given(), record)
        slow(hl.Spikes.from_events([([], [])], 5, 0.05))


def test_a_refractory_time_in_ms_is_asked_once() -> None:
    asked = net({"t_ref": 2}, weight=3.0)
    (message,) = said(asked, given())
    assert message.startswith("layer 1 (LIF): t_ref = 2 s beside time constants of 0.01 s; is this in ms?")
    assert "write 2e-3" in message
    assert said(asked, given()) == []
    for lif in ({"t_ref": 2e-3}, {"tau_mem": 1.0, "tau_syn": 0.5, "t_ref": 2.0}, {"t_ref": 1e9}):  # 1e9: one spike each
        assert said(net(lif, weight=400.0), given()) == []


def test_a_float32_network_is_warned_of_a_window_that_it_cannot_resolve() -> None:
    spikes = hl.Spikes.from_aer(np.array([(0, 120_000_000)], dtype=[("x", "<i8"), ("t", "<i8")]), 5, 121.0)
    (message,) = said(net({}), spikes)
    assert "float32 rounds times near t_stop = 121 s by 7e-06 s, 0.001 of a time constant (0.005 s)" in message
    assert said(net({}).double(), spikes) == []
    assert said(net({"tau_mem": 1.0, "tau_syn": 0.5}), spikes) == []


def test_a_deeper_layer_is_named() -> None:
    layers: list[nn.Module] = [*net({}, weight=3.0).layers, *net({"tau_mem": 10}, n_in=3).layers]
    (message,) = said(hl.Network(layers), given())
    assert message.startswith("layer 3 (LIF) is silent: tau_mem = 10 s")
