"""Chips beside each other are what each is by itself: weights, parameters and defects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwloop.device.registry import compile
from hwloop.network import Network
from hwloop_emulator import EmulatorTarget, Preset
from hwloop_emulator.chip import Chip
from hwloop_emulator.many.silicon import Wafer, load

Build = Callable[..., Network]
NUMBERS = [5, 0, 77]


@pytest.mark.parametrize("name", ["bss2", "worst", "ideal"])
@pytest.mark.parametrize("seconds", [0.0, 0.5])
@pytest.mark.parametrize("n_in", [1, 7])
def test_every_layer_is_realised_as_on_the_chip_alone(build: Build, name: str, seconds: float, n_in: int) -> None:
    preset = Preset.load(name)
    if seconds:  # writing takes so long that chips which drift have drifted
        preset = preset.with_effect("cell_write", seconds)
    program = compile(build(n_in=n_in), EmulatorTarget("5", preset=preset))
    layers = load(preset, NUMBERS, 3, program)
    for index, number in enumerate(NUMBERS):
        chip = Chip(preset, number, 3)
        chip.write(program)
        for found, alone in zip(layers, chip._layers, strict=True):
            weight = found.weight[index] if found.weight.ndim > 2 else found.weight
            assert torch.equal(weight, alone.weight)
            for parameter, value in alone.parameters.items():
                mine = found.parameters[parameter]
                assert torch.equal(mine[index] if mine.ndim > 1 else mine, value)
            for defect in ("dead", "stuck", "hot"):
                assert np.array_equal(getattr(found, defect)[index], getattr(alone, defect))


def test_draws_of_a_wafer_are_those_of_its_chips() -> None:
    preset, neurons = Preset.load("worst"), np.array([11, 2, 300])
    wafer, chips = Wafer(preset, NUMBERS), [Chip(preset, number, 0).silicon for number in NUMBERS]
    for index, chip in enumerate(chips):
        assert np.array_equal(wafer.phase(neurons)[index], chip.phase(neurons))
        drawn = wafer.synapses("dead_synapse", neurons, 9, uniform=True)
        assert np.array_equal(drawn[index], chip.synapses("dead_synapse", neurons, 9, uniform=True))
        assert np.array_equal(
            wafer.normal_at("programming", (3, 5), 1, 2)[index], chip.normal_at("programming", (3, 5), 1, 2)
        )
        for _ in range(2):  # the second time from what was kept
            part = wafer.drawn("trim_slope", "tau_mem", lambda rng: rng.normal(6))[index]
            assert np.array_equal(part, chip.drawn("trim_slope", "tau_mem", lambda rng: rng.normal(6)))
