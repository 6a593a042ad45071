"""HM2-BP and NA on `loihi`: the rules' own simulation with the held weights, up to the truncation of fixed point."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import CompileError, InputError, TargetError
from hwloop.rules.steps.deployment import open_network
from hwloop_fixed_point.reference import run_fixed
from hwloop_loihi.step_codes import bias_codes
from hwloop_loihi.step_device import EmulatedStepDevice


def hm2bp(t_ref: int = 0, tau_m: float = 64.0, hidden: int = 30) -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(0)
    layers = [
        hl.Dense(20, hidden).init_normal_(0.4, 0.8, generator),
        rules.LeakyNeurons(3.0, t_ref=t_ref, tau_m=tau_m),
        hl.Dense(hidden, 6).init_normal_(0.3, 0.6, generator),
        rules.LeakyNeurons(3.0, t_ref=t_ref, lateral=-0.5),
    ]
    return rules.StepNetwork(layers, in_shape=20, steps=80)


def na(tau_m: float = 4.0, hidden: int = 30) -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(0)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in ((20, hidden), (hidden, hidden), (hidden, 6)):
        layers += [hl.Dense(n_in, n_out).init_normal_(0.05, 0.3, generator), rules.TracedNeurons(tau_m=tau_m)]
    return rules.StepNetwork(layers, in_shape=20, steps=6)


def values(batch: int = 40, n: int = 20) -> rules.Values:
    return rules.Values(torch.rand(batch, n, generator=torch.Generator().manual_seed(1)), torch.arange(batch))


@pytest.mark.parametrize("build", [hm2bp, na], ids=["hm2bp", "na"])
def test_every_decision_but_those_next_to_the_threshold_is_the_simulations(build: object) -> None:
    net = build()  # type: ignore[operator]
    with open_network(net, "loihi") as chip:
        measured, expected = chip.run(values()), chip.device.expected(values())
    assert measured.rasters is not None
    assert expected.rasters is not None
    for found, wanted in zip(measured.rasters, expected.rasters, strict=True):
        assert found.shape == wanted.shape
        assert float(wanted.double().mean()) > 0.02
        # a step truncates u and v by less than 1 of 2^20 units each, which add up over tau_m = 64 to some 1e-4 of the
        # threshold; that turns few of 1e3 decisions, and what follows one in a sample differs too
        assert float((found.double() != wanted.double()).double().mean()) < 1e-2


def test_spikes_are_those_of_the_reference_of_the_emulator() -> None:
    net = hm2bp()
    device = EmulatedStepDevice(net, "loihi")
    record = device.run(values(3))
    assert record.rasters is not None
    wanted = run_fixed(device._emulator.graph, record.traces["inputs"].numpy().astype(bool))  # type: ignore[union-attr]
    for found, layer in zip(record.rasters, wanted, strict=True):
        np.testing.assert_array_equal(found.numpy().astype(bool), layer)


def test_a_bias_is_kept_to_the_last_bit_of_its_mantissa() -> None:
    currents = np.linspace(-1.0, 1.0, 401)[None]
    codes = bias_codes(currents, 4095 * 128.0)
    # 12 bits of mantissa: half a unit of 2^-11 of the value itself, and at least half a state unit
    limit = np.maximum(np.abs(currents) * 2.0**-12, 0.5 / (4095 * 128.0)) * 1.01
    assert (np.abs(codes / (4095 * 128.0) - currents) <= limit).all()


def test_a_current_that_leaves_its_24_bits_is_reported() -> None:
    net = hm2bp()
    with torch.no_grad():
        net.stages[0].connection.weight.fill_(3.0)
    net.stages[0].neurons.v_th = 0.05  # a current of 20 inputs is worth hundreds of such thresholds
    ones = rules.Values(torch.ones(2, 20), torch.arange(2))
    with (
        open_network(net, "loihi") as chip,
        pytest.raises(TargetError, match=r"layer 0: .* currents went beyond 2\^23"),
    ):
        chip.run(ones)


@pytest.mark.parametrize("build", [hm2bp, na], ids=["hm2bp", "na"])
def test_a_measured_record_trains_its_network(build: object) -> None:
    net = build()  # type: ignore[operator]
    rule = rules.find(net.rule)
    before = [p.detach().clone() for p in net.parameters()]
    with open_network(net, "loihi") as chip:
        data = rules.ValueSet(values().values, torch.arange(40) % 6)
        task = rules.ValueTask("noise", data, data, data, 20, 6)
        loss = rules.ReadoutError(8.0, 1.0) if net.rule == "hm2bp" else rules.TraceError()
        result = hl.fit(
            net, task, loss, rule=rule, epochs=8, batch_size=10, lr=1e-2, forward=chip.forward, progress=False
        )
    assert result.history[-1].loss < result.history[0].loss
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_convolution_is_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    conv = rules.Conv2d(1, 3, 3).init_normal_(0.3, 0.5, generator)
    out = hl.Dense(12, 4).init_normal_(0.3, 0.5, generator)
    neurons = [rules.TracedNeurons(tau_m=4.0) for _ in range(2)]
    net = rules.StepNetwork([conv, neurons[0], rules.AvgPool(2), out, neurons[1]], in_shape=(1, 6, 6), steps=6)
    given = values(20, 36)
    with open_network(net, "loihi") as chip:
        measured, expected = chip.run(given), chip.device.expected(given)
    simulated = rules.NA().forward(net, given)
    assert expected.rasters is not None
    assert measured.rasters is not None
    assert simulated.rasters is not None
    # weights of the output are rounded to 1 part of 127 here; the first population's are not
    assert float((measured.rasters[0] != simulated.rasters[0]).double().mean()) < 1e-3
    assert float((measured.rasters[1] != simulated.rasters[1]).double().mean()) < 0.1
    # the rule's own simulation with the rounded weights, conv and pool written out
    for found, wanted in zip(measured.rasters, expected.rasters, strict=True):
        assert float((found != wanted).double().mean()) < 1e-3


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (hm2bp(t_ref=2), r"no refractory time.*|t_ref = 2 steps"),
        (hm2bp(tau_m=60.0), "tau_m = 60 steps"),
        (na(tau_m=5.0), "decays in whole 4096ths"),
    ],
)
def test_what_fixed_point_cannot_carry_is_refused(net: rules.StepNetwork, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        open_network(net, "loihi")


@pytest.mark.parametrize("build", [hm2bp, na], ids=["hm2bp", "na"])
def test_other_targets_refuse_the_network_by_the_name_of_its_rule(build: object) -> None:
    net = build()  # type: ignore[operator]
    for target in ("emulator:1", "lava"):
        with pytest.raises(CompileError, match=net.rule):
            open_network(net, target)


def test_a_closed_device_and_values_of_another_size_are_refused() -> None:
    device = EmulatedStepDevice(na(), "loihi")
    with pytest.raises(InputError, match="values of 19 units for a network of 20"):
        device.run(values(2, 19))
    device.close()
    with pytest.raises(TargetError, match="is closed"):
        device.run(values(2))
