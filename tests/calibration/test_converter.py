"""The bow of the synapses' converters: found, part of the twin, and worth having."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CalibrationError, InputError
from hwloop.training.noise import NoiseModel, NoisyForward
from hwloop_calibration import measure_bends
from hwloop_calibration.characterise.converter import shrunk
from hwloop_emulator import EmulatorDevice

from .conftest import Calibrated
from .support import network, opened, preset, quiet


@pytest.fixture(scope="module")
def bowed() -> tuple[EmulatorDevice, hl.Network, hl.Program, hl.Calibration]:
    """A noisy chip whose converters have the bow of ``bss2``, and its calibration with bends."""
    device = opened(preset(20, dead=0.0), 2)
    net = network(hidden=12)
    program = hl.compile(net, device)
    calibration = hl.calibrate(device, program, neurons="all")
    device.load(program)
    return device, net, program, measure_bends(device, program, calibration)


def test_without_noise_and_single_steps_the_bend_is_that_of_the_silicon() -> None:
    chip = quiet(preset(10, dac_differential=0.0, dead=0.0))
    device = opened(chip, 2, trial_noise=False)
    program = hl.compile(network(hidden=5), device)
    found = measure_bends(device, program, hl.calibrate(device, program, neurons="all", repeats=4), repeats=4)
    bends = np.array([[np.nan if x is None else x for x in row] for row in found.bends])
    drawn = device._chip.silicon.synapses("dac_integral", np.arange(10), bends.shape[1])[..., 0]
    # value = code + b M 4 s (1 - s), s = code / M: over its value at M the factor is 1 + 4 b (1 - s)
    np.testing.assert_allclose(bends, 4 * 0.01 * drawn, atol=2e-4)


def test_the_twin_of_a_trained_network_is_nearer_to_the_chip_with_bends(
    bowed: tuple[EmulatorDevice, hl.Network, hl.Program, hl.Calibration],
) -> None:
    device, net, program, calibration = bowed
    device.load(program)
    held = hl.Network(list(net.layers))
    with torch.no_grad():
        for (dense, _), weight in zip(held.blocks, program.weights(), strict=True):
            dense.weight.copy_(torch.from_numpy(weight))
    generator = torch.Generator().manual_seed(8)
    spikes = hl.Spikes.from_first_times(
        0.02 * torch.rand((150, 4), generator=generator, dtype=torch.float64), t_stop=0.08
    )
    seen = hl.run_on(device, spikes, 16)[0].first_times().reshape(16, 150, 12)
    straight = calibration.model_copy(update={"bends": []})
    errors = {}
    with torch.no_grad():
        times = {
            name: held.with_twin(which, program)(spikes)[0].first_times()
            for name, which in (("bent", calibration), ("straight", straight))
        }
    sure = torch.isfinite(seen).all(0) & torch.isfinite(times["bent"]) & torch.isfinite(times["straight"])
    centre = seen.mean(0)[sure]
    for name, twin in times.items():
        errors[name] = float((centre - twin[sure]).abs().median())
    print({name: f"{1e6 * error:.0f} us" for name, error in errors.items()}, int(sure.sum()))
    assert errors["bent"] < 0.85 * errors["straight"]


def test_the_gradient_and_the_noisy_forward_know_the_bend(
    bowed: tuple[EmulatorDevice, hl.Network, hl.Program, hl.Calibration],
) -> None:
    _, net, program, calibration = bowed
    twin = net.with_twin(calibration, program)
    dense = twin.blocks[0][0]
    assert dense.bend is not None
    assert dense.full_scale is not None
    assert dense.mismatch is not None
    scale = program.layers[0].scale * 31
    assert float(dense.full_scale) == pytest.approx(scale)
    full = torch.full_like(dense.weight, scale)
    # at full scale the factor is the one that was measured there; a third of it has two thirds of the bend
    torch.testing.assert_close(dense.transmitted(full), full * dense.mismatch)
    torch.testing.assert_close(dense.transmitted(full / 3), full / 3 * dense.mismatch * (1 + dense.bend * 2 / 3))
    torch.testing.assert_close(dense.transmitted(-full / 3), -dense.transmitted(full / 3))
    step = 1e-6 * scale
    dense.transmitted(dense.weight).sum().backward()
    with torch.no_grad():
        slope = (dense.transmitted(dense.weight + step) - dense.transmitted(dense.weight - step)) / (2 * step)
    assert dense.weight.grad is not None
    below = dense.weight.abs() < 0.999 * scale  # beyond full scale the converter saturates: there is an edge
    torch.testing.assert_close(dense.weight.grad[below], slope[below], rtol=1e-6, atol=1e-8)
    spikes = hl.Spikes.from_first_times(torch.full((4, 4), 1e-3, dtype=torch.float64), t_stop=0.08)
    with torch.no_grad():
        quietly = NoisyForward(NoiseModel())(twin, spikes)
        assert torch.equal(quietly.output.times, twin(spikes).output.times)


def test_without_a_program_there_is_no_full_scale_and_the_converter_is_taken_as_straight(
    bowed: tuple[EmulatorDevice, hl.Network, hl.Program, hl.Calibration],
) -> None:
    _, net, _, calibration = bowed
    assert net.with_twin(calibration).blocks[0][0].bend is None


def test_a_noisy_value_is_drawn_to_the_mean_and_an_unknown_one_stays_unknown() -> None:
    rng = np.random.default_rng(4)
    true = 0.02 + 0.03 * rng.standard_normal((200, 8))
    errors = np.where(rng.random((200, 8)) < 0.5, 0.01, 0.06)
    values = true + errors * rng.standard_normal((200, 8))
    values[0, 0], errors[0, 0] = np.nan, np.inf
    found = shrunk(values, errors)
    assert np.isnan(found[0, 0])
    assert np.nanstd(found - true) < 0.6 * np.nanstd(values - true)
    assert np.all(shrunk(np.ones((3, 2)), np.ones((3, 2))) == 1.0)


def test_a_foreign_calibration_too_few_repeats_and_real_weights_are_refused(calibrated: Calibrated) -> None:
    device, program, calibration = calibrated.device, calibrated.program, calibrated.calibration
    with pytest.raises(CalibrationError, match="is of device emulator:5"):
        measure_bends(opened(preset(48), 6), program, calibration)
    with pytest.raises(InputError, match="repeats = 3; allowed: a whole number >= 4"):
        measure_bends(device, program, calibration, repeats=3)
    ideal = hl.open("emulator:0", preset="ideal")
    with pytest.raises(CalibrationError, match="no codes"):
        measure_bends(ideal, program, calibration)
