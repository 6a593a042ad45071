"""SPIDE and SpikeGrad networks on ``loihi``: equal to the rule's simulation of the rounded network, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import CompileError, InputError, TargetError
from hwloop_loihi.soft_codes import bias_currents, spide_codes, spikegrad_codes, spread_events


def spide_net(seed: int = 0, *, feedback: bool = True, steps: int = 20, quantum: float = 2.0) -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(seed)
    own = hl.Dense(16, 16).init_normal_(0.0, 0.1, generator) if feedback else None
    layers = [hl.Dense(12, 16).init_normal_(0.1, 0.8, generator), rules.RateNeurons(quantum)]
    layers += [hl.Dense(16, 3).init_normal_(0.0, 0.25, generator), rules.RateNeurons(quantum)]
    return rules.StepNetwork(layers, in_shape=12, steps=steps, feedback=own)


def spikegrad_net(seed: int = 0, *, theta: float = 0.25) -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for n_in, n_out in ((12, 16), (16, 10), (10, 3)):
        dense = hl.Dense(n_in, n_out).init_normal_(0.05, n_in**-0.5, generator)
        layers += [dense, rules.SignedNeurons(theta)]
    net = rules.StepNetwork(layers, in_shape=12, steps=1)
    with torch.no_grad():
        for stage in net.stages:
            stage.neurons.bias.normal_(0.0, 0.1, generator=generator)
    return net


def values(batch: int, seed: int = 1) -> rules.Values:
    generator = torch.Generator().manual_seed(seed)
    return rules.Values(torch.rand(batch, 12, generator=generator), torch.arange(batch))


@pytest.mark.parametrize("feedback", [True, False])
@pytest.mark.parametrize("quantum", [2.0, 1.5])
def test_spide_on_the_chip_is_its_simulation_spike_for_spike(feedback: bool, quantum: float) -> None:
    inputs = values(300)
    for seed in range(5):
        net = spide_net(seed, feedback=feedback, quantum=quantum)
        with rules.open_network(net, "loihi") as chip:
            measured, expected = chip.run(inputs), chip.device.expected(inputs)
            assert chip.device.ran_on == "emulator"
        assert torch.equal(measured.counts[0], expected.counts[0])
        assert torch.equal(measured.readout, expected.readout)
        assert 0.02 < float(measured.counts[0].mean()) / 20 < 0.98


def test_signed_spikes_carry_spikegrad_exactly_and_binary_ones_nearly() -> None:
    inputs, net = values(300), spikegrad_net()
    with rules.open_network(net, "loihi", spikes="signed") as chip:
        measured, expected = chip.run(inputs), chip.device.expected(inputs)
    assert all(map(torch.equal, measured.counts, expected.counts))
    assert all(bool((n > 0).any()) for n in measured.counts)
    with rules.open_network(net, "loihi") as chip:
        near = rules.agreement(chip.run(inputs), chip.device.expected(inputs))
    # what is not taken back stays: some neurons fire once too often, few more than once
    assert 0.8 < near["equal"] < 1.0
    assert near["difference"] < 0.3


def test_rounded_weights_are_near_the_weights_of_the_network() -> None:
    net = spide_net()
    codes = spide_codes(net)
    held, scale = codes.net.feedback.weight.detach(), codes.scales[0]
    wanted = net.feedback.weight.detach().double()
    assert float((held - wanted).abs().max()) <= 1.0 / scale  # even codes: half of two
    assert int(np.abs(codes.populations[0].recurrent).max()) <= 254
    deep = spikegrad_codes(spikegrad_net(), signed=True)
    for stage, kept, unit in zip(spikegrad_net().stages, deep.net.stages, deep.scales, strict=False):
        assert float((kept.connection.weight - stage.connection.weight).detach().abs().max()) <= 1.0 / unit
        assert kept.neurons.theta == pytest.approx(stage.neurons.theta, rel=0.05)


def test_bias_registers_round_within_their_mantissa_and_saturate() -> None:
    codes = spide_codes(spide_net())
    unit = codes.scales[0] * 64
    current = torch.tensor([[0.0, 1e-3, -0.02, 0.3, -1.7, 3.9, 4000.0, -4000.0] + [0.5] * 8]).double()
    registers = bias_currents(codes, current)
    exact = current.numpy() * unit
    inside = np.abs(exact) < 4095 * 128
    # a mantissa of 13 bits: half of its last place, or of a whole state unit
    assert (np.abs(registers - exact)[inside] <= np.maximum(0.5, np.abs(exact[inside]) / 4095)).all()
    assert set(np.abs(registers[~inside])) == {4095 * 128}


def test_input_events_are_spread_evenly_and_none_is_lost() -> None:
    inputs = rules.Values(torch.tensor([[0.0, 0.25, 0.5, 1.0]]), torch.zeros(1, dtype=torch.int64))
    events = spread_events(inputs, 16, 32)
    assert events.sum(1).tolist() == [[0, 4, 8, 16]]
    assert events.max() == 1
    assert np.diff(np.flatnonzero(events[0, :, 1])).tolist() == [8, 8, 8]


def test_training_in_the_loop_uses_what_the_chip_measured() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(240, 12, generator=generator)
    part = rules.ValueSet(x, (x[:, :6].sum(1) > x[:, 6:].sum(1)).long())
    task = rules.ValueTask("sums", part, part.select(slice(0, 120)), part, 12, 3)
    for net, rule in (
        (spide_net(), rules.Spide(steps_back=20, loss_scale=20.0)),
        (spikegrad_net(), rules.SpikeGrad(64.0)),
    ):
        with rules.open_network(net, "loihi") as chip:
            options = {"epochs": 4, "batch_size": 20, "lr": 1e-2, "progress": False}
            hl.fit(net, task, rules.ReadoutCrossEntropy(), rule=rule, forward=chip.forward, **options)
            chip.device.write(net)
            measured = chip.run(part.inputs)
        assert float((torch.argmax(measured.readout, 1) == part.labels).double().mean()) > 0.8


def test_what_the_arithmetic_cannot_carry_is_refused_by_name() -> None:
    several = [
        hl.Dense(4, 4),
        rules.RateNeurons(),
        hl.Dense(4, 4),
        rules.RateNeurons(),
        hl.Dense(4, 2),
        rules.RateNeurons(),
    ]
    with pytest.raises(CompileError, match="one hidden population"):
        rules.open_network(rules.StepNetwork(several, in_shape=4, steps=5), "loihi")
    net = spide_net(quantum=1e-6)
    with pytest.raises(CompileError, match="at least one code"):
        rules.open_network(net, "loihi")
    weak = spikegrad_net(theta=1e-7)
    with pytest.raises(CompileError, match="raise theta"):
        rules.open_network(weak, "loihi")


def test_analog_chips_are_refused_since_they_reset_to_a_potential() -> None:
    for net in (spide_net(), spikegrad_net()):
        with pytest.raises(CompileError, match=f"reset 'subtract', which rule '{net.rule}' needs") as refused:
            rules.open_network(net, "emulator:1", preset="bss2")
        assert "emulator/bss2" in refused.value.limit


def test_closed_devices_and_foreign_values_are_refused() -> None:
    chip = rules.open_network(spide_net(), "loihi")
    with pytest.raises(InputError, match="values of 5 units"):
        chip.run(rules.Values(torch.rand(1, 5), torch.zeros(1, dtype=torch.int64)))
    chip.close()
    with pytest.raises(TargetError, match="is closed"):
        chip.run(values(1))


def test_currents_that_would_change_sign_are_an_error() -> None:
    wide = rules.StepNetwork(
        [hl.Dense(3000, 4).init_normal_(1.0, 0.0), rules.SignedNeurons(0.125), hl.Dense(4, 2), rules.SignedNeurons()],
        in_shape=3000, steps=1,
    )  # fmt: skip
    with rules.open_network(wide, "loihi") as chip, pytest.raises(TargetError, match="beyond 2\\^23"):
        chip.run(rules.Values(torch.ones(1, 3000), torch.zeros(1, dtype=torch.int64)))
