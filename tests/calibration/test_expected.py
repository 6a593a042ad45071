from __future__ import annotations

import pytest

import hwloop as hl
from hwloop_calibration.characterise.expected import expected

from .support import opened, preset, program_for


@pytest.mark.parametrize("trim", [True, False])
def test_the_samples_that_are_announced_are_those_that_are_run(trim: bool) -> None:
    device = opened(preset(12), 3)
    program = program_for(device)
    neurons = sorted(int(n) for layer in program.layers for n in layer.neurons)
    announced = expected(device, program, neurons=neurons, trim=trim, repeats=4)
    found = hl.calibrate(device, program, neurons=neurons, trim=trim, repeats=4)
    assert announced.samples == found.effort.samples
    assert (announced.neurons, announced.available) == (len(found.neurons), 12)


def test_the_whole_chip_is_announced_as_more() -> None:
    device = opened(preset(48), 3)
    program = program_for(device)
    few = expected(device, program, neurons=[0, 1], trim=True, repeats=16)
    all_of_them = expected(device, program, neurons="all", trim=True, repeats=16)
    assert (few.neurons, all_of_them.neurons) == (2, 48)
    assert few.samples == all_of_them.samples
    assert few.seconds < all_of_them.seconds
    assert "48 of 48 neurons" in str(all_of_them)
