"""The twin acts as the chip does, and stays the network that is asked of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CalibrationError

from .conftest import Calibrated
from .support import network, opened, preset, quiet


def _spikes(samples: int = 40) -> hl.Spikes:
    first = torch.rand((samples, 4), generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 0.02
    return hl.Spikes.from_first_times(first, t_stop=0.08)


def test_without_noise_and_rounding_of_weights_the_twin_is_the_chip_spike_for_spike() -> None:
    # real-valued weights: a code's own non-linearity is no part of a calibration
    chip = quiet(preset(16, dac_integral=0.0, dac_differential=0.0, dead=0.0))
    device = opened(chip, 2, trial_noise=False)
    net = network(hidden=8)
    program = hl.compile(net, device)
    calibration = hl.calibrate(device, program, neurons="all", repeats=4)
    device.load(program)
    with torch.no_grad():
        for (dense, _), weight in zip(net.blocks, program.weights(), strict=True):
            dense.weight.copy_(torch.from_numpy(weight))
        twin = net.with_twin(calibration, program)
        simulated = twin(_spikes())
        nominal = net(_spikes())
    measured = hl.run_on(device, _spikes())
    for k in range(2):
        assert torch.equal(simulated[k].unit_counts(), measured[k].unit_counts())
        off = (simulated[k].times - measured[k].times)[simulated[k].valid].abs()
        # estimates agree to 1e-11; factors are stored with 6 digits, and a slow crossing magnifies 1e-6 of a weight
        assert off.max() < 2e-6
    assert not torch.equal(nominal[0].unit_counts(), measured[0].unit_counts())


def test_the_twin_keeps_weights_parameters_and_state_of_the_network(calibrated: Calibrated) -> None:
    net = network()
    twin = net.with_twin(calibrated.calibration)
    assert net.state_dict().keys() == twin.state_dict().keys()
    for name, value in net.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name])
    program = calibrated.device.target.compile(net, mask=calibrated.calibration.mask)
    assert calibrated.device.target.compile(twin, mask=calibrated.calibration.mask).digest == program.digest


def test_the_gradient_of_a_twin_reaches_the_weights_that_are_asked(calibrated: Calibrated) -> None:
    twin = network().with_twin(calibrated.calibration)
    dense = twin.blocks[0][0]
    twin(_spikes(4)).output.first_times()[0].clamp(max=1.0).sum().backward()
    assert dense.weight.grad is not None
    assert dense.weight.grad.abs().sum() > 0
    factor = dense.mismatch
    # the acting weight is weight * factor: the gradient carries the factor
    acting = dense.weight.detach() * factor
    np.testing.assert_allclose(dense.acting_weight().detach(), acting)


def test_neurons_that_were_not_calibrated_are_refused(calibrated: Calibrated) -> None:
    net = network(hidden=45)
    program = hl.compile(net, opened(preset(64), 5))
    bigger = calibrated.calibration.model_copy(update={"neurons": list(range(1, 49))})
    with pytest.raises(CalibrationError, match="physical neuron 0 was not calibrated"):
        net.with_twin(bigger, program)


def test_a_program_of_another_network_is_refused(calibrated: Calibrated) -> None:
    with pytest.raises(CalibrationError, match="compile this network"):
        network(hidden=9).with_twin(calibrated.calibration, calibrated.program)
