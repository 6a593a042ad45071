"""Drift is found by the sentinel, and only the neurons that drifted are calibrated anew."""

from __future__ import annotations

import numpy as np
import pytest

import hwloop as hl
from hwloop.errors import CalibrationError
from hwloop_calibration.drift import Sentinel

from .conftest import Calibrated
from .support import network, opened, preset, program_for

#: Device time between checks (s).
MINUTE = 60.0


def _drifting():
    """A chip on which some neurons wander by some per cent an hour, the others not at all."""
    return preset(
        24, drift_ou=0.0, drift_power=0.05, drift_power_time=3600.0, drift_power_exponent=1.0, drift_share=0.2, dead=0.0
    )


def test_only_neurons_that_drift_are_found_and_calibrated_again() -> None:
    device = opened(_drifting(), 3)
    program = program_for(device)
    device.load(program)
    calibration = hl.calibrate(device, program, synapses=False, repeats=8)
    moving = device._chip.silicon.chosen("drift_share", np.arange(24))
    assert 2 <= moving.sum() <= 12
    sentinel = Sentinel(device, calibration, program)
    assert not sentinel.check().drifted
    found: set[int] = set()
    for _ in range(6):
        device.advance(20 * MINUTE)
        found |= set(sentinel.check().neurons)
    assert found
    assert found <= set(np.flatnonzero(moving).tolist())
    before = {n: calibration.value("tau_mem")[n] for n in range(24)}
    renewed = sentinel.recalibrate(repeats=8, synapses=False)
    assert renewed.id != calibration.id
    assert device.calibration is renewed
    assert device.program is not None
    assert device.program.digest == program.digest
    kept = [n for n in range(24) if n not in sentinel.history[-1].neurons]
    assert all(renewed.value("tau_mem")[n] == before[n] for n in kept)
    assert not sentinel.check().drifted


def test_a_chip_that_stays_raises_no_alarm(calibrated: Calibrated) -> None:
    sentinel = Sentinel(calibrated.device, calibrated.calibration, calibrated.program)
    assert not any(sentinel.check().drifted for _ in range(8))
    z = np.concatenate([check.z[np.abs(check.z).sum(1) > 0].ravel() for check in sentinel.history])
    # unit variance: 8 checks of 47 neurons in 4 correlated directions
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1.0, abs=0.25)


def test_a_sentinel_watches_fine_tuning_and_leaves_its_program(calibrated: Calibrated) -> None:
    device = calibrated.device
    other = hl.compile(network(), device, weight_scale=0.2)
    sentinel = Sentinel(device, calibrated.calibration, calibrated.program)
    device.load(other)
    sentinel.on_epoch(None)
    assert len(sentinel.history) == 1
    assert device.program is not None
    assert device.program.digest == other.digest
    device.load(calibrated.program)


def test_a_sentinel_of_another_device_is_refused(calibrated: Calibrated) -> None:
    other = opened(preset(48), 6)
    with pytest.raises(CalibrationError, match="is of device emulator:5"):
        Sentinel(other, calibrated.calibration, calibrated.program)
