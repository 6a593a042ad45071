"""Losses and decisions of networks with loops and of outputs that do not spike, in closed form."""

from __future__ import annotations

import math

import pytest
import torch

import hwloop as hl
from hwloop import losses
from hwloop.errors import InputError
from hwloop.losses import CountBounds, SilentHinge, predict

TAU = 5e-3
#: A spike of weight w lifts a membrane by at most w / 4, since ``tau_mem = 2 tau_syn``.
TAUS = {"tau_mem": 2 * TAU, "tau_syn": TAU}
ONCE = hl.Spikes.from_events([([0.0], [0]), ([], [])], 1, 20 * TAU, torch.float64)
NO_LABELS = torch.tensor([0, 0])


def dense(rows: list[list[float]]) -> hl.Dense:
    layer = hl.Dense(len(rows[0]), len(rows))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
    return layer


def loop(v_th: float = 1.0) -> hl.Network:
    """The first of two neurons fires on an input spike and lifts the second, which stays silent, by a half."""
    return hl.Network.graph(
        {"in": hl.Input(1), "h": hl.LIF(2, v_th=torch.tensor([1.0, v_th]), **TAUS), "out": hl.LIF(1, **TAUS)},
        [
            hl.Projection("in", "h", dense([[6.0], [0.0]])),
            hl.Projection("h", "h", dense([[0.0, 0.0], [2.0, 0.0]])),
            hl.Projection("h", "out", dense([[1.0, 0.0]])),
        ],
    ).double()


def test_the_hinge_in_a_loop_measures_what_lifts_a_silent_neuron_from_within_the_loop() -> None:
    for v_th in (1.0, 0.75):
        net = loop(v_th)
        record = net(ONCE)
        assert [train.unit_counts().tolist() for train in record.populations] == [[[1, 0], [0, 0]], [[0], [0]]]
        # of h: the second neuron lacks half in the first sample; without input both lack their thresholds
        expected = ((v_th - 0.5) + (1.0 + v_th)) / 2
        for layer in (0, -2):
            assert float(losses.silent_hinge(net, record, layer, 0.0).detach()) == pytest.approx(expected, rel=1e-12)
        margin = float(SilentHinge(0, 0.25)(net, record, NO_LABELS).detach())
        assert margin == pytest.approx(expected + 3 * 0.25 / 2, rel=1e-12)
    # of the output: lifted by a quarter, once
    assert float(SilentHinge()(net, record, NO_LABELS).detach()) == pytest.approx((0.75 + 1.0) / 2, rel=1e-12)


def test_the_hinge_in_a_loop_costs_nothing_where_the_model_would_have_fired() -> None:
    net = loop()
    silence = hl.Spikes.from_events([([], []), ([], [])], 2, 20 * TAU, torch.float64)
    record = net(ONCE)
    record.populations = (silence, record.populations[1])  # a device whose first neuron did not fire
    # the model rises to 1.5 there; the second neuron got nothing
    cost = losses.silent_hinge(net, record, 0, 0.25)
    assert float(cost.detach()) == pytest.approx((1.25 + 2 * 1.25) / 2, rel=1e-12)


def readout(*weights: float) -> hl.Network:
    return hl.Network.graph(
        {"in": hl.Input(1), "h": hl.LIF(1, **TAUS), "out": hl.LI(len(weights), **TAUS)},
        [hl.Projection("in", "h", dense([[6.0]])), hl.Projection("h", "out", dense([[w] for w in weights]))],
    ).double()


def test_an_output_that_does_not_spike_is_decided_by_its_largest_maximum_or_integral() -> None:
    net = hl.Network.graph(
        {"in": hl.Input(2), "h": hl.LIF(2, **TAUS), "out": hl.LI(3, **TAUS)},
        [
            hl.Projection("in", "h", dense([[6.0, 0.0], [0.0, 6.0]])),
            hl.Projection("h", "out", dense([[2.0, 2.0], [4.0, -3.0], [0.0, 1.0]])),
        ],
    ).double()
    both = ([0.0, 10 * TAU], [0, 1])
    record = net(hl.Spikes.from_events([both, ([0.0], [1])], 2, 40 * TAU, torch.float64))
    # the second neuron peaks highest in the first sample (1 against .5); its area there is as 4 - 3 = 1 against 4
    membranes = losses.membranes_of(record)
    assert membranes.maximum()[0].tolist() == pytest.approx([0.5, 1.0, 0.25], rel=0.05)
    assert predict(record, "maximum").tolist() == [1, 0]
    assert predict(record, "integral").tolist() == [0, 0]
    assert predict(record, "maximum").dtype == torch.int64


def test_membranes_are_those_of_the_output_and_of_outputs_that_do_not_spike_alone() -> None:
    record = readout(1.0, 2.0)(ONCE)
    assert losses.membranes_of(record) is record.readouts["out"]
    spiking = loop()(ONCE)
    for output in (spiking, spiking.output):
        with pytest.raises(InputError, match="the output spikes, its membranes are not kept; allowed: a network whose"):
            losses.membranes_of(output)
        for decision in ("maximum", "integral"):
            with pytest.raises(InputError, match="the output spikes"):
                predict(output, decision)  # type: ignore[arg-type]


def test_bounds_on_counts_look_at_spiking_populations_of_a_network_whose_output_does_not_spike() -> None:
    net = readout(1.0)
    assert float(CountBounds(0, 2.0, math.inf)(net, net(ONCE), NO_LABELS).detach()) == 0.5 * (1 + 4) / 2
    with pytest.raises(InputError, match=r"layer 1; the record has 1: allowed -1..0"):
        CountBounds(1)(net, net(ONCE), NO_LABELS)


def test_an_output_that_does_not_spike_has_no_silent_samples() -> None:
    assert losses.silent_samples(readout(1.0)(ONCE)) == 0
    assert losses.silent_samples(loop()(ONCE)) == 2
