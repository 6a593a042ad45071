"""One calibrated chip for all tests that only look at it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import hwloop as hl
from hwloop.mapping import Program
from hwloop_emulator import EmulatorDevice

from .support import opened, preset, program_for


@dataclass(frozen=True)
class Calibrated:
    device: EmulatorDevice
    program: Program
    calibration: hl.Calibration


@pytest.fixture(scope="session")
def calibrated() -> Calibrated:
    """A noisy chip of 48 neurons, trimmed, its program loaded."""
    device = opened(preset(48), 5)
    program = program_for(device)
    device.load(program)
    return Calibrated(device, program, hl.calibrate(device, program, neurons="all"))
