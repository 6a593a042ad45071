"""Calibrate, trim, and what is left when something fails half way."""

from __future__ import annotations

import numpy as np
import pytest

import hwloop as hl
from hwloop.device.trim import TrimRange
from hwloop.errors import TargetError
from hwloop_calibration.trim.codes import State, Trimmer
from hwloop_emulator.oracle import Oracle

from .conftest import Calibrated
from .support import SPEEDUP, opened, preset, program_for


def _true(calibrated: Calibrated, name: str) -> np.ndarray:
    """True values of all physical neurons as the chip is now."""
    device = calibrated.device
    net = hl.Network([hl.Dense(4, 48), hl.LIF(48, 10e-3, 5e-3, t_ref=2e-3)]).double()
    before = device.program
    device.load(device.target.compile(net))
    try:
        return Oracle(device).parameter(0, name)
    finally:
        device.load(before)


def test_trimming_brings_the_spread_of_every_parameter_below_two_per_cent(calibrated: Calibrated) -> None:
    calibration = calibrated.calibration
    assert set(calibration.spread) >= {"tau_mem", "tau_syn", "v_leak", "gain", "t_ref"}
    for name in ("tau_mem", "tau_syn", "gain"):
        assert calibration.spread[name].before > 0.05
    assert all(spread.after <= 0.02 for spread in calibration.spread.values())
    sound = np.array([v != "masked" for v in calibration.verdict])
    # what it says of itself holds for the chip's true values too
    for name in ("tau_mem", "tau_syn", "t_ref"):
        value = _true(calibrated, name)[sound]
        assert np.std(value) / np.mean(value) <= 0.02
        assert np.mean(value) == pytest.approx(float(np.median(calibration.asked(name))), rel=0.01)


def test_the_twin_misses_held_out_spikes_by_hardly_more_than_the_chip_misses_itself(calibrated: Calibrated) -> None:
    held = calibrated.calibration.held_out
    assert held is not None
    assert held.spikes > 500
    assert held.twin <= 1.2 * held.jitter
    assert held.nominal > held.twin


def test_the_program_of_before_is_on_the_device_again(calibrated: Calibrated) -> None:
    assert calibrated.device.program is not None
    assert calibrated.device.program.digest == calibrated.program.digest


def test_recordings_name_the_calibration_and_its_age(calibrated: Calibrated) -> None:
    spikes = hl.Spikes.from_events([([1e-3], [0])], n_units=4, t_stop=0.05)
    recording = calibrated.device.run(spikes)
    assert recording.calibration_id == calibrated.calibration.id
    assert recording.calibration_age is not None
    assert 0 <= recording.calibration_age < 3600


def test_without_trimming_no_code_is_written() -> None:
    device = opened(preset(12))
    calibration = hl.calibrate(
        device, program_for(device, hidden=4), neurons="all", trim=False, synapses=False, repeats=8
    )
    assert calibration.codes == {}
    assert calibration.effort.trim_cells_written == 0
    for name, allowed in device.trim_ranges.items():
        assert (device.trim_codes(name) == allowed.default).all()


def test_membranes_resolve_what_spikes_leave_open() -> None:
    device = opened(preset(16, channels=5), 9)
    program = program_for(device, hidden=4)
    calibration = hl.calibrate(device, program, neurons="all", synapses=False, repeats=8)
    assert calibration.gauge == "membranes"
    sound = np.array([v != "masked" for v in calibration.verdict])
    net = hl.Network([hl.Dense(4, 16), hl.LIF(16, 10e-3, 5e-3, t_ref=2e-3)]).double()
    device.load(device.target.compile(net))
    oracle = Oracle(device)
    for name in ("v_th", "v_leak", "v_reset"):
        true = oracle.parameter(0, name)[sound]
        assert calibration.spread[name].after < calibration.spread[name].before
        # a trim step is .1 % of the swing, the estimate's own error about 1 %
        assert np.std(true) < 0.02
        assert np.abs(calibration.value(name)[sound] - true).max() < 0.04


def test_a_write_that_fails_half_way_leaves_codes_and_calibration_as_they_were() -> None:
    device = opened(preset(12), 7, fail_after=(10,))
    program = program_for(device, hidden=4)
    first = hl.calibrate(device, program, neurons="all", trim=False, synapses=False, repeats=4)
    before = {name: device.trim_codes(name) for name in device.trim_ranges}
    with pytest.raises(TargetError, match="broke off"):
        hl.calibrate(device, program, neurons="all", synapses=False, repeats=4)
    assert device.calibration is first
    assert device.program is not None or device.calibration is not None
    for name, codes in before.items():
        assert (device.trim_codes(name) == codes).all()


def test_a_neuron_at_the_edge_of_its_codes_is_out_of_reach() -> None:
    ranges = {"tau_mem": TrimRange(0, 10, 5, "exponential", 0.01)}
    trimmer = Trimmer(ranges, {"tau_mem": np.array([5, 5])})
    far = State({"tau_mem": np.array([0.5, 0.02])}, {"tau_mem": np.full(2, 0.001)})
    writes = trimmer.next(far, np.array([True, True]))
    np.testing.assert_array_equal(writes["tau_mem"][1], [0, 3])
    left = State({"tau_mem": np.array([0.45, 0.0])}, far.error)
    found = trimmer.out_of_reach(left)
    assert list(found) == [0]
    assert "cannot reach its tau_mem: +45.0 % off at code 0" in found[0]


def test_the_second_write_uses_the_slope_that_the_first_one_showed() -> None:
    ranges = {"tau_mem": TrimRange(0, 1000, 500, "exponential", 0.002)}
    trimmer = Trimmer(ranges, {"tau_mem": np.array([500])})
    error = {"tau_mem": np.array([1e-4])}
    everyone = np.array([True])
    first = trimmer.next(State({"tau_mem": np.array([0.2])}, error), everyone)
    assert first["tau_mem"][1][0] == 400
    # the cell did .8 of what the data sheet says: .04 are left, which take 25 steps of .0016
    second = trimmer.next(State({"tau_mem": np.array([0.04])}, error), everyone)
    assert second["tau_mem"][1][0] == pytest.approx(375, abs=1)
    assert trimmer.next(State({"tau_mem": np.array([5e-5])}, error), everyone) == {}


def test_only_chosen_neurons_are_calibrated_and_written() -> None:
    device = opened(preset(16), 11)
    program = program_for(device, hidden=4)
    calibration = hl.calibrate(device, program, neurons=[2, 3, 9], synapses=False, repeats=8)
    assert calibration.neurons == [2, 3, 9]
    moved = np.zeros(16, bool)
    for name, allowed in device.trim_ranges.items():
        moved |= device.trim_codes(name) != allowed.default
    assert set(np.flatnonzero(moved)) <= {2, 3, 9}
    assert calibration.value("tau_mem").max() < 2 * 10e-6 * SPEEDUP
