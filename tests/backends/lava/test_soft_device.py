"""SPIDE and SpikeGrad networks on lava-nc: equal to ``loihi``'s twin and to the rule's own simulation, spike by spike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import TargetError
from hwloop_lava import Environment
from hwloop_lava.soft_device import LavaSoftDevice
from hwloop_loihi.soft_device import EmulatedSoftDevice


def _values(batch: int) -> rules.Values:
    generator = torch.Generator().manual_seed(1)
    return rules.Values(torch.rand(batch, 12, generator=generator), torch.arange(batch))


def _spide() -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(0)
    layers = [hl.Dense(12, 16).init_normal_(0.1, 0.8, generator), rules.RateNeurons()]
    layers += [hl.Dense(16, 3).init_normal_(0.0, 0.25, generator), rules.RateNeurons()]
    feedback = hl.Dense(16, 16).init_normal_(0.0, 0.1, generator)
    return rules.StepNetwork(layers, in_shape=12, steps=20, feedback=feedback)


def _spikegrad() -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(0)
    layers = []
    for n_in, n_out in ((12, 16), (16, 10), (10, 3)):
        layers += [hl.Dense(n_in, n_out).init_normal_(0.05, n_in**-0.5, generator), rules.SignedNeurons(0.25)]
    return rules.StepNetwork(layers, in_shape=12, steps=1)


@pytest.fixture(params=[_spide, _spikegrad], ids=["spide", "spikegrad"])
def opened(request: pytest.FixtureRequest, environment: Environment) -> Iterator[LavaSoftDevice]:
    device = LavaSoftDevice(request.param(), "lava", environment, 60.0)
    yield device
    device.close()


def test_lava_is_its_twin_and_the_simulation_of_the_rule(opened: LavaSoftDevice) -> None:
    inputs = _values(12)
    measured, expected = opened.run(inputs), opened.expected(inputs)
    twin = EmulatedSoftDevice(opened.net, "loihi", opened.spikes).run(inputs)
    for found, wanted, emulated in zip(measured.counts, expected.counts, twin.counts, strict=True):
        assert torch.equal(found, wanted)
        assert torch.equal(found, emulated)
        assert bool((found > 0).any())
    assert torch.equal(measured.readout, expected.readout)
    opened.close()
    with pytest.raises(TargetError, match="is closed"):
        opened.run(inputs)


def test_the_target_opens_networks_in_steps(environment: Environment) -> None:
    with rules.open_network(_spide(), "lava") as chip:
        measured = chip.run(_values(3))
        assert chip.device.device_id.startswith("lava/fixed")
        assert np.isfinite(measured.readout.numpy()).all()
