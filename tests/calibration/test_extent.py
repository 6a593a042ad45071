"""What is calibrated by default, and what happens where a program needs neurons that were not."""

from __future__ import annotations

import pytest

import hwloop as hl
from hwloop.datasets import yin_yang
from hwloop.errors import CalibrationError, CompileError
from hwloop.losses import FirstSpike
from hwloop_calibration import Calibration, Sentinel
from hwloop_calibration.drift.upkeep import Upkeep, replacements
from hwloop_calibration.extent import LEAST_MORE, LEAST_SPARES, lacking
from hwloop_emulator import EmulatorDevice

from .support import network, opened, preset, program_for

QUICK = {"trim": False, "synapses": False, "repeats": 4}


def small() -> hl.Network:
    return network(hidden=4, n_out=2)


@pytest.fixture(scope="module")
def made() -> tuple[EmulatorDevice, hl.Program, Calibration]:
    device = opened(preset(48), 3)
    program = hl.compile(small(), device)
    return device, program, hl.calibrate(device, program, **QUICK)


def test_by_default_what_the_program_uses_is_calibrated_and_some_to_spare(
    made: tuple[EmulatorDevice, hl.Program, Calibration],
) -> None:
    device, _, found = made
    assert found.neurons == list(range(6 + LEAST_SPARES))
    assert device.calibration is found
    whole = opened(preset(12), 3)
    assert hl.calibrate(whole, hl.compile(small(), whole), neurons="all", **QUICK).neurons == list(range(12))


def test_where_the_spares_do_not_suffice_more_are_calibrated() -> None:
    told: list[str] = []
    device = opened(preset(24, dead=0.45), 13)
    program = hl.compile(network(hidden=3, n_out=2), device)
    found = hl.calibrate(device, program, **QUICK, on_stage=told.append)
    assert len(found.neurons) > 5 + LEAST_SPARES
    assert found.neurons == list(range(len(found.neurons)))
    assert any("neurons are of no use; calibrating" in line for line in told)
    assert len(found.neurons) - len(found.mask) >= 5
    placed = hl.compile(network(hidden=3, n_out=2), device)
    used = {int(n) for layer in placed.layers for n in layer.neurons}
    assert used <= set(found.neurons) - set(found.mask)


def test_how_many_more_depends_on_how_many_are_short(made: tuple[EmulatorDevice, hl.Program, Calibration]) -> None:
    _, program, found = made
    sound = found.model_copy(update={"verdict": ["pass"] * 8})
    assert lacking(program, sound, 48) == []
    two_left = found.model_copy(update={"verdict": ["pass"] * 6 + ["masked"] * 2})
    assert lacking(program, two_left, 48) == []
    short = found.model_copy(update={"verdict": ["pass"] * 5 + ["masked"] * 3})
    assert lacking(program, short, 48) == list(range(8, 8 + LEAST_MORE))
    none = found.model_copy(update={"verdict": ["masked"] * 8})
    assert lacking(program, none, 48) == list(range(8, 20))
    assert lacking(program, none, 10) == [8, 9]
    assert lacking(program, none, 8) == []


def test_a_network_that_needs_neurons_beyond_the_calibration_is_refused_until_they_are_calibrated(
    made: tuple[EmulatorDevice, hl.Program, Calibration],
) -> None:
    device, _, first = made
    larger = network(hidden=8)
    with pytest.raises(CompileError, match=r"layer 3 \(LIF\): found 3 others \(first: physical neuron 8\)") as refused:
        hl.compile(larger, device)
    assert f"calibration {first.id}" in str(refused.value)
    assert 'hwloop.calibrate(device, hwloop.compile(net, device.target)), or the whole chip: neurons="all"' in str(
        refused.value
    )
    for neurons in (None, "all"):
        other = opened(preset(16), 3)
        hl.calibrate(other, hl.compile(larger, other.target), neurons=neurons, **QUICK)
        assert hl.compile(larger, other).layers[1].n_out == 3
    # and the first network still fits
    assert hl.compile(small(), device).layers[0].n_out == 4


def test_a_twin_a_sentinel_and_an_upkeep_refuse_a_program_beyond_the_calibration(
    made: tuple[EmulatorDevice, hl.Program, Calibration],
) -> None:
    device, _, found = made
    larger = network(hidden=8)
    program = hl.compile(larger, device.target)
    with pytest.raises(
        CalibrationError, match=r'physical neuron 8 was not calibrated .*the whole chip \(neurons="all"\)'
    ):
        larger.with_twin(found, program)
    message = rf"calibration {found.id} of .* lacks 3 neurons that the program uses \(first: physical neuron 8\)"
    with pytest.raises(CalibrationError, match=message):
        replacements(program, found)
    with pytest.raises(CalibrationError, match=message):
        Sentinel(device, found, program)
    task = yin_yang(sizes=(4, 4, 4))
    net = network(n_in=5, hidden=8).float()
    upkeep = Upkeep(net, device, hl.compile(net, device.target), task, FirstSpike(temperature=1e-3))
    with pytest.raises(CalibrationError, match=message):
        Sentinel(device, found, program_for(device, hidden=3), upkeep=upkeep)
    with pytest.raises(CalibrationError, match=message):
        upkeep.follow(found)
    for neurons in (None, "all"):  # what the messages say to do
        other = opened(preset(16), 3)
        covering = hl.calibrate(other, program, neurons=neurons, **QUICK)
        larger.with_twin(covering, hl.compile(larger, other))
        assert set(replacements(program, covering)) == set(covering.mask) & set(range(11))
        Sentinel(other, covering, program)
